"""Element-wise activations, the readable truth. NaN passes through all of them and through their gradients."""

import numpy as np
import numpy.typing as npt

from ..._problem import Elementwise

Array = npt.NDArray[np.floating]


def relu_forward(out: Array, x: Array, p: Elementwise) -> None:
    np.maximum(x, 0, out=out)


def relu_backward(dx: Array, dout: Array, x: Array, p: Elementwise) -> None:
    dx[...] = np.where(x <= 0, 0, dout)


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
