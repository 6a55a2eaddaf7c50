"""The compiled helpers of checks, or what stands in for them in a build without the compiled engine."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["all_below", "dense_lists", "is_dense_int64", "listed_twice", "paired", "remembered", "share_memory"]

try:
    from ..kernels._cpu.remember import Remembered as remembered
    from ..kernels._cpu.remember import all_below, dense_lists, is_dense_int64, listed_twice, paired, share_memory
except ImportError:

    def remembered(check: Callable[..., Any]) -> Callable[..., Any]:
        return check

    def all_below(numbers: np.ndarray, limit: int) -> bool:
        return not numbers.size or bool(numbers.min() >= 0 and numbers.max() < limit)

    def dense_lists(lists: list[list[Any]]) -> np.dtype | None:
        return None

    def is_dense_int64(a: Any) -> bool:
        return isinstance(a, np.ndarray) and a.dtype == np.int64 and bool(a.flags.c_contiguous and a.flags.aligned)

    def listed_twice(arrays: list[Any]) -> bool:
        places = [a.__array_interface__["data"][0] for a in arrays if isinstance(a, np.ndarray) and a.size]
        return len(set(places)) < len(places)

    def paired(params: Any, grads: Any) -> tuple[list[str], list[Any], list[Any]] | None:
        return None

    def share_memory(written: tuple[Any, ...], read: tuple[Any, ...]) -> bool:
        pairs = ((a, b) for a in written for b in read)
        return any(
            np.may_share_memory(a, b) for a, b in pairs if isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        )
