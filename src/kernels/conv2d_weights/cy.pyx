"""Gradients of a convolution's filters and bias, compiled: see isa.cpp."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.convolution cimport Convolution, convolution
from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels._cpu.window cimport Window
from fastconv.kernels.chain.cy cimport CWeightsStep, prepared_weights

cnp.import_array()

ctypedef void (*BackwardWeights)(
    void* dw, void* db, const void* dout, const void* x, const Window* w, int64_t FN, int64_t groups
) except + nogil
ctypedef CWeightsStep* (*Prepare)(const Window* w, int64_t FN, int64_t groups) except + nogil

cdef BackwardWeights _kernels[2]
cdef Prepare _prepare[2]

lookup_floats("conv2d_weights", "backward_weights", <void**>_kernels)
lookup_floats("conv2d_weights", "prepare", <void**>_prepare)


def backward_weights(cnp.ndarray dw, cnp.ndarray db, cnp.ndarray dout, cnp.ndarray x, p):
    cdef BackwardWeights kernel = _kernels[precision(x)]
    cdef void* dw_data = cnp.PyArray_DATA(dw)
    cdef void* db_data = NULL if db is None else cnp.PyArray_DATA(db)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef Convolution c = convolution(p)
    with nogil:
        kernel(dw_data, db_data, dout_data, x_data, &c.window, c.FN, c.groups)


def prepare_weights(p):
    """The same, for any number of images."""
    cdef Convolution c = convolution(p)
    return prepared_weights(_prepare[p.dtype == "float64"](&c.window, c.FN, c.groups))
