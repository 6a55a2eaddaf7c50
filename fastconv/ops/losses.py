"""Losses that are a line."""

from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .._between import between
from .._device import like_given


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
        Of device arrays a device array of one number, which `float` waits for.

    Raises
    ------
    ValueError, TypeError
        When the shapes differ.
    """
    y, t = check.same_shape(y, t, reduction)
    scale = {"half_sum": 0.5, "mean": 1 / max(y.size, 1), "sum": 1.0}[reduction]
    return like_given(between(y).squared_distance(y, t, scale), y)


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
        Of device arrays a device array of one number, which `float` waits for.

    Raises
    ------
    ValueError, TypeError
        When t does not fit log_y, or a label is not a class.
    """
    log_y, t = check.nll_loss(log_y, t)
    return like_given(between(log_y).likelihood(log_y, t), log_y)


def nll_loss_backward(log_y: ArrayLike, t: ArrayLike) -> NDArray:
    """Gradient of `nll_loss` with respect to log_y: -1/N at the labels, else 0."""
    log_y, t = check.nll_loss(log_y, t)
    return like_given(between(log_y).likelihood_gradient(log_y, t), log_y)
