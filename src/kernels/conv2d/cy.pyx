"""Convolution, forward and backward-data, compiled: see isa.cpp for the way through its headers."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.convolution cimport Convolution, convolution
from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels._cpu.window cimport Window
from fastconv.kernels.chain.cy cimport CStep, prepared

# For windows spread so far that a padded copy of the image would not fit in memory.
from fastconv.kernels.conv2d.ref import backward_data as backward_data_by_taps
from fastconv.kernels.conv2d.ref import backward_weights as backward_weights_by_taps
from fastconv.kernels.conv2d.ref import forward as forward_by_taps

__all__ = [
    "backward_data", "backward_data_by_taps", "backward_weights_by_taps", "forward", "forward_by_taps", "prepare",
    "prepare_data",
]

cnp.import_array()

ctypedef void (*Forward)(
    void* out, const void* x, const void* w, const void* b, const Window* p, int64_t FN, int64_t groups, double most
) except + nogil
ctypedef void (*BackwardData)(
    void* dx, const void* dout, const void* w, const Window* p, int64_t FN, int64_t groups
) except + nogil
ctypedef CStep* (*Prepare)(
    const void* w, const void* b, const Window* p, int64_t FN, int64_t groups, double most
) except + nogil
ctypedef CStep* (*PrepareData)(const void* w, const Window* p, int64_t FN, int64_t groups) except + nogil

cdef Forward _forward[2]
cdef BackwardData _backward_data[2]
cdef Prepare _prepare[2]
cdef PrepareData _prepare_data[2]

lookup_floats("conv2d", "forward", <void**>_forward)
lookup_floats("conv2d", "backward_data", <void**>_backward_data)
lookup_floats("conv2d", "prepare", <void**>_prepare)
lookup_floats("conv2d", "prepare_data", <void**>_prepare_data)


def forward(cnp.ndarray out, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, p):
    cdef Forward kernel = _forward[precision(x)]
    cdef Convolution c = convolution(p)
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef void* b_data = NULL if b is None else cnp.PyArray_DATA(b)
    with nogil:
        kernel(out_data, x_data, w_data, b_data, &c.window, c.FN, c.groups, c.most)


def backward_data(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray w, p):
    cdef BackwardData kernel = _backward_data[precision(dout)]
    cdef Convolution c = convolution(p)
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* w_data = cnp.PyArray_DATA(w)
    with nogil:
        kernel(dx_data, dout_data, w_data, &c.window, c.FN, c.groups)


def prepare(cnp.ndarray w, cnp.ndarray b, p):
    """Forward with the filters packed; the bias is read in place."""
    cdef Prepare kernel = _prepare[precision(w)]
    cdef Convolution c = convolution(p)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef void* b_data = NULL if b is None else cnp.PyArray_DATA(b)
    cdef CStep* step
    with nogil:
        step = kernel(w_data, b_data, &c.window, c.FN, c.groups, c.most)
    return prepared(step, (b,), c.window.C * c.window.H * c.window.W, c.FN * c.window.OH * c.window.OW)


def prepare_data(cnp.ndarray w, p):
    """Backward-data with the filters packed."""
    cdef PrepareData kernel = _prepare_data[precision(w)]
    cdef Convolution c = convolution(p)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef CStep* step
    with nogil:
        step = kernel(w_data, &c.window, c.FN, c.groups)
    return prepared(step, (), c.FN * c.window.OH * c.window.OW, c.window.C * c.window.H * c.window.W)
