"""Dropout, compiled: see isa.cpp."""

cimport numpy as cnp
from libc.stdint cimport int64_t, uint64_t

from fastconv.kernels._cpu.engine cimport lookup_floats, precision

cnp.import_array()

ctypedef void (*Forward)(
    void* out, void* mask, const void* x, uint64_t seed, int64_t size, int64_t repeat, uint64_t threshold, double scale
) except + nogil
ctypedef void (*Backward)(
    void* dx, const void* dout, const void* mask, int64_t size, int64_t repeat, double scale
) except + nogil

cdef Forward _forward[2]
cdef Backward _backward[2]

lookup_floats("dropout", "forward", <void**>_forward)
lookup_floats("dropout", "backward", <void**>_backward)


def forward(cnp.ndarray out, cnp.ndarray mask, cnp.ndarray x, uint64_t seed, p):
    cdef Forward kernel = _forward[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* mask_data = cnp.PyArray_DATA(mask)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t size = p.size, repeat = p.repeat
    cdef uint64_t threshold = p.threshold
    cdef double scale = p.scale
    with nogil:
        kernel(out_data, mask_data, x_data, seed, size, repeat, threshold, scale)


def backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray mask, p):
    cdef Backward kernel = _backward[precision(dout)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* mask_data = cnp.PyArray_DATA(mask)
    cdef int64_t size = p.size, repeat = p.repeat
    cdef double scale = p.scale
    with nogil:
        kernel(dx_data, dout_data, mask_data, size, repeat, scale)
