"""Pooling in CUDA: a thread for each number of the result, forward and backward; nothing is added by two at once.

Backward of the maximum: a pixel gathers from the windows that hold it those whose index names it, so that sums have one
order. An index outside of its window (which max_pool2d never gives) therefore adds nothing here.
"""

from typing import Any, NamedTuple

import numpy as np

from ..._problem import AdaptivePool2d, Pool2d
from .._cuda import sums
from .._cuda.arrays import entry, flat
from .._cuda.elements import Elements, Type
from .._cuda.kernels import EACH, WIDTH, Family, family
from .._cuda.shim import cuda, require

require()

u = np.uint64


class Sizes(NamedTuple):
    """Those of a Problem, by its names."""

    H: int
    W: int
    FH: int
    FW: int
    OH: int
    OW: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int
    dilation_h: int
    dilation_w: int
    count_include_pad: int
    divisor: int


class Grid(NamedTuple):
    """Planes of H x W in OH x OW bins."""

    H: int
    W: int
    OH: int
    OW: int


def _sizes(p: Pool2d) -> Sizes:
    return Sizes(*(int(getattr(p, name)) for name in Sizes._fields))


def _each(E: Elements, value: Any) -> Any:
    """The body of a kernel (out, x, count, height, width, g): out[i] = value(x, plane, row, column, g)."""

    store = E.store

    def kernel(out, x, count, height, width, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                plane = at // (height * width)
                row = (at - plane * height * width) // width
                store(out, at, value(x, plane, row, at % width, g))

    return kernel


def _run(kernels: Family, p: Any, out: Any, x: Any, height: int, width: int, g: Any) -> None:
    count = p.N * p.C * height * width
    kernels.each(p.dtype, count, flat(out), flat(x), count, height, width, g)


WINDOWS = [(2, 2), (3, 3), (0, 0)]
"""Sizes of windows that kernels are written out for, and 0 for all others."""


def _windows(S: Type) -> list[tuple[int, int]]:
    return WINDOWS


def _window(p: Pool2d) -> tuple[int, int]:
    return (p.FH, p.FW) if (p.FH, p.FW) in WINDOWS else (0, 0)


@cuda.jit(device=True)
def met(start, extent, taps, dilation):
    """(first, last): which of the taps start + t*dilation are inside of [0, extent)."""
    first = min(max(dilation - 1 - start, 0) // dilation, taps)
    last = min(max(extent - start + dilation - 1, 0) // dilation, taps)
    return first, last


@cuda.jit(device=True)
def meeting(pixel, windows, stride, taps, dilation):
    """(first, last): the taps under which one of the windows may meet a pixel of the padded axis, and no others."""
    first = min(max(pixel - (windows - 1) * stride + dilation - 1, 0) // dilation, taps)
    return first, min(pixel // dilation + 1, taps)


@family("S[] i[] S[] i g", _windows, Sizes)
def maxima(E: Elements, FH: int, FW: int) -> Any:
    """The first maximum of each window, and its place; a NaN wins. FH, FW: 0, or known beforehand.

    All numbers of a known window are read before the first is compared; those outside of the plane are others twice.
    """
    T, load, store = E.T, E.load, E.store
    LARGER, SIZE = FH == 0, max(FH * FW, 1)

    def kernel(out, indices, x, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                row = at // g.OW
                plane = row // g.OH
                left = (at - row * g.OW) * g.stride_w - g.pad_left
                top = (row - plane * g.OH) * g.stride_h - g.pad_top
                best, place = T(-np.inf), -1
                if LARGER:
                    rows = met(top, g.H, g.FH, g.dilation_h)
                    columns = met(left, g.W, g.FW, g.dilation_w)
                    for i in range(rows[0], rows[1]):
                        row = top + i * g.dilation_h
                        for j in range(columns[0], columns[1]):
                            column = left + j * g.dilation_w
                            value = load(x, (plane * g.H + row) * g.W + column)
                            if value > best or value != value or place < 0:
                                best, place = value, row * g.W + column
                else:
                    mine = cuda.local.array(SIZE, T)
                    for i in range(FH):
                        row = min(max(top + i * g.dilation_h, 0), g.H - 1)
                        for j in range(FW):
                            column = min(max(left + j * g.dilation_w, 0), g.W - 1)
                            mine[i * FW + j] = load(x, (plane * g.H + row) * g.W + column)
                    for i in range(FH):
                        row = top + i * g.dilation_h
                        for j in range(FW):
                            column = left + j * g.dilation_w
                            value, pixel = mine[i * FW + j], row * g.W + column
                            inside = row >= 0 and row < g.H and column >= 0 and column < g.W
                            if inside and (value > best or value != value or place < 0):
                                best, place = value, pixel
                store(out, at, best)
                indices[u(at)] = place

    return kernel


@family("S[] S[] i[] i i i g", _windows, Sizes)
def from_cells(E: Elements, FH: int, FW: int) -> Any:
    """The same as `from_maxima` where windows lie side by side: each writes its pixels, what no window holds is zero.

    Cells of stride_h x stride_w cover the plane, `down` x `along` of them; the first OH x OW are the windows.
    """
    T, load, store = E.T, E.load, E.store
    LARGER = FH == 0

    def kernel(dx, dout, indices, count, down, along, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                i = at // along
                plane = i // down
                j = at - i * along
                i -= plane * down
                named, value = -1, T(0)
                if i < g.OH and j < g.OW:
                    window = (plane * g.OH + i) * g.OW + j
                    named, value = indices[u(window)], load(dout, window)
                top, left = i * g.stride_h - g.pad_top, j * g.stride_w - g.pad_left
                bottom, right = top + (g.FH if LARGER else FH), left + (g.FW if LARGER else FW)
                for row in range(max(top, 0), min(bottom, g.H)):
                    for column in range(max(left, 0), min(right, g.W)):
                        pixel = row * g.W + column
                        store(dx, plane * g.H * g.W + pixel, value if pixel == named else T(0))

    return kernel


@family("S[] S[] S[] S[] i g", sizes=Sizes)
def shares(E: Elements) -> Any:
    """Each pixel: its share of the gradient of the one window that holds it, if it is the maximum."""
    T, load, store = E.T, E.load, E.store

    def kernel(dx, dout, x, y, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                row = at // g.W
                plane = row // g.H
                i, j = (row - plane * g.H) // g.FH, (at - row * g.W) // g.FW
                window = (plane * g.OH + i) * g.OW + j
                corner = (plane * g.H + i * g.FH) * g.W + j * g.FW
                maximum, equal = load(y, window), T(0)
                for up in range(g.FH):
                    for v in range(g.FW):
                        if load(x, corner + up * g.W + v) == maximum:
                            equal += T(1)
                store(dx, at, (load(dout, window) if load(x, at) == maximum else T(0)) / equal)

    return kernel


@family("S[] S[] i[] i g", sizes=Sizes)
def from_maxima(E: Elements) -> Any:
    """Each pixel: the sum of dout over the windows whose index names it."""
    T, load, store = E.T, E.load, E.store

    def kernel(dx, dout, indices, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                plane = at // (g.H * g.W)
                pixel = at - plane * g.H * g.W
                y, x = pixel // g.W + g.pad_top, pixel % g.W + g.pad_left
                total = T(0)
                rows = meeting(y, g.OH, g.stride_h, g.FH, g.dilation_h)
                columns = meeting(x, g.OW, g.stride_w, g.FW, g.dilation_w)
                for i in range(rows[0], rows[1]):
                    row = y - i * g.dilation_h
                    if row % g.stride_h == 0:
                        for j in range(columns[0], columns[1]):
                            column = x - j * g.dilation_w
                            if column % g.stride_w == 0:
                                window = (plane * g.OH + row // g.stride_h) * g.OW + column // g.stride_w
                                if indices[window] == pixel:
                                    total += load(dout, window)
                store(dx, at, total)

    return kernel


@cuda.jit(device=True)
def divisor_at(i, j, g):
    """What the mean of window (i, j) divides by."""
    if g.divisor != 0:
        return g.divisor
    top, left = i * g.stride_h - g.pad_top, j * g.stride_w - g.pad_left
    if g.count_include_pad:
        return (min(top + g.FH, g.H + g.pad_bottom) - top) * (min(left + g.FW, g.W + g.pad_right) - left)
    return max(min(top + g.FH, g.H) - max(top, 0), 1) * max(min(left + g.FW, g.W) - max(left, 0), 1)


@family("S[] S[] i i i g", sizes=Sizes)
def means(E: Elements) -> Any:
    """The mean of each window."""
    T, load = E.T, E.load

    @cuda.jit(device=True)
    def value(x, plane, i, j, g):
        top, left = i * g.stride_h - g.pad_top, j * g.stride_w - g.pad_left
        total = T(0)
        for row in range(max(top, 0), min(top + g.FH, g.H)):
            for column in range(max(left, 0), min(left + g.FW, g.W)):
                total += load(x, (plane * g.H + row) * g.W + column)
        return total / T(divisor_at(i, j, g))

    return _each(E, value)


@family("S[] S[] i i i g", sizes=Sizes)
def from_means(E: Elements) -> Any:
    """Each pixel: the sum over the windows that hold it of dout / divisor."""
    T, load = E.T, E.load

    @cuda.jit(device=True)
    def value(dout, plane, y, x, g):
        y, x = y + g.pad_top, x + g.pad_left
        total = T(0)
        for i in range(max(y - g.FH + g.stride_h, 0) // g.stride_h, min(y // g.stride_h + 1, g.OH)):
            for j in range(max(x - g.FW + g.stride_w, 0) // g.stride_w, min(x // g.stride_w + 1, g.OW)):
                total += load(dout, (plane * g.OH + i) * g.OW + j) / T(divisor_at(i, j, g))
        return total

    return _each(E, value)


@family("S[] S[] i i i g", sizes=Grid)
def bin_means(E: Elements) -> Any:
    """The mean of each bin."""
    T, load = E.T, E.load

    @cuda.jit(device=True)
    def value(x, plane, i, j, g):
        top, bottom = i * g.H // g.OH, -(-(i + 1) * g.H // g.OH)
        left, right = j * g.W // g.OW, -(-(j + 1) * g.W // g.OW)
        total = T(0)
        for row in range(top, bottom):
            for column in range(left, right):
                total += load(x, (plane * g.H + row) * g.W + column)
        return total / T((bottom - top) * (right - left))

    return _each(E, value)


@family("S[] S[] i i i g", sizes=Grid)
def from_bin_means(E: Elements) -> Any:
    """Each pixel: the sum over the bins that hold it of dout / size of the bin."""
    T, load = E.T, E.load

    @cuda.jit(device=True)
    def value(dout, plane, y, x, g):
        total = T(0)
        for i in range(y * g.OH // g.H, -(-(y + 1) * g.OH // g.H)):
            height = -(-(i + 1) * g.H // g.OH) - i * g.H // g.OH
            for j in range(x * g.OW // g.W, -(-(x + 1) * g.OW // g.W)):
                width = -(-(j + 1) * g.W // g.OW) - j * g.W // g.OW
                total += load(dout, (plane * g.OH + i) * g.OW + j) / T(height * width)
        return total

    return _each(E, value)


def _walk_weights(E: Elements) -> Any:
    """Device functions that walk over a window's weights max(x, 0), or ones where all are zero (`even`)."""
    T, load = E.T, E.load

    @cuda.jit(device=True)
    def weight(value, even):
        return T(1) if even else (T(0) if value < T(0) else value)

    @cuda.jit(device=True)
    def totals(x, plane, top, left, even, g):
        """(sum of weights, sum of weight * x)."""
        total, moment = T(0), T(0)
        for i in range(max(-top, 0), min(g.FH, g.H - top)):
            for j in range(max(-left, 0), min(g.FW, g.W - left)):
                value = load(x, (plane * g.H + top + i) * g.W + left + j)
                total += weight(value, even)
                moment += weight(value, even) * value
        return total, moment

    return weight, totals


@family("S[] i[] S[] T[] i g", sizes=Sizes)
def draws(E: Elements) -> Any:
    """The first element of each window at which the running sum of weights exceeds u times their total."""
    T, load, store = E.T, E.load, E.store
    weight, totals = _walk_weights(E)

    def kernel(out, indices, x, uniform, count, g):
        at = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if at < count:
            plane = at // (g.OH * g.OW)
            top = (at - plane * g.OH * g.OW) // g.OW * g.stride_h - g.pad_top
            left = at % g.OW * g.stride_w - g.pad_left
            total = totals(x, plane, top, left, False, g)[0]
            even = total == T(0)
            total = totals(x, plane, top, left, even, g)[0]
            limit, running = uniform[at] * total, T(0)
            drawn, last = -1, -1
            for i in range(max(-top, 0), min(g.FH, g.H - top)):
                for j in range(max(-left, 0), min(g.FW, g.W - left)):
                    pixel = (top + i) * g.W + left + j
                    mine = weight(load(x, plane * g.H * g.W + pixel), even)
                    running += mine
                    if drawn < 0 and mine != T(0) and not (running <= limit):
                        drawn = pixel
                    if mine > T(0):
                        last = pixel
            # Rounding may leave the limit at the total itself: then the last element with a weight.
            chosen = drawn if drawn >= 0 else last
            indices[at] = chosen
            # A window of padding alone has no weight, and draws none.
            store(out, at, load(x, plane * g.H * g.W + max(chosen, 0)) if chosen >= 0 else T(0))

    return kernel


@family("S[] S[] i i i g", sizes=Sizes)
def expectations(E: Elements) -> Any:
    """The mean of each window weighted by max(x, 0)."""
    T = E.T
    _, totals = _walk_weights(E)

    @cuda.jit(device=True)
    def value(x, plane, i, j, g):
        top, left = i * g.stride_h - g.pad_top, j * g.stride_w - g.pad_left
        total, moment = totals(x, plane, top, left, False, g)
        if total == T(0):
            total, moment = totals(x, plane, top, left, True, g)
        return moment / total if total != T(0) else moment

    return _each(E, value)


@entry("out", "indices")
def max_forward(out: Any, indices: Any, x: Any, p: Pool2d) -> None:
    count = p.N * p.C * p.OH * p.OW
    maxima.each(p.dtype, count, flat(out), flat(indices), flat(x), count, _sizes(p), options=_window(p))


@entry("dx")
def _max_backward(dx: Any, dout: Any, indices: Any, p: Pool2d) -> None:
    if (p.stride_h, p.stride_w, p.dilation_h, p.dilation_w) == (p.FH, p.FW, 1, 1):
        down, along = -(-(p.H + p.pad_top) // p.FH), -(-(p.W + p.pad_left) // p.FW)
        count = p.N * p.C * down * along
        arguments = flat(dx), flat(dout), flat(indices), count, down, along, _sizes(p)
        from_cells.each(p.dtype, count, *arguments, options=_window(p))
        return
    count = p.N * p.C * p.H * p.W
    from_maxima.each(p.dtype, count, flat(dx), flat(dout), flat(indices), count, _sizes(p))


def max_backward(dx: Any, dout: Any, indices: Any, p: Pool2d) -> bool:
    """False if an index on the host was outside of its plane; those on the device are not brought back for a look."""
    _max_backward(dx, dout, indices, p)
    return not isinstance(indices, np.ndarray) or bool(((indices >= 0) & (indices < p.H * p.W)).all())


@entry("dx")
def max_shared_backward(dx: Any, dout: Any, x: Any, y: Any, p: Pool2d) -> None:
    count = p.N * p.C * p.H * p.W
    shares.each(p.dtype, count, flat(dx), flat(dout), flat(x), flat(y), count, _sizes(p))


@entry("out")
def avg_forward(out: Any, x: Any, p: Pool2d) -> None:
    _run(means, p, out, x, p.OH, p.OW, _sizes(p))


@entry("dx")
def avg_backward(dx: Any, dout: Any, p: Pool2d) -> None:
    _run(from_means, p, dx, dout, p.H, p.W, _sizes(p))


@entry("out")
def adaptive_avg_forward(out: Any, x: Any, p: AdaptivePool2d) -> None:
    if p.OH == p.OW == 1:
        sums.sum_channels(out, x, 1, p.N * p.C, p.H * p.W, 1 / (p.H * p.W))
    else:
        _run(bin_means, p, out, x, p.OH, p.OW, Grid(p.H, p.W, p.OH, p.OW))


@entry("dx")
def adaptive_avg_backward(dx: Any, dout: Any, p: AdaptivePool2d) -> None:
    _run(from_bin_means, p, dx, dout, p.H, p.W, Grid(p.H, p.W, p.OH, p.OW))


@entry("out", "indices")
def stochastic_forward(out: Any, indices: Any, x: Any, u: Any, p: Pool2d) -> None:
    count = p.N * p.C * p.OH * p.OW
    blocks = -(-count // WIDTH)
    draws.launch(p.dtype, blocks, WIDTH, flat(out), flat(indices), flat(x), flat(u), count, _sizes(p))


@entry("out")
def stochastic_inference(out: Any, x: Any, p: Pool2d) -> None:
    _run(expectations, p, out, x, p.OH, p.OW, _sizes(p))
