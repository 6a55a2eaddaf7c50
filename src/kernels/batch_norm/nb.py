"""Batch normalisation over (N, C, P) on Numba. The formulas are in ref.py.

Statistics are summed in double, of what the numbers differ from their channel's first one by: one pass over the memory,
and no digits lost to a large mean. (To Numba, float() of a float32 is a float32: np.float64() converts.) A channel's
planes stay in the L2 cache between the sums and the result. Columns (P is 1) are summed side by side instead.
"""

import math

import numpy as np
from numba import prange

from .._numba.jit import inline, kernel, share, workers_for
from .._numba.sums import deviations, total_and_dot, total_and_dot_in_double

NANOSECONDS = 0.5  # that one thread needs for an element


@inline
def _statistics(mean, inv_std, running_mean, running_var, c, count, pivot, first, second, eps, momentum, unbiased):
    """Channel c's results, from the sum and the sum of squares of the deviations from the pivot. Returns what its mean
    loses when it is stored: of a large one, more than the spread may have."""
    shift = first / count
    batch_mean, batch_var = pivot + shift, max(second / count - shift * shift, 0.0)
    if math.isnan(second):
        batch_var = math.nan
    mean[c] = batch_mean
    inv_std[c] = 1 / math.sqrt(batch_var + eps)
    if running_mean.size:
        running_mean[c] += momentum * (batch_mean - running_mean[c])
        running_var[c] += momentum * (batch_var * (count / (count - unbiased)) - running_var[c])
    return batch_mean - mean[c]


@kernel
def _training(workers, out, mean, inv_std, x, gamma, beta, running_mean, running_var, eps, momentum, unbiased):
    N, C, P = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, C)
        for c in range(begin, end):
            pivot, first, second = np.float64(x[0, c, 0]), 0.0, 0.0
            for n in range(N):
                one, two = deviations(x[n, c], pivot)
                first += one
                second += two
            lost = _statistics(
                mean, inv_std, running_mean, running_var, c, N * P, pivot, first, second, eps, momentum, unbiased
            )
            scale, center = gamma[c] * inv_std[c], mean[c]
            shift = type(center)(beta[c] - scale * lost)
            for n in range(N):
                source, result = x[n, c], out[n, c]
                for i in range(P):
                    result[i] = scale * (source[i] - center) + shift


@kernel
def _training_columns(workers, out, mean, inv_std, x, gamma, beta, running_mean, running_var, eps, momentum, unbiased):
    N, C = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, C)
        first, second, scale = np.zeros(end - begin), np.zeros(end - begin), np.empty(end - begin, x.dtype)
        shift, pivot, center = np.empty(end - begin, x.dtype), x[0, begin:end], mean[begin:end]
        for n in range(N):
            source = x[n, begin:end]
            for i in range(source.size):
                d = np.float64(source[i]) - np.float64(pivot[i])
                first[i] += d
                second[i] += d * d
        for i in range(scale.size):
            c = begin + i
            lost = _statistics(
                mean,
                inv_std,
                running_mean,
                running_var,
                c,
                N,
                np.float64(pivot[i]),
                first[i],
                second[i],
                eps,
                momentum,
                unbiased,
            )
            scale[i] = gamma[c] * inv_std[c]
            shift[i] = beta[c] - scale[i] * lost
        for n in range(N):
            source, result = x[n, begin:end], out[n, begin:end]
            for i in range(source.size):
                result[i] = scale[i] * (source[i] - center[i]) + shift[i]


@kernel
def _inference(workers, out, x, scale, center, shift):
    N, C, P = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, N * C)
        for plane in range(begin, end):
            source, result, c = x[plane // C, plane % C], out[plane // C, plane % C], plane % C
            a, b, d = scale[c], center[c], shift[c]
            for i in range(P):
                result[i] = a * (source[i] - b) + d


@kernel
def _inference_columns(workers, out, x, scale, center, shift):
    N, C = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, N)
        for n in range(begin, end):
            for c in range(C):
                out[n, c] = scale[c] * (x[n, c] - center[c]) + shift[c]


