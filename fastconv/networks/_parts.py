"""What the networks of the papers are made of: layers with initial weights, of one dtype and one generator."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .._random import source
from ..layers import Affine, BatchNorm2d, Convolution, Relu

Array = npt.NDArray[Any]


def channels_of(value: float, divisor: int = 8) -> int:
    """A number of channels rounded to a multiple of `divisor`, not below nine tenths of it (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Parts:
    """Makes layers with PyTorch's sizes, for a network of one dtype.

    Parameters
    ----------
    dtype : dtype of the parameters
    rng : None, int or numpy.random.Generator
        Where the initial weights come from; None seeds a generator from NumPy's global one.
    eps, momentum : float
        Of the batch normalisations.
    """

    def __init__(self, dtype: npt.DTypeLike, rng: Any, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype.kind != "f":
            raise TypeError(f"dtype: expected a float dtype, got {self.dtype}")
        seed = source(None).randint(2**31) if rng is None else rng
        self.rng = np.random.default_rng(seed)
        self.eps, self.momentum = eps, momentum

    def _normal(self, shape: tuple[int, ...], std: float) -> Array:
        kind = np.float32 if self.dtype.itemsize <= 4 else np.float64
        weights: Array = self.rng.standard_normal(shape, kind)
        weights *= std
        return weights.astype(self.dtype, copy=False)

    def conv(
        self, into: int, out: int, size: Any, stride: int = 1, pad: Any = 0, groups: int = 1, *, bias: bool = False
    ) -> Convolution:
        """A convolution with He's initial weights."""
        height, width = size if isinstance(size, tuple) else (size, size)
        shape = out, into // groups, height, width
        weights = self._normal(shape, math.sqrt(2 / math.prod(shape[1:])))
        return Convolution(weights, np.zeros(out, self.dtype) if bias else None, stride, pad, groups=groups)

    def norm(self, channels: int) -> BatchNorm2d:
        return BatchNorm2d(channels, momentum=self.momentum, eps=self.eps, dtype=self.dtype)

    def affine(self, into: int, out: int) -> Affine:
        return Affine(self._normal((into, out), math.sqrt(1 / into)), np.zeros(out, self.dtype))

    def conv_norm(
        self,
        into: int,
        out: int,
        size: Any,
        stride: int = 1,
        pad: Any = None,
        groups: int = 1,
        activation: Any = Relu,
    ) -> list[Any]:
        """A convolution that keeps the plane by default, its normalisation, and an activation (None: none)."""
        pad = (size - 1) // 2 if pad is None else pad
        row = [self.conv(into, out, size, stride, pad, groups), self.norm(out)]
        return row if activation is None else [*row, activation()]
