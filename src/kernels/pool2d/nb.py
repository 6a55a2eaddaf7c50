"""Pooling on Numba: a vector of a row's results at a time, tap by tap. The rules are in ref.py.

Rows are short: vectors with lanes left out (_numba/vectors.py) take their ends, and the padding's.
"""

import math
from functools import lru_cache

import numpy as np
from numba import prange

from .._numba.jit import inline, kernel, share, workers_for
from .._numba.vectors import (
    add,
    add_at,
    choose,
    divide,
    is_larger,
    lanes_inside,
    lanes_of,
    load,
    load_positions,
    spread,
    steps,
    store,
)

NANOSECONDS = 0.15  # that one thread needs for a tap of a window
SCATTER = 1.5  # and for one of max_backward's additions


@inline
def _inside(start, extent, taps, dilation):
    """(first, last): which of the taps start + t*dilation are inside of [0, extent)."""
    first, last = 0, 0
    if start < 0:
        first = -start if dilation == 1 else (dilation - 1 - start) // dilation
    if start < extent:
        last = extent - start if dilation == 1 else (extent - start + dilation - 1) // dilation
    return min(first, taps), min(last, taps)


@kernel
def _max_forward(workers, out, indices, x, starts, FH, FW, stride_h, stride_w, top, left, dilation_h, dilation_w):
    planes, H, W = x.shape
    OH, OW = out.shape[1:]
    L, numbers, results, positions = lanes_of(x), x.reshape(-1), out.reshape(-1), indices.reshape(-1)
    for worker in prange(workers):
        begin, end = share(worker, workers, planes * OH)
        least = x.dtype.type(-math.inf)
        for row in range(begin, end):
            i, image = row % OH, row // OH * H * W
            first_u, last_u = _inside(i * stride_h - top, H, FH, dilation_h)
            for j in range(0, OW, L):
                count = min(L, OW - j)
                best = spread(least, x)
                index = load_positions(starts, i * OW + j, count, x)
                # Columns that the last of these windows sees from its first tap on, and the first one up to its last.
                first_v = _inside((j + count - 1) * stride_w - left, W, FW, dilation_w)[0]
                last_v = _inside(j * stride_w - left, W, FW, dilation_w)[1]
                for u in range(first_u, last_u):
                    h = i * stride_h + u * dilation_h - top
                    for v in range(first_v, last_v):
                        shift = v * dilation_w - left
                        lo, hi = lanes_inside(j * stride_w + shift, stride_w, W, count)
                        at = h * W + j * stride_w + shift
                        value = load(numbers, image + at, stride_w, lo, hi, least)
                        larger = is_larger(value, best)
                        best = choose(larger, value, best)
                        index = choose(larger, steps(at, stride_w, x), index)
                store(results, row * OW + j, best, count)
                store(positions, row * OW + j, index, count)


@kernel
def _max_backward(workers, dx, dout, indices, wrong):
    planes, size = dx.shape
    for worker in prange(workers):
        begin, end = share(worker, workers, planes)
        outside = 0
        for plane in range(begin, end):
            result, dy, index = dx[plane], dout[plane], indices[plane]
            result[:] = 0
            for i in range(dy.size):
                if index[i] >= 0 and index[i] < size:
                    result[index[i]] += dy[i]
                else:
                    outside += 1
        wrong[worker] = outside


@kernel
def _max_shared_backward(workers, dx, dout, x, y, K):
    planes, OH, OW = y.shape
    zero = x.dtype.type(0)
    for worker in prange(workers):
        begin, end = share(worker, workers, planes * OH)
        for row in range(begin, end):
            n, i = row // OH, row % OH
            for j in range(OW):
                maximum, count = y[n, i, j], zero
                for u in range(i * K, i * K + K):
                    for v in range(j * K, j * K + K):
                        if x[n, u, v] == maximum:
                            count += 1
                shared, none = dout[n, i, j] / count, zero / count
                for u in range(i * K, i * K + K):
                    for v in range(j * K, j * K + K):
                        dx[n, u, v] = shared if x[n, u, v] == maximum else none


@kernel
def _avg_forward(workers, out, x, divisors, FH, FW, stride_h, stride_w, top, left):
    planes, H, W = x.shape
    OH, OW = out.shape[1:]
    L, numbers, results, parts = lanes_of(x), x.reshape(-1), out.reshape(-1), divisors.reshape(-1)
    for worker in prange(workers):
        begin, end = share(worker, workers, planes * OH)
        zero, one = x.dtype.type(0), x.dtype.type(1)
        for row in range(begin, end):
            i, image = row % OH, row // OH * H * W
            first_u, last_u = _inside(i * stride_h - top, H, FH, 1)
            for j in range(0, OW, L):
                count = min(L, OW - j)
                sums = spread(zero, x)
                first_v = _inside((j + count - 1) * stride_w - left, W, FW, 1)[0]
                last_v = _inside(j * stride_w - left, W, FW, 1)[1]
                for u in range(first_u, last_u):
                    h = i * stride_h + u - top
                    for v in range(first_v, last_v):
                        lo, hi = lanes_inside(j * stride_w + v - left, stride_w, W, count)
                        at = image + h * W + j * stride_w + v - left
                        sums = add(sums, load(numbers, at, stride_w, lo, hi, zero))
                store(results, row * OW + j, divide(sums, load(parts, i * OW + j, 1, 0, count, one)), count)


