"""Element-wise activations and their gradients. All take any shape; NaN passes through."""

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel, straight

try:
    from ..kernels.activations.cy import straight_unary
except ImportError:  # a build without the compiled kernels takes the road

    def straight_unary(road: Callable[..., Any]) -> Callable[..., Any]:
        return road


def _forward(op: str, x: ArrayLike, negative_slope: float = 0.0) -> NDArray:
    p, x = check.elementwise(x, negative_slope)
    y = memory.empty[p.device](x.shape, p.dtype)
    kernel(f"{op}_forward", p)(y, x, p)
    return p.finish(y)


def _backward(op: str, dout: ArrayLike, saved: ArrayLike, name: str, negative_slope: float = 0.0) -> NDArray:
    p, dout, saved = check.elementwise_backward(dout, saved, name, negative_slope)
    dx = memory.empty[p.device](dout.shape, p.dtype)
    kernel(f"{op}_backward", p)(dx, dout, saved, p)
    return p.finish(dx)


@straight_unary
def relu(x: ArrayLike) -> NDArray:
    """``max(x, 0)``; relu(NaN) is NaN.

    Parameters
    ----------
    x : array_like, any shape

    Returns
    -------
    ndarray, the shape of x
    """
    return _forward("relu", x)


def relu_backward(dout: ArrayLike, x: ArrayLike) -> NDArray:
    """Gradient of `relu`: dout where not ``x <= 0``, else 0.

    Parameters
    ----------
    dout : array_like
    x : array_like, the shape of dout
        relu's input, or its result: both have the same sign.

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("relu", dout, x, "x")


@straight(check.elementwise, "leaky_relu_forward")
def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> NDArray:
    """x where it is positive, ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    x : array_like, any shape
    negative_slope : float

    Returns
    -------
    ndarray, the shape of x

    References
    ----------
    A. Maas, A. Hannun and A. Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.
    """
    return _forward("leaky_relu", x, negative_slope)


def leaky_relu_backward(dout: ArrayLike, x: ArrayLike, negative_slope: float = 0.01) -> NDArray:
    """Gradient of `leaky_relu`: dout where x is positive, ``negative_slope * dout`` elsewhere.

    Parameters
    ----------
    dout : array_like
    x : array_like, the shape of dout
        leaky_relu's input.
    negative_slope : float

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("leaky_relu", dout, x, "x", negative_slope)


@straight_unary
def sigmoid(x: ArrayLike) -> NDArray:
    """``1 / (1 + exp(-x))``, without overflow.

    Parameters
    ----------
    x : array_like, any shape

    Returns
    -------
    ndarray, the shape of x
    """
    return _forward("sigmoid", x)


def sigmoid_backward(dout: ArrayLike, y: ArrayLike) -> NDArray:
    """Gradient of `sigmoid` from its result y: ``dout * y * (1 - y)``.

    Parameters
    ----------
    dout, y : array_like, of one shape

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("sigmoid", dout, y, "y")


@straight_unary
def tanh(x: ArrayLike) -> NDArray:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : array_like, any shape

    Returns
    -------
    ndarray, the shape of x
    """
    return _forward("tanh", x)


def tanh_backward(dout: ArrayLike, y: ArrayLike) -> NDArray:
    """Gradient of `tanh` from its result y: ``dout * (1 - y**2)``.

    Parameters
    ----------
    dout, y : array_like, of one shape

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("tanh", dout, y, "y")
