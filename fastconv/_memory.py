"""Where results live: pooled, 64-byte aligned arrays that the caller owns, or the caller's own `out`."""

from typing import Any

import numpy as np

from ._check import arguments as arg

try:
    from .kernels._cpu.engine import empty, empty_cache, memory_stats
except ImportError:  # a build without the compiled engine: the NumPy reference alone

    def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def memory_stats() -> dict[str, int]:
        return {}

    def empty_cache() -> None:
        pass


__all__ = ["empty", "empty_cache", "empty_like", "memory_stats", "result", "zeros"]


def empty_like(a: np.ndarray) -> np.ndarray:
    return empty(a.shape, a.dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    a = empty(shape, dtype)
    a.fill(0)
    return a


def result(out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: tuple[np.ndarray | None, ...]) -> np.ndarray:
    """The array a kernel writes: a new one, or the user's `out` when the kernel may write it directly."""
    if out is None:
        return empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out: expected an ndarray, got {type(out).__name__}")
    arg.shape("out", out, shape, "the result's shape")
    if not out.flags.writeable:
        raise ValueError("out: expected a writeable array, got a read-only one")
    direct = out.dtype == dtype and out.flags.carray
    return (
        out if direct and not any(np.may_share_memory(out, a) for a in inputs if a is not None) else empty(shape, dtype)
    )


def deliver(out: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    """`y`, copied into `out` where the kernel could not write that directly."""
    if out is None or y is out:
        return y
    if not np.can_cast(y.dtype, out.dtype, "same_kind"):
        raise TypeError(f"out: cannot hold a result of dtype {y.dtype}, got dtype {out.dtype}")
    np.copyto(out, y, casting="same_kind")
    return out
