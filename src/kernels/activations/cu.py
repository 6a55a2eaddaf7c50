"""Element-wise activations in CUDA. NaN passes through all of them and through their gradients, as in ref.py."""

import math
from collections.abc import Callable
from typing import Any

from ..._problem import Elementwise
from .._cuda.arrays import entry, flat
from .._cuda.elements import Elements, Type
from .._cuda.kernels import EACH, WIDTH, Family, family
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


def _relu6(T: Type) -> Any:
    return lambda x, slope: T(0) if x < T(0) else (T(6) if x > T(6) else x)


def _relu6_gradient(T: Type) -> Any:
    return lambda dout, x, slope: T(0) if x <= T(0) or x >= T(6) else dout


def _hard_sigmoid(T: Type) -> Any:
    relu6 = cuda.jit(device=True)(_relu6(T))
    return lambda x, slope: relu6(x + T(3), slope) / T(6)


def _hard_sigmoid_gradient(T: Type) -> Any:
    return lambda dout, x, slope: T(0) if x <= T(-3) or x >= T(3) else dout / T(6)


def _hard_swish(T: Type) -> Any:
    gate = cuda.jit(device=True)(_hard_sigmoid(T))
    return lambda x, slope: x * gate(x, slope)


def _hard_swish_gradient(T: Type) -> Any:
    return lambda dout, x, slope: T(0) if x <= T(-3) else (dout if x >= T(3) else dout * (x / T(3) + T(0.5)))


def _silu(T: Type) -> Any:
    gate = cuda.jit(device=True)(_sigmoid(T))
    return lambda x, slope: x * gate(x, slope)


def _silu_gradient(T: Type) -> Any:
    gate = cuda.jit(device=True)(_sigmoid(T))

    def value(dout, x, slope):
        s = gate(x, slope)
        return dout * (s + x * s * (T(1) - s))

    return value


HALF_ROOT, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
SLOPE, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715  # of GELU by tanh


def _normal_distribution(T: Type) -> Any:
    return cuda.jit(device=True)(lambda x: T(0.5) * T(math.erfc(-x * T(HALF_ROOT))))


def _gelu(T: Type) -> Any:
    distribution = _normal_distribution(T)
    return lambda x, slope: x * distribution(x)


def _gelu_gradient(T: Type) -> Any:
    distribution = _normal_distribution(T)
    return lambda dout, x, slope: dout * (distribution(x) + x * T(DENSITY) * T(math.exp(T(-0.5) * x * x)))


def _gelu_gate(T: Type) -> Any:
    """(1 + tanh(u))/2 as 1/(1 + exp(-2u)), and x; beyond 30 it is 0 or 1, and the cube may overflow."""
    gate = cuda.jit(device=True)(_sigmoid(T))

    def value(x):
        c = T(-30) if x < T(-30) else (T(30) if x > T(30) else x)
        return gate(T(SLOPE) * (c + T(CUBIC) * c * c * c), T(0)), c

    return cuda.jit(device=True)(value)


def _gelu_tanh(T: Type) -> Any:
    gate = _gelu_gate(T)
    return lambda x, slope: x * gate(x)[0]


def _gelu_tanh_gradient(T: Type) -> Any:
    gate = _gelu_gate(T)

    def value(dout, x, slope):
        s, c = gate(x)
        return dout * (s + c * s * (T(1) - s) * (T(SLOPE) * (T(1) + T(3 * CUBIC) * c * c)))

    return value


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


@family("S[] b[] S[] i")
def relu_masked(E: Elements) -> Any:
    """y, and a byte of bits for each eight elements, which are one thread's."""
    T, load, store = E.T, E.load, E.store

    def kernel(out, bits, x, count):
        k = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        first = 8 * k
        if first < count:
            byte = 0
            for i in range(first, min(first + 8, count)):
                value = load(x, i)
                if value <= T(0):
                    byte |= 1 << (i - first)
                store(out, i, T(0) if value <= T(0) else value)
            bits[k] = byte

    return kernel


@family("S[] S[] b[] i")
def relu_masked_gradient(E: Elements) -> Any:
    """dout where an element's bit is not set."""
    T, load, store = E.T, E.load, E.store

    def kernel(dx, dout, bits, count):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            i = first + e * WIDTH
            if i < count:
                store(dx, i, T(0) if (bits[i >> 3] >> (i & 7)) & 1 else load(dout, i))

    return kernel


@entry("out", "bits")
def relu_masked_forward(out: Any, bits: Any, x: Any, p: Elementwise) -> None:
    relu_masked.launch(p.dtype, -(-p.size // (8 * WIDTH)), WIDTH, flat(out), flat(bits), flat(x), p.size)


@entry("dx")
def relu_masked_backward(dx: Any, dout: Any, bits: Any, p: Elementwise) -> None:
    relu_masked_gradient.each(p.dtype, p.size, flat(dx), flat(dout), flat(bits), p.size)


relu_forward = _forward("activations.relu_forward", _relu)
relu_backward = _backward("activations.relu_backward", _relu_gradient)
leaky_relu_forward = _forward("activations.leaky_relu_forward", _leaky_relu)
leaky_relu_backward = _backward("activations.leaky_relu_backward", _leaky_relu_gradient)
sigmoid_forward = _forward("activations.sigmoid_forward", _sigmoid)
sigmoid_backward = _backward("activations.sigmoid_backward", _sigmoid_gradient)
tanh_forward = _forward("activations.tanh_forward", _tanh)
tanh_backward = _backward("activations.tanh_backward", _tanh_gradient)
relu6_forward = _forward("activations.relu6_forward", _relu6)
relu6_backward = _backward("activations.relu6_backward", _relu6_gradient)
hard_sigmoid_forward = _forward("activations.hard_sigmoid_forward", _hard_sigmoid)
hard_sigmoid_backward = _backward("activations.hard_sigmoid_backward", _hard_sigmoid_gradient)
hard_swish_forward = _forward("activations.hard_swish_forward", _hard_swish)
hard_swish_backward = _backward("activations.hard_swish_backward", _hard_swish_gradient)
silu_forward = _forward("activations.silu_forward", _silu)
silu_backward = _backward("activations.silu_backward", _silu_gradient)
gelu_forward = _forward("activations.gelu_forward", _gelu)
gelu_backward = _backward("activations.gelu_backward", _gelu_gradient)
gelu_tanh_forward = _forward("activations.gelu_tanh_forward", _gelu_tanh)
gelu_tanh_backward = _backward("activations.gelu_tanh_backward", _gelu_tanh_gradient)

_FORMULAS: dict[str | None, Callable[[Type], Any]] = {
    None: lambda T: lambda x, slope: x,
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "tanh": _tanh,
    "hard_swish": _hard_swish,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
}


def _add(name: str, formula: Callable[[Type], Any]) -> Family:
    def make(E):
        value = cuda.jit(device=True)(formula(E.T))
        run = sweep(E, 2, lambda x, y, state, slope: value(x + y, slope))

        def kernel(out, x, y, slope, count):
            run(out, x, y, slope, count)

        return kernel

    return Family(name, make, "S[] S[] S[] T i")


_sums = {name: _add(f"activations.add_{name}", formula) for name, formula in _FORMULAS.items()}


@entry("out")
def add_activation(out: Any, x: Any, y: Any, p: Elementwise) -> None:
    """out = f(x + y), f the Problem's activation or none; `out` may be x or y."""
    slope = p.arithmetic.type(p.negative_slope)
    _sums[p.activation].vectors(p.dtype, p.size, flat(out), flat(x), flat(y), slope, p.size)
