"""Gemm and MatMul."""

from typing import Any

import numpy as np

from ._table import Run, operator


@operator("MatMul", inputs=2)
def matmul(a: Any) -> Run:
    return np.matmul
