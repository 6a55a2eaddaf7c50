"""Where results live: pooled, 64-byte aligned arrays that the caller owns, its own `out`, or a device's memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _device
from ._check import arguments as arg
from ._problem import Problem

try:
    from .kernels._cpu.engine import empty as pooled
    from .kernels._cpu.engine import empty_cache, memory_stats
except ImportError:  # a build without the compiled engine: the NumPy reference alone

    def pooled(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def memory_stats() -> dict[str, int]:
        return {}

    def empty_cache() -> None:
        pass


__all__ = [
    "batched",
    "deliver",
    "empty",
    "empty_cache",
    "filled",
    "memory_stats",
    "pooled",
    "result",
    "same_place",
    "zeros",
]

empty: dict[str, Callable[[tuple[int, ...], Any], Any]] = {"cpu": pooled, **_device.empty}
"""By a Problem's device: a new array of a shape and dtype, not initialised."""


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    a = pooled(shape, dtype)
    a.fill(0)
    return a


def filled(count: int, value: float, dtype: np.dtype, device: str) -> Any:
    """`count` times the same number, for reading."""
    return np.full(count, value, dtype) if device == "cpu" else _device.arrays().filled(count, value, dtype)


def same_place(a: np.ndarray, device: str) -> Any:
    """An ndarray where the others are."""
    return a if device == "cpu" else _device.to_device(a)


def result(
    out: Any,
    shape: tuple[int, ...],
    dtype: np.dtype,
    inputs: Sequence[np.ndarray | None],
    device: str = "cpu",
    in_place: bool = False,
) -> np.ndarray:
    """The array a kernel writes: a new one, or the user's `out` when the kernel may write it directly.

    in_place: the kernel reads each number before it writes in its place, so `out` may be an input itself.
    """
    if out is None:
        return empty[device](shape, dtype)
    if device != "cpu":
        raise TypeError("out: expected None, since the arrays are on cuda")
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out: expected an ndarray, got {type(out).__name__}")
    arg.shape("out", out, shape, "the result's shape")
    if not out.flags.writeable:
        raise ValueError("out: expected a writeable array, got a read-only one")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"out: cannot hold a result of dtype {dtype}, got dtype {out.dtype}")
    direct = out.dtype == dtype and out.flags.carray
    shared = [a for a in inputs if direct and a is not None and np.may_share_memory(out, a)]
    if in_place:
        shared = [a for a in shared if (a.ctypes.data, a.dtype, a.shape) != (out.ctypes.data, dtype, shape)]
    return out if direct and not shared else pooled(shape, dtype)


def batched(out: Any, p: Problem) -> Any:
    """The user's `out` with the axis that kernels want in front, where the call came without it."""
    return out[None] if p.unbatched and isinstance(out, np.ndarray) else out


def deliver(out: np.ndarray | None, y: np.ndarray, p: Problem) -> Any:
    """The result `y` of a kernel as the caller gets it: in `out`, copied there if the kernel could not write it."""
    if out is None:
        return p.finish(y)
    target = batched(out, p)
    if not np.may_share_memory(target, y):
        np.copyto(target, y, casting="same_kind")
    return out
