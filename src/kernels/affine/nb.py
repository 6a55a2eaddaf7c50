"""Matrix products on Numba: all of an affine map's are out[n, m] = sum over k of a[n, k] * b[k, m] with other strides.

Each task copies a panel of b's columns to the cache, DEPTH rows at a time, and sums them for a block of a's rows, which
are packed once a call. With few rows, there is nothing to gain by copies: then b is read once where it lies.
"""

import numpy as np
from numba import prange

from .._numba.jit import inline, kernel, share, workers_for
from .._numba.products import MOST_ROWS, SLACK_BYTES, multiply, pack, rows_of_tile
from .._numba.scratch import scratch
from .._numba.simd import VECTOR_BYTES
from .._numba.sums import dot, total_of_columns

DEPTH = 1024  # rows of a panel
HEIGHT = 128  # rows of a block of a
PANEL_BYTES = VECTOR_BYTES * 6  # of a panel's row
FEW = 4  # rows of a, or terms of a sum
FEW_DOTS = 16  # rows of a, when b is stored by its columns
NANOSECONDS = 0.02  # that one thread needs for a product


@inline
def _copy_panel(panel, b, start, row_step, column_step, rows, columns, pitch):
    """panel[k*pitch + j] = b[start + k*row_step + j*column_step], 0 from the last column on."""
    if columns < pitch:
        panel[: rows * pitch] = 0
    if column_step == 1:
        for k in range(rows):
            source, strip = b[start + k * row_step :], panel[k * pitch : k * pitch + columns]
            for j in range(strip.size):
                strip[j] = source[j]
    else:
        for block in range(0, rows, 16):  # rows whose cache lines stay in L1 while all columns are written
            for j in range(columns):
                for k in range(block, min(block + 16, rows)):
                    panel[k * pitch + j] = b[start + k * row_step + j * column_step]


@kernel
def _pack(workers, packed, a, sources, rows, row_step):
    tiles = (rows + MOST_ROWS - 1) // MOST_ROWS
    K = sources.size
    for worker in prange(workers):
        begin, end = share(worker, workers, tiles)
        first, last = begin * MOST_ROWS, min(end * MOST_ROWS, rows)
        pack(packed, first * K, a, first * row_step, row_step, last - first, sources, 0, K)


@kernel
def _product(workers, out, packed, b, row_step, column_step, bias, relu, offsets, depth, scratch):
    N, M = out.shape
    K = packed.size // N
    pitch = offsets[1]
    blocks, panels = (N + HEIGHT - 1) // HEIGHT, (M + pitch - 1) // pitch
    for worker in prange(workers):
        panel, y = scratch[worker, : depth * pitch], scratch[worker, depth * pitch :]
        begin, end = share(worker, workers, blocks * panels)
        for task in range(begin, end):
            first, left = task // panels * HEIGHT, task % panels * pitch
            rows, columns = min(HEIGHT, N - first), min(pitch, M - left)
            for start in range(0, K, depth):
                stop = min(start + depth, K)
                _copy_panel(
                    panel, b, start * row_step + left * column_step, row_step, column_step, stop - start, columns, pitch
                )
                n = 0
                while n < rows:
                    tile = rows_of_tile(N - first - n)
                    at = (first + n) * K + start * tile
                    multiply(y, n * pitch, pitch, tile, columns, panel, offsets, 0, stop - start, packed, at, start > 0)
                    n += tile
            for n in range(rows):
                source, result = y[n * pitch : n * pitch + columns], out[first + n, left : left + columns]
                shift = bias[left:]
                for j in range(columns):
                    value = source[j] + shift[j]
                    result[j] = type(value)(0) if relu and value <= 0 else value


