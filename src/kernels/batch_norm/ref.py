"""Batch normalisation over (N, C, P), statistics per channel C; the readable truth.

y = gamma * (x - mean) / sqrt(var + eps) + beta, var the biased variance over N and P when training.
running = (1 - momentum)*running + momentum*batch, with the unbiased variance (PyTorch's rule) unless told else.
Backward with x_hat = (x - mean)*inv_std and M = N*P:
  dbeta = sum dout, dgamma = sum dout*x_hat, dx = gamma*inv_std * (dout - dbeta/M - x_hat*dgamma/M)   (training)
  dx = gamma*inv_std * dout                                                                         (inference)
Source: S. Ioffe and C. Szegedy, Batch Normalization, 2015.
"""

import numpy as np
import numpy.typing as npt

from ..._problem import BatchNorm

Array = npt.NDArray[np.floating]


def _channels(x: Array, p: BatchNorm) -> Array:
    return x.reshape(p.N, p.C, p.P)


def training(
    out: Array,
    mean: Array,
    inv_std: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array | None,
    running_var: Array | None,
    p: BatchNorm,
) -> None:
    xc, y = _channels(x, p), _channels(out, p)
    exact = xc.astype(np.float64)
    batch_mean, batch_var = exact.mean(axis=(0, 2)), exact.var(axis=(0, 2))
    mean[...] = batch_mean
    inv_std[...] = 1 / np.sqrt(batch_var + p.eps)
    # The mean as it is, not as it is kept: of a large one, rounding takes more than the spread has.
    y[...] = (gamma * inv_std)[:, None] * (exact - batch_mean[:, None]) + beta[:, None]
    if running_mean is not None and running_var is not None:
        count = p.N * p.P
        running_mean += p.momentum * (batch_mean - running_mean)
        running_var += p.momentum * (batch_var * (count / (count - p.unbiased)) - running_var)


def inference(out: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, p: BatchNorm) -> None:
    inv_std = (1 / np.sqrt(var.astype(np.float64) + p.eps)).astype(p.dtype)
    _channels(out, p)[...] = (gamma * inv_std)[:, None] * (_channels(x, p) - mean[:, None]) + beta[:, None]


def backward(
    dx: Array,
    dgamma: Array,
    dbeta: Array,
    dout: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    inv_std: Array,
    p: BatchNorm,
) -> None:
    dy = _channels(dout, p)
    x_hat = (_channels(x, p) - mean[:, None]) * inv_std[:, None]
    dbeta[...] = dy.sum(axis=(0, 2))
    dgamma[...] = (dy * x_hat).sum(axis=(0, 2))
    if p.training:
        count = max(p.N * p.P, 1)
        dy = dy - (dbeta / count)[:, None] - x_hat * (dgamma / count)[:, None]
    _channels(dx, p)[...] = (gamma * inv_std)[:, None] * dy
