"""2-D convolution in CUDA as a product of matrices that are never laid out (implicit GEMM), see `_cuda/products.py`.

Forward: out[f, (n, i, j)] = sum over taps r = (c, u, v) of w[f, r] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left].
A table holds for each tap where it lies, so that stride, dilation, padding and 1 x 1 are all the same kernel.
Backward-data: the same with dout in the place of x. With a stride, the pixels of dx fall into sh*sw classes by their
place between the windows; each class meets its own taps, and is a convolution of stride 1 with those.
Backward-weights: dw[f, r] = sum over pixels of dout[f, (n, i, j)] * x[...]; the pixels are split among blocks, whose
parts are added in order.
Source: S. Chetlur et al., cuDNN: Efficient Primitives for Deep Learning, 2014.
"""

from typing import Any, NamedTuple

import numpy as np

from ..._problem import Conv2d
from .._cuda import sums
from .._cuda.arrays import entry, flat, nothing, scratch, table
from .._cuda.elements import Elements
from .._cuda.kernels import family
from .._cuda.products import Operands, Tile, product, splits_for, tile_for, tiles
from .._cuda.shim import cuda, require
from .plan import (
    BITS,
    CLASS,
    COLUMN_COUNT,
    COLUMNS,
    COUNT,
    FIRST_COLUMN,
    FIRST_ROW,
    HEIGHT,
    MOST,
    PLACES,
    ROW_COUNT,
    ROWS,
    TAPS,
    WIDTH,
    Plan,
    backward_plan,
    forward_plan,
)

require()

u = np.uint64


class Gather(NamedTuple):
    """Sizes of a product whose columns are pixels of planes (SH, SW) read under taps.

    A pixel (y, x) of a class reads around (y*step_h, x*step_w) and is written to (row + y*every_h, column + x*every_w)
    of a plane that is `out_width` wide.
    """

    N: int
    groups: int
    M: int
    a_row: int
    a_group: int
    b_image: int
    b_group: int
    SH: int
    SW: int
    step_h: int
    step_w: int
    out_image: int
    out_group: int
    out_plane: int
    out_width: int
    every_h: int
    every_w: int
    bias: int
    relu: int


class Filters(NamedTuple):
    """Sizes of the product dout . x^T: sums over pixels, split into parts of `length`."""

    M: int
    K: int
    OW: int
    plane: int
    pixels: int
    splits: int
    length: int
    a_image: int
    a_group: int
    b_image: int
    b_group: int
    SH: int
    SW: int
    step_h: int
    step_w: int


@cuda.jit(device=True)
def shifts_inside(tables, at, count, start, extent):
    """Bit i is set where start + tables[at + i] lies inside of the extent."""
    bits = 0
    for i in range(count):
        place = start + tables[u(at + i)]
        if place >= 0 and place < extent:
            bits |= 1 << i
    return bits


@cuda.jit(device=True)
def tap_inside(tap, rows, columns):
    """Whether a tap (see `Plan`) falls on a pixel, where the bits of rows and columns say which shifts do."""
    return (rows >> (tap >> BITS & MOST)) & (columns >> (tap & MOST)) & 1