@kernel
def _few_rows(workers, out, a, b, bias, relu):
    """out = a . b, a block of columns at a time: b is read once, in its own order."""
    N, M = out.shape
    K = b.shape[0]
    step = 4
    for worker in prange(workers):
        left, right = share(worker, workers, M)
        for n in range(N):
            out[n, left:right] = 0
        for start in range(0, K, step):
            for n in range(N):
                result = out[n, left:right]
                if start + step <= K:
                    a0, a1, a2, a3 = a[n, start], a[n, start + 1], a[n, start + 2], a[n, start + 3]
                    b0, b1 = b[start, left:right], b[start + 1, left:right]
                    b2, b3 = b[start + 2, left:right], b[start + 3, left:right]
                    for j in range(result.size):
                        result[j] += (a0 * b0[j] + a1 * b1[j]) + (a2 * b2[j] + a3 * b3[j])
                else:
                    for k in range(start, K):
                        factor, source = a[n, k], b[k, left:right]
                        for j in range(result.size):
                            result[j] += factor * source[j]
        for n in range(N):
            result, shift = out[n, left:right], bias[left:right]
            for j in range(result.size):
                value = result[j] + shift[j]
                result[j] = type(value)(0) if relu and value <= 0 else value


@kernel
def _few_rows_of_transposed(workers, out, a, b, bias, relu):
    """out = a . b^T for b stored by its columns."""
    N, M = out.shape
    for worker in prange(workers):
        left, right = share(worker, workers, M)
        for m in range(left, right):
            for n in range(N):
                value = dot(a[n], b[m]) + bias[m]
                out[n, m] = type(value)(0) if relu and value <= 0 else value


@kernel
def _column_sums(workers, out, a):
    M = out.size
    for worker in prange(workers):
        left, right = share(worker, workers, M)
        total_of_columns(out, a, left, right)


def _multiply(out, a, a_steps, b, b_steps, K, bias=None, relu=False):
    """out[n, m] = sum over k < K of a[n*a_steps[0] + k*a_steps[1]] * b[k*b_steps[0] + m*b_steps[1]], plus bias."""
    if out.size == 0:
        return
    N, M = out.shape
    dtype = out.dtype
    bias = np.zeros(M, dtype) if bias is None else bias
    if K == 0:
        out[...] = np.maximum(bias, 0) if relu else bias
        return
    workers = workers_for(NANOSECONDS * N * K * M)
    if N <= FEW_DOTS and a_steps[1] == 1 and b_steps[1] != 1:
        _few_rows_of_transposed(workers, out, a.reshape(N, K), b.reshape(M, K), bias, relu)
        return
    if (N <= FEW or K <= FEW) and b_steps[1] == 1:
        rows = a.reshape(N, K) if a_steps[1] == 1 else np.ascontiguousarray(a.reshape(K, N).T)
        _few_rows(workers, out, rows, b.reshape(K, M), bias, relu)
        return
    pitch, depth = PANEL_BYTES // dtype.itemsize, min(DEPTH, K)
    share = (depth + min(N, HEIGHT) + MOST_ROWS) * pitch + SLACK_BYTES // dtype.itemsize
    with scratch(N * K + workers * share, dtype) as memory:
        packed, shares = memory[: N * K], memory[N * K :].reshape(workers, share)
        _pack(workers, packed, a.reshape(-1), np.arange(K) * a_steps[1], N, a_steps[0])
        offsets = np.arange(max(depth, 2)) * pitch
        _product(workers, out, packed, b.reshape(-1), *b_steps, bias, relu, offsets, depth, shares)


def forward(out, x, w, b, p):
    _multiply(out, x, (p.K, 1), w, (1, p.K) if p.transposed else (p.M, 1), p.K, b, p.activation == "relu")


def backward_data(dx, dout, w, p):
    _multiply(dx, dout, (p.M, 1), w, (p.K, 1) if p.transposed else (1, p.M), p.M)


def backward_weights(dw, db, dout, x, p):
    if p.transposed:
        _multiply(dw, dout, (1, p.M), x, (p.K, 1), p.N)
    else:
        _multiply(dw, x, (1, p.K), dout, (p.M, 1), p.N)
    if db is not None:
        _column_sums(workers_for(0.3 * dout.size), db, dout)
