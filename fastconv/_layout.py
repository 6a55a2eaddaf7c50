"""Images with their channels last (layout="NHWC"): brought to the kernels' layout by copies, and results brought back.

Filters are (FH, FW, C/groups, FN) then. Arrays that are images with channels first in memory, seen with channels last,
are not copied.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _memory as memory
from ._check import arguments as arg
from ._device import is_device
from ._dispatch import kernel
from ._problem import Interchange

FIRST, LAST = "NCHW", "NHWC"


def is_last(layout: Any) -> bool:
    """Whether images have their channels last; raises for what is no layout."""
    if layout not in (FIRST, LAST):
        raise ValueError(f"layout: expected 'NCHW' or 'NHWC', got {layout!r}")
    return bool(layout == LAST)


@contextmanager
def transposed() -> Iterator[None]:
    """Errors inside speak of shapes with channels first: says so."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error} (shapes as with layout='NCHW', after transposition)") from None


@lru_cache(maxsize=256)
def _problem(dtype: Any, N: int, A: int, B: int) -> Interchange:
    return Interchange(dtype=dtype, result_dtype=dtype, N=N, A=A, B=B)


def _interchanged(x: NDArray, N: int, A: int, B: int) -> NDArray:
    """Dense x, (N, A, B), as a new array (N, B, A)."""
    if x.dtype not in (np.float32, np.float64):
        return np.ascontiguousarray(x.reshape(N, A, B).swapaxes(1, 2))
    y = memory.pooled((N, B, A), x.dtype)
    p = _problem(x.dtype, N, A, B)
    kernel("interchange", p)(y, x, p)
    return y


def first(name: str, x: Any) -> NDArray:
    """(N, H, W, C), or (H, W, C), with channels first."""
    if is_device(x):
        raise TypeError(f"{name}: expected arrays on the CPU with layout='NHWC', got one on cuda")
    x = arg.array(name, x)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: expected (N, H, W, C), or (H, W, C), got shape {x.shape}")
    view = np.moveaxis(x, -1, -3)
    if view.flags.c_contiguous:
        return view
    *batch, H, W, C = x.shape
    native = np.require(x, x.dtype.newbyteorder("="), ("C", "A"))
    return _interchanged(native, math.prod(batch), H * W, C).reshape(view.shape)


def first_of_integers(name: str, indices: Any) -> NDArray:
    """The same for max_pool2d's indices: whole numbers of 8 bytes are moved as floats of 8 bytes."""
    indices = arg.array(name, indices)
    if indices.dtype != np.int64:
        return np.ascontiguousarray(np.moveaxis(indices, -1, -3)) if indices.ndim > 2 else indices
    return first(name, np.ascontiguousarray(indices).view(np.float64)).view(np.int64)


def last(y: NDArray, out: Any = None) -> NDArray:
    """(N, C, H, W), or (C, H, W), with channels last; in `out` where there is one."""
    *batch, C, H, W = y.shape
    given = y.view(np.float64) if y.dtype == np.int64 else y
    moved = _interchanged(given, math.prod(batch), C, H * W).reshape(*batch, H, W, C).view(y.dtype)
    return moved if out is None else delivered(out, moved)


def delivered(out: Any, y: NDArray) -> NDArray:
    """`out` with the numbers of y; raises where it cannot hold them."""
    memory.result(out, y.shape, y.dtype, ())
    np.copyto(out, y, casting="same_kind")
    return out


def shape_first(name: str, shape: Any) -> tuple[int, ...]:
    """The shape of images, with channels first."""
    try:
        *batch, H, W, C = shape
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected (N, H, W, C), or (H, W, C), got {shape!r}") from None
    return (*batch, C, H, W)


def filters_first(w: Any) -> Any:
    """(FH, FW, C/groups, FN) as (FN, C/groups, FH, FW), also where only the shape is given."""
    if isinstance(w, tuple) and all(isinstance(n, int) for n in w):
        return w[::-1][:2] + w[:2] if len(w) == 4 else w
    if is_device(w):
        raise TypeError("w: expected arrays on the CPU with layout='NHWC', got one on cuda")
    w = arg.array("w", w, (4,))
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1))


def filters_last(dw: NDArray | None) -> NDArray | None:
    """(FN, C/groups, FH, FW) as (FH, FW, C/groups, FN)."""
    return None if dw is None else np.ascontiguousarray(dw.transpose(2, 3, 1, 0))
