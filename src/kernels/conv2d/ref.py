"""2-D convolution (cross-correlation), the readable truth: one shifted view of the padded input for each filter tap.

y[n, f, i, j] = b[f] + sum over c, u, v of x[n, c, i*sh + u*dh - top, j*sw + v*dw - left] * w[f, c, u, v]

With `x_tap` the (N, C, OH, OW) view that tap (u, v) multiplies, all three directions are a sum over the taps:
forward adds w[:, :, u, v] . x_tap, backward-data adds w[:, :, u, v]^T . dout into the same view of dx, and
backward-weights is dout . x_tap^T.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..._problem import Conv2d, Window

Array = npt.NDArray[np.floating]


def padded(x: Array, p: Window, fill: float = 0.0) -> Array:
    """A copy of x (N, C, H, W) with its padding around it."""
    pads = ((0, 0), (0, 0), (p.pad_top, p.pad_bottom), (p.pad_left, p.pad_right))
    return np.pad(x, pads, constant_values=fill)


def taps(xp: Array, p: Window) -> Iterator[tuple[int, int, Array]]:
    """(u, v, view): the (N, C, OH, OW) view of the padded images that tap (u, v) of the filter meets."""
    for u in range(p.FH):
        for v in range(p.FW):
            top, left = u * p.dilation_h, v * p.dilation_w
            rows = slice(top, top + p.stride_h * (p.OH - 1) + 1, p.stride_h)
            columns = slice(left, left + p.stride_w * (p.OW - 1) + 1, p.stride_w)
            yield u, v, xp[:, :, rows, columns]


def inside(xp: Array, p: Window) -> Array:
    """The padded images without their padding, as a view."""
    return xp[:, :, p.pad_top : p.pad_top + p.H, p.pad_left : p.pad_left + p.W]


def _by_group(a: Array, axis: int, groups: int) -> Array:
    """`axis` split into (groups, rest)."""
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


def forward(out: Array, x: Array, w: Array, b: Array | None, p: Conv2d) -> None:
    wg = _by_group(w, 0, p.groups)
    y = _by_group(out, 1, p.groups)
    y[...] = 0
    for u, v, x_tap in taps(padded(x, p), p):
        y += np.einsum("gfc,ngchw->ngfhw", wg[..., u, v], _by_group(x_tap, 1, p.groups), optimize=True)
    if b is not None:
        out += b[:, None, None]
    if p.activation == "relu":
        np.maximum(out, 0, out=out)


def backward_data(dx: Array, dout: Array, w: Array, p: Conv2d) -> None:
    wg, dy = _by_group(w, 0, p.groups), _by_group(dout, 1, p.groups)
    dxp = np.zeros((p.N, p.C, p.H + p.pad_top + p.pad_bottom, p.W + p.pad_left + p.pad_right), dtype=p.dtype)
    for u, v, dx_tap in taps(dxp, p):
        dx_tap += np.einsum("gfc,ngfhw->ngchw", wg[..., u, v], dy, optimize=True).reshape(dx_tap.shape)
    dx[...] = inside(dxp, p)


def backward_weights(dw: Array, db: Array | None, dout: Array, x: Array, p: Conv2d) -> None:
    dy = _by_group(dout, 1, p.groups)
    dwg = _by_group(dw, 0, p.groups)
    for u, v, x_tap in taps(padded(x, p), p):
        dwg[..., u, v] = np.einsum("ngfhw,ngchw->gfc", dy, _by_group(x_tap, 1, p.groups), optimize=True)
    if db is not None:
        db[...] = dout.sum(axis=(0, 2, 3))
