"""What is computed between the table's kernels: a line of NumPy each, or the device's kernels of the same names."""

import sys
from typing import Any

import numpy as np

from . import _device


def between(a: Any) -> Any:
    """The functions below for arrays where `a` is: this module's, or those of `src/kernels/_cuda/between.py`."""
    return _device.between() if _device.is_device(a) else sys.modules[__name__]


def add_to_channels(y: Any, b: Any) -> None:
    """y[n, c] += b[c]."""
    y += b[:, None, None]


def sum_channels(y: Any) -> Any:
    """The sum of each channel of y (N, C, H, W)."""
    return y.sum(axis=(0, 2, 3))


def inverse_std(var: Any, eps: float) -> Any:
    """1 / sqrt(var + eps), in double where eps is so small that var's dtype may not hold it."""
    if eps >= 1e-30:
        return 1 / np.sqrt(var + var.dtype.type(eps))
    return (1 / np.sqrt(var + np.float64(eps))).astype(var.dtype)


def plus_squares(base: Any, arrays: list[Any], scale: float) -> Any:
    """base and `scale` times the sum of all squares in the arrays."""
    return base + scale * sum(float(np.sum(a**2)) for a in arrays)


def squared_distance(x: Any, y: Any, scale: float) -> Any:
    """`scale` times the sum of (x - y)**2."""
    return scale * float(np.sum((x - y) ** 2, dtype=np.float64))


def likelihood(log_y: Any, t: Any) -> Any:
    """The mean of -log_y[n, t[n]]."""
    return float(-log_y[np.arange(len(t)), t].mean(dtype=np.float64))


def likelihood_gradient(log_y: Any, t: Any) -> Any:
    """-1/N at the labels, else 0."""
    dx = np.zeros(log_y.shape, np.result_type(log_y, np.float16))
    dx[np.arange(len(t)), t] = -1 / max(len(t), 1)
    return dx
