"""Normalisations besides the batch's: local response, and layer, group and instance normalisation."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel, straight
from .._problem import BatchNorm
from .batch_norm import batch_norm


@straight(check.local_response_norm, "local_response_forward")
def local_response_norm(
    x: ArrayLike, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, out: NDArray | None = None
) -> NDArray:
    """``x / (k + alpha/size * sum of x**2 over size neighbouring channels)**beta`` (PyTorch's formula).

    Parameters
    ----------
    x : array_like (N, C, ...)
    size : int
        Channels in a window: those from ``c - size//2`` to ``c + (size - 1)//2``, as far as there are any.
    alpha, beta, k : float
    out : ndarray, optional
        Receives the result: the shape of x, a float dtype.

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError, TypeError
        When x has less than two axes, or a number is of the wrong kind.

    References
    ----------
    A. Krizhevsky, I. Sutskever and G. Hinton, ImageNet Classification with Deep Convolutional Neural Networks, 2012.
    """
    p, x = check.local_response_norm(x, size, alpha, beta, k)
    y = memory.result(out, x.shape, p.dtype, (x,), p.device)
    kernel("local_response_forward", p)(y, x, p)
    return memory.deliver(out, y, p)


def local_response_norm_backward(
    dout: ArrayLike, x: ArrayLike, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> NDArray:
    """Gradient of `local_response_norm`.

    With s the base of the power: ``dout * s**-beta - 2*alpha*beta/size * x * sum of dout*x*s**(-beta - 1)``, summed
    over the channels whose windows hold this one.

    Parameters
    ----------
    dout : array_like, the shape of x
    x, size, alpha, beta, k
        As given to `local_response_norm`.

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError, TypeError
        As `local_response_norm`; also when dout does not have the shape of x.
    """
    p, dout, x = check.local_response_norm_backward(dout, x, size, alpha, beta, k)
    dx = memory.empty[p.device](x.shape, p.dtype)
    kernel("local_response_backward", p)(dx, dout, x, p)
    return p.finish(dx)


def _normalised(update: Any, p: BatchNorm, scaled: BatchNorm, x: NDArray, weight: Any, bias: Any) -> NDArray:
    """The rows of p normalised, then times weight, plus bias, for each channel of `scaled`: batch_norm's kernels.

    update : callable or None
        Takes the mean and the unbiased variance of each row.
    """
    empty, filled = memory.empty[p.device], memory.filled
    y = empty(x.shape, p.dtype)
    if not x.size:
        return p.finish(y)
    rows = (p.C,), p.arithmetic
    ones, zeros = (filled(p.C, value, p.arithmetic, p.device) for value in (1.0, 0.0))
    statistics = (None, None) if update is None else (np.zeros(*rows), np.zeros(*rows))
    kernel("batch_norm_training", p)(y, empty(*rows), empty(*rows), x, ones, zeros, *statistics, p)
    if update is not None:
        update(*statistics)
    if weight is not None or bias is not None:
        one, zero = (filled(scaled.C, value, p.arithmetic, p.device) for value in (1.0, 0.0))
        scale, shift = one if weight is None else weight, zero if bias is None else bias
        kernel("batch_norm_inference", scaled)(y, y, scale, shift, zero, one, scaled)
    return p.finish(y)


def layer_norm(
    x: ArrayLike,
    normalized_shape: int | tuple[int, ...],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> NDArray:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, statistics over the last axes (PyTorch's arguments).

    Parameters
    ----------
    x : array_like (...,) + normalized_shape
    normalized_shape : int or tuple of int
        The last sizes of x, over which mean and (biased) variance are taken.
    weight, bias : array_like of normalized_shape, optional
    eps : float

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit, or an array is not of real numbers.

    References
    ----------
    J. Ba, J. Kiros and G. Hinton, Layer Normalization, 2016.
    """
    return _normalised(None, *check.layer_norm(x, normalized_shape, weight, bias, eps))


def group_norm(
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> NDArray:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, statistics over groups of channels of each image.

    Parameters
    ----------
    x : array_like (N, C, ...)
    num_groups : int
        A divisor of C.
    weight, bias : array_like (C,), optional
        As batch_norm's gamma and beta.
    eps : float

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit, or an array is not of real numbers.

    References
    ----------
    Y. Wu and K. He, Group Normalization, 2018.
    """
    return _normalised(None, *check.group_norm(x, num_groups, weight, bias, eps))


def instance_norm(
    x: ArrayLike,
    running_mean: NDArray | None = None,
    running_var: NDArray | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> NDArray:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, statistics over each plane (PyTorch's arguments).

    Parameters
    ----------
    x : array_like (N, C, ...)
    running_mean, running_var : ndarray (C,), optional
        Updated in place with the images' mean of mean and of (unbiased) variance; with use_input_stats False they are
        the statistics.
    weight, bias : array_like (C,), optional
        As batch_norm's gamma and beta.
    use_input_stats : bool
    momentum : float
        Weight of the batch in the running statistics.
    eps : float

    Returns
    -------
    ndarray, the shape of x

    Raises
    ------
    ValueError
        When the shapes do not fit, or a plane has a single value.
    TypeError
        When an array is not of real numbers, or a running statistic cannot be updated in place.

    References
    ----------
    D. Ulyanov, A. Vedaldi and V. Lempitsky, Instance Normalization, 2016.
    """
    checked, momentum = check.instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    if not use_input_stats:
        p, dense = checked[1], checked[2]
        y, _ = batch_norm(dense.reshape(p.N, p.C, p.P, 1), weight, bias, running_mean, running_var, eps=eps)
        return y.reshape(dense.shape)
    if running_mean is None or running_var is None:
        return _normalised(None, *checked)

    def update(mean: NDArray, var: NDArray) -> None:
        for running, found in ((running_mean, mean), (running_var, var)):
            running += momentum * (found.reshape(-1, len(running)).mean(axis=0, dtype=np.float64) - running)

    return _normalised(update, replace(checked[0], momentum=1.0), *checked[1:])
