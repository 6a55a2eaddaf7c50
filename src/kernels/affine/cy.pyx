"""The affine map and its gradients, compiled: see isa.cpp for the products and gemm.h for how they are computed.

Convolution by 1x1 filters is here as well, as an affine map of every pixel's channels: see pointwise.h.
"""

cimport numpy as cnp
from libc.stdint cimport int64_t
from libcpp cimport bool

from fastconv.kernels._cpu.convolution cimport Convolution, convolution, most_of
from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels._cpu.window cimport Window
from fastconv.kernels.chain.cy cimport CStep, prepared

cnp.import_array()

ctypedef struct Sizes:
    int64_t N, K, M
    bool transposed
    double most

ctypedef struct Pointwise:
    int64_t N, groups, Cin, Cout, H, W, OH, OW, stride_h, stride_w
    bool upside_down
    double most

ctypedef void (*Forward)(void* out, const void* x, const void* w, const void* b, const Sizes& sizes) except + nogil
ctypedef void (*BackwardData)(void* dx, const void* dout, const void* w, const Sizes& sizes) except + nogil
ctypedef void (*BackwardWeights)(
    void* dw, void* db, const void* dout, const void* x, const Sizes& sizes) except + nogil
ctypedef CStep* (*Prepare)(const void* w, const void* b, const Sizes& sizes, double scale) except + nogil
ctypedef void (*PointwiseMap)(
    void* out, const void* x, const void* w, const void* b, const Pointwise& sizes) except + nogil
ctypedef CStep* (*PreparePointwise)(const void* w, const void* b, const Pointwise& sizes) except + nogil

cdef Forward _forward[2]
cdef BackwardData _backward_data[2]
cdef BackwardWeights _backward_weights[2]
cdef Prepare _prepare[2]
cdef PointwiseMap _pointwise[2]
cdef PreparePointwise _prepare_pointwise[2]

lookup_floats("affine", "forward", <void**>_forward)
lookup_floats("affine", "backward_data", <void**>_backward_data)
lookup_floats("affine", "backward_weights", <void**>_backward_weights)
lookup_floats("affine", "prepare", <void**>_prepare)
lookup_floats("affine", "pointwise", <void**>_pointwise)
lookup_floats("affine", "prepare_pointwise", <void**>_prepare_pointwise)


cdef Sizes _sizes(p) except *:
    return Sizes(p.N, p.K, p.M, p.transposed, most_of(p.activation))


cdef void* _data(cnp.ndarray array) noexcept:
    return NULL if array is None else cnp.PyArray_DATA(array)


def forward(cnp.ndarray out, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, p):
    cdef Sizes sizes = _sizes(p)
    cdef Forward kernel = _forward[precision(out)]
    cdef void *y = _data(out), *x_data = _data(x), *w_data = _data(w), *b_data = _data(b)
    with nogil:
        kernel(y, x_data, w_data, b_data, sizes)


def backward_data(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray w, p):
    cdef Sizes sizes = _sizes(p)
    cdef BackwardData kernel = _backward_data[precision(dx)]
    cdef void *dx_data = _data(dx), *dout_data = _data(dout), *w_data = _data(w)
    with nogil:
        kernel(dx_data, dout_data, w_data, sizes)


def backward_weights(cnp.ndarray dw, cnp.ndarray db, cnp.ndarray dout, cnp.ndarray x, p):
    cdef Sizes sizes = _sizes(p)
    cdef BackwardWeights kernel = _backward_weights[precision(dw)]
    cdef void *dw_data = _data(dw), *db_data = _data(db), *dout_data = _data(dout), *x_data = _data(x)
    with nogil:
        kernel(dw_data, db_data, dout_data, x_data, sizes)


def prepare(cnp.ndarray w, cnp.ndarray b, p, double scale=1):
    """Forward, times a scale; w and b are read in place."""
    return prepared(_prepare[precision(w)](_data(w), _data(b), _sizes(p), scale), (w, b), p.K, p.M)


cdef Pointwise _pixels(p, bint backward) except *:
    cdef Convolution c = convolution(p)
    cdef Window w = c.window
    cdef int64_t channels = w.C // c.groups, filters = c.FN // c.groups
    if backward:
        return Pointwise(w.N, c.groups, filters, channels, w.OH, w.OW, w.H, w.W, 1, 1, True, -1)
    return Pointwise(w.N, c.groups, channels, filters, w.H, w.W, w.OH, w.OW, w.stride_h, w.stride_w, False, c.most)


def pointwise_forward(cnp.ndarray out, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, p):
    cdef Pointwise sizes = _pixels(p, False)
    cdef PointwiseMap kernel = _pointwise[precision(out)]
    cdef void *y = _data(out), *x_data = _data(x), *w_data = _data(w), *b_data = _data(b)
    with nogil:
        kernel(y, x_data, w_data, b_data, sizes)


def pointwise_backward_data(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray w, p):
    cdef Pointwise sizes = _pixels(p, True)
    cdef PointwiseMap kernel = _pointwise[precision(dx)]
    cdef void *dx_data = _data(dx), *dout_data = _data(dout), *w_data = _data(w)
    with nogil:
        kernel(dx_data, dout_data, w_data, NULL, sizes)


cdef _prepared_pointwise(cnp.ndarray w, cnp.ndarray b, Pointwise sizes):
    cdef CStep* step = _prepare_pointwise[precision(w)](_data(w), _data(b), sizes)
    cdef int64_t groups = sizes.groups
    return prepared(step, (w, b), groups * sizes.Cin * sizes.H * sizes.W, groups * sizes.Cout * sizes.OH * sizes.OW)


def prepare_pointwise(cnp.ndarray w, cnp.ndarray b, p):
    """Convolution's forward; w and b are read in place."""
    return _prepared_pointwise(w, b, _pixels(p, False))


def prepare_pointwise_data(cnp.ndarray w, p):
    """Convolution's backward-data; w is read in place."""
    return _prepared_pointwise(w, None, _pixels(p, True))
