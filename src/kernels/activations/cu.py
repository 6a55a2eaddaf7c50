"""Element-wise activations in CUDA. NaN passes through all of them and through their gradients, as in ref.py."""

import math
from collections.abc import Callable
from typing import Any

from ..._problem import Elementwise
from .._cuda.arrays import entry, flat
from .._cuda.elements import Type
from .._cuda.kernels import Family
from .._cuda.shim import cuda, require
from .._cuda.sweeps import sweep

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
    def make(E):
        value = cuda.jit(device=True)(formula(E.T))
        run = sweep(E, 1, lambda x, y, state, slope: value(x, slope))

        def kernel(out, x, slope, count):
            run(out, x, x, slope, count)

        return kernel

    kernels = Family(name, make, "S[] S[] T i")

    @entry("out")
    def forward(out: Any, x: Any, p: Elementwise) -> None:
        kernels.vectors(p.dtype, p.size, flat(out), flat(x), p.arithmetic.type(p.negative_slope), p.size)

    return forward


def _backward(name: str, formula: Callable[[Type], Any]) -> Entry:
    def make(E):
        value = cuda.jit(device=True)(formula(E.T))
        run = sweep(E, 2, lambda dout, saved, state, slope: value(dout, saved, slope))

        def kernel(dx, dout, saved, slope, count):
            run(dx, dout, saved, slope, count)

        return kernel

    kernels = Family(name, make, "S[] S[] S[] T i")

    @entry("dx")
    def backward(dx: Any, dout: Any, saved: Any, p: Elementwise) -> None:
        slope = p.arithmetic.type(p.negative_slope)
        kernels.vectors(p.dtype, p.size, flat(dx), flat(dout), flat(saved), slope, p.size)

    return backward


relu_forward = _forward("activations.relu_forward", _relu)
relu_backward = _backward("activations.relu_backward", _relu_gradient)
leaky_relu_forward = _forward("activations.leaky_relu_forward", _leaky_relu)
leaky_relu_backward = _backward("activations.leaky_relu_backward", _leaky_relu_gradient)
sigmoid_forward = _forward("activations.sigmoid_forward", _sigmoid)
sigmoid_backward = _backward("activations.sigmoid_backward", _sigmoid_gradient)
tanh_forward = _forward("activations.tanh_forward", _tanh)
tanh_backward = _backward("activations.tanh_backward", _tanh_gradient)
