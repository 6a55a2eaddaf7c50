"""Dropout with a counter-based generator, the readable truth: the same bits on every backend and thread count.

Mask entry i takes 32 bits of splitmix64(seed + (i//2 + 1)*golden), the low half for even i and the high half for odd i,
and is kept when they reach the threshold ratio*2^32.
Source: G. Steele, D. Lea and C. Flood, Fast splittable pseudorandom number generators, 2014 (splitmix64);
N. Srivastava et al., Dropout, 2014.
"""

import numpy as np
import numpy.typing as npt

from ..._problem import Dropout

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


def random_bits(seed: int, count: int) -> npt.NDArray[np.uint32]:
    """The first `count` 32-bit numbers of the stream."""
    i = np.arange(1, (count + 1) // 2 + 1, dtype=np.uint64)
    z = np.uint64(seed) + i * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    halves = np.stack([z & np.uint64(0xFFFFFFFF), z >> np.uint64(32)], axis=1)
    return halves.astype(np.uint32).reshape(-1)[:count]


def _apply(out: Array, x: Array, mask: Mask, p: Dropout) -> None:
    groups = x.reshape(p.size, p.repeat)
    out.reshape(p.size, p.repeat)[...] = np.where(mask.reshape(-1, 1), groups * p.dtype.type(p.scale), 0)


def forward(out: Array, mask: Mask, x: Array, seed: int, p: Dropout) -> None:
    mask.reshape(-1)[...] = random_bits(seed, p.size) >= p.threshold
    _apply(out, x, mask, p)


def backward(dx: Array, dout: Array, mask: Mask, p: Dropout) -> None:
    _apply(dx, dout, mask, p)
