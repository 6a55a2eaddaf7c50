"""Local response normalisation on Numba. The formulas are in ref.py."""

import numpy as np
from numba import prange

from .._numba.jit import inline, kernel, share, workers_for

NANOSECONDS = 10.0  # that one thread needs for an element: most of it for the power


@inline
def _scale(x, c, i, before, after, factor, k):
    total = type(x[0, 0])(0)
    for d in range(max(c - before, 0), min(c + after + 1, x.shape[0])):
        total += x[d, i] * x[d, i]
    return k + factor * total


@kernel
def _forward(workers, out, x, size, factor, beta, k):
    N, C, P = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, N * C)
        for plane in range(begin, end):
            n, c = plane // C, plane % C
            for i in range(P):
                s = _scale(x[n], c, i, size // 2, (size - 1) // 2, factor, k)
                out[n, c, i] = x[n, c, i] * s**-beta


@kernel
def _shares(workers, shares, dx, dout, x, size, factor, beta, k):
    """dout * s^-beta, and x/s times it."""
    N, C, P = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, N * C)
        for plane in range(begin, end):
            n, c = plane // C, plane % C
            for i in range(P):
                s = _scale(x[n], c, i, size // 2, (size - 1) // 2, factor, k)
                scaled = dout[n, c, i] * s**-beta
                dx[n, c, i] = scaled
                shares[n, c, i] = x[n, c, i] * scaled / s


@kernel
def _gather(workers, dx, shares, x, size, factor):
    N, C, P = x.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, N * C)
        for plane in range(begin, end):
            n, c = plane // C, plane % C
            for i in range(P):
                total = type(x[n, c, i])(0)
                for d in range(max(c - (size - 1) // 2, 0), min(c + size // 2 + 1, C)):
                    total += shares[n, d, i]
                dx[n, c, i] -= factor * x[n, c, i] * total


def _numbers(p):
    T = p.dtype.type
    return p.size, T(p.alpha / p.size), T(p.beta), T(p.k)


def _shaped(p, *arrays):
    return tuple(a.reshape(p.N, p.C, p.P) for a in arrays)


def forward(out, x, p):
    _forward(workers_for(NANOSECONDS * x.size), *_shaped(p, out, x), *_numbers(p))


def backward(dx, dout, x, p):
    workers = workers_for(NANOSECONDS * x.size)
    result, dy, source = _shaped(p, dx, dout, x)
    shares = np.empty_like(source)
    _shares(workers, shares, result, dy, source, *_numbers(p))
    _gather(workers, result, shares, source, p.size, p.dtype.type(2 * p.alpha * p.beta / p.size))
