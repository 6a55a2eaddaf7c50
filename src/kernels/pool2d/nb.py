"""Pooling on Numba: a row of results at a time, tap by tap, so that LLVM compares or adds vectors. Rules: ref.py.

Strides of 1 and 2 along the rows are constants in copies of the inner loops: only then are their loads vectors.
"""

import math

import numpy as np
from numba import prange

from .._numba.jit import inline, kernel, share, workers_for

NANOSECONDS = 0.15  # that one thread needs for a tap of a window
SCATTER = 1.5  # and for one of max_backward's additions


@inline
def _columns(v, stride, W, OW):
    """(first, last): the windows whose tap at column offset v, padding subtracted, lies inside of the row."""
    first = 0 if v >= 0 else (-v + stride - 1) // stride
    last = 0 if v >= W else (W - 1 - v) // stride + 1
    return min(first, OW), max(min(last, OW), min(first, OW))


@inline
def _largest(best, index, source, count, at, step, position):
    """One tap of a row of windows: source[at + j*step] against best[j]; position is the flat index of source[0]."""
    for j in range(count):
        value = source[at + j * step]
        better = value > best[j] or value != value or index[j] < 0
        best[j] = value if better else best[j]
        index[j] = position + at + j * step if better else index[j]


@kernel
def _max_forward(workers, out, indices, x, FH, FW, stride_h, stride_w, top, left, dilation_h, dilation_w):
    planes, H, W = x.shape
    OH, OW = out.shape[1:]
    for worker in prange(workers):
        begin, end = share(worker, workers, planes * OH)
        for row in range(begin, end):
            plane, i = row // OH, row % OH
            best, index = out[plane, i], indices[plane, i]
            best[:] = -math.inf
            index[:] = -1
            for u in range(FH):
                h = i * stride_h + u * dilation_h - top
                if h < 0 or h >= H:
                    continue
                source = x[plane, h]
                for v in range(FW):
                    shift = v * dilation_w - left
                    first, last = _columns(shift, stride_w, W, OW)
                    b, k, count, at = best[first:last], index[first:last], last - first, first * stride_w + shift
                    if stride_w == 1:
                        _largest(b, k, source, count, at, 1, h * W)
                    elif stride_w == 2:
                        _largest(b, k, source, count, at, 2, h * W)
                    else:
                        _largest(b, k, source, count, at, stride_w, h * W)


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


@inline
def _gather(sums, source, count, at, step):
    for j in range(count):
        sums[j] += source[at + j * step]


@inline
def _scatter(result, shares, count, at, step):
    for j in range(count):
        result[at + j * step] += shares[j]


@kernel
def _avg_forward(workers, out, x, divisors, FH, FW, stride_h, stride_w, top, left):
    planes, H, W = x.shape
    OH, OW = out.shape[1:]
    for worker in prange(workers):
        begin, end = share(worker, workers, planes * OH)
        for row in range(begin, end):
            plane, i = row // OH, row % OH
            sums, divisor = out[plane, i], divisors[i]
            sums[:] = 0
            for u in range(FH):
                h = i * stride_h + u - top
                if h < 0 or h >= H:
                    continue
                source = x[plane, h]
                for v in range(FW):
                    first, last = _columns(v - left, stride_w, W, OW)
                    s, count, at = sums[first:last], last - first, first * stride_w + v - left
                    if stride_w == 1:
                        _gather(s, source, count, at, 1)
                    elif stride_w == 2:
                        _gather(s, source, count, at, 2)
                    else:
                        _gather(s, source, count, at, stride_w)
            for j in range(OW):
                sums[j] /= divisor[j]


@kernel
def _avg_backward(workers, dx, dout, divisors, FH, FW, stride_h, stride_w, top, left):
    planes, H, W = dx.shape
    OH, OW = dout.shape[1:]
    for worker in prange(workers):
        begin, end = share(worker, workers, planes)
        shares = np.empty(OW, dx.dtype)
        for plane in range(begin, end):
            image = dx[plane]
            image[:] = 0
            for i in range(OH):
                dy, divisor = dout[plane, i], divisors[i]
                for j in range(OW):
                    shares[j] = dy[j] / divisor[j]
                for u in range(FH):
                    h = i * stride_h + u - top
                    if h < 0 or h >= H:
                        continue
                    result = image[h]
                    for v in range(FW):
                        first, last = _columns(v - left, stride_w, W, OW)
                        s, count, at = shares[first:last], last - first, first * stride_w + v - left
                        if stride_w == 1:
                            _scatter(result, s, count, at, 1)
                        elif stride_w == 2:
                            _scatter(result, s, count, at, 2)
                        else:
                            _scatter(result, s, count, at, stride_w)


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
    """(first row, last row, first column, last column) of a window, without its padding."""
    h, w = i * stride_h - top, j * stride_w - left
    return max(0, h), min(H, h + FH), max(0, w), min(W, w + FW)


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
                out[plane, i, j] = image[chosen // W, chosen % W]


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
                out[plane, i, j] = result / total


def _planes(*arrays):
    """(N, C, H, W) as (N*C, H, W)."""
    return tuple(a.reshape(-1, *a.shape[2:]) for a in arrays)


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
            counts.append(np.minimum(start + F, extent) - np.maximum(start, 0))
    return np.outer(*counts).astype(p.dtype)


def _window_sizes(p):
    return p.FH, p.FW, p.stride_h, p.stride_w, p.pad_top, p.pad_left


def _taps(array, p):
    """Nanoseconds for the windows whose results are this array."""
    return NANOSECONDS * array.size * p.FH * p.FW


def max_forward(out, indices, x, p):
    arrays = _planes(out, indices, x)
    _max_forward(workers_for(_taps(out, p)), *arrays, *_window_sizes(p), p.dilation_h, p.dilation_w)


def max_backward(dx, dout, indices, p):
    planes = p.N * p.C
    workers = workers_for(SCATTER * dout.size)
    wrong = np.zeros(workers, np.int64)
    if planes:
        _max_backward(workers, *(a.reshape(planes, -1) for a in (dx, dout, indices)), wrong)
    return not wrong.any()


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