@family("S[] T[] S[] S[] S[] i[] g", tiles, Gather)
def gather(E: Elements, tile: Tile) -> Any:
    """Forward and backward-data; grid z: group + groups * class."""
    T, load, store = E.T, E.load, E.store

    @cuda.jit(device=True)
    def part(g, tables, z):
        group, at = z % g.groups, z // g.groups * CLASS
        return group, at, tables[at + TAPS], tables[at + PLACES]

    @cuda.jit(device=True)
    def span(g, tables, part):
        at = part[1]
        return g.M, g.N * tables[at + HEIGHT] * tables[at + WIDTH], 0, tables[at + COUNT]

    @cuda.jit(device=True)
    def pixel(tables, at, j):
        width = tables[at + WIDTH]
        plane = tables[at + HEIGHT] * width
        n = j // plane
        rest = j - n * plane
        y = rest // width
        return n, y, rest - y * width

    @cuda.jit(device=True)
    def column(g, tables, part, j):
        at = part[1]
        n, y, x = pixel(tables, at, j)
        y, x = y * g.step_h, x * g.step_w
        rows = shifts_inside(tables, tables[at + ROWS], tables[at + ROW_COUNT], y, g.SH) if n < g.N else 0
        columns = shifts_inside(tables, tables[at + COLUMNS], tables[at + COLUMN_COUNT], x, g.SW)
        return rows, columns, n * g.b_image + part[0] * g.b_group + y * g.SW + x, part[2]

    @cuda.jit(device=True)
    def rows(g, tables, part):
        return part[0] * g.a_group, g.a_row

    @cuda.jit(device=True)
    def term(g, tables, part, r):
        return (tables[u(part[3] + r)],)

    @cuda.jit(device=True)
    def read_b(b, tables, g, column, term, r, j):
        tap = tables[u(column[3] + r)]
        return load(b, column[2] + (tap >> 2 * BITS)) if tap_inside(tap, column[0], column[1]) else T(0)

    @cuda.jit(device=True)
    def target(g, tables, part, j):
        group, at = part[0], part[1]
        n, y, x = pixel(tables, at, j)
        place = (tables[at + FIRST_ROW] + y * g.every_h) * g.out_width + tables[at + FIRST_COLUMN] + x * g.every_w
        return n * g.out_image + group * g.out_group + place, group * g.M

    @cuda.jit(device=True)
    def write(out, parts, bias, g, target, m, j, value):
        if g.bias:
            value += load(bias, target[1] + m)
        if g.relu and value < T(0):
            value = T(0)
        store(out, target[0] + m * g.out_plane, value)

    return product(E, tile, True, False, Operands(part, span, column, rows, term, read_b, target, write))


@family("S[] T[] S[] S[] S[] i[] g", tiles, Filters)
def filters(E: Elements, tile: Tile) -> Any:
    """Backward-weights; grid z: split + splits * group. tables: the forward's."""
    T, load, store = E.T, E.load, E.store

    @cuda.jit(device=True)
    def part(g, tables, z):
        group = z // g.splits
        return z, group * g.a_group, group * g.b_group, tables[TAPS]

    @cuda.jit(device=True)
    def span(g, tables, part):
        first = part[0] % g.splits * g.length
        return g.M, g.K, first, min(first + g.length, g.pixels)

    @cuda.jit(device=True)
    def column(g, tables, part, j):
        return (part[3],)

    @cuda.jit(device=True)
    def rows(g, tables, part):
        return part[1], g.plane

    @cuda.jit(device=True)
    def term(g, tables, part, r):
        n = r // g.plane
        pixel = r - n * g.plane
        y = pixel // g.OW
        x = (pixel - y * g.OW) * g.step_w
        y *= g.step_h
        rows = shifts_inside(tables, tables[ROWS], tables[ROW_COUNT], y, g.SH)
        columns = shifts_inside(tables, tables[COLUMNS], tables[COLUMN_COUNT], x, g.SW)
        return n * g.a_image + pixel, rows, columns, n * g.b_image + part[2] + y * g.SW + x

    @cuda.jit(device=True)
    def read_b(b, tables, g, column, term, r, j):
        if j < g.K:
            tap = tables[u(column[0] + j)]
            if tap_inside(tap, term[1], term[2]):
                return load(b, term[3] + (tap >> 2 * BITS))
        return T(0)

    @cuda.jit(device=True)
    def target(g, tables, part, j):
        return (part[0] * g.M * g.K + j,)

    @cuda.jit(device=True)
    def write(out, parts, bias, g, target, m, j, value):
        if g.splits > 1:
            parts[u(target[0] + m * g.K)] = value
        else:
            store(out, target[0] + m * g.K, value)

    return product(E, tile, True, True, Operands(part, span, column, rows, term, read_b, target, write))


