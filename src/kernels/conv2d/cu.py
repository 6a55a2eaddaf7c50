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
    COLUMNS,
    COUNT,
    FIRST_COLUMN,
    FIRST_ROW,
    HEIGHT,
    MOST,
    PLACES,
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
    """Sizes of a product whose columns are pixels of planes, SW wide, read under taps.

    A pixel (y, x) of a class reads around (y*step_h, x*step_w) and is written to (row + y*every_h, column + x*every_w)
    of a plane that is `out_width` wide. Sums over up to `taps` taps are split into pieces of `length`, the parts of
    an output of `size` numbers laid one after the other.
    """

    N: int
    groups: int
    M: int
    a_row: int
    a_group: int
    b_image: int
    b_group: int
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
    taps: int
    size: int
    classes: int = 1
    splits: int = 1
    length: int = 0


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
    SW: int
    step_h: int
    step_w: int


@cuda.jit(device=True)
def tap_inside(tap, rows, columns):
    """Whether a tap (see `Plan`) falls on a pixel, where the bits of rows and columns say which shifts do."""
    return (rows >> (tap >> BITS & MOST)) & (columns >> (tap & MOST)) & 1


@family("S[] T[] S[] S[] S[] i[] g", tiles, Gather)
def gather(E: Elements, tile: Tile) -> Any:
    """Forward and backward-data; grid y: group, z: class + classes * split."""
    T, load, store = E.T, E.load, E.store

    @cuda.jit(device=True)
    def part(g, tables, z):
        return z % g.classes * CLASS, z // g.classes

    @cuda.jit(device=True)
    def span(g, tables, part):
        at = part[0]
        taps = tables[at + COUNT]
        first = min(part[1] * g.length, taps)
        return g.M, g.N * tables[at + HEIGHT] * tables[at + WIDTH], first, min(first + g.length, taps)

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
        at = part[0]
        n, y, x = pixel(tables, at, j)
        rows = tables[u(tables[at + ROWS] + y)] if n < g.N else 0
        columns = tables[u(tables[at + COLUMNS] + x)]
        place = n * g.b_image + cuda.blockIdx.y * g.b_group + y * g.step_h * g.SW + x * g.step_w
        return rows, columns, place, tables[at + TAPS]

    @cuda.jit(device=True)
    def rows(g, tables, part):
        return cuda.blockIdx.y * g.a_group, g.a_row

    @cuda.jit(device=True)
    def term(g, tables, part, r):
        return (tables[u(tables[part[0] + PLACES] + r)],)

    @cuda.jit(device=True)
    def read_b(b, tables, g, column, term, r, j):
        tap = tables[u(column[3] + r)]
        return load(b, column[2] + (tap >> 2 * BITS)) if tap_inside(tap, column[0], column[1]) else T(0)

    @cuda.jit(device=True)
    def target(g, tables, part, j):
        group, at = cuda.blockIdx.y, part[0]
        n, y, x = pixel(tables, at, j)
        place = (tables[at + FIRST_ROW] + y * g.every_h) * g.out_width + tables[at + FIRST_COLUMN] + x * g.every_w
        return n * g.out_image + group * g.out_group + place, group * g.M, part[1] * g.size

    @cuda.jit(device=True)
    def write(out, parts, bias, g, target, m, j, value):
        if g.splits > 1:
            parts[u(target[2] + target[0] + m * g.out_plane)] = value
            return
        if g.bias:
            value += load(bias, target[1] + m)
        if g.relu and value < T(0):
            value = T(0)
        store(out, target[0] + m * g.out_plane, value)

    return product(E, tile, True, False, Operands(part, span, column, rows, term, read_b, target, write))


@family("S[] T[] S[] S[] S[] i[] g", tiles, Filters)
def filters(E: Elements, tile: Tile) -> Any:
    """Backward-weights; grid y: group, z: split. tables: the forward's."""
    T, load, store = E.T, E.load, E.store

    @cuda.jit(device=True)
    def part(g, tables, z):
        return (z,)

    @cuda.jit(device=True)
    def span(g, tables, part):
        first = part[0] * g.length
        return g.M, g.K, first, min(first + g.length, g.pixels)

    @cuda.jit(device=True)
    def column(g, tables, part, j):
        return (tables[TAPS],)

    @cuda.jit(device=True)
    def rows(g, tables, part):
        return cuda.blockIdx.y * g.a_group, g.plane

    @cuda.jit(device=True)
    def term(g, tables, part, r):
        n = r // g.plane
        pixel = r - n * g.plane
        y = pixel // g.OW
        x = pixel - y * g.OW
        rows, columns = tables[u(tables[ROWS] + y)], tables[u(tables[COLUMNS] + x)]
        place = n * g.b_image + cuda.blockIdx.y * g.b_group + y * g.step_h * g.SW + x * g.step_w
        return n * g.a_image + pixel, rows, columns, place

    @cuda.jit(device=True)
    def read_b(b, tables, g, column, term, r, j):
        if j < g.K:
            tap = tables[u(column[0] + j)]
            if tap_inside(tap, term[1], term[2]):
                return load(b, term[3] + (tap >> 2 * BITS))
        return T(0)

    @cuda.jit(device=True)
    def target(g, tables, part, j):
        return ((cuda.blockIdx.y * g.splits + part[0]) * g.M * g.K + j,)

    @cuda.jit(device=True)
    def write(out, parts, bias, g, target, m, j, value):
        if g.splits > 1:
            parts[u(target[0] + m * g.K)] = value
        else:
            store(out, target[0] + m * g.K, value)

    return product(E, tile, True, True, Operands(part, span, column, rows, term, read_b, target, write))


