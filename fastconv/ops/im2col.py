"""im2col and col2im in the book's layout."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel, straight


@straight(check.im2col, "im2col")
def im2col(input_data: ArrayLike, filter_h: int, filter_w: int, stride: Any = 1, pad: Any = 0) -> NDArray:
    """Every window of every image as a row.

    Parameters
    ----------
    input_data : array_like (N, C, H, W)
    filter_h, filter_w : int
        Size of the window.
    stride : int or (h, w)
    pad : int, (h, w) or ((top, bottom), (left, right))
        Zeros around each image.

    Returns
    -------
    ndarray (N*OH*OW, C*filter_h*filter_w)
        Row ``(n*OH + i)*OW + j`` is the window at (i, j) of image n. float32 stays float32.

    Raises
    ------
    ValueError, TypeError
        When the window does not fit, or an argument is of the wrong kind.

    References
    ----------
    K. Saitoh, Deep Learning from Scratch, section 7.4.3.
    """
    p, x = check.im2col(input_data, filter_h, filter_w, stride, pad)
    col = memory.empty[p.device]((p.N * p.OH * p.OW, p.C * p.FH * p.FW), p.dtype)
    kernel("im2col", p)(col, x, p)
    return p.finish(col)


@straight(check.col2im, "col2im")
def col2im(
    col: ArrayLike, input_shape: tuple[int, ...], filter_h: int, filter_w: int, stride: Any = 1, pad: Any = 0
) -> NDArray:
    """Add every entry of col back to the pixel that `im2col` took it from: its adjoint.

    Parameters
    ----------
    col : array_like (N*OH*OW, C*filter_h*filter_w)
    input_shape : (N, C, H, W)
    filter_h, filter_w, stride, pad
        As given to `im2col`.

    Returns
    -------
    ndarray of input_shape

    Raises
    ------
    ValueError, TypeError
        When col does not have the shape that im2col gives for input_shape.

    References
    ----------
    K. Saitoh, Deep Learning from Scratch, section 7.4.3.
    """
    p, col = check.col2im(col, input_shape, filter_h, filter_w, stride, pad)
    images = memory.empty[p.device](p.x_shape, p.dtype)
    kernel("col2im", p)(images, col, p)
    return p.finish(images)
