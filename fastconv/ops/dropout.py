"""Dropout of elements and of whole planes, from a counter-based generator: one seed, one mask, on every backend."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel

Random: TypeAlias = "np.random.Generator | int | None"  # quoted: NumPy loads its generators when they are asked for


def _forward(x: ArrayLike, ratio: float, rng: Random, inverted: bool, planes: bool) -> tuple[NDArray, NDArray]:
    p, x = check.dropout(x, ratio, inverted, planes)

    def draw() -> int:
        return int(check.rng(rng).integers(2**64, dtype=np.uint64))

    seed = draw() if p.device == "cpu" else draw  # a captured step draws another whenever it is replayed
    y = memory.empty[p.device](x.shape, p.dtype)
    mask = memory.empty[p.device]((*x.shape[:2], 1, 1) if planes else x.shape, np.dtype(np.bool_))
    kernel("dropout_forward", p)(y, mask, x, seed, p)
    return p.finish(y), p.give(mask)


def _backward(dout: ArrayLike, mask: ArrayLike, ratio: float, inverted: bool, planes: bool) -> NDArray:
    p, dout, mask = check.dropout_backward(dout, mask, ratio, inverted, planes)
    dx = memory.empty[p.device](dout.shape, p.dtype)
    kernel("dropout_backward", p)(dx, dout, mask, p)
    return p.finish(dx)


def dropout(x: ArrayLike, ratio: float = 0.5, rng: Random = None, *, inverted: bool = True) -> tuple[NDArray, NDArray]:
    """Zero each element with probability `ratio`.

    ``y = x*mask / (1 - ratio)``, so that the expectation stays (PyTorch's); without the division when not inverted (the
    book's, which scales at inference instead).

    Parameters
    ----------
    x : array_like, any shape
    ratio : float in [0, 1]
        Share of the elements to drop.
    rng : Generator, int or None
        Source of the mask's seed, or the seed of that source.
    inverted : bool

    Returns
    -------
    y : ndarray, the shape of x
    mask : ndarray of bool, the shape of x
        True where the element was kept.

    Raises
    ------
    ValueError, TypeError
        For a ratio outside of [0, 1], or an rng of the wrong type.

    References
    ----------
    N. Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014.
    """
    return _forward(x, ratio, rng, inverted, planes=False)


def dropout_backward(dout: ArrayLike, mask: ArrayLike, ratio: float = 0.5, *, inverted: bool = True) -> NDArray:
    """Gradient of `dropout`: dout with the same mask and scale.

    Parameters
    ----------
    dout : array_like
    mask : array_like of bool, the shape of dout
    ratio, inverted
        As given to `dropout`.

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward(dout, mask, ratio, inverted, planes=False)


def dropout2d(
    x: ArrayLike, ratio: float = 0.5, rng: Random = None, *, inverted: bool = True
) -> tuple[NDArray, NDArray]:
    """Zero each whole plane (n, c) with probability `ratio`; else as `dropout`.

    Parameters
    ----------
    x : array_like (N, C, H, W)
    ratio, rng, inverted
        As for `dropout`.

    Returns
    -------
    y : ndarray (N, C, H, W)
    mask : ndarray of bool (N, C, 1, 1)

    References
    ----------
    J. Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """
    return _forward(x, ratio, rng, inverted, planes=True)


def dropout2d_backward(dout: ArrayLike, mask: ArrayLike, ratio: float = 0.5, *, inverted: bool = True) -> NDArray:
    """Gradient of `dropout2d`: dout with the same mask and scale."""
    return _backward(dout, mask, ratio, inverted, planes=True)
