"""Element-wise activations on Numba. NaN passes through all of them and through their gradients."""

import math

from numba import prange

from .._numba import elementary
from .._numba.jit import inline, kernel, share, workers_for

COPY, EXPONENTIAL = 0.15, 0.8  # nanoseconds that one thread needs for an element

HALF_ROOT, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
SLOPE, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715  # of GELU by tanh


@kernel
def _relu_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            value = source[i]
            result[i] = type(value)(0) if value <= 0 else value


@kernel
def _relu_backward(workers, dx, dout, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            result[i] = type(dy[i])(0) if source[i] <= 0 else dy[i]


@kernel
def _relu_masked_forward(workers, out, bits, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, bits.size)
        source, result, packed = x[8 * begin : 8 * end], out[8 * begin : 8 * end], bits[begin:end]
        for k in range(packed.size):
            byte = 0
            for i in range(8 * k, min(8 * k + 8, source.size)):
                value = source[i]
                blocked = value <= 0
                result[i] = type(value)(0) if blocked else value
                byte |= int(blocked) << (i - 8 * k)
            packed[k] = byte


@kernel
def _relu_masked_backward(workers, dx, dout, bits):
    for worker in prange(workers):
        begin, end = share(worker, workers, bits.size)
        dy, result, packed = dout[8 * begin : 8 * end], dx[8 * begin : 8 * end], bits[begin:end]
        for i in range(dy.size):
            result[i] = type(dy[i])(0) if (packed[i >> 3] >> (i & 7)) & 1 else dy[i]


@kernel
def _leaky_relu_forward(workers, out, x, slope):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = source[i] if source[i] > 0 else source[i] * slope


@kernel
def _leaky_relu_backward(workers, dx, dout, x, slope):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            result[i] = dy[i] if source[i] > 0 else dy[i] * slope


@kernel
def _sigmoid_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = elementary.sigmoid(source[i])


@kernel
def _sigmoid_backward(workers, dx, dout, y):
    for worker in prange(workers):
        begin, end = share(worker, workers, y.size)
        source, dy, result = y[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            one = type(source[i])(1)
            result[i] = dy[i] * source[i] * (one - source[i])


@kernel
def _tanh_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = elementary.tanh(source[i])


@kernel
def _tanh_backward(workers, dx, dout, y):
    for worker in prange(workers):
        begin, end = share(worker, workers, y.size)
        source, dy, result = y[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            one = type(source[i])(1)
            result[i] = dy[i] * (one - source[i] * source[i])


@inline
def _hard_sigmoid(value):
    T = type(value)
    raised = value + T(3)
    if raised < 0:
        raised = T(0)
    if raised > 6:
        raised = T(6)
    return raised / T(6)


@inline
def _clipped(value):
    """Beyond 30, GELU's gate is 0 or 1, and the cube must not overflow."""
    if value < -30:
        return type(value)(-30)
    return type(value)(30) if value > 30 else value


@inline
def _gelu_gate(value):
    """(1 + tanh(u))/2 as 1/(1 + exp(-2u))."""
    T = type(value)
    c = _clipped(value)
    return elementary.sigmoid(T(SLOPE) * (c + T(CUBIC) * c * c * c))


@inline
def _normal_distribution(value):
    T = type(value)
    return T(0.5) * T(math.erfc(-value * T(HALF_ROOT)))


@kernel
def _relu6_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            value = source[i]
            value = type(value)(0) if value <= 0 else value
            result[i] = type(value)(6) if value > 6 else value


@kernel
def _relu6_backward(workers, dx, dout, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            result[i] = type(dy[i])(0) if source[i] <= 0 or source[i] >= 6 else dy[i]


@kernel
def _hard_sigmoid_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = _hard_sigmoid(source[i])


@kernel
def _hard_sigmoid_backward(workers, dx, dout, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            T = type(dy[i])
            result[i] = T(0) if source[i] <= -3 or source[i] >= 3 else dy[i] / T(6)


@kernel
def _hard_swish_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = source[i] * _hard_sigmoid(source[i])


@kernel
def _hard_swish_backward(workers, dx, dout, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            value, T = source[i], type(dy[i])
            inside = dy[i] * (value / T(3) + T(0.5))
            result[i] = T(0) if value <= -3 else (dy[i] if value >= 3 else inside)


@kernel
def _silu_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = source[i] * elementary.sigmoid(source[i])


@kernel
def _silu_backward(workers, dx, dout, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            value, one = source[i], type(dy[i])(1)
            s = elementary.sigmoid(value)
            result[i] = dy[i] * (s + value * s * (one - s))


@kernel
def _gelu_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = source[i] * _normal_distribution(source[i])


@kernel
def _gelu_backward(workers, dx, dout, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            value, T = source[i], type(dy[i])
            density = elementary.exp(T(-0.5) * value * value) * T(DENSITY)
            result[i] = dy[i] * (_normal_distribution(value) + value * density)


@kernel
def _gelu_tanh_forward(workers, out, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, result = x[begin:end], out[begin:end]
        for i in range(source.size):
            result[i] = source[i] * _gelu_gate(source[i])


@kernel
def _gelu_tanh_backward(workers, dx, dout, x):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        source, dy, result = x[begin:end], dout[begin:end], dx[begin:end]
        for i in range(source.size):
            c, s, T = _clipped(source[i]), _gelu_gate(source[i]), type(dy[i])
            steepness = T(SLOPE) * (T(1) + T(3 * CUBIC) * c * c)
            result[i] = dy[i] * (s + c * s * (T(1) - s) * steepness)


@kernel
def _add(workers, out, x, y):
    for worker in prange(workers):
        begin, end = share(worker, workers, x.size)
        first, second, result = x[begin:end], y[begin:end], out[begin:end]
        for i in range(first.size):
            result[i] = first[i] + second[i]


def relu_forward(out, x, p):
    _relu_forward(workers_for(COPY * x.size), out.reshape(-1), x.reshape(-1))


def relu_backward(dx, dout, x, p):
    _relu_backward(workers_for(COPY * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1))


def relu_masked_forward(out, bits, x, p):
    _relu_masked_forward(workers_for(COPY * x.size), out.reshape(-1), bits, x.reshape(-1))


def relu_masked_backward(dx, dout, bits, p):
    _relu_masked_backward(workers_for(COPY * dout.size), dx.reshape(-1), dout.reshape(-1), bits)


def leaky_relu_forward(out, x, p):
    slope = p.dtype.type(p.negative_slope)
    _leaky_relu_forward(workers_for(COPY * x.size), out.reshape(-1), x.reshape(-1), slope)


def leaky_relu_backward(dx, dout, x, p):
    slope = p.dtype.type(p.negative_slope)
    _leaky_relu_backward(workers_for(COPY * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1), slope)


def sigmoid_forward(out, x, p):
    _sigmoid_forward(workers_for(EXPONENTIAL * x.size), out.reshape(-1), x.reshape(-1))


def sigmoid_backward(dx, dout, y, p):
    _sigmoid_backward(workers_for(COPY * y.size), dx.reshape(-1), dout.reshape(-1), y.reshape(-1))


def tanh_forward(out, x, p):
    _tanh_forward(workers_for(EXPONENTIAL * x.size), out.reshape(-1), x.reshape(-1))


def tanh_backward(dx, dout, y, p):
    _tanh_backward(workers_for(COPY * y.size), dx.reshape(-1), dout.reshape(-1), y.reshape(-1))


def relu6_forward(out, x, p):
    _relu6_forward(workers_for(COPY * x.size), out.reshape(-1), x.reshape(-1))


def relu6_backward(dx, dout, x, p):
    _relu6_backward(workers_for(COPY * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1))


def hard_sigmoid_forward(out, x, p):
    _hard_sigmoid_forward(workers_for(COPY * x.size), out.reshape(-1), x.reshape(-1))


def hard_sigmoid_backward(dx, dout, x, p):
    _hard_sigmoid_backward(workers_for(COPY * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1))


def hard_swish_forward(out, x, p):
    _hard_swish_forward(workers_for(COPY * x.size), out.reshape(-1), x.reshape(-1))


def hard_swish_backward(dx, dout, x, p):
    _hard_swish_backward(workers_for(COPY * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1))


def silu_forward(out, x, p):
    _silu_forward(workers_for(EXPONENTIAL * x.size), out.reshape(-1), x.reshape(-1))


def silu_backward(dx, dout, x, p):
    _silu_backward(workers_for(EXPONENTIAL * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1))


def gelu_forward(out, x, p):
    _gelu_forward(workers_for(EXPONENTIAL * x.size), out.reshape(-1), x.reshape(-1))


def gelu_backward(dx, dout, x, p):
    _gelu_backward(workers_for(EXPONENTIAL * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1))


def gelu_tanh_forward(out, x, p):
    _gelu_tanh_forward(workers_for(EXPONENTIAL * x.size), out.reshape(-1), x.reshape(-1))


def gelu_tanh_backward(dx, dout, x, p):
    _gelu_tanh_backward(workers_for(EXPONENTIAL * x.size), dx.reshape(-1), dout.reshape(-1), x.reshape(-1))


def add_activation(out, x, y, p):
    """out = f(x + y), f the Problem's activation or none; `out` may be x or y."""
    _add(workers_for(COPY * x.size), out.reshape(-1), x.reshape(-1), y.reshape(-1))
    if p.activation is not None:
        globals()[f"{p.activation}_forward"](out, out, p)
