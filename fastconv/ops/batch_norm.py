"""Batch normalisation."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _layout as layouts
from .. import _memory as memory
from .._between import between
from .._device import ours
from .._dispatch import kernel
from .._problem import BatchNorm


@dataclass(slots=True)
class Cache:
    """What `batch_norm_backward` needs of the forward pass."""

    problem: BatchNorm
    x: NDArray
    gamma: NDArray | None
    has_beta: bool
    mean: NDArray
    inv_std: NDArray
    shape: tuple[int, ...] | None = None  # of images whose channels come last; x holds their pixels


def _or_filled(vector: NDArray | None, fill: float, p: BatchNorm) -> NDArray:
    return memory.filled(p.C, fill, p.arithmetic, p.device) if vector is None else vector


def batch_norm(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: NDArray | None,
    running_var: NDArray | None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    unbiased: bool = True,
    out: NDArray | None = None,
    layout: str = "NCHW",
) -> tuple[NDArray, Cache]:
    """``gamma * (x - mean) / sqrt(var + eps) + beta``, statistics per channel (PyTorch's semantics).

    When training, mean and (biased) var are the batch's, and the running statistics are updated in place:
    ``running = (1 - momentum)*running + momentum*batch``, with the unbiased variance unless told else. Otherwise
    they are the running statistics.

    Parameters
    ----------
    x : array_like (N, C) or (N, C, H, W)
    gamma, beta : array_like (C,) or None
        Scale and shift; None for 1 and 0. Also (1, C), (C, 1), (1, C, 1, 1), or a scalar for all channels.
    running_mean, running_var : ndarray (C,) or None
        Updated in place when training; both None to keep none (training only).
    training : bool
    momentum : float
        Weight of the batch in the running statistics (the book's momentum is 1 minus this); any number, as in PyTorch.
    eps : float
    activation : {None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu"}
        Applied to y: "relu" and "relu6" inside the compiled kernel, the others in a second pass behind it.
        `batch_norm_backward` begins before it: give it the gradient that the activation's own backward returns.
    unbiased : bool
        Whether the batch's variance in running_var is the unbiased one.
    out : ndarray, optional
        Receives y: the shape of x, a float dtype. If it shares memory with x, the cache keeps a copy of x.
    layout : {"NCHW", "NHWC"}
        "NHWC": x, y and out are (N, H, W, C), and so are dout and dx of `batch_norm_backward`.

    Returns
    -------
    y : ndarray, the shape of x
    cache : Cache
        For `batch_norm_backward`.

    Raises
    ------
    ValueError
        When shapes do not fit, when training on one value per channel, or without running statistics at inference.
    TypeError
        When an array is not of real numbers, or a running statistic cannot be updated in place.

    References
    ----------
    S. Ioffe and C. Szegedy, Batch Normalization, 2015.
    """
    if layout != "NCHW":
        rest = gamma, beta, running_mean, running_var, training, momentum, eps
        return _batch_norm_last(x, rest, {"activation": activation, "unbiased": unbiased}, out, layout)
    given = running_mean, running_var
    p, x, gamma, beta, *running = check.batch_norm(
        x, gamma, beta, *given, training, momentum, eps, unbiased, activation
    )
    if training and check.share_memory(given, (x, gamma, beta)):  # which are read after the statistics were written
        x = x.copy()
        gamma, beta = (a if a is None else a.copy() for a in (gamma, beta))
    scale, shift = _or_filled(gamma, 1, p), _or_filled(beta, 0, p)
    empty = memory.empty[p.device]
    if out is None:
        y, kept = empty(x.shape, p.dtype), x
    else:
        y = memory.result(out, x.shape, p.dtype, (x, gamma, beta, *running), p.device)
        kept = x.copy() if np.may_share_memory(out, x) else x
    if training:
        copies = running[0] is not running_mean or running[1] is not running_var
        if copies:
            running = [r if r is None or r.flags.writeable else r.copy() for r in running]
        per_channel = (p.C,), p.arithmetic
        if x.size:
            mean, inv_std = empty(*per_channel), empty(*per_channel)
            kernel("batch_norm_training", p)(y, mean, inv_std, x, scale, shift, *running, p)
            if copies:
                for statistic, updated in zip(given, running, strict=True):
                    if statistic is not None and updated is not statistic:
                        ours(statistic)[...] = updated
        else:
            mean, inv_std = (memory.filled(p.C, 0, p.arithmetic, p.device) for _ in range(2))
    else:
        mean, inv_std = running[0], between(running[1]).inverse_std(running[1], p.eps)
        kernel("batch_norm_inference", p)(y, x, scale, shift, *running, p)
    y = p.finish(y) if out is None else memory.deliver(out, y, p)
    return y, Cache(p, kept, gamma, beta is not None, mean, inv_std)


def _batch_norm_last(x: Any, rest: Any, options: Any, out: Any, layout: Any) -> tuple[NDArray, Cache]:
    """Every pixel is a row of channels."""
    layouts.is_last(layout)
    x = check.array("x", x, (2, 4))
    if 0 in x.shape[1:]:
        raise ValueError(f"x: only the batch may be of size zero, got shape {x.shape}")
    y, cache = batch_norm(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), *rest, **options)
    cache.shape, y = x.shape, y.reshape(x.shape)
    if out is not None:
        if isinstance(out, np.ndarray) and np.may_share_memory(out, cache.x):
            cache.x = cache.x.copy()
        layouts.delivered(out, y)
    return y if out is None else out, cache


def batch_norm_backward(dout: ArrayLike, cache: Cache) -> tuple[NDArray, NDArray | None, NDArray | None]:
    """Gradients of `batch_norm` with respect to x, gamma and beta.

    With ``x_hat = (x - mean)/sqrt(var + eps)`` and M values per channel: ``dbeta = sum dout``,
    ``dgamma = sum dout*x_hat``, ``dx = gamma/sqrt(var + eps) * (dout - dbeta/M - x_hat*dgamma/M)`` when training, and
    ``gamma/sqrt(var + eps) * dout`` at inference.

    Parameters
    ----------
    dout : array_like, the shape of x
    cache : Cache
        From `batch_norm`.

    Returns
    -------
    (dx, dgamma, dbeta)
        dgamma and dbeta (C,), or None where gamma, beta were None.

    Raises
    ------
    ValueError
        When dout does not have the shape of x.
    """
    if cache.shape is not None:
        dout = check.array("dout", dout)
        check.shape("dout", dout, cache.shape, "the shape of batch_norm's x")
        rows = dout.reshape(cache.x.shape)
        dx, dgamma, dbeta = batch_norm_backward(rows, replace(cache, shape=None))
        return dx.reshape(cache.shape), dgamma, dbeta
    p = cache.problem
    (dout,) = check.batch_norm_backward(dout, cache.x)
    empty, per_channel = memory.empty[p.device], ((p.C,), p.arithmetic)
    dx, dgamma, dbeta = empty(cache.x.shape, p.dtype), empty(*per_channel), empty(*per_channel)
    scale = _or_filled(cache.gamma, 1, p)
    kernel("batch_norm_backward", p)(dx, dgamma, dbeta, dout, cache.x, scale, cache.mean, cache.inv_std, p)
    return (
        p.finish(dx),
        None if cache.gamma is None else p.finish(dgamma),
        p.finish(dbeta) if cache.has_beta else None,
    )
