"""Dropout in CUDA: the bits of ref.py's generator, counted from the place in the mask, so the same on every backend."""

from typing import Any

import numpy as np

from ..._problem import Dropout
from .._cuda.arrays import entry, flat
from .._cuda.elements import Elements
from .._cuda.graphs import step_numbers
from .._cuda.kernels import EACH, WIDTH, family
from .._cuda.shim import cuda, require

require()

GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)


@cuda.jit(device=True)
def random_bits(seed, i):
    """The i-th 32 bits of the stream (splitmix64)."""
    z = seed + np.uint64(i // 2 + 1) * GOLDEN
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    z ^= z >> np.uint64(31)
    return np.int64((z >> np.uint64(32)) if i % 2 else (z & LOW))


@family("S[] ?[] S[] u[] u i i i T")
def draw(E: Elements) -> Any:
    """The mask, and x times the scale where it is set. Each entry of the mask stands for `repeat` numbers."""
    T, load, store = E.T, E.load, E.store

    def kernel(out, mask, x, changing, seed, count, repeat, threshold, scale):
        seed += changing[0]
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                i = at if repeat == 1 else at // repeat
                kept = random_bits(seed, i) >= threshold
                if i * repeat == at:
                    mask[i] = kept
                store(out, at, load(x, at) * scale if kept else T(0))

    return kernel


@family("S[] S[] ?[] i i T")
def apply(E: Elements) -> Any:
    """dout times the scale where the mask is set."""
    T, load, store = E.T, E.load, E.store

    def kernel(dx, dout, mask, count, repeat, scale):
        first = cuda.blockIdx.x * (WIDTH * EACH) + cuda.threadIdx.x
        for e in range(EACH):
            at = first + e * WIDTH
            if at < count:
                store(dx, at, load(dout, at) * scale if mask[at if repeat == 1 else at // repeat] else T(0))

    return kernel


@entry("out", "mask")
def forward(out: Any, mask: Any, x: Any, seed: Any, p: Dropout) -> None:
    count, scale = p.size * p.repeat, p.arithmetic.type(p.scale)
    changing, seeds = step_numbers(np.dtype(np.uint64), 1, lambda: [seed() if callable(seed) else seed])
    arrays = flat(out), flat(mask), flat(x), changing
    draw.each(p.dtype, count, *arrays, *seeds, count, p.repeat, p.threshold, scale)


@entry("dx")
def backward(dx: Any, dout: Any, mask: Any, p: Dropout) -> None:
    count = p.size * p.repeat
    apply.each(p.dtype, count, flat(dx), flat(dout), flat(mask), count, p.repeat, p.arithmetic.type(p.scale))
