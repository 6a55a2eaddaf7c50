"""Element-wise activations and their gradients. All take any shape; NaN passes through.

The gradients of sigmoid and tanh take the result y, all others the input x (relu's and relu6's either).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel, straight

try:
    from ..kernels.activations.cy import straight_masked, straight_masked_backward, straight_unary
except ImportError:  # a build without the compiled kernels takes the road

    def straight_unary(road: Callable[..., Any]) -> Callable[..., Any]:
        return road

    straight_masked = straight_masked_backward = straight_unary


def _forward(op: str, x: ArrayLike, out: NDArray | None, negative_slope: float = 0.0) -> NDArray:
    p, x = check.elementwise(x, negative_slope)
    y = memory.result(out, x.shape, p.dtype, (x,), p.device, in_place=True)
    kernel(f"{op}_forward", p)(y, x, p)
    return memory.deliver(out, y, p)


def _backward(op: str, dout: ArrayLike, saved: ArrayLike, name: str, negative_slope: float = 0.0) -> NDArray:
    p, dout, saved = check.elementwise_backward(dout, saved, name, negative_slope)
    dx = memory.empty[p.device](dout.shape, p.dtype)
    kernel(f"{op}_backward", p)(dx, dout, saved, p)
    return p.finish(dx)


@straight_unary
def relu(x: ArrayLike, *, out: NDArray | None = None) -> NDArray:
    """``max(x, 0)``; relu(NaN) is NaN.

    Parameters
    ----------
    x : array_like, any shape
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x
    """
    return _forward("relu", x, out)


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


def add_activation(x: NDArray, y: NDArray, activation: str | None = None, *, into: NDArray | None = None) -> NDArray:
    """``f(x + y)`` in one pass, f an activation or none; for the sums of a graph.

    Parameters
    ----------
    x, y : ndarray
        Of one shape.
    activation : str, optional
        One of those of `conv2d`.
    into : ndarray, optional
        x or y, dense and of the result's dtype, to be overwritten.
    """
    p, x, y = check.added(x, y, activation)
    out = memory.empty[p.device](x.shape, p.dtype) if into is None else into
    kernel("add_activation", p)(out, x, y, p)
    return p.finish(out) if into is None else out


@straight_masked
def relu_masked(x: ArrayLike) -> tuple[NDArray, NDArray]:
    """`relu`, and what its gradient needs: a bit for each element, set where ``x <= 0``.

    Later changes of x or of the result do not change the bits, which are a 32nd of a float32 array.

    Parameters
    ----------
    x : array_like, any shape

    Returns
    -------
    y : ndarray, the shape of x
    bits : ndarray of uint8
        Of the elements in row-major order, lowest bit first; on a device in fastconv's own array.
    """
    p, x = check.elementwise(x)
    empty = memory.empty[p.device]
    y, bits = empty(x.shape, p.dtype), empty(((p.size + 7) // 8,), np.dtype(np.uint8))
    kernel("relu_masked_forward", p)(y, bits, x, p)
    return p.finish(y), bits


@straight_masked_backward
def relu_masked_backward(dout: ArrayLike, bits: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Gradient of `relu` from the bits that `relu_masked` gave: 0 where one is set, else dout.

    Parameters
    ----------
    dout : array_like
    bits : ndarray of uint8
    shape : tuple of int
        relu's input had it, and dout has it.

    Returns
    -------
    ndarray, the shape of dout
    """
    p, dout = check.relu_masked_backward(dout, bits, shape)
    dx = memory.empty[p.device](dout.shape, p.dtype)
    kernel("relu_masked_backward", p)(dx, dout, bits, p)
    return p.finish(dx)


@straight(check.elementwise, "leaky_relu_forward")
def leaky_relu(x: ArrayLike, negative_slope: float = 0.01, *, out: NDArray | None = None) -> NDArray:
    """x where it is positive, ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    x : array_like, any shape
    negative_slope : float
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x

    References
    ----------
    A. Maas, A. Hannun and A. Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.
    """
    return _forward("leaky_relu", x, out, negative_slope)


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
def sigmoid(x: ArrayLike, *, out: NDArray | None = None) -> NDArray:
    """``1 / (1 + exp(-x))``, without overflow.

    Parameters
    ----------
    x : array_like, any shape
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x
    """
    return _forward("sigmoid", x, out)


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
def tanh(x: ArrayLike, *, out: NDArray | None = None) -> NDArray:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : array_like, any shape
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x
    """
    return _forward("tanh", x, out)


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


@straight_unary
def relu6(x: ArrayLike, *, out: NDArray | None = None) -> NDArray:
    """``min(max(x, 0), 6)``.

    Parameters
    ----------
    x : array_like, any shape
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x

    References
    ----------
    A. Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10, 2010.
    """
    return _forward("relu6", x, out)


def relu6_backward(dout: ArrayLike, x: ArrayLike) -> NDArray:
    """Gradient of `relu6`: dout where not ``x <= 0`` or ``x >= 6``, else 0.

    Parameters
    ----------
    dout : array_like
    x : array_like, the shape of dout
        relu6's input, or its result: both give the same.

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("relu6", dout, x, "x")