@kernel
def _avg_backward(workers, dx, dout, divisors, FH, FW, stride_h, stride_w, top, left):
    planes, H, W = dx.shape
    OH, OW = dout.shape[1:]
    L, numbers, slopes, parts = lanes_of(dx), dx.reshape(-1), dout.reshape(-1), divisors.reshape(-1)
    for worker in prange(workers):
        begin, end = share(worker, workers, planes)
        zero, one = dx.dtype.type(0), dx.dtype.type(1)
        for plane in range(begin, end):
            image = plane * H * W
            numbers[image : image + H * W] = 0
            for i in range(OH):
                first_u, last_u = _inside(i * stride_h - top, H, FH, 1)
                for j in range(0, OW, L):
                    count = min(L, OW - j)
                    first_v = _inside((j + count - 1) * stride_w - left, W, FW, 1)[0]
                    last_v = _inside(j * stride_w - left, W, FW, 1)[1]
                    dy = load(slopes, (plane * OH + i) * OW + j, 1, 0, count, zero)
                    shares = divide(dy, load(parts, i * OW + j, 1, 0, count, one))
                    for u in range(first_u, last_u):
                        h = i * stride_h + u - top
                        for v in range(first_v, last_v):
                            lo, hi = lanes_inside(j * stride_w + v - left, stride_w, W, count)
                            add_at(numbers, image + h * W + j * stride_w + v - left, stride_w, shares, lo, hi)


@inline
def _bin(i, extent, count):
    """(first, last) of adaptive pooling's bin i."""
    return i * extent // count, -(-(i + 1) * extent // count)


@kernel
def _adaptive_avg_forward(workers, out, x):
    planes, H, W = x.shape
    OH, OW = out.shape[1:]
    for worker in prange(workers):
        begin, end = share(worker, workers, planes)
        for plane in range(begin, end):
            for i in range(OH):
                top, bottom = _bin(i, H, OH)
                for j in range(OW):
                    left, right = _bin(j, W, OW)
                    result = 0.0
                    for h in range(top, bottom):
                        for w in range(left, right):
                            result += x[plane, h, w]
                    out[plane, i, j] = result / ((bottom - top) * (right - left))


@kernel
def _adaptive_avg_backward(workers, dx, dout):
    planes, H, W = dx.shape
    OH, OW = dout.shape[1:]
    for worker in prange(workers):
        begin, end = share(worker, workers, planes)
        for plane in range(begin, end):
            dx[plane] = 0
            for i in range(OH):
                top, bottom = _bin(i, H, OH)
                for j in range(OW):
                    left, right = _bin(j, W, OW)
                    part = dout[plane, i, j] / type(dout[plane, i, j])((bottom - top) * (right - left))
                    for h in range(top, bottom):
                        for w in range(left, right):
                            dx[plane, h, w] += part


@inline
def _window(i, j, H, W, FH, FW, stride_h, stride_w, top, left):
    """(first row, last row, first column, last column) of a window, without its padding; none where it is all that."""
    h, w = i * stride_h - top, j * stride_w - left
    h0, w0 = max(0, h), max(0, w)
    return h0, max(h0, min(H, h + FH)), w0, max(w0, min(W, w + FW))


@inline
def _weight(value, empty):
    """An element's weight in its window: its positive part, or one in a window without any."""
    return type(value)(1) if empty else type(value)(0) if value <= 0 else value


@inline
def _weigh(image, h0, h1, w0, w1):
    """(the window has no positive element, the total of its weights in order)"""
    positive = type(image[0, 0])(0)
    for h in range(h0, h1):
        for w in range(w0, w1):
            positive += _weight(image[h, w], False)
    if positive == 0:
        return True, type(positive)((h1 - h0) * (w1 - w0))
    return False, positive


