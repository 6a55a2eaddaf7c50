"""The compiled helpers of checks, or what stands in for them in a build without the compiled engine."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["all_below", "dense_lists", "remembered"]

try:
    from ..kernels._cpu.remember import Remembered as remembered
    from ..kernels._cpu.remember import all_below, dense_lists
except ImportError:

    def remembered(check: Callable[..., Any]) -> Callable[..., Any]:
        return check

    def all_below(numbers: np.ndarray, limit: int) -> bool:
        return not numbers.size or bool(numbers.min() >= 0 and numbers.max() < limit)

    def dense_lists(lists: list[list[Any]]) -> np.dtype | None:
        return None