def _gather(out: Any, a: Any, b: Any, bias: Any, p: Conv2d, plan: Plan, g: Gather) -> None:
    columns = p.N * plan.pixels
    tile = tile_for(p.dtype, g.M, columns, g.taps)
    blocks = tile.blocks(g.M, columns)
    splits = splits_for(tile, blocks * p.groups * plan.classes, g.taps, 256)
    length = -(-g.taps // (splits * tile.BK)) * tile.BK
    splits = max(1, -(-g.taps // length))
    g = g._replace(classes=plan.classes, splits=splits, length=length)
    parts = nothing(p.arithmetic) if splits == 1 else scratch(splits * g.size, p.arithmetic)
    vector = nothing(p.dtype) if bias is None else flat(bias)
    arguments = flat(out), flat(parts), flat(a), flat(b), vector, table(plan.tables), g
    grid = blocks, p.groups, plan.classes * splits
    gather.launch(p.dtype, grid, tile.threads, *arguments, options=(tile,))
    if splits > 1:
        sums.join(out, parts, splits, g.size, bias, (p.FN * g.bias, g.out_plane), g.relu)


@entry("out")
def forward(out: Any, x: Any, w: Any, b: Any, p: Conv2d) -> None:
    CG, M, taps = p.C // p.groups, p.FN // p.groups, p.C // p.groups * p.FH * p.FW
    g = Gather(
        N=p.N, groups=p.groups, M=M, a_row=taps, a_group=M * taps, b_image=p.C * p.H * p.W, b_group=CG * p.H * p.W,
        SW=p.W, step_h=p.stride_h, step_w=p.stride_w, out_image=p.FN * p.OH * p.OW,
        out_group=M * p.OH * p.OW, out_plane=p.OH * p.OW, out_width=p.OW, every_h=1, every_w=1,
        bias=int(b is not None), relu=int(p.activation == "relu"), taps=taps,
        size=p.N * p.FN * p.OH * p.OW,
    )  # fmt: skip
    _gather(out, w, x, b, p, forward_plan(p, CG), g)


@entry("dx")
def backward_data(dx: Any, dout: Any, w: Any, p: Conv2d) -> None:
    CG, M, taps, plan = p.C // p.groups, p.FN // p.groups, p.FH * p.FW, backward_plan(p)
    g = Gather(
        N=p.N, groups=p.groups, M=CG, a_row=taps, a_group=M * CG * taps, b_image=p.FN * p.OH * p.OW,
        b_group=M * p.OH * p.OW, SW=p.OW, step_h=1, step_w=1, out_image=p.C * p.H * p.W,
        out_group=CG * p.H * p.W, out_plane=p.H * p.W, out_width=p.W, every_h=p.stride_h, every_w=p.stride_w,
        bias=0, relu=0, taps=plan.taps, size=p.N * p.C * p.H * p.W,
    )  # fmt: skip
    _gather(dx, w, dout, None, p, plan, g)


@entry("dw", "db")
def backward_weights(dw: Any, db: Any, dout: Any, x: Any, p: Conv2d) -> None:
    M, CG, plane = p.FN // p.groups, p.C // p.groups, p.OH * p.OW
    K, pixels = CG * p.FH * p.FW, p.N * plane
    tile = tile_for(p.dtype, M, K, pixels)
    blocks = tile.blocks(M, K)
    splits = splits_for(tile, blocks * p.groups, pixels, 128)
    g = Filters(
        M=M, K=K, OW=p.OW, plane=plane, pixels=pixels, splits=splits, length=-(-pixels // splits),
        a_image=p.FN * plane, a_group=M * plane, b_image=p.C * p.H * p.W, b_group=CG * p.H * p.W, SW=p.W,
        step_h=p.stride_h, step_w=p.stride_w,
    )  # fmt: skip
    none, T = nothing(p.dtype), p.arithmetic
    parts = nothing(T) if splits == 1 else scratch(splits * p.FN * K, T)
    arguments = flat(dw), flat(parts), flat(dout), flat(x), none, table(forward_plan(p, CG).tables), g
    filters.launch(p.dtype, (blocks, p.groups, splits), tile.threads, *arguments, options=(tile,))
    if splits > 1:
        sums.join(dw, parts, splits, M * K)
    if db is not None:
        sums.sum_channels(db, dout, p.N, p.FN, plane)
