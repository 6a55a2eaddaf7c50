"""im2col and col2im, the readable truth.

In the book's layout, row (n*OH + i)*OW + j of col is the window at (i, j) of image n; column (c*FH + u)*FW + v is
channel c at tap (u, v). In planes, the windows' numbers at one tap lie together. col2im adds every entry of col back to
the pixel it was taken from: the adjoint of im2col.
Source: K. Saitoh, Deep Learning from Scratch, section 7.4.
"""

import numpy as np
import numpy.typing as npt

from ..._problem import Interchange, Planes, Window
from ..conv2d.ref import meetings, taps

Array = npt.NDArray[np.floating]


def _windows(col: Array, p: Window) -> Array:
    """col as a view (N, C, OH, OW, FH, FW)."""
    return col.reshape(p.N, p.OH, p.OW, p.C, p.FH, p.FW).transpose(0, 3, 1, 2, 4, 5)


def im2col(out: Array, x: Array, p: Window) -> None:
    windows = _windows(out, p)
    for u, v, x_tap in taps(x, p):
        windows[..., u, v] = x_tap


def col2im(out: Array, col: Array, p: Window) -> None:
    windows = _windows(col, p)
    out[...] = 0
    for u, v, (rows, columns), pixels in meetings(p):
        out[:, :, *pixels] += windows[:, :, rows, columns, u, v]


def _planes(col: Array, p: Planes) -> Array:
    """col as a view (N, C, FH, FW, OH, OW, run)."""
    if p.images_first:
        return col.reshape(p.N, p.C, p.FH, p.FW, p.OH, p.OW, p.run)
    return col.reshape(p.C, p.FH, p.FW, p.N, p.OH, p.OW, p.run).transpose(3, 0, 1, 2, 4, 5, 6)


def im2col_planes(out: Array, x: Array, p: Planes) -> None:
    planes, images = _planes(out, p), x.reshape(*p.x_shape, p.run)
    out[...] = 0
    for u, v, windows, pixels in meetings(p):
        planes[:, :, u, v, *windows] = images[:, :, *pixels]


def col2im_planes(out: Array, col: Array, p: Planes) -> None:
    planes, images = _planes(col, p), out.reshape(*p.x_shape, p.run)
    out[...] = 0
    for u, v, windows, pixels in meetings(p):
        images[:, :, *pixels] += planes[:, :, u, v, *windows]


def interchange(out: Array, x: Array, p: Interchange) -> None:
    """(N, A, B) becomes (N, B, A)."""
    out.reshape(p.N, p.B, p.A)[...] = x.reshape(p.N, p.A, p.B).swapaxes(1, 2)
