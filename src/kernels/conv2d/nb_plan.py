"""How a convolution becomes sums over constant distances: the plans of nb.py's kernel, in both directions.

Forward, a stride takes the image apart into its phases (every stride-th row and column, from each start), and there is
one pass over all taps. Backward-data, the result is taken apart: each of its phases is a pass of its own, over the taps
that reach it, with stride 1 on dout.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..._problem import Conv2d
from .._numba.products import MOST_ROWS

Integers = npt.NDArray[np.int64]

BAND_BYTES = 1 << 19  # of the image's copy: half of a common L2 cache
STRIP = 1536  # positions of a band, so that the results of a tile's rows stay in L1


@dataclass(frozen=True, eq=False)
class Plan:
    """What `nb.convolve` needs beside the arrays."""

    offsets: Integers  # for each tap, where it reads in a band
    sources: Integers  # and where its weight is in a filter
    phases: Integers  # (row, column) at which the image is read, in strides of `stride`
    passes: Integers  # (row, column, first tap, last tap): the phases of the result
    stride: tuple[int, int]
    before: tuple[int, int]  # padding above and to the left of the first position
    positions: tuple[int, int]  # rows, columns of the largest pass
    halo: int  # rows that a band has beyond its positions
    pitch: int
    step: tuple[int, int]  # between the results of one pass
    rows: int  # positions of a band, in rows
    parts: int  # that the filters are split into

    @property
    def bands(self) -> int:
        return -(-self.positions[0] // self.rows)


def _split(images: int, positions: int, halo: int, row_bytes: int, pitch: int, tiles: int, workers: int):
    """(rows of a band, parts of the filters): bands that stay in the cache, and enough tasks for all workers."""
    most = min(BAND_BYTES // row_bytes - halo, STRIP // pitch)
    wanted = 1 if workers == 1 else -(-2 * workers // max(images, 1))
    bands = max(-(-positions // max(most, 1)), min(wanted, positions // (2 * halo + 1)), 1)
    rows = max(1, -(-positions // bands))
    bands = -(-positions // rows)
    return rows, max(1, min(tiles, wanted // bands if images * bands < workers else 1))


@dataclass(frozen=True, eq=False)
class Taps:
    """Where a filter's taps meet an image whose strides are taken apart into phases."""

    phases: Integers  # (row, column) of each that is met
    phase: Integers  # for each tap (u, v), which one
    u: Integers  # and how many of its rows
    v: Integers  # and columns it reaches
    halo: int
    pitch: int

    def offsets(self, channels: int, rows: int) -> Integers:
        """Where each tap of each channel reads in a copy with `rows` rows of positions."""
        plane = np.arange(channels)[:, None, None] * len(self.phases) + self.phase
        return ((plane * (rows + self.halo) + self.u[:, None]) * self.pitch + self.v).reshape(-1)


@lru_cache(maxsize=512)
def taps_of(p: Conv2d) -> Taps:
    u, v = np.arange(p.FH) * p.dilation_h, np.arange(p.FW) * p.dilation_w
    met = [(a % p.stride_h, b % p.stride_w) for a in u.tolist() for b in v.tolist()]
    phases = sorted(set(met))
    number = np.array([phases.index(phase) for phase in met]).reshape(p.FH, p.FW)
    u, v = u // p.stride_h, v // p.stride_w
    return Taps(np.array(phases), number, u, v, int(u[-1]), p.OW + int(v[-1]))


@lru_cache(maxsize=512)
def forward_plan(p: Conv2d, workers: int) -> Plan:
    taps, channels = taps_of(p), p.C // p.groups
    tiles = -(-p.FN // p.groups // MOST_ROWS)
    row_bytes = channels * len(taps.phases) * taps.pitch * p.dtype.itemsize
    rows, parts = _split(p.N * p.groups, p.OH, taps.halo, row_bytes, taps.pitch, tiles, workers)
    offsets = taps.offsets(channels, rows)
    return Plan(
        offsets, np.arange(offsets.size), taps.phases, np.array([[0, 0, 0, offsets.size]]),
        (p.stride_h, p.stride_w), (p.pad_top, p.pad_left), (p.OH, p.OW), taps.halo, taps.pitch, (1, 1), rows, parts,
    )  # fmt: skip


def _reached(phase: int, pad: int, taps: int, dilation: int, stride: int) -> list[tuple[int, int]]:
    """(tap, shift): the taps that meet positions phase + m*stride of dx, at position m + shift of dout."""
    reach = ((u, phase + pad - u * dilation) for u in range(taps))
    return [(u, distance // stride) for u, distance in reach if distance % stride == 0]


@lru_cache(maxsize=512)
def backward_data_plan(p: Conv2d, workers: int) -> Plan:
    steps = p.stride_h, p.stride_w
    down = [_reached(a, p.pad_top, p.FH, p.dilation_h, p.stride_h) for a in range(min(p.stride_h, p.H))]
    across = [_reached(b, p.pad_left, p.FW, p.dilation_w, p.stride_w) for b in range(min(p.stride_w, p.W))]
    shifts_h, shifts_w = ([s for phase in axis for _, s in phase] or [0] for axis in (down, across))
    top, left = -min(shifts_h), -min(shifts_w)
    MH, MW = -(-p.H // p.stride_h), -(-p.W // p.stride_w)
    halo, pitch = max(shifts_h) + top, MW + max(shifts_w) + left
    F = np.arange(p.FN // p.groups)
    tiles = -(-p.C // p.groups // MOST_ROWS)
    row_bytes = F.size * pitch * p.dtype.itemsize
    rows, parts = _split(p.N * p.groups, MH, halo, row_bytes, pitch, tiles, workers)
    passes, offsets, sources = [], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    done = 0
    for a, rows_reached in enumerate(down):
        for b, columns_reached in enumerate(across):
            taps = [(u * p.FW + v, (s + top) * pitch + t + left) for u, s in rows_reached for v, t in columns_reached]
            source, offset = np.array(taps, np.int64).reshape(-1, 2).T
            offsets.append((F[:, None] * ((rows + halo) * pitch) + offset).reshape(-1))
            sources.append((F[:, None] * (p.C // p.groups * p.FH * p.FW) + source).reshape(-1))
            passes.append((a, b, done, done + offsets[-1].size))
            done = passes[-1][-1]
    return Plan(
        np.concatenate(offsets), np.concatenate(sources), np.zeros((1, 2), np.int64), np.array(passes),
        (1, 1), (top, left), (MH, MW), halo, pitch, steps, rows, parts,
    )  # fmt: skip
