"""Affine maps: the book's x . W + b, and PyTorch's linear with the transposed weight."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel, straight
from .._problem import Affine

Gradients = tuple[NDArray | None, NDArray | None, NDArray | None]


@straight(check.affine, "affine_forward")
def affine(
    x: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    *,
    activation: str | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """``x @ W + b``.

    Parameters
    ----------
    x : array_like (N, in), (in,), or (N, ...) with trailing sizes that multiply to in
    W : array_like (in, out)
    b : array_like (out,), optional
        Also (1, out), (out, 1), or a scalar for all.
    activation : {None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu"}
        Applied to the result, as by `conv2d`.
    out : ndarray, optional
        Receives the result: the result's shape, a float dtype.

    Returns
    -------
    ndarray (N, out) or (out,)

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit, or an array is not of real numbers.
    """
    return _forward(out, *check.affine(x, W, b, activation))


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> NDArray:
    """``x @ weight.T + bias`` with PyTorch's weight layout (out, in).

    Parameters
    ----------
    x : array_like (..., in)
    weight : array_like (out, in)
    bias : array_like (out,), optional

    Returns
    -------
    ndarray (..., out)

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit, or an array is not of real numbers.
    """
    x, leading = check.leading_axes(x, weight)
    y = _forward(None, *check.affine(x, weight, bias, None, True, ("weight", "bias")))
    return y.reshape(*leading, y.shape[-1])


def _forward(out: NDArray | None, p: Affine, x: NDArray, w: NDArray, b: NDArray | None) -> NDArray:
    y = memory.result(memory.batched(out, p), (p.N, p.M), p.dtype, (x, w, b), p.device)
    kernel("affine_forward", p)(y, x, w, b, p)
    return memory.deliver(out, y, p)


def affine_backward(
    dout: ArrayLike, x: ArrayLike, W: ArrayLike, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> Gradients:
    """Gradients of `affine`: ``dx = dout @ W.T``, ``dW = x.T @ dout``, ``db = sum over n of dout``.

    Parameters
    ----------
    dout : array_like (N, out) or (out,)
    x, W
        As given to `affine`.
    needs : three bools
        Which of (dx, dW, db) to compute.

    Returns
    -------
    (dx, dW, db)
        With the shapes of x, W and b; None where not needed.

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit.
    """
    shape = getattr(x, "shape", None)
    return _backward(shape, *check.affine_backward(dout, x, W, needs))


def linear_backward(
    dout: ArrayLike, x: ArrayLike, weight: ArrayLike, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> Gradients:
    """Gradients of `linear`: ``dx = dout @ weight``, ``dweight = dout.T @ x``, ``dbias = sum over rows of dout``.

    Parameters
    ----------
    dout : array_like (..., out)
    x, weight
        As given to `linear`.
    needs : three bools
        Which of (dx, dweight, dbias) to compute.

    Returns
    -------
    (dx, dweight, dbias)
        With the shapes of x, weight and bias; None where not needed.

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit.
    """
    x, leading = check.leading_axes(x, weight)
    dout, _ = check.leading_axes(dout, None, "dout")
    rows = check.affine_backward(dout, x, weight, needs, True, ("weight", "bias"))
    return _backward((*leading, x.shape[-1]), *rows)


def _backward(x_shape: Any, p: Affine, dout: NDArray, x: NDArray, w: NDArray, needs: Any) -> Gradients:
    dx = dw = db = None
    if needs[0]:
        dx = memory.empty[p.device]((p.N, p.K), p.dtype)
        kernel("affine_backward_data", p)(dx, dout, w, p)
        dx = p.finish(dx)
        dx = dx if x_shape is None else dx.reshape(x_shape)
    if needs[1] or needs[2]:
        dw = memory.empty[p.device](w.shape, p.dtype)
        db = memory.empty[p.device]((p.M,), p.dtype) if needs[2] else None
        kernel("affine_backward_weights", p)(dw, db, dout, x, p)
        dw = p.give(dw.astype(p.result_dtype, copy=False)) if needs[1] else None
        db = None if db is None else p.give(db.astype(p.result_dtype, copy=False))
    return dx, dw, db
