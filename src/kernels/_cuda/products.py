"""Products of matrices that are never laid out: blocked over shared memory and registers, double buffered.

out[m, j] = sum over r of A(m, r) * B(r, j): a block of threads makes BM x BN of it, each thread TM x TN in registers,
BK numbers of the sum at a time. While one BK is multiplied out of shared memory, each thread already holds its part of
the next one, read from global memory; it goes into the other half of shared memory behind one barrier. What A and B are
(a matrix, the pixels under a filter's taps) is the business of `Operands`: device functions that read them.

Indices of shared memory are uint64, since Numba makes a test for a negative index of every signed one, which keeps the
compiler from loading four numbers at once.
Source: the blocking is that of K. Goto and R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008,
on a GPU's levels of memory as in V. Volkov and J. Demmel, Benchmarking GPUs to tune dense linear algebra, 2008.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .elements import Elements, Type
from .shim import cuda, simulated

PAD = 4  # numbers behind each row in shared memory: rows stay aligned to 16 bytes, columns fall on different banks


@dataclass(frozen=True)
class Tile:
    """Sizes of one block's work. Threads hold groups of V neighbours: V are loaded from shared memory at once."""

    BM: int
    BN: int
    BK: int
    TM: int
    TN: int
    V: int

    @property
    def threads(self) -> int:
        return (self.BM // self.TM) * (self.BN // self.TN)

    def blocks(self, M: int, columns: int) -> int:
        """How many tiles cover a product of M x columns."""
        return -(-M // self.BM) * -(-columns // self.BN)

    def __str__(self) -> str:
        return f"{self.BM}x{self.BN}x{self.BK}"


SQUARE = Tile(128, 128, 8, 8, 8, 4)
WIDE = Tile(64, 128, 8, 8, 8, 4)
MIDDLE = Tile(64, 64, 16, 4, 4, 4)
FLAT = Tile(32, 128, 8, 4, 8, 4)
SMALL = Tile(32, 32, 32, 4, 4, 4)  # blocks of two warps with many reads under way, for what would leave others idle
TINY = Tile(8, 8, 4, 2, 2, 2)  # for the simulator: 16 threads


def tiles(S: Type) -> list[tuple[Tile]]:
    """The tiles for elements of type S, as variants of a family: float64 has no registers for sums of 8 x 8."""
    return [(tile,) for tile in (SQUARE, WIDE, MIDDLE, FLAT, SMALL) if S is not np.float64 or tile.TM < 8]


BLOCKS = 264
"""Blocks that fill a large card twice over (H100: 132 multiprocessors). Fixed: sums are split alike everywhere."""


def tile_for(dtype: Any, M: int, columns: int, depth: int = 0) -> Tile:
    """The largest tile that is not mostly empty and leaves enough blocks, between which sums of `depth` terms may be
    split."""
    if simulated:
        return TINY
    splits = max(1, depth // 1024)
    for (tile,) in tiles(np.dtype(dtype).type):
        half_empty = 2 * M <= tile.BM or 2 * columns <= tile.BN or (tile is FLAT and M > tile.BM)
        if not half_empty and tile.blocks(M, columns) * splits >= BLOCKS // 2:
            return tile
    return SMALL


def splits_for(tile: Tile, blocks: int, length: int, least: int) -> int:
    """Into how many parts, of at least `least` terms each, to split sums of `length` terms made by `blocks` blocks: as
    many as give a large card its threads."""
    return max(1, min(BLOCKS * 256 // (tile.threads * max(blocks, 1)), length // least))


class Operands(NamedTuple):
    """Device functions that say what A, B and out are. `g` is the kernel's tuple of sizes, `z` blockIdx.z;
    blockIdx.y is theirs to use.

    part(g, tables, z) -> tuple: what the block has to know about its share of the grid
    span(g, tables, part) -> M, columns, first, end: the product's sizes, and the piece of the sum that the block makes
    column(g, tables, part, j) -> tuple: what the thread has to know about the column of B that it reads
    rows(g, tables, part) -> first, step: A(m, r) is a[first + m * step + term[0]]
    term(g, tables, part, r) -> tuple: what it has to know about the term of the sum that it reads
    read_b(b, tables, g, column, term, r, j) -> number, for r inside or up to BK beyond; zero for j outside
    target(g, tables, part, j) -> tuple: what it has to know about a column of out
    write(out, parts, bias, g, target, m, j, value): to out, or to parts where the sum is split among blocks

    `column` holds for j when B is not read along the sum, `term` for r in what is read along it.
    """

    part: Callable[..., Any]
    span: Callable[..., Any]
    column: Callable[..., Any]
    rows: Callable[..., Any]
    term: Callable[..., Any]
    read_b: Callable[..., Any]
    target: Callable[..., Any]
    write: Callable[..., Any]


def product(E: Elements, tile: Tile, a_along: bool, b_along: bool, operands: Operands) -> Any:
    """The body of a kernel (out, parts, a, b, bias, tables, g); grid: tiles of the product, y, z.

    a_along, b_along: neighbouring threads read A, B along the sum, because their numbers are neighbours there.
    """
    T, load = E.T, E.load
    BM, BN, BK, TM, TN, V, THREADS = tile.BM, tile.BN, tile.BK, tile.TM, tile.TN, tile.V, tile.threads
    COLUMNS = BN // TN
    READS_A, READS_B = BM * BK // THREADS, BN * BK // THREADS
    ROW_A, ROW_B = BM + PAD, BN + PAD
    GROUP_A, GROUP_B = BM // TM * V, BN // TN * V  # distance of a thread's groups of V
    SIZE_A, SIZE_B = 2 * BK * ROW_A, 2 * BK * ROW_B
    TERMS = max(2, min(4, 128 // (TM * TN)))  # written out in the loop over a tile's terms: fewer tests for its end
    u = np.uint64
    part_of, span, column_of, rows_of, term_of, read_b, target_of, write = operands

    # The numbers that a thread brings are STEP apart along the sum or across it, whichever its neighbours do not take.
    STEP_A, STEP_B = THREADS // (BK if a_along else BM), THREADS // (BK if b_along else BN)
    DOWN_A, ON_A = (STEP_A, 0) if a_along else (0, STEP_A)
    DOWN_B, ON_B = (STEP_B, 0) if b_along else (0, STEP_B)

    @cuda.jit(device=True)
    def place_a(tid):
        return (tid // BK, tid % BK) if a_along else (tid % BM, tid // BM)

    @cuda.jit(device=True)
    def place_b(tid):
        return (tid // BK, tid % BK) if b_along else (tid % BN, tid // BN)

    @cuda.jit(device=True)
    def fetch(mine_a, mine_b, a, b, tables, g, part, column, corner, jump, rows, j0, k, end, tid):
        term = term_of(g, tables, part, max(min(k + tid % BK, end - 1), 0))
        _, r = place_a(tid)
        for e in range(READS_A):
            at = k + r + e * ON_A
            mine_a[e] = T(0)
            if e * DOWN_A < rows and at < end:
                along = term[0] if a_along else term_of(g, tables, part, at)[0]
                mine_a[e] = load(a, corner + e * jump + along)
        j, r = place_b(tid)
        for e in range(READS_B):
            at = k + r + e * ON_B
            mine_b[e] = read_b(b, tables, g, column, term, at, j0 + j + e * DOWN_B) if at < end or not b_along else T(0)

    @cuda.jit(device=True)
    def stash(shared_a, shared_b, mine_a, mine_b, half, tid):
        m, r = place_a(tid)
        for e in range(READS_A):
            shared_a[u((half * BK + r + e * ON_A) * ROW_A + m + e * DOWN_A)] = mine_a[e]
        j, r = place_b(tid)
        for e in range(READS_B):
            shared_b[u((half * BK + r + e * ON_B) * ROW_B + j + e * DOWN_B)] = mine_b[e]

    def kernel(out, parts, a, b, bias, tables, g):
        shared_a = cuda.shared.array(SIZE_A, T, alignment=16)
        shared_b = cuda.shared.array(SIZE_B, T, alignment=16)
        sums = cuda.local.array((TM, TN), T)
        mine_a = cuda.local.array(READS_A, T)
        mine_b = cuda.local.array(READS_B, T)
        left = cuda.local.array(TM, T)
        upper = cuda.local.array(TN, T)
        tid = cuda.threadIdx.x
        ty, tx = tid // COLUMNS, tid % COLUMNS
        part = part_of(g, tables, cuda.blockIdx.z)
        M, columns, first, end = span(g, tables, part)
        across = max((columns + BN - 1) // BN, 1)
        m0, j0 = cuda.blockIdx.x // across * BM, cuda.blockIdx.x % across * BN
        column = column_of(g, tables, part, j0 + tid % BN)
        first_row, step = rows_of(g, tables, part)
        m = m0 + place_a(tid)[0]
        corner, jump, rows = first_row + m * step, DOWN_A * step, M - m
        for i in range(TM):
            for j in range(TN):
                sums[i, j] = T(0)
        fetch(mine_a, mine_b, a, b, tables, g, part, column, corner, jump, rows, j0, first, end, tid)
        stash(shared_a, shared_b, mine_a, mine_b, 0, tid)
        cuda.syncthreads()
        half = 0
        for k in range(first + BK, end + BK, BK):
            if k < end:
                fetch(mine_a, mine_b, a, b, tables, g, part, column, corner, jump, rows, j0, k, end, tid)
            at_a = half * BK * ROW_A + ty * V
            at_b = half * BK * ROW_B + tx * V
            for _ in range(BK // TERMS):
                for term in range(TERMS):
                    for i in range(TM):
                        left[i] = shared_a[u(at_a + term * ROW_A + i // V * GROUP_A + i % V)]
                    for j in range(TN):
                        upper[j] = shared_b[u(at_b + term * ROW_B + j // V * GROUP_B + j % V)]
                    for i in range(TM):
                        for j in range(TN):
                            sums[i, j] += left[i] * upper[j]
                at_a += TERMS * ROW_A
                at_b += TERMS * ROW_B
            half = 1 - half
            if k < end:
                stash(shared_a, shared_b, mine_a, mine_b, half, tid)
            cuda.syncthreads()
        for j in range(TN):
            at = j0 + j // V * GROUP_B + tx * V + j % V
            if at < columns:
                target = target_of(g, tables, part, at)
                for i in range(TM):
                    m = m0 + i // V * GROUP_A + ty * V + i % V
                    if m < M:
                        write(out, parts, bias, g, target, m, at, sums[i, 0])
            # The next column moves to the front: a loop too long to be unrolled must not index registers.
            for i in range(TM):
                for following in range(1, TN):
                    sums[i, following - 1] = sums[i, following]

    return kernel
