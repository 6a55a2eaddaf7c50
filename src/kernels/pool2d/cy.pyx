"""Pooling, compiled: see isa.cpp and the headers beside it."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels._cpu.window cimport Window, window
from fastconv.kernels.chain.cy cimport CStep, prepared

cnp.import_array()

cdef struct Bins:
    int64_t planes, H, W, OH, OW

ctypedef void (*MaxForward)(void* out, void* indices, const void* x, const Window* p) except + nogil
ctypedef bint (*MaxBackward)(void* dx, const void* dout, const void* indices, const Window* p) except + nogil
ctypedef void (*MaxShared)(void* dx, const void* dout, const void* x, const void* y, const Window* p) except + nogil
ctypedef void (*Average)(void* out, const void* x, const Window* p, int64_t divisor, int64_t include_pad) except + nogil
ctypedef void (*AdaptiveAverage)(void* out, const void* x, const Bins* p) except + nogil
ctypedef void (*StochasticForward)(
    void* out, void* indices, const void* x, const void* u, const Window* p
) except + nogil
ctypedef void (*StochasticInference)(void* out, const void* x, const Window* p) except + nogil
ctypedef CStep* (*PrepareMax)(const Window* p) except + nogil
ctypedef CStep* (*PrepareAverage)(const Window* p, int64_t divisor, int64_t include_pad) except + nogil

cdef MaxForward _max_forward[2]
cdef MaxBackward _max_backward[2]
cdef MaxShared _max_shared_backward[2]
cdef Average _avg_forward[2]
cdef Average _avg_backward[2]
cdef AdaptiveAverage _adaptive_avg_forward[2]
cdef AdaptiveAverage _adaptive_avg_backward[2]
cdef StochasticForward _stochastic_forward[2]
cdef StochasticInference _stochastic_inference[2]
cdef PrepareMax _prepare_max[2]
cdef PrepareAverage _prepare_average[2]

lookup_floats("pool2d", "max_forward", <void**>_max_forward)
lookup_floats("pool2d", "max_backward", <void**>_max_backward)
lookup_floats("pool2d", "max_shared_backward", <void**>_max_shared_backward)
lookup_floats("pool2d", "avg_forward", <void**>_avg_forward)
lookup_floats("pool2d", "avg_backward", <void**>_avg_backward)
lookup_floats("pool2d", "adaptive_avg_forward", <void**>_adaptive_avg_forward)
lookup_floats("pool2d", "adaptive_avg_backward", <void**>_adaptive_avg_backward)
lookup_floats("pool2d", "stochastic_forward", <void**>_stochastic_forward)
lookup_floats("pool2d", "stochastic_inference", <void**>_stochastic_inference)
lookup_floats("pool2d", "prepare_max", <void**>_prepare_max)
lookup_floats("pool2d", "prepare_average", <void**>_prepare_average)


def max_forward(cnp.ndarray out, cnp.ndarray indices, cnp.ndarray x, p):
    cdef Window sizes = window(p)
    cdef MaxForward kernel = _max_forward[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* indices_data = cnp.PyArray_DATA(indices)
    cdef void* x_data = cnp.PyArray_DATA(x)
    with nogil:
        kernel(out_data, indices_data, x_data, &sizes)


def max_backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray indices, p):
    cdef Window sizes = window(p)
    cdef MaxBackward kernel = _max_backward[precision(dout)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* indices_data = cnp.PyArray_DATA(indices)
    cdef bint inside
    with nogil:
        inside = kernel(dx_data, dout_data, indices_data, &sizes)
    return inside


def max_shared_backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray y, p):
    cdef Window sizes = window(p)
    cdef MaxShared kernel = _max_shared_backward[precision(x)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* y_data = cnp.PyArray_DATA(y)
    with nogil:
        kernel(dx_data, dout_data, x_data, y_data, &sizes)


cdef _average(Average* kernels, cnp.ndarray result, cnp.ndarray source, p):
    cdef Window sizes = window(p)
    cdef Average kernel = kernels[precision(source)]
    cdef int64_t divisor = p.divisor
    cdef int64_t include_pad = p.count_include_pad
    cdef void* result_data = cnp.PyArray_DATA(result)
    cdef void* source_data = cnp.PyArray_DATA(source)
    with nogil:
        kernel(result_data, source_data, &sizes, divisor, include_pad)


def avg_forward(cnp.ndarray out, cnp.ndarray x, p):
    _average(_avg_forward, out, x, p)


def avg_backward(cnp.ndarray dx, cnp.ndarray dout, p):
    _average(_avg_backward, dx, dout, p)


cdef _adaptive_average(AdaptiveAverage* kernels, cnp.ndarray result, cnp.ndarray source, p):
    cdef Bins sizes = Bins(p.N * p.C, p.H, p.W, p.OH, p.OW)
    cdef AdaptiveAverage kernel = kernels[precision(source)]
    cdef void* result_data = cnp.PyArray_DATA(result)
    cdef void* source_data = cnp.PyArray_DATA(source)
    with nogil:
        kernel(result_data, source_data, &sizes)


def adaptive_avg_forward(cnp.ndarray out, cnp.ndarray x, p):
    _adaptive_average(_adaptive_avg_forward, out, x, p)


def adaptive_avg_backward(cnp.ndarray dx, cnp.ndarray dout, p):
    _adaptive_average(_adaptive_avg_backward, dx, dout, p)


def stochastic_forward(cnp.ndarray out, cnp.ndarray indices, cnp.ndarray x, cnp.ndarray u, p):
    cdef Window sizes = window(p)
    cdef StochasticForward kernel = _stochastic_forward[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* indices_data = cnp.PyArray_DATA(indices)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* u_data = cnp.PyArray_DATA(u)
    with nogil:
        kernel(out_data, indices_data, x_data, u_data, &sizes)


def stochastic_inference(cnp.ndarray out, cnp.ndarray x, p):
    cdef Window sizes = window(p)
    cdef StochasticInference kernel = _stochastic_inference[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    with nogil:
        kernel(out_data, x_data, &sizes)


def prepare_max(p):
    """Maxima without their indices."""
    cdef Window sizes = window(p)
    return _step(_prepare_max[p.dtype == "float64"](&sizes), sizes)


def prepare_average(p):
    cdef Window sizes = window(p)
    return _step(_prepare_average[p.dtype == "float64"](&sizes, p.divisor, p.count_include_pad), sizes)


cdef _step(CStep* step, Window sizes):
    return prepared(step, (), sizes.C * sizes.H * sizes.W, sizes.C * sizes.OH * sizes.OW)
