"""Losses that are a line of NumPy."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check as check


def mean_squared_error(y: ArrayLike, t: ArrayLike, reduction: str = "half_sum") -> float:
    """Squared distance of y from t.

    Parameters
    ----------
    y, t : array_like, of one shape
    reduction : {"half_sum", "mean", "sum"}
        ``0.5 * sum`` (the book's), the mean (PyTorch's), or the sum of ``(y - t)**2``.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        When the shapes differ.
    """
    y, t = check.same_shape(y, t, reduction)
    total = float(np.sum((y - t) ** 2, dtype=np.float64))
    return {"half_sum": 0.5 * total, "mean": total / max(y.size, 1), "sum": total}[reduction]


def mean_squared_error_backward(y: ArrayLike, t: ArrayLike, reduction: str = "half_sum") -> NDArray:
    """Gradient of `mean_squared_error` with respect to y: ``y - t``, times 2 for "sum", 2/size for "mean"."""
    y, t = check.same_shape(y, t, reduction)
    return (y - t) * {"half_sum": 1.0, "mean": 2.0 / max(y.size, 1), "sum": 2.0}[reduction]


def nll_loss(log_y: ArrayLike, t: ArrayLike) -> float:
    """Mean over the rows of ``-log_y[n, t[n]]``: the negative log-likelihood of labels under log-probabilities.

    Parameters
    ----------
    log_y : array_like (N, C)
    t : array_like (N,) of int

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        When t does not fit log_y, or a label is not a class.
    """
    log_y, t = check.nll_loss(log_y, t)
    return float(-log_y[np.arange(len(t)), t].mean(dtype=np.float64))


def nll_loss_backward(log_y: ArrayLike, t: ArrayLike) -> NDArray:
    """Gradient of `nll_loss` with respect to log_y: -1/N at the labels, else 0."""
    log_y, t = check.nll_loss(log_y, t)
    dx = np.zeros(log_y.shape, np.result_type(log_y, np.float16))
    dx[np.arange(len(t)), t] = -1 / max(len(t), 1)
    return dx
