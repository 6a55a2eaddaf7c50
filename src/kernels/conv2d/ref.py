"""2-D convolution (cross-correlation), the readable truth: what each tap of the filter meets of the padded input.

y[n, f, i, j] = b[f] + sum over c, u, v of x[n, c, i*sh + u*dh - top, j*sw + v*dw - left] * w[f, c, u, v]

With `x_tap` the (N, C, OH, OW) pixels that tap (u, v) multiplies, all three directions are a sum over the taps:
forward adds w[:, :, u, v] . x_tap, backward-data adds w[:, :, u, v]^T . dout to the same pixels of dx, and
backward-weights is dout . x_tap^T. The padded input itself is never made: it may be much larger than all arrays
together (dilation and padding of 10,000, say).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._problem import Conv2d, Window

Array = npt.NDArray[np.floating]


def met(tap: int, windows: int, stride: int, pad: int, dilation: int, extent: int) -> tuple[slice, slice]:
    """Along one axis: the windows whose tap is in the image, and the pixels that it meets there."""
    first = tap * dilation - pad  # of window 0
    begin = min(max(0, -(first // stride)), windows)
    end = max(begin, min(windows, (extent - 1 - first) // stride + 1))
    pixel = first + begin * stride
    if begin == end:
        return slice(0, 0), slice(0, 0)
    return slice(begin, end), slice(pixel, pixel + (end - begin - 1) * stride + 1, stride)


def meetings(p: Window) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """(u, v, windows, pixels): tap (u, v) of these windows meets these pixels, rows and columns of each."""
    columns = [met(v, p.OW, p.stride_w, p.pad_left, p.dilation_w, p.W) for v in range(p.FW)]
    for u in range(p.FH):
        windows, pixels = met(u, p.OH, p.stride_h, p.pad_top, p.dilation_h, p.H)
        for v, (across, pixels_across) in enumerate(columns):
            yield u, v, (windows, across), (pixels, pixels_across)


def taps(x: npt.NDArray[Any], p: Window, fill: float = 0.0) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
    """(u, v, numbers): the (N, C, OH, OW) numbers of the padded images that tap (u, v) of the filter meets."""
    whole = slice(0, p.OH), slice(0, p.OW)
    for u, v, windows, pixels in meetings(p):
        if windows == whole:
            yield u, v, x[:, :, *pixels]
        else:
            numbers = np.full((*x.shape[:2], p.OH, p.OW), fill, x.dtype)
            numbers[:, :, *windows] = x[:, :, *pixels]
            yield u, v, numbers


def _by_group(a: Array, axis: int, groups: int) -> Array:
    """`axis` split into (groups, rest)."""
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


def forward(out: Array, x: Array, w: Array, b: Array | None, p: Conv2d) -> None:
    wg = _by_group(w, 0, p.groups)
    y = _by_group(out, 1, p.groups)
    y[...] = 0
    for u, v, x_tap in taps(x, p):
        y += np.einsum("gfc,ngchw->ngfhw", wg[..., u, v], _by_group(x_tap, 1, p.groups), optimize=True)
    if b is not None:
        out += b[:, None, None]
    if p.activation == "relu":
        np.maximum(out, 0, out=out)


def backward_data(dx: Array, dout: Array, w: Array, p: Conv2d) -> None:
    wg, dy = _by_group(w, 0, p.groups), _by_group(dout, 1, p.groups)
    dx[...] = 0
    for u, v, windows, pixels in meetings(p):
        share = np.einsum("gfc,ngfhw->ngchw", wg[..., u, v], dy[:, :, :, *windows], optimize=True)
        dx[:, :, *pixels] += share.reshape(*dx.shape[:2], *share.shape[3:])


def backward_weights(dw: Array, db: Array | None, dout: Array, x: Array, p: Conv2d) -> None:
    dy = _by_group(dout, 1, p.groups)
    dwg = _by_group(dw, 0, p.groups)
    for u, v, x_tap in taps(x, p):
        dwg[..., u, v] = np.einsum("ngfhw,ngchw->gfc", dy, _by_group(x_tap, 1, p.groups), optimize=True)
    if db is not None:
        db[...] = dout.sum(axis=(0, 2, 3))
