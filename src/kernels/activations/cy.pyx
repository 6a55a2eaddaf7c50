"""Element-wise activations, compiled: the entry points of isa.cpp's kernels."""

from functools import wraps

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport forced_backends, lookup_floats, new_array, precision
from fastconv.kernels.chain.cy cimport CStep, prepared

cnp.import_array()

ctypedef void (*Forward)(void* out, const void* x, int64_t count, double slope) except + nogil
ctypedef void (*Backward)(void* dx, const void* dout, const void* x, int64_t count, double slope) except + nogil
ctypedef CStep* (*Prepare)(Forward kernel, int64_t size, double slope) except + nogil

cdef Forward[2] _relu_forward, _leaky_relu_forward, _sigmoid_forward, _tanh_forward
cdef Backward[2] _relu_backward, _leaky_relu_backward, _sigmoid_backward, _tanh_backward
cdef Prepare[2] _prepare

lookup_floats("activations", "relu_forward", <void**>_relu_forward)
lookup_floats("activations", "relu_backward", <void**>_relu_backward)
lookup_floats("activations", "leaky_relu_forward", <void**>_leaky_relu_forward)
lookup_floats("activations", "leaky_relu_backward", <void**>_leaky_relu_backward)
lookup_floats("activations", "sigmoid_forward", <void**>_sigmoid_forward)
lookup_floats("activations", "sigmoid_backward", <void**>_sigmoid_backward)
lookup_floats("activations", "tanh_forward", <void**>_tanh_forward)
lookup_floats("activations", "tanh_backward", <void**>_tanh_backward)
lookup_floats("activations", "prepare", <void**>_prepare)


cdef _forward(Forward* kernels, cnp.ndarray out, cnp.ndarray x, double slope=0):
    cdef Forward kernel = kernels[precision(x)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    with nogil:
        kernel(out_data, x_data, count, slope)


cdef _backward(Backward* kernels, cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray x, double slope=0):
    cdef Backward kernel = kernels[precision(x)]
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef void* dout_data = cnp.PyArray_DATA(dout)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    with nogil:
        kernel(dx_data, dout_data, x_data, count, slope)


def relu_forward(out, x, p):
    _forward(_relu_forward, out, x)


def relu_backward(dx, dout, x, p):
    _backward(_relu_backward, dx, dout, x)


def leaky_relu_forward(out, x, p):
    _forward(_leaky_relu_forward, out, x, p.negative_slope)


def leaky_relu_backward(dx, dout, x, p):
    _backward(_leaky_relu_backward, dx, dout, x, p.negative_slope)


def sigmoid_forward(out, x, p):
    _forward(_sigmoid_forward, out, x)


def sigmoid_backward(dx, dout, y, p):
    _backward(_sigmoid_backward, dx, dout, y)


def tanh_forward(out, x, p):
    _forward(_tanh_forward, out, x)


def tanh_backward(dx, dout, y, p):
    _backward(_tanh_backward, dx, dout, y)


cdef _step(Forward* kernels, p, int64_t size, double slope=0):
    cdef bint double_precision = p.dtype == "float64"
    return prepared(_prepare[double_precision](kernels[double_precision], size, slope), (), size, size)


def prepare_relu(p, size):
    """Forward, for images of `size` numbers; so are the others."""
    return _step(_relu_forward, p, size)


def prepare_leaky_relu(p, size):
    return _step(_leaky_relu_forward, p, size, p.negative_slope)


def prepare_sigmoid(p, size):
    return _step(_sigmoid_forward, p, size)


def prepare_tanh(p, size):
    return _step(_tanh_forward, p, size)


def straight_unary(road):
    """The public operation `road`, with a straight way for what needs no check: a dense float array and no options.

    A call on ten numbers costs 0.1 us this way and over 1 us by the road, which everything else takes: other arrays and
    types, and every call while some backend is forced.
    """
    cdef Forward f32, f64
    name = road.__name__
    if name == "relu":
        f32, f64 = _relu_forward[0], _relu_forward[1]
    elif name == "sigmoid":
        f32, f64 = _sigmoid_forward[0], _sigmoid_forward[1]
    elif name == "tanh":
        f32, f64 = _tanh_forward[0], _tanh_forward[1]
    else:
        raise ValueError(f"road: expected relu, sigmoid or tanh, got {name}")

    @wraps(road)
    def call(x):
        cdef cnp.ndarray array, out
        cdef int kind
        if type(x) is cnp.ndarray and forced_backends[0] == 0:
            array = <cnp.ndarray>x
            kind = cnp.PyArray_TYPE(array)
            if (kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE) and cnp.PyArray_ISCARRAY_RO(array):
                out = new_array(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), kind)
                run(f64 if kind == cnp.NPY_DOUBLE else f32, out, array)
                return out
        return road(x)

    return call


cdef int run(Forward kernel, cnp.ndarray out, cnp.ndarray x) except -1:
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(x)
    if count < 4096:  # giving the GIL away costs more than the kernel
        kernel(out_data, x_data, count, 0)
    else:
        with nogil:
            kernel(out_data, x_data, count, 0)
    return 0
