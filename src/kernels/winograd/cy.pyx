"""Winograd's convolution, forward and both gradients, float32.

See isa.cpp for 3 x 3 filters with stride 1, winograd_stride2's for stride 2, winograd_rows' for filters of more rows.
"""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.convolution cimport Convolution, convolution
from fastconv.kernels._cpu.engine cimport lookup
from fastconv.kernels._cpu.window cimport Window
from fastconv.kernels.chain.cy cimport (
    CBackwardStep, CStep, CWeightsStep, prepared, prepared_backward, prepared_weights
)

cnp.import_array()

ctypedef void (*Forward)(
    void* out, const void* x, const void* w, const void* b, const Window* p, int64_t FN, bint relu
) except + nogil
ctypedef void (*BackwardData)(void* dx, const void* dout, const void* w, const Window* p, int64_t FN) except + nogil
ctypedef void (*BackwardWeights)(
    void* dw, void* db, const void* dout, const void* x, const Window* p, int64_t FN
) except + nogil
ctypedef void (*Backward)(
    void* dx, void* dw, void* db, const void* dout, const void* x, const void* w, const Window* p, int64_t FN
) except + nogil
ctypedef CStep* (*Prepare)(const void* w, const void* b, const Window* p, int64_t FN, bint relu) except + nogil
ctypedef CStep* (*PrepareData)(const void* w, const Window* p, int64_t FN) except + nogil
ctypedef CWeightsStep* (*PrepareWeights)(const Window* p, int64_t FN) except + nogil
ctypedef CBackwardStep* (*PrepareBackward)(const void* w, const Window* p, int64_t FN) except + nogil

# By method().
cdef Forward[3] _forward
cdef BackwardData[3] _backward_data
cdef BackwardWeights[3] _backward_weights
cdef Prepare[3] _prepare
cdef PrepareData[3] _prepare_data
cdef PrepareWeights[3] _prepare_weights
# With stride 1.
cdef Backward _backward = <Backward>lookup("winograd", "backward")
cdef PrepareBackward _prepare_backward = <PrepareBackward>lookup("winograd", "prepare_backward")


cdef int find(int i, const char* folder) except -1:
    _forward[i] = <Forward>lookup(folder, "forward")
    _backward_data[i] = <BackwardData>lookup(folder, "backward_data")
    _backward_weights[i] = <BackwardWeights>lookup(folder, "backward_weights")
    _prepare[i] = <Prepare>lookup(folder, "prepare")
    _prepare_data[i] = <PrepareData>lookup(folder, "prepare_data")
    _prepare_weights[i] = <PrepareWeights>lookup(folder, "prepare_weights")
    return 0


find(0, "winograd")
find(1, "winograd_stride2")
find(2, "winograd_rows")


cdef inline int method(const Convolution& c) noexcept nogil:
    return 2 if c.window.FH > 3 else <int>c.window.stride_h - 1


def forward(cnp.ndarray out, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, p):
    cdef Convolution c = convolution(p)
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef void* b_data = NULL if b is None else cnp.PyArray_DATA(b)
    with nogil:
        _forward[method(c)](out_data, x_data, w_data, b_data, &c.window, c.FN, c.relu)


def backward_data(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray w, p):
    cdef Convolution c = convolution(p)
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* w_data = cnp.PyArray_DATA(w)
    with nogil:
        _backward_data[method(c)](dx_data, dout_data, w_data, &c.window, c.FN)


def backward_weights(cnp.ndarray dw, cnp.ndarray db, cnp.ndarray dout, cnp.ndarray x, p):
    cdef Convolution c = convolution(p)
    cdef void* dw_data = cnp.PyArray_DATA(dw)
    cdef void* db_data = NULL if db is None else cnp.PyArray_DATA(db)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    with nogil:
        _backward_weights[method(c)](dw_data, db_data, dout_data, x_data, &c.window, c.FN)


def backward(cnp.ndarray dx, cnp.ndarray dw, cnp.ndarray db, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray w, p):
    """All gradients at once."""
    cdef Convolution c = convolution(p)
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dw_data = cnp.PyArray_DATA(dw)
    cdef void* db_data = NULL if db is None else cnp.PyArray_DATA(db)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* w_data = cnp.PyArray_DATA(w)
    with nogil:
        _backward(dx_data, dw_data, db_data, dout_data, x_data, w_data, &c.window, c.FN)


def prepare(cnp.ndarray w, cnp.ndarray b, p):
    """Forward with the filters transformed, or in place where that would be too large; the bias is read in place."""
    cdef Convolution c = convolution(p)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef void* b_data = NULL if b is None else cnp.PyArray_DATA(b)
    cdef CStep* step
    with nogil:
        step = _prepare[method(c)](w_data, b_data, &c.window, c.FN, c.relu)
    return prepared(step, (w, b), c.window.C * c.window.H * c.window.W, c.FN * c.window.OH * c.window.OW)


def prepare_data(cnp.ndarray w, p):
    """Backward-data, likewise."""
    cdef Convolution c = convolution(p)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef CStep* step
    with nogil:
        step = _prepare_data[method(c)](w_data, &c.window, c.FN)
    return prepared(step, (w,), c.FN * c.window.OH * c.window.OW, c.window.C * c.window.H * c.window.W)


def prepare_weights(p):
    """The gradients of filters and bias."""
    cdef Convolution c = convolution(p)
    return prepared_weights(_prepare_weights[method(c)](&c.window, c.FN))


def prepare_backward(cnp.ndarray w, p):
    """All gradients, with the filters transformed."""
    cdef Convolution c = convolution(p)
    cdef void* w_data = cnp.PyArray_DATA(w)
    cdef CBackwardStep* step
    with nogil:
        step = _prepare_backward(w_data, &c.window, c.FN)
    return prepared_backward(step, (w,))
