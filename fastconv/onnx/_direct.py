"""Calls of kernels with their Problem, for arrays of known shapes: what an operation without prepared steps becomes.

Each has `into`, which takes the array for the result first. Arguments that are not dense are copied.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check as check
from .. import _dispatch
from .. import _memory as memory

Array = npt.NDArray[Any]


def dense(a: Array) -> Array:
    """The array, or a dense copy of it."""
    return a if a.flags.c_contiguous else np.ascontiguousarray(a)


class Direct:
    """A kernel's call.

    Parameters
    ----------
    op : str
        The operation in the table.
    p : Problem
    behind : sequence
        Arguments behind the images.
    shape : tuple of int
        Of the result.
    then : Activation or None
        What is left to do in place.
    """

    def __init__(self, op: str, p: Any, behind: Any, shape: tuple[int, ...], then: Any = None) -> None:
        self._kernel, self._p, self._behind = _dispatch.kernel(op, p), p, tuple(behind)
        self._shape, self._then = shape, then

    def __call__(self, *arrays: Array) -> Array:
        return self.into(memory.pooled(self._shape, self._p.dtype), *arrays)

    def into(self, y: Array, x: Array, *others: Array) -> Array:
        self._kernel(y, dense(x), *self._behind, *map(dense, others), self._p)
        return y if self._then is None else self._then.run(y, y)


class Scaled:
    """Images times a number for each of their channels: batch normalisation with nothing but a scale."""

    def __init__(self, x: Array, then: Any = None) -> None:
        channels = x.shape[0] * x.shape[1]
        self._ones, self._zeros = np.ones(channels, x.dtype), np.zeros(channels, x.dtype)
        planes = x.reshape(1, channels, math.prod(x.shape[2:]), 1)
        given = self._ones, self._zeros, self._zeros, self._ones
        self._p = check.batch_norm(planes, *given, eps=0.0)[0]
        self._kernel, self._then, self._shape = _dispatch.kernel("batch_norm_inference", self._p), then, x.shape

    def __call__(self, x: Array, scale: Array) -> Array:
        return self.into(memory.pooled(self._shape, self._p.dtype), x, scale)

    def into(self, y: Array, x: Array, scale: Array) -> Array:
        self._kernel(y, dense(x), dense(scale), self._zeros, self._zeros, self._ones, self._p)
        return y if self._then is None else self._then.run(y, y)


class Reshaped:
    """An array in another shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __call__(self, x: Array, *_: Any) -> Array:
        return x.reshape(self._shape)


class Part:
    """A part of an array."""

    def __init__(self, index: tuple[slice, ...]) -> None:
        self._index = index

    def __call__(self, x: Array, *_: Any) -> Array:
        return x[self._index]
