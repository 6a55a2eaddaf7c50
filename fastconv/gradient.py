"""Numerical differentiation by central differences, and gradient descent on it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
H = 1e-4


def numerical_diff(f: Callable[[float], Any], x: float) -> Any:
    """The derivative of a function of one number: (f(x + h) - f(x - h)) / 2h with h = 1e-4."""
    return (f(x + H) - f(x - H)) / (2 * H)


def numerical_gradient(f: Callable[[Array], Any], x: npt.ArrayLike) -> Array:
    """The gradient of a number f(x) with respect to every element of an array.

    Each element in turn is set to x + h and x - h, h = 1e-4, in x itself, and then restored (also when f raises): f may
    depend on x without using its argument, as the loss of a network depends on the network's parameters.

    Parameters
    ----------
    f : callable
        Takes the array, returns a number.
    x : ndarray of any shape, float
        Anything else (lists, integers) is copied to float64 first.

    Returns
    -------
    ndarray
        In the shape and dtype of x.
    """
    if not (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
        x = np.array(x, dtype=float)
    grad = np.empty_like(x)
    for at in np.ndindex(x.shape):
        value = x[at]
        try:
            x[at] = float(value) + H
            above = f(x)
            x[at] = float(value) - H
            grad[at] = (above - f(x)) / (2 * H)
        finally:
            x[at] = value
    return grad


def numerical_gradient_2d(f: Callable[[Array], Any], X: npt.ArrayLike) -> Array:
    """`numerical_gradient` of each row of X by itself: f takes one row. 1-D X is one row."""
    if np.ndim(X) == 1:
        return numerical_gradient(f, X)
    return np.stack([numerical_gradient(f, row) for row in np.asarray(X)])


def _numerical_gradient_1d(f: Callable[[Array], Any], x: npt.ArrayLike) -> Array:
    """The book's name for `numerical_gradient` of a 1-D array."""
    return numerical_gradient(f, x)


def gradient_descent(f: Callable[[Array], Any], init_x: npt.ArrayLike, lr: float = 0.01, step_num: int = 100) -> Array:
    """A minimum of f, looked for by `step_num` steps of x -= lr * numerical_gradient(f, x).

    Parameters
    ----------
    f : callable
        Takes the array, returns a number.
    init_x : array_like
        Where to start; not changed.
    lr : float
    step_num : int

    Returns
    -------
    ndarray
    """
    x = np.array(init_x, dtype=float)
    for _ in range(step_num):
        x -= lr * numerical_gradient(f, x)
    return x
