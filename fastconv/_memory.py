"""Where results live: pooled, 64-byte aligned arrays that the caller owns, its own `out`, or a device's memory."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _device
from ._check import arguments as arg

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
    out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: tuple[np.ndarray | None, ...], device: str = "cpu"
) -> np.ndarray:
    """The array a kernel writes: a new one, or the user's `out` when the kernel may write it directly."""
    if out is None:
        return empty[device](shape, dtype)
    if device != "cpu":
        raise TypeError("out: expected None, since the arrays are on cuda")
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out: expected an ndarray, got {type(out).__name__}")
    arg.shape("out", out, shape, "the result's shape")
    if not out.flags.writeable:
        raise ValueError("out: expected a writeable array, got a read-only one")
    direct = out.dtype == dtype and out.flags.carray
    return (
        out
        if direct and not any(np.may_share_memory(out, a) for a in inputs if a is not None)
        else pooled(shape, dtype)
    )


def deliver(out: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    """`y`, copied into `out` where the kernel could not write that directly."""
    if out is None or y is out:
        return y
    if not np.can_cast(y.dtype, out.dtype, "same_kind"):
        raise TypeError(f"out: cannot hold a result of dtype {y.dtype}, got dtype {out.dtype}")
    np.copyto(out, y, casting="same_kind")
    return out
