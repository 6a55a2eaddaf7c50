# What op modules cimport: kernels by name, and arrays from the buffer pool.
cimport numpy as cnp

# The kernel `name` of `op` for the chosen instruction set.
cdef void* lookup(const char* op, const char* name) except NULL

# The kernels <name>_f32 and <name>_f64, in this order: pair[precision(array)] is the one for an array.
cdef int lookup_floats(const char* op, const char* name, void** pair) except -1

# An uninitialised, C-contiguous, 64-byte aligned array of a numeric type, from the buffer pool.
cdef object new_array(int ndim, cnp.npy_intp* shape, int typenum)

# 0 for float32, 1 for float64.
cdef inline int precision(cnp.ndarray array) noexcept:
    return cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE

# How many times a backend is forced now, by set_backend and by open contexts: while it is not 0, nothing goes straight.
cdef int* forced_backends
