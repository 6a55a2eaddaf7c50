"""The choice to compute in float32 whatever the program's arrays are: ``python -m fastconv --float32 SCRIPT``."""

from typing import Any

import numpy as np

on = False

SINGLE = np.dtype(np.float32)


def cast(a: Any) -> Any:
    """The array in float32."""
    return a if a.dtype == SINGLE else a.astype(SINGLE)