@kernel
def _stochastic_forward(workers, out, indices, x, u, FH, FW, stride_h, stride_w, top, left):
    planes, H, W = x.shape
    OH, OW = out.shape[1:]
    for worker in prange(workers):
        begin, end = share(worker, workers, planes * OH)
        for row in range(begin, end):
            plane, i = row // OH, row % OH
            image = x[plane]
            for j in range(OW):
                h0, h1, w0, w1 = _window(i, j, H, W, FH, FW, stride_h, stride_w, top, left)
                empty, total = _weigh(image, h0, h1, w0, w1)
                bound, running = u[plane, i, j] * total, type(total)(0)
                first, last, chosen = -1, -1, -1
                for h in range(h0, h1):
                    for w in range(w0, w1):
                        weight = _weight(image[h, w], empty)
                        running += weight
                        if weight != 0 and first < 0:
                            first = h * W + w
                        if weight > 0:
                            last = h * W + w
                        if chosen < 0 and weight != 0 and running > bound:
                            chosen = h * W + w
                if bound != bound:  # a NaN among the weights: the first that has one
                    chosen = first
                elif chosen < 0:  # rounding left the bound at the total itself
                    chosen = last
                indices[plane, i, j] = chosen
                # A window of padding alone has no weight, and draws none.
                out[plane, i, j] = image[chosen // W, chosen % W] if chosen >= 0 else type(total)(0)


@kernel
def _stochastic_inference(workers, out, x, FH, FW, stride_h, stride_w, top, left):
    planes, H, W = x.shape
    OH, OW = out.shape[1:]
    for worker in prange(workers):
        begin, end = share(worker, workers, planes * OH)
        for row in range(begin, end):
            plane, i = row // OH, row % OH
            image = x[plane]
            for j in range(OW):
                h0, h1, w0, w1 = _window(i, j, H, W, FH, FW, stride_h, stride_w, top, left)
                empty, total = _weigh(image, h0, h1, w0, w1)
                result = type(total)(0)
                for h in range(h0, h1):
                    for w in range(w0, w1):
                        result += _weight(image[h, w], empty) * image[h, w]
                out[plane, i, j] = result / total if total != 0 else result


def _planes(*arrays):
    """(N, C, H, W) as (N*C, H, W)."""
    return tuple(a.reshape(-1, *a.shape[2:]) for a in arrays)


@lru_cache(maxsize=512)
def _divisors(p):
    """Elements that each window's mean divides by, (OH, OW)."""
    if p.divisor:
        return np.full((p.OH, p.OW), p.divisor, p.dtype)
    counts = []
    for count, stride, F, extent, before, after in (
        (p.OH, p.stride_h, p.FH, p.H, p.pad_top, p.pad_bottom),
        (p.OW, p.stride_w, p.FW, p.W, p.pad_left, p.pad_right),
    ):
        start = np.arange(count) * stride - before
        if p.count_include_pad:
            counts.append(np.minimum(start + F, extent + after) - start)
        else:
            counts.append(np.maximum(np.minimum(start + F, extent) - np.maximum(start, 0), 1))
    return np.outer(*counts).astype(p.dtype)


def _window_sizes(p):
    return p.FH, p.FW, p.stride_h, p.stride_w, p.pad_top, p.pad_left


def _taps(array, p):
    """Nanoseconds for the windows whose results are this array."""
    return NANOSECONDS * array.size * p.FH * p.FW


def _first_inside(count, stride, pad, taps, dilation, extent):
    """For each window along an axis its first element outside of the padding, or -1."""
    start = np.arange(count) * stride - pad
    skipped = np.maximum(0, -(start // dilation))
    first = start + skipped * dilation
    return np.where((skipped < taps) & (first < extent), first, -1)


@lru_cache(maxsize=512)
def _starts(p):
    """Each window's index when nothing in it exceeds -inf: its first element's, or -1 if it sees padding alone."""
    rows = _first_inside(p.OH, p.stride_h, p.pad_top, p.FH, p.dilation_h, p.H)[:, None]
    columns = _first_inside(p.OW, p.stride_w, p.pad_left, p.FW, p.dilation_w, p.W)
    return np.where((rows >= 0) & (columns >= 0), rows * p.W + columns, -1).reshape(-1)


def max_forward(out, indices, x, p):
    arrays = _planes(out, indices, x)
    _max_forward(workers_for(_taps(out, p)), *arrays, _starts(p), *_window_sizes(p), p.dilation_h, p.dilation_w)


def max_backward(dx, dout, indices, p):
    planes = p.N * p.C
    workers = workers_for(SCATTER * dout.size)
    wrong = np.zeros(workers, np.int64)
    if planes:
        _max_backward(workers, *(a.reshape(planes, -1) for a in (dx, dout, indices)), wrong)
    return not wrong.any()


def max_shared_backward(dx, dout, x, y, p):
    _max_shared_backward(workers_for(SCATTER * dx.size), *_planes(dx, dout, x, y), p.FH)


def avg_forward(out, x, p):
    _avg_forward(workers_for(_taps(out, p)), *_planes(out, x), _divisors(p), *_window_sizes(p))


def avg_backward(dx, dout, p):
    _avg_backward(workers_for(_taps(dout, p)), *_planes(dx, dout), _divisors(p), *_window_sizes(p))


def adaptive_avg_forward(out, x, p):
    _adaptive_avg_forward(workers_for(x.size), *_planes(out, x))


def adaptive_avg_backward(dx, dout, p):
    _adaptive_avg_backward(workers_for(dx.size), *_planes(dx, dout))


def stochastic_forward(out, indices, x, u, p):
    _stochastic_forward(workers_for(8 * _taps(out, p)), *_planes(out, indices, x, u), *_window_sizes(p))


def stochastic_inference(out, x, p):
    _stochastic_inference(workers_for(8 * _taps(out, p)), *_planes(out, x), *_window_sizes(p))
