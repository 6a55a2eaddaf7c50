"""y = x . W + b in CUDA: tiles of the product in shared memory and registers, see `_cuda/products.py`.

Where the result has few tiles, the sums are split among blocks and their parts added in order. W is (in, out), or
(out, in) when the Problem says transposed: an operand is a first number and two strides.
"""

from typing import Any, NamedTuple

import numpy as np

from ..._problem import Affine, arithmetic
from .._cuda import sums
from .._cuda.arrays import entry, flat, nothing, scratch, table
from .._cuda.elements import Elements, Type
from .._cuda.kernels import family
from .._cuda.products import Operands, Tile, product, splits_for, tile_for, tiles
from .._cuda.shim import cuda, require

require()

u = np.uint64


class Matrices(NamedTuple):
    """A (M, K) times B (K, columns) by strides; the sums over K in pieces of `length`, one for each z."""

    M: int
    K: int
    columns: int
    a_row: int
    a_column: int
    b_row: int
    b_column: int
    splits: int
    length: int
    bias: int
    relu: int


def _variants(T: Type) -> list[tuple[Any, ...]]:
    """x . W, dout . W^T, x^T . dout with W as it is; transposed makes of the first two each other, of the last x^T."""
    return [(*tile, a, b) for tile in tiles(T) for a, b in ((True, False), (True, True), (False, False))]


@family("S[] T[] S[] S[] S[] i[] g", _variants, Matrices)
def matrices(E: Elements, tile: Tile, a_along: bool, b_along: bool) -> Any:
    """out[z] = A . B over the z-th piece of the sum; a_along, b_along: the operand's stride along the sum is 1."""
    T, load, store = E.T, E.load, E.store

    @cuda.jit(device=True)
    def part(g, tables, z):
        return (z,)

    @cuda.jit(device=True)
    def span(g, tables, part):
        first = part[0] * g.length
        return g.M, g.columns, first, min(first + g.length, g.K)

    @cuda.jit(device=True)
    def column(g, tables, part, j):
        return (j * g.b_column,)

    @cuda.jit(device=True)
    def rows(g, tables, part):
        return 0, g.a_row

    @cuda.jit(device=True)
    def term(g, tables, part, r):
        return (r * g.a_column,)

    @cuda.jit(device=True)
    def read_b(b, tables, g, column, term, r, j):
        return load(b, r * g.b_row + j * g.b_column) if j < g.columns and r < g.K else T(0)

    @cuda.jit(device=True)
    def target(g, tables, part, j):
        return j, part[0] * g.M * g.columns + j

    @cuda.jit(device=True)
    def write(out, parts, bias, g, target, m, j, value):
        if g.bias:
            value += load(bias, target[0])
        if g.relu and value < T(0):
            value = T(0)
        if g.splits > 1:
            parts[u(target[1] + m * g.columns)] = value
        else:
            store(out, target[1] + m * g.columns, value)

    return product(E, tile, a_along, b_along, Operands(part, span, column, rows, term, read_b, target, write))


def _multiply(out: Any, a: Any, b: Any, bias: Any, dtype: Any, sizes: tuple[int, int, int], a_steps, b_steps, relu):
    """out (M, columns) = A . B (+ bias, ReLU) with sizes (M, K, columns) and strides (row, column)."""
    M, K, columns = sizes
    tile = tile_for(dtype, M, columns, K)
    blocks = tile.blocks(M, columns)
    splits = splits_for(tile, blocks, K, 64)
    whole = splits == 1
    g = Matrices(
        M, K, columns, *a_steps, *b_steps, splits=splits, length=-(-K // splits),
        bias=int(whole and bias is not None), relu=int(whole and relu),
    )  # fmt: skip
    vector = nothing(dtype) if bias is None else flat(bias)
    parts = nothing(arithmetic(dtype)) if whole else scratch(splits * M * columns, arithmetic(dtype))
    options = tile, a_steps[1] == 1, b_steps[0] == 1 != b_steps[1]
    arguments = flat(out), flat(parts), flat(a), flat(b), vector, table(()), g
    matrices.launch(dtype, (blocks, 1, splits), tile.threads, *arguments, options=options)
    if not whole:
        sums.join(out, parts, splits, M * columns, bias, (0 if bias is None else columns, 1), relu)


def _weights(p: Affine) -> tuple[int, int]:
    """Strides of W from one input to the next, and from one output to the next."""
    return (1, p.K) if p.transposed else (p.M, 1)


@entry("out")
def forward(out: Any, x: Any, w: Any, b: Any, p: Affine) -> None:
    _multiply(out, x, w, b, p.dtype, (p.N, p.K, p.M), (p.K, 1), _weights(p), p.activation == "relu")


@entry("dx")
def backward_data(dx: Any, dout: Any, w: Any, p: Affine) -> None:
    _multiply(dx, dout, w, None, p.dtype, (p.N, p.M, p.K), (p.M, 1), _weights(p)[::-1], False)


@entry("dw", "db")
def backward_weights(dw: Any, db: Any, dout: Any, x: Any, p: Affine) -> None:
    if p.transposed:
        _multiply(dw, dout, x, None, p.dtype, (p.M, p.N, p.K), (1, p.M), (p.K, 1), False)
    else:
        _multiply(dw, x, dout, None, p.dtype, (p.K, p.N, p.M), (1, p.K), (p.M, 1), False)
    if db is not None:
        sums.sum_channels(db, dout, p.N, p.M, 1)