def _gather(out: Any, a: Any, b: Any, bias: Any, p: Conv2d, plan: Plan, g: Gather) -> None:
    columns = p.N * plan.pixels
    tile = tile_for(p.dtype, g.M, columns)
    grid = tile.blocks(g.M, columns), 1, p.groups * plan.classes
    vector = nothing(p.dtype) if bias is None else flat(bias)
    arguments = flat(out), nothing(p.arithmetic), flat(a), flat(b), vector, table(plan.tables), g
    gather.launch(p.dtype, grid, tile.threads, *arguments, options=(tile,))


@entry("out")
def forward(out: Any, x: Any, w: Any, b: Any, p: Conv2d) -> None:
    CG, M, taps = p.C // p.groups, p.FN // p.groups, p.C // p.groups * p.FH * p.FW
    g = Gather(
        N=p.N, groups=p.groups, M=M, a_row=taps, a_group=M * taps, b_image=p.C * p.H * p.W, b_group=CG * p.H * p.W,
        SH=p.H, SW=p.W, step_h=p.stride_h, step_w=p.stride_w, out_image=p.FN * p.OH * p.OW,
        out_group=M * p.OH * p.OW, out_plane=p.OH * p.OW, out_width=p.OW, every_h=1, every_w=1,
        bias=int(b is not None), relu=int(p.activation == "relu"),
    )  # fmt: skip
    _gather(out, w, x, b, p, forward_plan(p, CG), g)


@entry("dx")
def backward_data(dx: Any, dout: Any, w: Any, p: Conv2d) -> None:
    CG, M, taps = p.C // p.groups, p.FN // p.groups, p.FH * p.FW
    g = Gather(
        N=p.N, groups=p.groups, M=CG, a_row=taps, a_group=M * CG * taps, b_image=p.FN * p.OH * p.OW,
        b_group=M * p.OH * p.OW, SH=p.OH, SW=p.OW, step_h=1, step_w=1, out_image=p.C * p.H * p.W,
        out_group=CG * p.H * p.W, out_plane=p.H * p.W, out_width=p.W, every_h=p.stride_h, every_w=p.stride_w,
        bias=0, relu=0,
    )  # fmt: skip
    _gather(dx, w, dout, None, p, backward_plan(p), g)


@entry("dw", "db")
def backward_weights(dw: Any, db: Any, dout: Any, x: Any, p: Conv2d) -> None:
    M, CG, plane = p.FN // p.groups, p.C // p.groups, p.OH * p.OW
    K, pixels = CG * p.FH * p.FW, p.N * plane
    tile = tile_for(p.dtype, M, K)
    blocks = tile.blocks(M, K)
    splits = splits_for(blocks * p.groups, pixels, 16 * tile.BK)
    g = Filters(
        M=M, K=K, OW=p.OW, plane=plane, pixels=pixels, splits=splits, length=-(-pixels // splits),
        a_image=p.FN * plane, a_group=M * plane, b_image=p.C * p.H * p.W, b_group=CG * p.H * p.W, SH=p.H, SW=p.W,
        step_h=p.stride_h, step_w=p.stride_w,
    )  # fmt: skip
    none, T = nothing(p.dtype), p.arithmetic
    parts = nothing(T) if splits == 1 else flat(scratch(splits * p.FN * K, T))
    arguments = flat(dw), parts, flat(dout), flat(x), none, table(forward_plan(p, CG).tables), g
    filters.launch(p.dtype, (blocks, 1, splits * p.groups), tile.threads, *arguments, options=(tile,))
    if splits > 1:
        sums.parts.each(p.dtype, p.FN * K, flat(dw), parts, none, p.FN * K, M * K, splits, 0, False)
    if db is not None:
        sums.sum_channels(db, dout, p.N, p.FN, plane)
