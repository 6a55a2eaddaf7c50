"""Convolution on Numba, forward and backward-data: the same two kernels with other plans (nb_plan.py).

Each task copies the rows that it needs of one image, with their padding and every stride's phase apart, so that a tap
of the filter is a constant distance in memory; then products.multiply sums over the taps, and the rows of results are
stored with bias and ReLU. Positions between the end of a row and the start of the next are computed too, and dropped.
Filters are packed once a call.
"""

import numpy as np
from numba import prange

from .._numba.jit import inline, kernel, share, workers_for
from .._numba.products import MOST_ROWS, SLACK_BYTES, multiply, pack, rows_of_tile
from .._numba.scratch import scratch
from .._numba.vectors import add, choose, is_larger, lanes_inside, lanes_of, load, spread, store, store_at
from .nb_plan import backward_data_plan, forward_plan

# For windows spread so far that a padded copy of the image would not fit in memory.
from .ref import backward_data as backward_data_by_taps  # noqa: F401
from .ref import backward_weights as backward_weights_by_taps  # noqa: F401
from .ref import forward as forward_by_taps  # noqa: F401


@inline
def copy_row(copy, at, count, row, start, step):
    """copy[at + j] = row[start + j*step], 0 where that is outside of the row, for j < count."""
    L, zero = lanes_of(copy), copy.dtype.type(0)
    for j in range(0, count, L):
        here, first = min(L, count - j), start + j * step
        lo, hi = lanes_inside(first, step, row.size, here)
        store(copy, at + j, load(row, first, step, lo, hi, zero), here)


@inline
def copy_band(band, images, phases, row, rows, pitch, stride_h, stride_w, top, left):
    """band[c, phase, r, j] = images[c, (row + r)*stride_h + phase_h - top, j*stride_w + phase_w - left], or 0."""
    C, H, W = images.shape
    at = 0
    for c in range(C):
        for phase in range(phases.shape[0]):
            for r in range(row, row + rows):
                h = r * stride_h + phases[phase, 0] - top
                # A row beyond the image is one that lies wholly beside it.
                inside = h >= 0 and h < H
                start = phases[phase, 1] - left if inside else W
                copy_row(band, at, pitch, images[c, h if inside else 0], start, stride_w)
                at += pitch
    band[at:] = 0


@inline
def _store_row(row, start, step, y, at, count, bias, relu):
    """row[start + j*step] = y[at + j] + bias, or 0 where that is negative, for j < count."""
    L, zero = lanes_of(y), y.dtype.type(0)
    shift, zeros = spread(bias, y), spread(zero, y)
    for j in range(0, count, L):
        here = min(L, count - j)
        value = add(load(y, at + j, 1, 0, here, zero), shift)
        if relu:
            value = choose(is_larger(value, zeros), value, zeros)
        store_at(row, start + j * step, step, value, here)


@kernel
def _pack(workers, packed, w, sources, passes, groups, rows, row_step, group_step):
    """The filters of each group and pass, as `multiply` reads them."""
    taps, count = sources.size, passes.shape[0]
    for worker in prange(workers):
        begin, end = share(worker, workers, groups * count)
        for task in range(begin, end):
            group, first, last = task // count, passes[task % count, 2], passes[task % count, 3]
            at = rows * (group * taps + first)
            pack(packed, at, w, group * group_step, row_step, rows, sources, first, last)