@kernel
def _backward(workers, dx, dgamma, dbeta, dout, x, gamma, mean, inv_std, training):
    N, C, P = x.shape
    count = type(mean[0])(N * P)
    for worker in prange(workers):
        begin, end = share(worker, workers, C)
        for c in range(begin, end):
            first, second = 0.0, 0.0
            for n in range(N):
                one, two = total_and_dot(dout[n, c], x[n, c], mean[c])
                if not math.isfinite(two):
                    one, two = total_and_dot_in_double(dout[n, c], x[n, c], mean[c])
                first += one
                second += two
            dbeta[c] = first
            dgamma[c] = second * inv_std[c]
            scale, center, std = gamma[c] * inv_std[c], mean[c], inv_std[c]
            if training:
                lift, slope = dbeta[c] / count, std * (dgamma[c] / count)
                for n in range(N):
                    dy, source, result = dout[n, c], x[n, c], dx[n, c]
                    for i in range(P):
                        result[i] = scale * (dy[i] - lift - (source[i] - center) * slope)
            else:
                for n in range(N):
                    dy, result = dout[n, c], dx[n, c]
                    for i in range(P):
                        result[i] = scale * dy[i]


@kernel
def _backward_columns(workers, dx, dgamma, dbeta, dout, x, gamma, mean, inv_std, training):
    N, C = x.shape
    count = type(mean[0])(N)
    for worker in prange(workers):
        begin, end = share(worker, workers, C)
        first, second = np.zeros(end - begin), np.zeros(end - begin)
        center, std = mean[begin:end], inv_std[begin:end]
        for n in range(N):
            dy, source = dout[n, begin:end], x[n, begin:end]
            for i in range(dy.size):
                first[i] += dy[i]
                second[i] += np.float64(dy[i]) * (source[i] - center[i])
        scale, lift, slope = np.empty_like(center), np.zeros_like(center), np.zeros_like(center)
        for i in range(scale.size):
            c = begin + i
            dbeta[c] = first[i]
            dgamma[c] = second[i] * std[i]
            scale[i] = gamma[c] * std[i]
            if training:
                lift[i], slope[i] = dbeta[c] / count, std[i] * (dgamma[c] / count)
        for n in range(N):
            dy, source, result = dout[n, begin:end], x[n, begin:end], dx[n, begin:end]
            for i in range(dy.size):
                step = dy[i] - lift[i] - (source[i] - center[i]) * slope[i] if training else dy[i]
                result[i] = scale[i] * step


def _shaped(p, *arrays):
    """The arrays as (N, C, P), or (N, C) when P is 1."""
    return tuple(a.reshape((p.N, p.C) if p.P == 1 else (p.N, p.C, p.P)) for a in arrays)


def training(out, mean, inv_std, x, gamma, beta, running_mean, running_var, p):
    nothing = np.empty(0, p.dtype)
    running = (running_mean, running_var) if running_mean is not None else (nothing, nothing)
    y, source = _shaped(p, out, x)
    run = _training_columns if p.P == 1 else _training
    workers = workers_for(NANOSECONDS * x.size)
    run(workers, y, mean, inv_std, source, gamma, beta, *running, float(p.eps), float(p.momentum), int(p.unbiased))


def inference(out, x, gamma, beta, mean, var, p):
    scale = gamma * (1 / np.sqrt(var.astype(np.float64) + p.eps)).astype(p.dtype)
    run = _inference_columns if p.P == 1 else _inference
    run(workers_for(0.3 * x.size), *_shaped(p, out, x), scale, mean, beta)


def backward(dx, dgamma, dbeta, dout, x, gamma, mean, inv_std, p):
    result, dy, source = _shaped(p, dx, dout, x)
    run = _backward_columns if p.P == 1 else _backward
    run(workers_for(NANOSECONDS * x.size), result, dgamma, dbeta, dy, source, gamma, mean, inv_std, p.training)
