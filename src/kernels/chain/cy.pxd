# What a kernel's entry points need to hand out a prepared step.
from libc.stdint cimport int64_t

cdef extern from "step.h" namespace "fc":
    cppclass CStep "fc::Step":
        void run(void* out, const void* x, int64_t images) except + nogil
        double nanoseconds(int64_t images)
        bint copies()
    cppclass CWeightsStep "fc::WeightsStep":
        pass
    cppclass CBackwardStep "fc::BackwardStep":
        pass

cdef class Step:
    cdef CStep* step
    cdef tuple arrays         # that it reads in place
    cdef int64_t input_size   # numbers of an image
    cdef int64_t result_size

# Takes the step over.
cdef Step prepared(CStep* step, tuple arrays, int64_t input_size, int64_t result_size)

cdef class WeightsStep:
    cdef CWeightsStep* step

cdef WeightsStep prepared_weights(CWeightsStep* step)

cdef class BackwardStep:
    cdef CBackwardStep* step
    cdef tuple arrays         # that it reads in place

cdef BackwardStep prepared_backward(CBackwardStep* step, tuple arrays)