@straight_unary
def hard_sigmoid(x: ArrayLike, *, out: NDArray | None = None) -> NDArray:
    """``min(max(x + 3, 0), 6) / 6``.

    Parameters
    ----------
    x : array_like, any shape
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x

    References
    ----------
    A. Howard et al., Searching for MobileNetV3, 2019.
    """
    return _forward("hard_sigmoid", x, out)


def hard_sigmoid_backward(dout: ArrayLike, x: ArrayLike) -> NDArray:
    """Gradient of `hard_sigmoid`: ``dout / 6`` where not ``x <= -3`` or ``x >= 3``, else 0.

    Parameters
    ----------
    dout : array_like
    x : array_like, the shape of dout
        hard_sigmoid's input.

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("hard_sigmoid", dout, x, "x")


@straight_unary
def hard_swish(x: ArrayLike, *, out: NDArray | None = None) -> NDArray:
    """``x * hard_sigmoid(x)``; NaN at -inf, as PyTorch's.

    Parameters
    ----------
    x : array_like, any shape
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x

    References
    ----------
    A. Howard et al., Searching for MobileNetV3, 2019.
    """
    return _forward("hard_swish", x, out)


def hard_swish_backward(dout: ArrayLike, x: ArrayLike) -> NDArray:
    """Gradient of `hard_swish`: 0 up to -3, dout from 3 on, ``dout * (x/3 + 1/2)`` between.

    Parameters
    ----------
    dout : array_like
    x : array_like, the shape of dout
        hard_swish's input.

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("hard_swish", dout, x, "x")


@straight_unary
def silu(x: ArrayLike, *, out: NDArray | None = None) -> NDArray:
    """``x * sigmoid(x)``, also called swish; NaN at -inf, as PyTorch's.

    Parameters
    ----------
    x : array_like, any shape
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x

    References
    ----------
    S. Elfwing, E. Uchibe and K. Doya, Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning, 2018.
    """
    return _forward("silu", x, out)


def silu_backward(dout: ArrayLike, x: ArrayLike) -> NDArray:
    """Gradient of `silu`: ``dout * (s + x*s*(1 - s))`` with ``s = sigmoid(x)``.

    Parameters
    ----------
    dout : array_like
    x : array_like, the shape of dout
        silu's input.

    Returns
    -------
    ndarray, the shape of dout
    """
    return _backward("silu", dout, x, "x")


@straight(check.elementwise, "gelu_forward")
def gelu(x: ArrayLike, approximate: str = "none", *, out: NDArray | None = None) -> NDArray:
    """``x * Phi(x)``, Phi the normal distribution function ``(1 + erf(x / sqrt(2))) / 2``; NaN at -inf, as PyTorch's.

    Parameters
    ----------
    x : array_like, any shape
    approximate : {"none", "tanh"}
        "tanh" takes ``(1 + tanh(sqrt(2/pi) * (x + 0.044715*x**3))) / 2`` for Phi.
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype. It may be x itself.

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError
        When `approximate` is neither of both.

    References
    ----------
    D. Hendrycks and K. Gimpel, Gaussian error linear units, 2016.
    """
    return _forward(check.gelu_of(approximate), x, out)


def gelu_backward(dout: ArrayLike, x: ArrayLike, approximate: str = "none") -> NDArray:
    """Gradient of `gelu`: ``dout * (Phi(x) + x*phi(x))``, phi the normal density.

    Parameters
    ----------
    dout : array_like
    x : array_like, the shape of dout
        gelu's input.
    approximate : {"none", "tanh"}
        As given to `gelu`.

    Returns
    -------
    ndarray, the shape of dout

    Raises
    ------
    ValueError
        When `approximate` is neither of both.
    """
    return _backward(check.gelu_of(approximate), dout, x, "x")
