"""Softmax, log-softmax, and the losses that stand on them."""

from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel, straight


def _forward(op: str, x: ArrayLike, axis: int) -> NDArray:
    p, x = check.softmax(x, axis)
    y = memory.empty[p.device](x.shape, p.dtype)
    kernel(f"{op}_forward", p)(y, x, p)
    return p.finish(y)


def _backward(op: str, dout: ArrayLike, y: ArrayLike, axis: int) -> NDArray:
    p, dout, y = check.softmax_backward(dout, y, axis)
    dx = memory.empty[p.device](y.shape, p.dtype)
    kernel(f"{op}_backward", p)(dx, dout, y, p)
    return p.finish(dx)


@straight(check.softmax, "softmax_forward")
def softmax(x: ArrayLike, axis: int = -1) -> NDArray:
    """``exp(x - max) / sum of exp(x - max)`` along an axis; never overflows.

    Parameters
    ----------
    x : array_like, at least 1-D
    axis : int

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError, TypeError
        For an axis that x does not have.
    """
    return _forward("softmax", x, axis)


def softmax_backward(dout: ArrayLike, y: ArrayLike, axis: int = -1) -> NDArray:
    """Gradient of `softmax` from its result y: ``y * (dout - sum of dout*y)``.

    Parameters
    ----------
    dout, y : array_like, of one shape
    axis : int

    Returns
    -------
    ndarray, the shape of y
    """
    return _backward("softmax", dout, y, axis)


@straight(check.softmax, "log_softmax_forward")
def log_softmax(x: ArrayLike, axis: int = -1) -> NDArray:
    """``x - max - log(sum of exp(x - max))`` along an axis.

    Parameters
    ----------
    x : array_like, at least 1-D
    axis : int

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError, TypeError
        For an axis that x does not have.
    """
    return _forward("log_softmax", x, axis)


def log_softmax_backward(dout: ArrayLike, y: ArrayLike, axis: int = -1) -> NDArray:
    """Gradient of `log_softmax` from its result y: ``dout - exp(y) * sum of dout``.

    Parameters
    ----------
    dout, y : array_like, of one shape
    axis : int

    Returns
    -------
    ndarray, the shape of y
    """
    return _backward("log_softmax", dout, y, axis)


def softmax_cross_entropy(x: ArrayLike, t: ArrayLike, *, offset: float = 0.0) -> tuple[float, NDArray]:
    """Mean over the rows of ``-sum of t * log(softmax(x))``, and softmax(x).

    The loss comes from the logarithm of the sum of exponentials: no log(0), nothing added to it.

    Parameters
    ----------
    x : array_like (N, C) or (C,)
        Scores.
    t : array_like
        Labels (N,) of int, or targets (N, C), one-hot or soft.
    offset : float
        Added to the probabilities before their logarithm; the book has 1e-7. The loss alone depends on it.

    Returns
    -------
    loss : float
        Of device arrays a device array of one number, which `float` waits for.
    y : ndarray, the shape of x
        Probabilities.

    Raises
    ------
    ValueError, TypeError
        When t does not fit x, or a label is not a class.
    """
    p, x, t = check.softmax_cross_entropy(x, t, "x", offset)
    y = memory.empty[p.device](x.shape, p.dtype)
    loss = kernel("cross_entropy_forward", p)(y, x, t, p)
    return (float(loss) if p.device == "cpu" else p.give(loss)), p.finish(y)


def softmax_cross_entropy_backward(y: ArrayLike, t: ArrayLike) -> NDArray:
    """Gradient of the loss of `softmax_cross_entropy` with respect to its scores: ``(y - t) / N``.

    Parameters
    ----------
    y : array_like (N, C) or (C,)
        Probabilities, as `softmax_cross_entropy` gave them.
    t : array_like
        Labels or targets, as given to it.

    Returns
    -------
    ndarray, the shape of y

    Raises
    ------
    ValueError, TypeError
        When t does not fit y.
    """
    p, y, t = check.softmax_cross_entropy(y, t, "y")
    dx = memory.empty[p.device](y.shape, p.dtype)
    kernel("cross_entropy_backward", p)(dx, y, t, p)
    return p.finish(dx)
