"""Element-wise activations in CUDA. NaN passes through all of them and through their gradients, as in ref.py."""

import math
from collections.abc import Callable
from typing import Any

from ..._problem import Elementwise
from .._cuda.arrays import entry, flat
from .._cuda.kernels import EACH, WIDTH, Family, Type
from .._cuda.shim import cuda, require

require()

Entry = Callable[..., None]


def _relu(T: Type) -> Any:
    return lambda x, slope: T(0) if x < T(0) else x


def _relu_gradient(T: Type) -> Any:
    return lambda dout, x, slope: T(0) if x <= T(0) else dout


def _leaky_relu(T: Type) -> Any:
    return lambda x, slope: x if x > T(0) else x * slope


def _leaky_relu_gradient(T: Type) -> Any:
    return lambda dout, x, slope: dout if x > T(0) else dout * slope


def _sigmoid(T: Type) -> Any:
    """1/(1 + exp(-x)) with the exponential of -|x|, which cannot overflow."""

    def value(x, slope):
        e = T(math.exp(-abs(x)))
        return (e if x < T(0) else T(1)) / (T(1) + e)

    return value


def _sigmoid_gradient(T: Type) -> Any:
    return lambda dout, y, slope: dout * y * (T(1) - y)


def _tanh(T: Type) -> Any:
    return lambda x, slope: T(math.tanh(x))


def _tanh_gradient(T: Type) -> Any:
    return lambda dout, y, slope: dout * (T(1) - y * y)


def _forward(name: str, formula: Callable[[Type], Any]) -> Entry:
    def make(T):
        value = cuda.jit(device=True)(formula(T))

        def kernel(out, x, slope, count):
            first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
            for e in range(EACH):
                i = first + e * WIDTH
                if i < count:
                    out[i] = value(x[i], slope)

        return kernel

    kernels = Family(name, make, "T[] T[] T i")

    @entry("out")
    def forward(out: Any, x: Any, p: Elementwise) -> None:
        kernels.each(p.dtype, p.size, flat(out), flat(x), p.dtype.type(p.negative_slope), p.size)

    return forward


def _backward(name: str, formula: Callable[[Type], Any]) -> Entry:
    def make(T):
        value = cuda.jit(device=True)(formula(T))

        def kernel(dx, dout, saved, slope, count):
            first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
            for e in range(EACH):
                i = first + e * WIDTH
                if i < count:
                    dx[i] = value(dout[i], saved[i], slope)

        return kernel

    kernels = Family(name, make, "T[] T[] T[] T i")

    @entry("dx")
    def backward(dx: Any, dout: Any, saved: Any, p: Elementwise) -> None:
        slope = p.dtype.type(p.negative_slope)
        kernels.each(p.dtype, p.size, flat(dx), flat(dout), flat(saved), slope, p.size)

    return backward


relu_forward = _forward("activations.relu_forward", _relu)
relu_backward = _backward("activations.relu_backward", _relu_gradient)
leaky_relu_forward = _forward("activations.leaky_relu_forward", _leaky_relu)
leaky_relu_backward = _backward("activations.leaky_relu_backward", _leaky_relu_gradient)
sigmoid_forward = _forward("activations.sigmoid_forward", _sigmoid)
sigmoid_backward = _backward("activations.sigmoid_backward", _sigmoid_gradient)
tanh_forward = _forward("activations.tanh_forward", _tanh)
tanh_backward = _backward("activations.tanh_backward", _tanh_gradient)
