"""Depthwise convolution, compiled: see isa.cpp."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.convolution cimport Convolution, convolution
from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels._cpu.window cimport Window
from fastconv.kernels.chain.cy cimport CStep, prepared

cnp.import_array()

ctypedef void (*Forward)(
    void* out, const void* x, const void* w, const void* b, const Window* p, int64_t FN, double most
) except + nogil
ctypedef void (*BackwardData)(void* dx, const void* dout, const void* w, const Window* p, int64_t FN) except + nogil
ctypedef void (*BackwardWeights)(
    void* dw, void* db, const void* dout, const void* x, const Window* p, int64_t FN
) except + nogil

ctypedef CStep* (*Prepare)(
    const void* w, const void* b, const Window* p, int64_t FN, double most
) except + nogil

cdef Forward _forward[2]
cdef BackwardData _backward_data[2]
cdef BackwardWeights _backward_weights[2]
cdef Prepare _prepare[2]

lookup_floats("depthwise", "forward", <void**>_forward)
lookup_floats("depthwise", "backward_data", <void**>_backward_data)
lookup_floats("depthwise", "backward_weights", <void**>_backward_weights)
lookup_floats("depthwise", "prepare", <void**>_prepare)


def forward(cnp.ndarray out, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, p):
    cdef Forward kernel = _forward[precision(x)]
    cdef Convolution c = convolution(p)
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef void* b_data = NULL if b is None else cnp.PyArray_DATA(b)
    with nogil:
        kernel(out_data, x_data, w_data, b_data, &c.window, c.FN, c.most)


def backward_data(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray w, p):
    cdef BackwardData kernel = _backward_data[precision(dout)]
    cdef Convolution c = convolution(p)
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* w_data = cnp.PyArray_DATA(w)
    with nogil:
        kernel(dx_data, dout_data, w_data, &c.window, c.FN)


def backward_weights(cnp.ndarray dw, cnp.ndarray db, cnp.ndarray dout, cnp.ndarray x, p):
    cdef BackwardWeights kernel = _backward_weights[precision(x)]
    cdef Convolution c = convolution(p)
    cdef void* dw_data = cnp.PyArray_DATA(dw)
    cdef void* db_data = NULL if db is None else cnp.PyArray_DATA(db)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    with nogil:
        kernel(dw_data, db_data, dout_data, x_data, &c.window, c.FN)


def prepare(cnp.ndarray w, cnp.ndarray b, p):
    """Forward; the weights are read in place."""
    cdef Convolution c = convolution(p)
    cdef void* b_data = NULL if b is None else cnp.PyArray_DATA(b)
    cdef CStep* step = _prepare[precision(w)](cnp.PyArray_DATA(w), b_data, &c.window, c.FN, c.most)
    return prepared(step, (w, b), c.window.C * c.window.H * c.window.W, c.FN * c.window.OH * c.window.OW)
