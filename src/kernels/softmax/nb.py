"""Softmax along the middle axis of (outer, n, inner), and its cross entropy, on Numba. The formulas are in ref.py.

Lines that are contiguous (inner is 1) are taken one at a time, but their exponentials BLOCK at a time, since a line of
ten classes would fill no vector. Others are taken BLOCK columns side by side.
"""

import math

import numpy as np
from numba import prange

from .._numba.elementary import exp
from .._numba.jit import inline, kernel, share, workers_for
from .._numba.sums import dot, largest, total, total_of_exp

BLOCK = 512  # numbers
NANOSECONDS = 1.2  # that one thread needs for an element


@inline
def _shift(out, x):
    """out = x - max(x)"""
    most = largest(x)
    for i in range(x.size):
        out[i] = x[i] - most


@inline
def _exponentials(out, x, n):
    """Lines of n: out = exp(x - max(x)), not yet divided."""
    for begin in range(0, x.size, n):
        _shift(out[begin : begin + n], x[begin : begin + n])
    for i in range(out.size):
        out[i] = exp(out[i])


@inline
def _lines_per_block(n):
    return max(1, BLOCK // n)


@kernel
def _forward(workers, out, x, lines, n):
    for worker in prange(workers):
        first, last = share(worker, workers, lines)
        step = _lines_per_block(n)
        for line in range(first, last, step):
            begin, end = line * n, min(line + step, last) * n
            _exponentials(out[begin:end], x[begin:end], n)
            for at in range(begin, end, n):
                y = out[at : at + n]
                scale = type(y[0])(1) / total(y)
                for i in range(n):
                    y[i] *= scale


@kernel
def _log_forward(workers, out, x, lines, n):
    for worker in prange(workers):
        first, last = share(worker, workers, lines)
        for line in range(first, last):
            y = out[line * n : (line + 1) * n]
            _shift(y, x[line * n : (line + 1) * n])
            log = math.log(total_of_exp(y))
            for i in range(n):
                y[i] -= log


@kernel
def _backward(workers, dx, dout, y, lines, n):
    for worker in prange(workers):
        first, last = share(worker, workers, lines)
        for line in range(first, last):
            begin, end = line * n, (line + 1) * n
            dy, yr, result = dout[begin:end], y[begin:end], dx[begin:end]
            mean = dot(dy, yr)
            for i in range(n):
                result[i] = yr[i] * (dy[i] - mean)


@kernel
def _log_backward(workers, dx, dout, y, lines, n):
    for worker in prange(workers):
        first, last = share(worker, workers, lines)
        for line in range(first, last):
            begin, end = line * n, (line + 1) * n
            dy, yr, result = dout[begin:end], y[begin:end], dx[begin:end]
            weight = total(dy)
            for i in range(n):
                result[i] = dy[i] - exp(yr[i]) * weight


@kernel
def _forward_columns(workers, out, x, log):
    outer, n, inner = x.shape
    blocks = (inner + BLOCK - 1) // BLOCK
    for worker in prange(workers):
        most, sums = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
        first, last = share(worker, workers, outer * blocks)
        for task in range(first, last):
            left = task % blocks * BLOCK
            source, result = x[task // blocks, :, left : left + BLOCK], out[task // blocks, :, left : left + BLOCK]
            width = source.shape[1]
            most[:width] = -math.inf
            sums[:width] = 0
            for k in range(n):
                for i in range(width):
                    most[i] = source[k, i] if source[k, i] > most[i] else most[i]
            for k in range(n):
                for i in range(width):
                    shifted = source[k, i] - most[i]
                    power = exp(shifted)
                    sums[i] += power
                    result[k, i] = shifted if log else power
            for i in range(width):
                sums[i] = math.log(sums[i]) if log else type(sums[i])(1) / sums[i]
            for k in range(n):
                for i in range(width):
                    result[k, i] = result[k, i] - sums[i] if log else result[k, i] * sums[i]


@kernel
def _backward_columns(workers, dx, dout, y, log):
    outer, n, inner = y.shape
    blocks = (inner + BLOCK - 1) // BLOCK
    for worker in prange(workers):
        sums = np.empty(BLOCK, y.dtype)
        first, last = share(worker, workers, outer * blocks)
        for task in range(first, last):
            line, left = task // blocks, task % blocks * BLOCK
            dy, yr = dout[line, :, left : left + BLOCK], y[line, :, left : left + BLOCK]
            result = dx[line, :, left : left + BLOCK]
            width = dy.shape[1]
            sums[:width] = 0
            for k in range(n):
                for i in range(width):
                    sums[i] += dy[k, i] if log else dy[k, i] * yr[k, i]
            for k in range(n):
                for i in range(width):
                    result[k, i] = dy[k, i] - exp(yr[k, i]) * sums[i] if log else yr[k, i] * (dy[k, i] - sums[i])


@inline
def _row_of_softmax(y, x):
    """y = softmax(x); returns (the maximum of x, the sum of the exponentials)."""
    most = largest(x)
    sums = total(y)
    scale = type(y[0])(1) / sums
    for i in range(y.size):
        y[i] *= scale
    return most, sums


@kernel
def _cross_entropy_labels(workers, out, losses, x, t, offset):
    N, C = x.shape
    flat, source = out.reshape(-1), x.reshape(-1)
    for worker in prange(workers):
        first, last = share(worker, workers, N)
        step = _lines_per_block(C)
        for line in range(first, last, step):
            _exponentials(flat[line * C : min(line + step, last) * C], source[line * C : min(line + step, last) * C], C)
            for n in range(line, min(line + step, last)):
                most, sums = _row_of_softmax(out[n], x[n])
                if offset > 0:
                    losses[n] = -math.log(float(out[n, t[n]]) + offset)
                else:
                    losses[n] = math.log(sums) - (x[n, t[n]] - most)


@kernel
def _cross_entropy_targets(workers, out, losses, x, t, offset):
    N, C = x.shape
    flat, source = out.reshape(-1), x.reshape(-1)
    for worker in prange(workers):
        first, last = share(worker, workers, N)
        step = _lines_per_block(C)
        for line in range(first, last, step):
            _exponentials(flat[line * C : min(line + step, last) * C], source[line * C : min(line + step, last) * C], C)
            for n in range(line, min(line + step, last)):
                most, sums = _row_of_softmax(out[n], x[n])
                log = math.log(sums)
                loss = 0.0
                for i in range(C):
                    if t[n, i] != 0:
                        minus_log = -math.log(float(out[n, i]) + offset) if offset > 0 else log - (x[n, i] - most)
                        loss += t[n, i] * minus_log
                losses[n] = loss


@kernel
def _cross_entropy_labels_backward(workers, dx, y, t):
    N, C = y.shape
    count = type(y[0, 0])(N)
    for worker in prange(workers):
        first, last = share(worker, workers, N)
        for n in range(first, last):
            for i in range(C):
                dx[n, i] = y[n, i] / count
            dx[n, t[n]] = (y[n, t[n]] - type(count)(1)) / count


@kernel
def _cross_entropy_targets_backward(workers, dx, y, t):
    N, C = y.shape
    count = type(y[0, 0])(N)
    for worker in prange(workers):
        first, last = share(worker, workers, N)
        for n in range(first, last):
            weight = total(t[n])
            for i in range(C):
                dx[n, i] = (y[n, i] * weight - t[n, i]) / count


def _run(lines, columns, arrays, p, log):
    """One of two kernels: for contiguous lines, or for lines side by side."""
    workers = workers_for(NANOSECONDS * p.outer * p.n * p.inner)
    if p.outer * p.n * p.inner == 0:
        return
    if p.inner == 1:
        lines(workers, *(a.reshape(-1) for a in arrays), p.outer, p.n)
    else:
        columns(workers, *(a.reshape(p.outer, p.n, p.inner) for a in arrays), log)


def forward(out, x, p):
    _run(_forward, _forward_columns, (out, x), p, False)


def log_forward(out, x, p):
    _run(_log_forward, _forward_columns, (out, x), p, True)


def backward(dx, dout, y, p):
    _run(_backward, _backward_columns, (dx, dout, y), p, False)


def log_backward(dx, dout, y, p):
    _run(_log_backward, _backward_columns, (dx, dout, y), p, True)


def cross_entropy_forward(out, x, t, p):
    if p.N == 0:
        return math.nan
    losses = np.empty(p.N)
    run = _cross_entropy_labels if p.labels else _cross_entropy_targets
    run(workers_for(NANOSECONDS * x.size), out, losses, x, t, p.offset)
    return float(losses.sum() / p.N)


def cross_entropy_backward(dx, y, t, p):
    if y.size == 0:
        return
    run = _cross_entropy_labels_backward if p.labels else _cross_entropy_targets_backward
    run(workers_for(0.3 * y.size), dx, y, t)
