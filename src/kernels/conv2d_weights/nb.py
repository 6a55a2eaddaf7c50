"""The gradients of filters and bias on Numba: sums over all positions, vectors along them.

dout is copied with zeros between its rows, at the pitch of the image's copy: then a tap's products lie along a line. A
block of channels, one of filters, and as many images as the cache holds are taken at a time. A NaN or an infinity of x
would meet the zeros, and make NaN of them where no window sees it: then the sums are taken again, one by one.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import prange

from ..._problem import Conv2d
from .._numba.jit import inline, kernel, share, workers_for
from .._numba.products import MARGIN, SLACK_BYTES, correlate, with_margin
from .._numba.scratch import scratch
from .._numba.simd import VECTOR_BYTES
from .._numba.sums import total
from ..conv2d.nb import copy_band
from ..conv2d.nb_plan import BAND_BYTES, Integers, taps_of

BLOCK = 64  # channels and filters
NANOSECONDS = 0.025  # that one thread needs for a product


@dataclass(frozen=True, eq=False)
class Plan:
    """What `_weight_gradients` needs beside the arrays."""

    offsets: Integers  # for each tap of a block of channels, where it reads in the image's copy
    filters: Integers  # for each filter of a block, where it is in dout's
    phases: Integers
    halo: int
    pitch: int
    rows: int  # of a band of positions
    channels: int  # of a block
    x_unit: int  # numbers of a band's copies
    dout_unit: int
    units: int  # bands taken at a time
    parts: int  # shares of the images, each with sums of its own

    @property
    def numbers(self) -> int:
        return self.units * (self.x_unit + self.dout_unit)


@lru_cache(maxsize=512)
def _plan(p: Conv2d, workers: int, lanes: int) -> Plan:
    taps = taps_of(p)
    channels, filters = min(BLOCK, p.C // p.groups), min(BLOCK, p.FN // p.groups)
    planes = channels * len(taps.phases)

    def numbers(rows: int) -> tuple[int, int]:
        vectors = -(-rows * taps.pitch // lanes)
        return planes * (rows + taps.halo) * taps.pitch, filters * vectors * lanes

    most = BAND_BYTES // p.dtype.itemsize
    rows = next((r for r in range(p.OH, 1, -1) if sum(numbers(r)) <= most), 1)
    rows = -(-p.OH // -(-p.OH // rows))
    x_unit, dout_unit = numbers(rows)
    bands = p.N * -(-p.OH // rows)
    blocks = p.groups * -(-p.C // p.groups // channels) * -(-p.FN // p.groups // filters)
    parts = 1 if blocks >= 2 * workers else min(workers, bands)
    units = max(1, min(most // (x_unit + dout_unit), -(-bands // parts)))
    filter_steps = np.arange(filters) * (dout_unit // filters)
    return Plan(
        with_margin(taps.offsets(channels, rows)), with_margin(filter_steps), taps.phases, taps.halo, taps.pitch, rows,
        channels, x_unit, dout_unit, units, parts,
    )  # fmt: skip


@inline
def _copy_dout(copies, planes, row, rows, pitch, length):
    """copies[f*length + r*pitch + j] = planes[f, row + r, j], 0 between the rows and behind them."""
    FN, OH, OW = planes.shape
    for f in range(FN):
        at = f * length
        copies[at : at + length] = 0
        for r in range(row, min(row + rows, OH)):
            source, strip = planes[f, r], copies[at : at + OW]
            for j in range(strip.size):
                strip[j] = source[j]
            at += pitch


@kernel
def _weight_gradients(
    workers, dw, dout, x, offsets, filters, phases, scratch, groups, stride_h, stride_w, top, left, halo, pitch, rows,
    C_block, x_unit, dout_unit, units,
):  # fmt: skip
    N, C, FN, parts = x.shape[0], x.shape[1] // groups, dout.shape[1] // groups, dw.shape[0]
    OH, OW = dout.shape[2:]
    F_block = min(FN, filters.size - MARGIN)
    taps = dw.shape[2] // C
    bands = (OH + rows - 1) // rows
    C_blocks, F_blocks = (C + C_block - 1) // C_block, (FN + F_block - 1) // F_block
    for worker in prange(workers):
        images, slopes = scratch[worker, : -units * dout_unit], scratch[worker, -units * dout_unit :]
        begin, end = share(worker, workers, parts * groups * C_blocks * F_blocks)
        for task in range(begin, end):
            rest, f = task // F_blocks, task % F_blocks * F_block
            rest, c = rest // C_blocks, rest % C_blocks * C_block
            part, g = rest // groups, rest % groups
            channels, count = min(C_block, C - c), min(F_block, FN - f)
            first_c, first_f = g * C + c, g * FN + f
            dw[part, first_f : first_f + count, c * taps : (c + channels) * taps] = 0
            first, last = share(part, parts, N * bands)
            for unit in range(first, last, units):
                here = min(units, last - unit)
                for k in range(here):
                    n, row = (unit + k) // bands, (unit + k) % bands * rows
                    copy_band(
                        images[k * x_unit : (k + 1) * x_unit], x[n, first_c : first_c + channels], phases, row,
                        rows + halo, pitch, stride_h, stride_w, top, left,
                    )  # fmt: skip
                    _copy_dout(
                        slopes[k * dout_unit : (k + 1) * dout_unit], dout[n, first_f : first_f + count], row, rows,
                        pitch, dout_unit // F_block,
                    )  # fmt: skip
                images[here * x_unit :] = 0
                correlate(
                    dw[part], first_f, count, c * taps, channels * taps, slopes, filters, dout_unit, images, offsets,
                    x_unit, here, (rows - 1) * pitch + OW,
                )  # fmt: skip


@kernel
def _add_parts(workers, dw, parts):
    """dw = the sum of the parts, in their order."""
    for worker in prange(workers):
        begin, end = share(worker, workers, dw.size)
        result = dw[begin:end]
        for k in range(parts.shape[0]):
            part = parts[k, begin:end]
            for i in range(result.size):
                result[i] = part[i] if k == 0 else result[i] + part[i]


@kernel
def _bias_gradients(workers, db, dout):
    N, FN = dout.shape[:2]
    for worker in prange(workers):
        begin, end = share(worker, workers, FN)
        for f in range(begin, end):
            result = 0.0
            for n in range(N):
                result += total(dout[n, f])
            db[f] = result


@kernel
def _row_by_row(workers, dw, dout, x, groups, stride_h, stride_w, top, left, dilation_h, dilation_w):
    """The same gradients from the products alone that there are: what meets no NaN and no infinity stays finite."""
    FN, C, FH, FW = dw.shape
    N, H, W = x.shape[0], x.shape[2], x.shape[3]
    OH, OW = dout.shape[2:]
    for worker in prange(workers):
        begin, end = share(worker, workers, dw.size)
        for i in range(begin, end):
            f, c, u, v = i // (C * FH * FW), i // (FH * FW) % C, i // FW % FH, i % FW
            result = 0.0
            for n in range(N):
                for row in range(OH):
                    h = row * stride_h + u * dilation_h - top
                    for j in range(OW):
                        w = j * stride_w + v * dilation_w - left
                        met = (
                            x[n, f // (FN // groups) * C + c, h, w]
                            if 0 <= h < H and 0 <= w < W
                            else type(x[0, 0, 0, 0])(0)
                        )
                        result += dout[n, f, row, j] * met
            dw[f, c, u, v] = result


def backward_weights(dw, db, dout, x, p):
    if dout.size == 0:
        dw[...] = 0
        if db is not None:
            db[...] = 0
        return
    products = float(p.N) * p.FN * p.OH * p.OW * (p.C // p.groups) * p.FH * p.FW
    workers = workers_for(NANOSECONDS * products)
    plan = _plan(p, workers, VECTOR_BYTES // p.dtype.itemsize)
    share = plan.numbers + SLACK_BYTES // p.dtype.itemsize
    partial = dw.size * plan.parts if plan.parts > 1 else 0
    with scratch(workers * share + partial, p.dtype) as memory:
        parts = memory[workers * share :].reshape(plan.parts, p.FN, -1) if partial else dw.reshape(1, p.FN, -1)
        shares = memory[: workers * share].reshape(workers, share)
        _weight_gradients(
            workers, parts, dout, x, plan.offsets, plan.filters, plan.phases, shares, p.groups, p.stride_h, p.stride_w,
            p.pad_top, p.pad_left, plan.halo, plan.pitch, plan.rows, plan.channels, plan.x_unit, plan.dout_unit,
            plan.units,
        )  # fmt: skip
        if partial:
            _add_parts(workers_for(0.3 * parts.size), dw.reshape(-1), parts.reshape(plan.parts, -1))
    if not np.isfinite(dw).all():
        sizes = p.groups, p.stride_h, p.stride_w, p.pad_top, p.pad_left, p.dilation_h, p.dilation_w
        _row_by_row(workers, dw, dout, x, *sizes)
    if db is not None:
        _bias_gradients(workers_for(0.1 * dout.size), db, dout.reshape(p.N, p.FN, -1))
