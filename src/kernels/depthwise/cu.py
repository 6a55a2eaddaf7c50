"""Convolutions in which every channel has filters of its own, in CUDA: a thread for each number of the result.

There is too little arithmetic for tiles: each pixel meets FH*FW taps of each of its few filters, all from the first
cache. The filters' gradient is a sum over all pixels for each tap: split over blocks, reduced in a fixed order.
"""

from typing import Any, NamedTuple

import numpy as np

from ..._problem import Conv2d
from .._cuda import sums
from .._cuda.arrays import entry, flat, nothing, scratch
from .._cuda.elements import Elements, Type
from .._cuda.kernels import EACH, WIDTH, family
from .._cuda.products import BLOCKS
from .._cuda.shim import cuda, require
from .._cuda.sums import add_up

require()


class Sizes(NamedTuple):
    """Those of a Problem; `each` filters for every channel; `length` pixels are a block's in backward-weights."""

    N: int
    C: int
    H: int
    W: int
    FH: int
    FW: int
    OH: int
    OW: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    dilation_h: int
    dilation_w: int
    each: int
    length: int
    splits: int


def _sizes(p: Conv2d, length: int = 0, splits: int = 0) -> Sizes:
    return Sizes(*(getattr(p, name) for name in Sizes._fields[:-3]), p.FN // p.C, length, splits)


KNOWN = [(3, 1), (3, 2), (0, 0)]
"""(F, step) of the square filters that kernels are written out for, which divide by nothing then; 0 for all others."""


def _known(S: Type) -> list[tuple[int, int]]:
    return KNOWN


def _kind(p: Conv2d) -> tuple[int, int]:
    square = p.FH == p.FW and p.stride_h == p.stride_w
    return (p.FH, p.stride_h) if square and (p.FH, p.stride_h) in KNOWN else (0, 0)


@family("S[] S[] S[] S[] i i i g", _known, Sizes)
def correlate(E: Elements, F: int, step: int) -> Any:
    """out[n, f] = x[n, f // each] correlated with w[f], plus bias, then ReLU."""
    T, load, store, OTHER = E.T, E.load, E.store, F == 0

    def kernel(out, x, w, bias, count, biased, relu, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        FH, FW = (g.FH, g.FW) if OTHER else (F, F)
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                line = at // g.OW
                plane = line // g.OH
                f = plane % (g.C * g.each)
                source = plane // g.each * g.H * g.W
                top = (line - plane * g.OH) * (g.stride_h if OTHER else step) - g.pad_top
                left = (at - line * g.OW) * (g.stride_w if OTHER else step) - g.pad_left
                total = load(bias, f) if biased else T(0)
                for i in range(FH):
                    row = top + i * g.dilation_h
                    for j in range(FW):
                        column = left + j * g.dilation_w
                        if row >= 0 and row < g.H and column >= 0 and column < g.W:
                            total += load(x, source + row * g.W + column) * load(w, (f * FH + i) * FW + j)
                store(out, at, T(0) if relu and total < T(0) else total)

    return kernel


@family("S[] S[] S[] i g", _known, Sizes)
def spread(E: Elements, F: int, step: int) -> Any:
    """dx[n, c]: under every tap of the channel's filters the dout that it met."""
    T, load, store, OTHER = E.T, E.load, E.store, F == 0

    def kernel(dx, dout, w, count, g):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        FH, FW = (g.FH, g.FW) if OTHER else (F, F)
        down, along = (g.stride_h, g.stride_w) if OTHER else (step, step)
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                line = at // g.W
                plane = line // g.H
                c = plane % g.C
                y = line - plane * g.H + g.pad_top
                x = at - line * g.W + g.pad_left
                total = T(0)
                for m in range(g.each):
                    source, filters = (plane * g.each + m) * g.OH * g.OW, (c * g.each + m) * FH * FW
                    for i in range(FH):
                        row = y - i * g.dilation_h
                        for j in range(FW):
                            column = x - j * g.dilation_w
                            if row >= 0 and column >= 0 and row % down == 0 and column % along == 0:
                                row_met, column_met = row // down, column // along
                                if row_met < g.OH and column_met < g.OW:
                                    met = load(dout, source + row_met * g.OW + column_met)
                                    total += met * load(w, filters + i * FW + j)
                store(dx, at, total)

    return kernel


@family("d[] S[] S[] g", sizes=Sizes)
def tap_sums(E: Elements) -> Any:
    """For each tap (f, i, j) and split: the sum over pixels of dout * x. Grid: taps, splits."""
    T, load = E.T, E.load

    def kernel(partial, dout, x, g):
        shared = cuda.shared.array(WIDTH, np.float64)
        tid = cuda.threadIdx.x
        tap = cuda.blockIdx.x
        f = tap // (g.FH * g.FW)
        down = tap // g.FW % g.FH * g.dilation_h - g.pad_top
        along = tap % g.FW * g.dilation_w - g.pad_left
        first = cuda.blockIdx.y * g.length
        total = T(0)
        for at in range(first + tid, min(first + g.length, g.N * g.OH * g.OW), WIDTH):
            n = at // (g.OH * g.OW)
            pixel = at - n * g.OH * g.OW
            row, column = pixel // g.OW * g.stride_h + down, pixel % g.OW * g.stride_w + along
            if row >= 0 and row < g.H and column >= 0 and column < g.W:
                source = load(x, ((n * g.C + f // g.each) * g.H + row) * g.W + column)
                total += source * load(dout, (n * g.C * g.each + f) * g.OH * g.OW + pixel)
        shared[tid] = total
        add_up(shared, tid, 1)
        if tid == 0:
            partial[2 * (tap * g.splits + cuda.blockIdx.y)] = shared[0]
            partial[2 * (tap * g.splits + cuda.blockIdx.y) + 1] = 0.0

    return kernel


@entry("out")
def forward(out: Any, x: Any, w: Any, b: Any, p: Conv2d) -> None:
    count = p.N * p.FN * p.OH * p.OW
    bias = nothing(p.dtype) if b is None else flat(b)
    arrays = flat(out), flat(x), flat(w), bias
    arguments = *arrays, count, int(b is not None), int(p.activation == "relu"), _sizes(p)
    correlate.each(p.dtype, count, *arguments, options=_kind(p))


@entry("dx")
def backward_data(dx: Any, dout: Any, w: Any, p: Conv2d) -> None:
    count = p.N * p.C * p.H * p.W
    spread.each(p.dtype, count, flat(dx), flat(dout), flat(w), count, _sizes(p), options=_kind(p))


@entry("dw", "db")
def backward_weights(dw: Any, db: Any, dout: Any, x: Any, p: Conv2d) -> None:
    taps, pixels = p.FN * p.FH * p.FW, p.N * p.OH * p.OW
    splits = max(1, min(BLOCKS // taps, pixels // WIDTH), -(-pixels // (WIDTH * sums.MOST)))
    partial = scratch(2 * taps * splits, np.float64)
    g = _sizes(p, -(-pixels // splits), splits)
    tap_sums.launch(p.dtype, (taps, splits), WIDTH, flat(partial), flat(dout), flat(x), g)
    arguments = flat(dw), flat(dw), flat(partial), taps, splits, 0, 1.0
    sums.join_sums.launch(p.dtype, -(-taps // WIDTH), WIDTH, *arguments)
    if db is not None:
        sums.sum_channels(db, dout, p.N, p.FN, p.OH * p.OW)
