"""Arithmetic."""

from typing import Any

import numpy as np

from ._table import Run, operator


@operator("Add", inputs=2)
def add(a: Any) -> Run:
    return np.add
