"""Sums in a fixed order: of parts that blocks left behind, and over the images and pixels of each channel.

Threads sum a few hundred numbers in the arrays' own type; from there on sums are in float64, pairwise within a block,
then over blocks in order. The same sizes give the same order, so the same bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..._problem import arithmetic
from .arrays import flat, nothing, scratch
from .elements import Elements
from .kernels import GROUPS, WIDTH, family
from .products import BLOCKS
from .shim import cuda


@cuda.jit(device=True)
def add_up(shared, tid, wide):
    """shared[:wide] becomes the sums over its `wide` interleaved lists, of WIDTH numbers together. All threads call."""
    cuda.syncthreads()
    half = WIDTH // 2
    while half >= wide:
        if tid < half:
            shared[tid] += shared[tid + half]
        cuda.syncthreads()
        half //= 2


@family("d[] d[] T[] i d")
def total(E: Elements) -> Any:
    """out[0] = base[0] + scale * the sum of x, by one block in a fixed order."""

    def kernel(out, base, x, count, scale):
        shared = cuda.shared.array(WIDTH, np.float64)
        tid = cuda.threadIdx.x
        below = 0.0
        for i in range(tid, count, WIDTH):
            below += x[i]
        shared[tid] = below
        add_up(shared, tid, 1)
        if tid == 0:
            out[0] = base[0] + scale * shared[0]

    return kernel


class Parts(NamedTuple):
    """count numbers, each the sum of `splits` parts `inner` apart; a number's bias is bias[i // plane % biases].

    `wide` numbers side by side are a block's, whose other threads share the splits.
    """

    count: int
    inner: int
    splits: int
    biases: int
    plane: int
    relu: int
    wide: int


@family("S[] T[] S[] g", sizes=Parts)
def parts(E: Elements) -> Any:
    """out[i] = sum over s of partial[i // inner, s, i % inner], plus its bias, then ReLU."""
    T, load, store = E.T, E.load, E.store

    def kernel(out, partial, bias, g):
        shared = cuda.shared.array(WIDTH, np.float64)
        tid = cuda.threadIdx.x
        i = cuda.blockIdx.x * g.wide + tid % g.wide
        total = T(0)
        if i < g.count:
            outer = i // g.inner
            at = outer * g.splits * g.inner + i - outer * g.inner
            for s in range(tid // g.wide, g.splits, WIDTH // g.wide):
                total += partial[at + s * g.inner]
        shared[tid] = total
        add_up(shared, tid, g.wide)
        if tid < g.wide and i < g.count:
            total = T(shared[tid])
            if g.biases > 0:
                total += load(bias, i // g.plane % g.biases)
            store(out, i, T(0) if g.relu and total < T(0) else total)

    return kernel


def join(
    out: Any, partial: Any, splits: int, inner: int, bias: Any = None, channels: Any = (0, 1), relu: int = 0
) -> None:  # fmt: skip
    """Add up the parts of a split product: (count // inner, splits, inner) of them, for `count` numbers of out.

    channels: how many there are, and how many numbers lie together in one; each has its bias.
    """
    # One thread after the other would wait for all parts of its number; up to 32 share them, and add theirs up.
    lanes = 1
    while lanes < min(splits // 4, WIDTH // 8):
        lanes *= 2
    g = Parts(out.size, inner, splits, *channels, int(relu), WIDTH // lanes)
    vector = nothing(out.dtype) if bias is None else flat(bias)
    parts.launch(out.dtype, -(-out.size // g.wide), WIDTH, flat(out), flat(partial), vector, g)


class Channels(NamedTuple):
    """(N, C, P) summed over N and P: `length` numbers of each channel are a block's, `wide` channels side by side."""

    C: int
    P: int
    total: int
    length: int
    splits: int
    wide: int


MOST = 128  # numbers that one thread sums by itself, about


def channels(N: int, C: int, P: int) -> Channels:
    """How the sums over an array (N, C, P) are divided among blocks: see `Channels`."""
    wide = 1 if P >= 32 else min(32, WIDTH // 4)
    lanes, total = WIDTH // wide, N * P
    blocks = -(-C // wide)
    splits = max(1, -(-total // (lanes * MOST)), min(BLOCKS // blocks, total // (lanes * 8)))
    length = -(-total // (splits * 8)) * 8  # 16 bytes of any type
    return Channels(C, P, total, length, -(-total // max(length, 1)) or 1, wide)


def walk(E: Elements, reads: int, visit: Callable[..., Any]) -> Any:
    """A device function that calls total = visit(total, x[i], y[i], state) for this thread's numbers i of channel c.

    Threads beside each other take neighbours in memory: pixels of one channel, 16 bytes at a time where planes are
    whole multiples of that, or channels where planes are small. y is not read if `reads` is 1.
    """
    T, L, load, _, load_all, _, aligned = E
    MINE = GROUPS * L

    @cuda.jit(device=True)
    def visit_all(total, x, y, state, g, c, lane):
        first = cuda.blockIdx.y * g.length
        end = min(first + g.length, g.total)
        if g.wide == 1 and g.P % L == 0 and aligned(x) and aligned(y):
            mine = cuda.local.array(MINE, T)
            other = cuda.local.array(MINE, T)
            planes, pixels = WIDTH * L // g.P, WIDTH * L % g.P  # from one group of 16 bytes to this thread's next
            e = first + lane * L
            n = e // g.P
            pixel = e - n * g.P
            while e < end:
                for k in range(GROUPS):
                    if e + k * WIDTH * L < end:
                        at = (n * g.C + c) * g.P + pixel
                        load_all(mine, k * L, x, at)
                        if reads > 1:
                            load_all(other, k * L, y, at)
                    pixel += pixels
                    n += planes
                    if pixel >= g.P:
                        pixel -= g.P
                        n += 1
                for k in range(GROUPS):
                    if e + k * WIDTH * L < end:
                        for i in range(k * L, k * L + L):
                            total = visit(total, mine[i], other[i], state)
                e += GROUPS * WIDTH * L
            return total
        lanes = WIDTH // g.wide
        e = first + lane
        n = e // g.P
        pixel = e - n * g.P
        while e < end:
            at = (n * g.C + c) * g.P + pixel
            total = visit(total, load(x, at), load(y, at) if reads > 1 else T(0), state)
            e += lanes
            pixel += lanes
            while pixel >= g.P:
                pixel -= g.P
                n += 1
        return total

    return visit_all


def channel_sums(E: Elements, reads: int, first: Callable[..., Any], second: Callable[..., Any]) -> Any:
    """The body of a kernel (partial, x, y, mean, scale, g): for each channel and split, the sums of two terms.

    first, second: device functions of the numbers (x, y, mean, scale). Grid: channels / wide, splits.
    """
    T = E.T

    @cuda.jit(device=True)
    def visit(total, x, y, state):
        return total[0] + first(x, y, state[0], state[1]), total[1] + second(x, y, state[0], state[1])

    visit_all = walk(E, reads, visit)

    def kernel(partial, x, y, mean, scale, g):
        sums_a = cuda.shared.array(WIDTH, np.float64)
        sums_b = cuda.shared.array(WIDTH, np.float64)
        tid = cuda.threadIdx.x
        c = cuda.blockIdx.x * g.wide + tid % g.wide
        sums_a[tid] = 0.0
        sums_b[tid] = 0.0
        if c < g.C:
            state = (mean[c], scale[c]) if reads > 1 else (T(0), T(0))
            a, b = visit_all((T(0), T(0)), x, y, state, g, c, tid // g.wide)
            sums_a[tid] = a
            sums_b[tid] = b
        add_up(sums_a, tid, g.wide)
        add_up(sums_b, tid, g.wide)
        if tid < g.wide and c < g.C:
            at = (c * g.splits + cuda.blockIdx.y) * 2
            partial[at] = sums_a[tid]
            partial[at + 1] = sums_b[tid]

    return kernel


@family("d[] S[] S[] T[] T[] g", sizes=Channels)
def plain_sums(E: Elements) -> Any:
    """The sum of x over each channel; y, mean, scale and the second sum are not used."""
    T = E.T
    number = cuda.jit(device=True)(lambda x, y, mean, scale: x)
    return channel_sums(E, 1, number, cuda.jit(device=True)(lambda x, y, mean, scale: T(0)))


@family("S[] S[] d[] i i i d")
def join_sums(E: Elements) -> Any:
    """The two sums of each channel over its splits, in order, times `scale`. The second only if `both` is not 0."""

    store = E.store

    def kernel(a, b, partial, C, splits, both, scale):
        c = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if c < C:
            sum_a = 0.0
            sum_b = 0.0
            for s in range(splits):
                sum_a += partial[(c * splits + s) * 2]
                sum_b += partial[(c * splits + s) * 2 + 1]
            store(a, c, sum_a * scale)
            if both:
                store(b, c, sum_b * scale)

    return kernel


def sum_channels(out: Any, x: Any, N: int, C: int, P: int, scale: float = 1.0) -> None:
    """out[c] = scale * sum over n and p of x[n, c, p]."""
    g, none = channels(N, C, P), nothing(arithmetic(x.dtype))
    partial = scratch(2 * C * g.splits, np.float64)
    plain_sums.launch(x.dtype, (-(-C // g.wide), g.splits), WIDTH, flat(partial), flat(x), flat(x), none, none, g)
    join_sums.launch(out.dtype, -(-C // WIDTH), WIDTH, flat(out), flat(out), flat(partial), C, g.splits, 0, scale)
