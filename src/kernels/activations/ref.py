"""Element-wise activations, the readable truth. NaN passes through all of them and through their gradients."""

import math

import numpy as np
import numpy.typing as npt

from ..._problem import Elementwise

Array = npt.NDArray[np.floating]
Bits = npt.NDArray[np.uint8]


def relu_forward(out: Array, x: Array, p: Elementwise) -> None:
    np.maximum(x, 0, out=out)


def relu_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    dx[...] = np.where(x <= 0, 0, dout)


def relu_masked_forward(out: Array, bits: Bits, x: Array, p: Elementwise) -> None:
    """relu, and a bit for each element in row-major order, lowest bit first: set where x <= 0."""
    bits[...] = np.packbits((x <= 0).reshape(-1), bitorder="little")
    relu_forward(out, x, p)


def relu_masked_backward(dx: Array, dout: Array, bits: Bits, p: Elementwise) -> None:
    dx[...] = np.where(np.unpackbits(bits, count=dout.size, bitorder="little").reshape(dout.shape), 0, dout)


def leaky_relu_forward(out: Array, x: Array, p: Elementwise) -> None:
    out[...] = np.where(x > 0, x, x * p.dtype.type(p.negative_slope))


def leaky_relu_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    dx[...] = np.where(x > 0, dout, dout * p.dtype.type(p.negative_slope))


def sigmoid_forward(out: Array, x: Array, p: Elementwise) -> None:
    """1/(1 + exp(-x)) with the exponential of -|x|, which cannot overflow."""
    e = np.exp(-np.abs(x))
    out[...] = np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(dx: Array, dout: Array, y: Array, p: Elementwise) -> None:
    dx[...] = dout * y * (1 - y)


def tanh_forward(out: Array, x: Array, p: Elementwise) -> None:
    np.tanh(x, out=out)


def tanh_backward(dx: Array, dout: Array, y: Array, p: Elementwise) -> None:
    dx[...] = dout * (1 - y * y)


def relu6_forward(out: Array, x: Array, p: Elementwise) -> None:
    np.clip(x, 0, 6, out=out)


def relu6_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    dx[...] = np.where((x <= 0) | (x >= 6), 0, dout)


def hard_sigmoid_forward(out: Array, x: Array, p: Elementwise) -> None:
    out[...] = np.clip(x + 3, 0, 6) / 6


def hard_sigmoid_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    dx[...] = np.where((x <= -3) | (x >= 3), 0, dout / 6)


def hard_swish_forward(out: Array, x: Array, p: Elementwise) -> None:
    """-infinity gives -infinity * 0, NaN, here and in the functions below, as PyTorch's do."""
    out[...] = x * (np.clip(x + 3, 0, 6) / 6)


def hard_swish_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    dx[...] = np.where(x <= -3, 0, np.where(x >= 3, dout, dout * (x / 3 + 0.5)))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def silu_forward(out: Array, x: Array, p: Elementwise) -> None:
    out[...] = x * _sigmoid(x)


def silu_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    s = _sigmoid(x)
    dx[...] = dout * (s + x * s * (1 - s))


def _normal_distribution(x: Array) -> npt.NDArray[np.float64]:
    """Phi(x), without cancellation where it is small."""
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.ravel().tolist()]).reshape(x.shape)


def gelu_forward(out: Array, x: Array, p: Elementwise) -> None:
    out[...] = x * _normal_distribution(x)


def gelu_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    density = np.exp(-0.5 * np.square(x, dtype=np.float64)) / math.sqrt(2 * math.pi)
    dx[...] = dout * (_normal_distribution(x) + x * density)


def _gelu_gate(x: Array) -> tuple[Array, Array]:
    """(1 + tanh(u))/2 = 1/(1 + exp(-2u)) and x times its derivative; beyond 30 it is 0 or 1, and x^3 may overflow."""
    c = np.clip(x.astype(np.float64), -30, 30)
    s = _sigmoid(2 * math.sqrt(2 / math.pi) * (c + 0.044715 * c * c * c))
    return s, c * s * (1 - s) * (2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * c * c))


def gelu_tanh_forward(out: Array, x: Array, p: Elementwise) -> None:
    out[...] = x * _gelu_gate(x)[0]


def gelu_tanh_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    s, rest = _gelu_gate(x)
    dx[...] = dout * (s + rest)


def add_activation(out: Array, x: Array, y: Array, p: Elementwise) -> None:
    """out = f(x + y), f the Problem's activation or none; `out` may be x or y."""
    np.add(x, y, out=out)
    if p.activation is not None:
        globals()[f"{p.activation}_forward"](out, out, p)