@inline
def _tile_of_pass(
    out, y, y_pitch, band, pitch, columns, offsets, packed, at, one_pass, row, rows, step_h, step_w, bias, relu
):
    """The results of one pass for a tile's channels, out (channels, H, W): summed in y, then stored."""
    a, b, first, last = one_pass[0], one_pass[1], one_pass[2], one_pass[3]
    channels = out.shape[0]
    rows = min(rows, (out.shape[1] - a + step_h - 1) // step_h - row)
    columns = min(columns, (out.shape[2] - b + step_w - 1) // step_w)
    if rows <= 0:
        return
    multiply(y, 0, y_pitch, channels, (rows - 1) * pitch + columns, band, offsets, first, last, packed, at)
    for r in range(channels):
        shift = bias[r] if bias.size else type(y[0])(0)
        for i in range(rows):
            begin = r * y_pitch + i * pitch
            _store_row(out[r, a + (row + i) * step_h], b, step_w, y, begin, columns, shift, relu)


@kernel
def _convolve(
    workers, out, x, packed, bias, relu, offsets, phases, passes, scratch, y_pitch, groups, stride_h, stride_w, top,
    left, columns, rows, halo, pitch, step_h, step_w, bands, parts,
):  # fmt: skip
    N, C, FN, taps = x.shape[0], x.shape[1] // groups, out.shape[1] // groups, offsets.size
    for worker in prange(workers):
        band, y = scratch[worker, : -MOST_ROWS * y_pitch], scratch[worker, -MOST_ROWS * y_pitch :]
        begin, end = share(worker, workers, N * groups * bands * parts)
        for task in range(begin, end):
            part, row, image = task % parts, task // parts % bands * rows, task // (parts * bands)
            n, g = image // groups, image % groups
            images = x[n, g * C : (g + 1) * C]
            copy_band(band, images, phases, row, rows + halo, pitch, stride_h, stride_w, top, left)
            tiles = (FN + MOST_ROWS - 1) // MOST_ROWS
            f, last_f = tiles * part // parts * MOST_ROWS, min(FN, tiles * (part + 1) // parts * MOST_ROWS)
            while f < last_f:
                channels = rows_of_tile(last_f - f)
                here = g * FN + f
                for k in range(passes.shape[0]):
                    first, last = passes[k, 2], passes[k, 3]
                    at = FN * (g * taps + first) + f * (last - first)
                    _tile_of_pass(
                        out[n, here : here + channels], y, y_pitch, band, pitch, columns, offsets,
                        packed, at, passes[k],
                        row, rows, step_h, step_w, bias[here : here + channels], relu,
                    )  # fmt: skip
                f += channels


NANOSECONDS = 0.02  # that one thread needs for a product


def _workers(p):
    return workers_for(NANOSECONDS * p.N * p.FN * p.OH * p.OW * (p.C // p.groups) * p.FH * p.FW)


def _run(out, x, w, bias, relu, plan, p, workers, row_step):
    """The plan on these arrays; row_step: from one filter's weights to the next one's."""
    rows = out.shape[1] // p.groups
    slack = SLACK_BYTES // p.dtype.itemsize
    y_pitch = plan.rows * plan.pitch + slack
    band = x.shape[1] // p.groups * len(plan.phases) * (plan.rows + plan.halo) * plan.pitch + slack
    share = band + MOST_ROWS * y_pitch
    with scratch(w.size + workers * share, p.dtype) as memory:
        packed, shares = memory[: w.size], memory[w.size :].reshape(workers, share)
        group_step = w.size // p.groups
        _pack(1, packed, w.reshape(-1), plan.sources, plan.passes, p.groups, rows, row_step, group_step)
        _convolve(
            workers, out, x, packed, bias, relu, plan.offsets, plan.phases, plan.passes, shares, y_pitch, p.groups,
            *plan.stride, *plan.before, plan.positions[1], plan.rows, plan.halo, plan.pitch, *plan.step, plan.bands,
            plan.parts,
        )  # fmt: skip


def forward(out, x, w, b, p):
    if out.size:
        workers = _workers(p)
        bias = np.empty(0, p.dtype) if b is None else b
        plan = forward_plan(p, workers)
        _run(out, x, w, bias, p.activation == "relu", plan, p, workers, w.size // p.FN)


def backward_data(dx, dout, w, p):
    if dx.size:
        workers = _workers(p)
        plan = backward_data_plan(p, workers)
        _run(dx, dout, w, np.empty(0, p.dtype), False, plan, p, workers, p.FH * p.FW)
