"""Element-wise activations, compiled: see isa.cpp for the formulas."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport lookup_floats, precision

cnp.import_array()

ctypedef void (*Forward)(void* out, const void* x, int64_t count) except + nogil
ctypedef void (*Backward)(void* dx, const void* dout, const void* x, int64_t count) except + nogil

cdef Forward _relu_forward[2]
cdef Backward _relu_backward[2]

lookup_floats("activations", "relu_forward", <void**>_relu_forward)
lookup_floats("activations", "relu_backward", <void**>_relu_backward)


cdef _forward(Forward* kernels, cnp.ndarray out, cnp.ndarray x):
    cdef Forward kernel = kernels[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    with nogil:
        kernel(out_data, x_data, count)


cdef _backward(Backward* kernels, cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x):
    cdef Backward kernel = kernels[precision(x)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    with nogil:
        kernel(dx_data, dout_data, x_data, count)


def relu_forward(cnp.ndarray out, cnp.ndarray x, p):
    _forward(_relu_forward, out, x)


def relu_backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x, p):
    _backward(_relu_backward, dx, dout, x)
