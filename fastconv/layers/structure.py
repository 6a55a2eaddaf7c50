"""Layers that rearrange numbers, and compute none."""

import math
from typing import Any

import numpy as np

from ._layer import Array, Layer, rows


class Flatten(Layer):
    """x (N, C, H, W) -> (N, C*H*W), without a copy."""

    kind = "flatten"
    reads = ()
    runs_on_cuda = True

    def __init__(self) -> None:
        self.input_shape: tuple[int, ...] = ()

    def forward(self, x: Array) -> Array:
        self.input_shape = x.shape
        return rows(x)

    def backward(self, dout: Array) -> Array:
        return dout.reshape(self.input_shape)


class Reshape(Layer):
    """x in another shape, without a copy where x is dense.

    Parameters
    ----------
    *shape : int
        The shape of a sample; one size may be -1, for what is left.
    keep_batch : bool
        False: it is the whole shape, as in PyTorch's ``view(-1, 512)``.
    """

    runs_on_cuda = True

    def __init__(self, *shape: int, keep_batch: bool = True) -> None:
        if not shape or sum(size == -1 for size in shape) > 1 or any(size < -1 or size == 0 for size in shape):
            raise ValueError(f"shape: expected positive sizes, one of them perhaps -1, got {shape}")
        self.shape, self.keep_batch = tuple(shape), keep_batch
        self.input_shape: tuple[int, ...] = ()

    def forward(self, x: Array) -> Array:
        wanted = (x.shape[0], *self.shape) if self.keep_batch else self.shape
        known = math.prod(size for size in wanted if size != -1)
        if math.prod(x.shape) != known and (-1 not in wanted or known == 0 or math.prod(x.shape) % known):
            raise ValueError(f"x: expected a shape that fits {wanted}, got {x.shape}")
        self.input_shape = x.shape
        return x.reshape(wanted)

    def backward(self, dout: Array) -> Array:
        return dout.reshape(self.input_shape)

    def _options(self) -> list[str]:
        return [*map(str, self.shape), *([] if self.keep_batch else ["keep_batch=False"])]


class Slice(Layer):
    """The channels from `start` to `stop` of x (N, C, ...).

    Parameters
    ----------
    start, stop : int or None
        As in Python's slices.
    """

    def __init__(self, start: int | None = None, stop: int | None = None) -> None:
        self.start, self.stop = start, stop
        self._input: Any = None

    def forward(self, x: Array) -> Array:
        self._input = x.shape, x.dtype
        return x[:, self.start : self.stop]

    def backward(self, dout: Array) -> Array:
        dx = np.zeros(self._input[0], dout.dtype)
        dx[:, self.start : self.stop] = dout
        return dx


class ChannelShuffle(Layer):
    """The channels of `groups` groups in turn: channel k of group g becomes channel k*groups + g.

    Parameters
    ----------
    groups : int

    Notes
    -----
    Source: X. Zhang et al., ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices, 2018.
    """

    def __init__(self, groups: int) -> None:
        if groups < 1:
            raise ValueError(f"groups: expected at least 1, got {groups}")
        self.groups = groups

    def forward(self, x: Array) -> Array:
        """x (N, C, ...) -> the same shape."""
        return self._transposed(x, self.groups)

    def backward(self, dout: Array) -> Array:
        return self._transposed(dout, dout.shape[1] // self.groups)

    def _transposed(self, x: Array, first: int) -> Array:
        N, C, *plane = x.shape
        if C % self.groups:
            raise ValueError(f"x: expected a multiple of {self.groups} channels, got shape {x.shape}")
        return np.ascontiguousarray(x.reshape(N, first, C // first, *plane).swapaxes(1, 2)).reshape(x.shape)
