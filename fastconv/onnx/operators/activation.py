"""Activations: fastconv's own where it has them, else NumPy's functions."""

import math
from typing import Any

import numpy as np

from ... import ops
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array


@operator("Relu")
def relu(a: Any) -> Run:
    return lambda x: ops.relu(x) if x.dtype.kind == "f" else np.maximum(x, 0)


@operator("LeakyRelu")
def leaky_relu(a: Any) -> Run:
    slope = a.float("alpha", 0.01)
    run = lambda x: ops.leaky_relu(x, slope)  # noqa: E731
    run.slope = slope  # type: ignore[attr-defined]
    return run


@operator("PRelu", inputs=2)
def prelu(a: Any) -> Run:
    by_channels = a.opset < 7  # a vector of slopes is spread over the channels, from then on as NumPy does it

    def run(x: Array, slope: Array) -> Array:
        if by_channels and slope.ndim == 1 and x.ndim > 2:
            slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
        return np.where(x < 0, x * slope, x)

    return run


@operator("Sigmoid")
def sigmoid(a: Any) -> Run:
    return ops.sigmoid


@operator("Tanh")
def tanh(a: Any) -> Run:
    return ops.tanh


@operator("HardSwish")
def hard_swish(a: Any) -> Run:
    return ops.hard_swish


@operator("HardSigmoid")
def hard_sigmoid(a: Any) -> Run:
    alpha, beta = a.float("alpha", 0.2), a.float("beta", 0.5)
    if is_sixth(alpha) and beta == 0.5:
        return ops.hard_sigmoid
    return lambda x: np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1)


def is_sixth(value: float) -> bool:
    """Whether a float32 attribute is meant to be 1/6."""
    return abs(value - 1 / 6) < 1e-7


@operator("Gelu")
def gelu(a: Any) -> Run:
    approximate = a.text("approximate", "none", ("none", "tanh"))
    return lambda x: ops.gelu(x, approximate)


@operator("Swish")
def swish(a: Any) -> Run:
    alpha = a.float("alpha", 1.0)
    return ops.silu if alpha == 1 else lambda x: x * ops.sigmoid(x.dtype.type(alpha) * x)


@operator("Elu")
def elu(a: Any) -> Run:
    alpha = a.float("alpha", 1.0)
    return lambda x: np.where(x < 0, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)), x)


@operator("Selu")
def selu(a: Any) -> Run:
    alpha, gamma = a.float("alpha", 1.67326319217681884765625), a.float("gamma", 1.05070102214813232421875)

    def run(x: Array) -> Array:
        return x.dtype.type(gamma) * np.where(x < 0, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)), x)

    return run


@operator("Celu")
def celu(a: Any) -> Run:
    alpha = a.float("alpha", 1.0)
    if alpha == 0:
        raise Unsupported("attribute alpha is 0")
    return lambda x: np.where(x < 0, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0) / x.dtype.type(alpha)), x)


@operator("Softplus")
def softplus(a: Any) -> Run:
    return lambda x: np.logaddexp(x, x.dtype.type(0))


@operator("Softsign")
def softsign(a: Any) -> Run:
    return lambda x: x / (1 + np.abs(x))


@operator("Mish")
def mish(a: Any) -> Run:
    return lambda x: x * ops.tanh(np.logaddexp(x, x.dtype.type(0)))


@operator("ThresholdedRelu")
def thresholded_relu(a: Any) -> Run:
    alpha = a.float("alpha", 1.0)
    return lambda x: np.where((x > alpha) | np.isnan(x), x, x.dtype.type(0))


@operator("Shrink")
def shrink(a: Any) -> Run:
    bias, limit = a.float("bias", 0.0), a.float("lambd", 0.5)

    def run(x: Array) -> Array:
        return np.where(x < -limit, x + bias, np.where(x > limit, x - bias, 0)).astype(x.dtype)

    return run


@operator("Clip", inputs=(1, 3))
def clip(a: Any) -> Run:
    """The bounds are attributes before opset 11, then inputs. Where they cross, the upper one holds."""
    if a.opset < 11:
        bounds = a.float("min"), a.float("max")
        return lambda x: clipped(x, *(b if b is None else x.dtype.type(b) for b in bounds))
    return lambda x, low=None, high=None: clipped(x, low, high)


def clipped(x: Array, low: Any, high: Any) -> Array:
    y = x if low is None else np.maximum(x, low)
    return y if high is None else np.minimum(y, high)


@operator("Erf")
def erf(a: Any) -> Run:
    return _erf


def _erf(x: Array) -> Array:
    """By the normal distribution's function, which is in `gelu`; near zero by its power series."""
    if x.dtype.kind != "f":
        return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)
    z = np.clip(x, -6, 6)  # erf(6) is 1 to 17 digits
    scaled = z * z.dtype.type(math.sqrt(2))
    with np.errstate(divide="ignore", invalid="ignore"):
        far = 2 * (ops.gelu(scaled) / scaled) - 1
    square, term, total = z * z, z, z
    for k in range(1, 14):
        term = term * square * z.dtype.type(-1 / k)
        total = total + term * z.dtype.type(1 / (2 * k + 1))
    return np.where(np.abs(z) < 0.5, total * z.dtype.type(2 / math.sqrt(math.pi)), far)
