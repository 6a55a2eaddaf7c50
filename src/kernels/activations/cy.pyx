"""Element-wise activations, compiled: the entry points of isa.cpp's kernels."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport lookup_floats, precision

cnp.import_array()

ctypedef void (*Forward)(void* out, const void* x, int64_t count, double slope) except + nogil
ctypedef void (*Backward)(void* dx, const void* dout, const void* x, int64_t count, double slope) except + nogil

cdef Forward[2] _relu_forward, _leaky_relu_forward, _sigmoid_forward, _tanh_forward
cdef Backward[2] _relu_backward, _leaky_relu_backward, _sigmoid_backward, _tanh_backward

lookup_floats("activations", "relu_forward", <void**>_relu_forward)
lookup_floats("activations", "relu_backward", <void**>_relu_backward)
lookup_floats("activations", "leaky_relu_forward", <void**>_leaky_relu_forward)
lookup_floats("activations", "leaky_relu_backward", <void**>_leaky_relu_backward)
lookup_floats("activations", "sigmoid_forward", <void**>_sigmoid_forward)
lookup_floats("activations", "sigmoid_backward", <void**>_sigmoid_backward)
lookup_floats("activations", "tanh_forward", <void**>_tanh_forward)
lookup_floats("activations", "tanh_backward", <void**>_tanh_backward)


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
