"""What is computed between the table's kernels, on the device: a bias, its gradient, 1/sqrt(var + eps)."""

import math
from typing import Any

from ..._problem import arithmetic
from . import sums
from .arrays import DeviceArray, empty, flat
from .elements import Elements
from .kernels import family
from .shim import cuda
from .sweeps import sweep


@family("S[] S[] i i i")
def biases(E: Elements) -> Any:
    """y[i] += b[channel of i]."""
    load = E.load

    @cuda.jit(device=True)
    def begin(i, arguments):
        b, C, P = arguments
        plane = i // P
        c = plane % C
        return i - plane * P, c, load(b, c)

    @cuda.jit(device=True)
    def following(state, arguments):
        b, C, P = arguments
        pixel, c, bias = state
        if pixel + 1 < P:
            return pixel + 1, c, bias
        c = c + 1 if c + 1 < C else 0
        return 0, c, load(b, c)

    run = sweep(E, 1, lambda y, other, state, arguments: y + state[2], begin, following)

    def kernel(y, b, count, C, P):
        run(y, y, y, (b, C, P), count)

    return kernel


@family("S[] S[] T i")
def inverse_roots(E: Elements) -> Any:
    """1 / sqrt(x + eps)."""
    T = E.T
    run = sweep(E, 1, lambda x, y, state, eps: T(1) / T(math.sqrt(x + eps)))

    def kernel(out, x, eps, count):
        run(out, x, x, eps, count)

    return kernel


def _planes(y: DeviceArray) -> tuple[int, int, int]:
    return y.shape[0], y.shape[1], math.prod(y.shape[2:])


def add_to_channels(y: DeviceArray, b: DeviceArray) -> None:
    """y[n, c] += b[c]."""
    _, C, P = _planes(y)
    biases.vectors(y.dtype, y.size, flat(y), flat(b), y.size, C, P)


def sum_channels(y: DeviceArray) -> DeviceArray:
    """The sum of each channel of y (N, C, H, W)."""
    out = empty((y.shape[1],), y.dtype)
    sums.sum_channels(out, y, *_planes(y))
    return out


def inverse_std(var: DeviceArray, eps: float) -> DeviceArray:
    """1 / sqrt(var + eps)."""
    out = empty(var.shape, var.dtype)
    inverse_roots.vectors(var.dtype, var.size, flat(out), flat(var), arithmetic(var.dtype).type(eps), var.size)
    return out
