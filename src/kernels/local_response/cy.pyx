"""Local response normalisation, compiled: see isa.cpp."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport lookup_floats, precision

cnp.import_array()

cdef extern from "sizes.h" namespace "fc" nogil:
    ctypedef struct LocalResponse:
        int64_t N, C, P, size
        double alpha, beta, k

ctypedef void (*Forward)(void* out, const void* x, const LocalResponse* sizes) except + nogil
ctypedef void (*Backward)(void* dx, const void* dout, const void* x, const LocalResponse* sizes) except + nogil

cdef Forward _forward[2]
cdef Backward _backward[2]

lookup_floats("local_response", "forward", <void**>_forward)
lookup_floats("local_response", "backward", <void**>_backward)


cdef LocalResponse _sizes(p):
    return LocalResponse(N=p.N, C=p.C, P=p.P, size=p.size, alpha=p.alpha, beta=p.beta, k=p.k)


def forward(cnp.ndarray out, cnp.ndarray x, p):
    cdef LocalResponse sizes = _sizes(p)
    cdef Forward kernel = _forward[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    with nogil:
        kernel(out_data, x_data, &sizes)


def backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x, p):
    cdef LocalResponse sizes = _sizes(p)
    cdef Backward kernel = _backward[precision(x)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    with nogil:
        kernel(dx_data, dout_data, x_data, &sizes)
