"""Checks of one number for each channel: biases, scales, shifts."""

from typing import Any

import numpy as np

from .._device import like, to_host
from . import arguments as arg


def vector(b: Any, n: int, why: str, name: str = "b", others: tuple[np.ndarray, ...] = ()) -> np.ndarray | None:
    """(n,) from any shape with n numbers in the channels' place: (n,), (n, 1), (1, n), (n, 1, 1), (1, n, 1, 1).

    A scalar stands for n equal numbers; one of Python's has the dtype of the `others`, as in NumPy.
    """
    if b is None:
        return None
    if type(b) in (int, float):
        dtype = np.result_type(*(a.dtype for a in others))
        return like(np.full(n, b, dtype if dtype.kind == "f" else np.float64), others[0])
    b = arg.array(name, b)
    if b.ndim == 0:
        return like(np.full(n, to_host(b)), b)
    if b.shape not in ((n,), (n, 1), (1, n), (n, 1, 1), (1, n, 1, 1)):
        raise ValueError(f"{name}: expected a scalar or shape {(n,)} (one number for each of {why}), got {b.shape}")
    return b if b.ndim == 1 else b.reshape(n)


def statistic(v: Any, n: int, name: str) -> np.ndarray | None:
    """A running statistic, which may be updated in place: (n,) and nothing else."""
    if v is not None:
        v = arg.array(name, v)
        arg.shape(name, v, (n,), "one number for each of x's channels")
    return v
