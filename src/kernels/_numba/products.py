"""Sums of products over a list of offsets, the whole of convolution and of matrix multiplication:

    y[r, q] = sum over k of w[k, r] * x[offsets[k] + q]                       `multiply`, vectors along q
    z[r, s] = sum over q of a[rows[r] + q] * b[columns[s] + q]                `correlate`, vectors along q too

In both, a tile of results stays in registers for the whole sum. `multiply` adds CHUNK products at a time to its
results, for the sake of long sums in float32.
"""

import numpy as np
from numba.extending import overload

from .jit import inline, named
from .simd import VECTOR_BYTES, WIDE, add_stored, step_inner, step_outer, store, store_totals, zeros

CHUNK = 512

# Rows of a tile to its widths in vectors: the widest, with its operands, fills the 32 registers of AVX-512, or the 16
# of others; the ends of lines take the narrowest that covers them. Widths of several rows divide SLACK_BYTES, the rows'
# distance in an affine map: a tile must not reach into the next row.
TILES = {8: (3, 2, 1), 4: (6, 2), 2: (6,), 1: (4,)} if WIDE else {4: (3, 2, 1), 2: (3,), 1: (4,)}
MOST_ROWS = max(TILES)

# The tiles of `correlate`, rows and columns: for many rows, and for a single one.
INNER_ROWS, INNER_COLUMNS = (4, 6) if WIDE else (3, 4)
SINGLE_COLUMNS = 9
SLACK_BYTES = VECTOR_BYTES * 6  # that `multiply` may read and write behind the end of its arrays' used parts


def lanes(array):
    """How many of the array's numbers a vector holds."""
    return VECTOR_BYTES // array.dtype.itemsize


@overload(lanes)
def _lanes(array):
    count = VECTOR_BYTES * 8 // array.dtype.bitwidth
    return lambda array: count


def _strip(rows, vectors):
    """The function that computes one tile."""

    @inline
    @named(f"strip_{rows}_{vectors}")
    def strip(y, at, q, pitch, x, offsets, first, last, w, j, add):
        tile = zeros(x, rows, vectors)
        for k in range(first, last):
            tile = step_outer(tile, x, offsets[k] + q, w, j + (k - first) * rows)
        if add:
            tile = add_stored(tile, y, at + q, pitch)
        store(tile, y, at + q, pitch)

    return strip


_strips = {(rows, vectors): _strip(rows, vectors) for rows, widths in TILES.items() for vectors in widths}


def _rows(rows):
    """The function that computes `rows` rows of y: the widest tiles, then the narrowest that covers the end."""
    wide = TILES[rows][0]
    middle, narrow = TILES[rows][len(TILES[rows]) // 2], TILES[rows][-1]
    widest, between, narrowest = _strips[rows, wide], _strips[rows, middle], _strips[rows, narrow]

    @inline
    @named(f"multiply_{rows}")
    def multiply(y, at, pitch, count, x, offsets, first, last, w, j, more):
        L = lanes(x)
        for start in range(first, last, CHUNK):
            stop, add, part = min(start + CHUNK, last), more or start > first, j + (start - first) * rows
            q = 0
            while q + middle * L < count:
                widest(y, at, q, pitch, x, offsets, start, stop, w, part, add)
                q += wide * L
            if q + narrow * L < count:
                between(y, at, q, pitch, x, offsets, start, stop, w, part, add)
            elif q < count:
                narrowest(y, at, q, pitch, x, offsets, start, stop, w, part, add)

    return multiply


_multiply_8, _multiply_4, _multiply_2, _multiply_1 = (_rows(min(rows, MOST_ROWS)) for rows in (8, 4, 2, 1))


@inline
def rows_of_tile(left):
    """How many rows the next tile takes when `left` are left."""
    if left >= MOST_ROWS:
        return MOST_ROWS
    return 4 if left >= 4 else 2 if left >= 2 else 1


@inline
def multiply(y, at, pitch, rows, count, x, offsets, first, last, w, j, more=False):
    """y[at + r*pitch + q] = sum over k in [first, last) of w[j + (k - first)*rows + r] * x[offsets[k] + q], q < count.

    With `more` it is added to what y holds. `rows` is one of `rows_of_tile`'s. Up to SLACK_BYTES
    behind the last x and y of each row are read and written.
    """
    if first == last and not more:
        for r in range(rows):
            y[at + r * pitch : at + r * pitch + count] = 0
    elif rows == 8:
        _multiply_8(y, at, pitch, count, x, offsets, first, last, w, j, more)
    elif rows == 4:
        _multiply_4(y, at, pitch, count, x, offsets, first, last, w, j, more)
    elif rows == 2:
        _multiply_2(y, at, pitch, count, x, offsets, first, last, w, j, more)
    else:
        _multiply_1(y, at, pitch, count, x, offsets, first, last, w, j, more)


@inline
def pack(packed, at, w, start, row_step, rows, sources, first, last):
    """packed[at + k*rows' + r] = w[start + r*row_step + sources[k]], tile after tile, as `multiply` reads it."""
    row = 0
    while row < rows:
        tile = rows_of_tile(rows - row)
        for r in range(tile):
            origin = start + (row + r) * row_step
            for k in range(first, last):
                packed[at + (k - first) * tile + r] = w[origin + sources[k]]
        at += (last - first) * tile
        row += tile


def _correlation(rows, columns):
    """The function that computes one tile's sums over `count` numbers of each of `units` pieces of a and b."""

    @inline
    @named(f"correlation_{rows}_{columns}")
    def correlation(z, a, a_rows, r, a_unit, b, b_columns, s, b_unit, units, count):
        tile = zeros(a, rows, columns)
        for unit in range(units):
            for q in range(0, count, lanes(a)):
                tile = step_inner(tile, a, unit * a_unit + q, a_rows, r, b, unit * b_unit + q, b_columns, s)
        store_totals(tile, z)

    return correlation


_correlate_many, _correlate_single = _correlation(INNER_ROWS, INNER_COLUMNS), _correlation(1, SINGLE_COLUMNS)
_TILE = max(INNER_ROWS * INNER_COLUMNS, SINGLE_COLUMNS)


@inline
def correlate(z, row, rows, column, columns, a, a_rows, a_unit, b, b_columns, b_unit, units, count):
    """z[row + r, column + s] += sum of a[u*a_unit + a_rows[r] + q] * b[u*b_unit + b_columns[s] + q]

    over u < units and q < count, rounded up to whole vectors. The lists of offsets hold MARGIN numbers more than rows
    and columns: any that may be read at.
    """
    strip = np.empty(_TILE, z.dtype)
    tile_rows, tile_columns = (1, SINGLE_COLUMNS) if rows == 1 else (INNER_ROWS, INNER_COLUMNS)
    for r in range(0, rows, tile_rows):
        for s in range(0, columns, tile_columns):
            if rows == 1:
                _correlate_single(strip, a, a_rows, r, a_unit, b, b_columns, s, b_unit, units, count)
            else:
                _correlate_many(strip, a, a_rows, r, a_unit, b, b_columns, s, b_unit, units, count)
            for k in range(min(tile_rows, rows - r)):
                for l in range(min(tile_columns, columns - s)):
                    z[row + r + k, column + s + l] += strip[k * tile_columns + l]


MARGIN = max(INNER_ROWS, INNER_COLUMNS, SINGLE_COLUMNS) - 1


def with_margin(offsets):
    """A list of offsets as `correlate` reads it: with MARGIN copies of the last."""
    return np.concatenate([offsets, np.repeat(offsets[-1:], MARGIN)])
