"""What is computed between the table's kernels, on the device: a bias, its gradient, 1/sqrt(var + eps)."""

import math
from typing import Any

from . import sums
from .arrays import DeviceArray, empty, flat
from .kernels import WIDTH, Type, family
from .shim import cuda


@family("T[] T[] i i i")
def biases(T: Type) -> Any:
    """y[i] += b[channel of i]."""

    def kernel(y, b, count, C, P):
        i = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if i < count:
            y[i] += b[i // P % C]

    return kernel


@family("T[] T[] T i")
def inverse_roots(T: Type) -> Any:
    """1 / sqrt(x + eps)."""

    def kernel(out, x, eps, count):
        i = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if i < count:
            out[i] = T(1) / T(math.sqrt(x[i] + eps))

    return kernel


def _planes(y: DeviceArray) -> tuple[int, int, int]:
    return y.shape[0], y.shape[1], math.prod(y.shape[2:])


def add_to_channels(y: DeviceArray, b: DeviceArray) -> None:
    """y[n, c] += b[c]."""
    _, C, P = _planes(y)
    biases.launch(y.dtype, -(-y.size // WIDTH), WIDTH, flat(y), flat(b), y.size, C, P)


def sum_channels(y: DeviceArray) -> DeviceArray:
    """The sum of each channel of y (N, C, H, W)."""
    out = empty((y.shape[1],), y.dtype)
    sums.sum_channels(out, y, *_planes(y))
    return out


def inverse_std(var: DeviceArray, eps: float) -> DeviceArray:
    """1 / sqrt(var + eps)."""
    out = empty(var.shape, var.dtype)
    inverse_roots.launch(var.dtype, -(-var.size // WIDTH), WIDTH, flat(out), flat(var), var.dtype.type(eps), var.size)
    return out
