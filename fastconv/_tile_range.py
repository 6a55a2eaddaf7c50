"""What the range of an image's numbers means for the precision of Winograd's convolution: `explain` says it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# |result - exact| <= BOUND * (largest |x| that the result's tile reads) * (sum of |w| of its filter), without the bias.
# Measured: up to 1.5e-6, of hostile images and one channel; direct sums: 0.25e-6, and of the window's largest |x|.
BOUND = 6e-6
_WIDE = 100  # times: of less, what is lost is within the usual error of a float32 network


def tile(p: Any) -> tuple[int, int]:
    """Rows and columns of results that Winograd's kernels compute together."""
    if p.FH > 3:
        return (2 if p.stride_h == 1 and p.FH > 5 and p.FH - p.stride_h > 5 else 4), 1
    return (2, 2) if p.stride_h == 1 and max(p.OH, p.OW) <= 2 else (4, 4)


def _largest(a: NDArray, axis: int, size: int, step: int, count: int) -> NDArray:
    """The maxima of `count` windows, `step` apart, along an axis."""
    starts = np.arange(count) * step
    result = a.take(starts, axis)
    for u in range(1, size):
        np.maximum(result, a.take(starts + u, axis), out=result)
    return result


def largest_in_windows_and_tiles(p: Any, x: NDArray) -> tuple[NDArray, NDArray]:
    """The largest finite |x| in the window of each result, (N, OH, OW), and in all that its tile reads."""
    size = np.abs(np.asarray(x, np.float64).reshape(p.N, p.C, p.H, p.W))
    size = np.where(np.isfinite(size), size, 0).max(axis=1, initial=0)
    beyond = 4 * p.stride_h, 4 * p.stride_w  # rows and columns that a last tile has too many
    size = np.pad(size, ((0, 0), (p.pad_top, p.pad_bottom + beyond[0]), (p.pad_left, p.pad_right + beyond[1])))
    windows = tiles = size
    for axis, t, taps, stride, out in zip(
        (1, 2), tile(p), (p.FH, p.FW), (p.stride_h, p.stride_w), (p.OH, p.OW), strict=True
    ):
        windows = _largest(windows, axis, taps, stride, out)
        tiles = _largest(tiles, axis, (t - 1) * stride + taps, t * stride, -(-out // t))
        tiles = tiles.repeat(t, axis).take(np.arange(out), axis)
    return windows, tiles


def describe(p: Any, x: NDArray, w: NDArray) -> list[str]:
    """Lines about the error that Winograd's kernels can make of this image and these filters."""
    windows, tiles = largest_in_windows_and_tiles(p, x)
    nonzero = windows[windows > 0]
    if not nonzero.size:
        return []
    filters = np.abs(np.asarray(w, np.float64)).reshape(p.FN, -1).sum(axis=1)
    most = np.max(filters, where=np.isfinite(filters), initial=0)
    lines = [
        f"error of a result: at most {BOUND:g} * max|x| of its tile * sum|w| = {BOUND * tiles.max() * most:.2g} here"
    ]
    ratio = tiles / np.maximum(windows, np.median(nonzero))
    if ratio.max() > _WIDE:
        share = np.mean(ratio > _WIDE)
        lines += [
            f"wide range: max|x| of a tile is up to {ratio.max():.2g} times that of a window in it "
            f"({np.median(nonzero):.2g} as a rule); in {100 * share:.2g} % of the results Winograd loses accuracy that "
            "direct sums have:",
            'set_float32_conv_precision("highest") keeps it',
        ]
    return lines
