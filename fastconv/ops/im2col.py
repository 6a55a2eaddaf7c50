"""im2col and col2im in the book's layout, and in others."""

import math
from functools import lru_cache
from typing import Any

from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _memory as memory
from .._dispatch import kernel, straight
from .._problem import Interchange, Planes, Window


@straight(check.im2col, "im2col")
def im2col(
    input_data: ArrayLike, filter_h: int, filter_w: int, stride: Any = 1, pad: Any = 0, *, layout: str = "rows"
) -> NDArray:
    """Every window of every image as a row, or as a column.

    Parameters
    ----------
    input_data : array_like (N, C, H, W)
        (N, H, W, C) with ``layout="rows_nhwc"``.
    filter_h, filter_w : int
        Size of the window.
    stride : int or (h, w)
    pad : int, (h, w) or ((top, bottom), (left, right))
        Zeros around each image.
    layout : {"rows", "rows_nhwc", "columns", "columns_n_last", "unfold"}
        The shape of the result, and which of its axes vary fastest:

        ================  ===================================  =========================================
        "rows"            (N*OH*OW, C*filter_h*filter_w)       the book's
        "rows_nhwc"       (N*OH*OW, filter_h*filter_w*C)       for images with their channels last
        "columns"         (C*filter_h*filter_w, N*OH*OW)       a product with the filters in front of it
        "columns_n_last"  (C*filter_h*filter_w, OH*OW*N)       CS231n's, the images innermost
        "unfold"          (N, C*filter_h*filter_w, OH*OW)      PyTorch's, Chainer's and DeZero's
        ================  ===================================  =========================================

    Returns
    -------
    ndarray
        In the book's layout row ``(n*OH + i)*OW + j`` is the window at (i, j) of image n, and column
        ``(c*filter_h + u)*filter_w + v`` is channel c at (u, v) of the window. float32 stays float32.

    Raises
    ------
    ValueError, TypeError
        When the window does not fit, or an argument is of the wrong kind.

    References
    ----------
    K. Saitoh, Deep Learning from Scratch, section 7.4.3.
    """
    if layout != "rows":
        return _im2col(*check.im2col_laid_out(input_data, filter_h, filter_w, stride, pad, layout))
    p, x = check.im2col(input_data, filter_h, filter_w, stride, pad)
    col = memory.empty[p.device]((p.N * p.OH * p.OW, p.C * p.FH * p.FW), p.dtype)
    kernel("im2col", p)(col, x, p)
    return p.finish(col)


def _im2col(p: Window, x: NDArray, shape: tuple[int, ...]) -> NDArray:
    col = memory.empty[p.device](shape, p.dtype)
    if math.prod(shape):
        if isinstance(p, Planes):
            if p.run > 1:
                x = _interchanged(x, p.run, p.C * p.H * p.W, p)
            kernel("im2col_planes", p)(col, x, p)
        else:
            kernel("im2col", p)(col, x.reshape(p.x_shape), p)
    return p.finish(col)


@straight(check.col2im, "col2im")
def col2im(
    col: ArrayLike,
    input_shape: tuple[int, ...],
    filter_h: int,
    filter_w: int,
    stride: Any = 1,
    pad: Any = 0,
    *,
    layout: str = "rows",
) -> NDArray:
    """Add every entry of col back to the pixel that `im2col` took it from: its adjoint.

    Parameters
    ----------
    col : array_like
        In the shape that `im2col` gives for the layout: (N*OH*OW, C*filter_h*filter_w) in the book's.
    input_shape : (N, C, H, W)
        (N, H, W, C) with ``layout="rows_nhwc"``.
    filter_h, filter_w, stride, pad, layout
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
    if layout != "rows":
        return _col2im(*check.col2im_laid_out(col, input_shape, filter_h, filter_w, stride, pad, layout))
    p, col = check.col2im(col, input_shape, filter_h, filter_w, stride, pad)
    images = memory.empty[p.device](p.x_shape, p.dtype)
    kernel("col2im", p)(images, col, p)
    return p.finish(images)


def _col2im(p: Window, col: NDArray, shape: tuple[int, ...]) -> NDArray:
    last = isinstance(p, Planes) and p.run > 1
    images = memory.empty[p.device]((p.C * p.H * p.W, p.run) if last else shape, p.dtype)  # type: ignore[attr-defined]
    if math.prod(shape):
        if isinstance(p, Planes):
            kernel("col2im_planes", p)(images, col, p)
            if last:
                images = _interchanged(images, p.C * p.H * p.W, p.run, p).reshape(shape)
        else:
            kernel("col2im", p)(images.reshape(p.x_shape), col, p)
    return p.finish(images.reshape(shape))


@lru_cache(maxsize=256)
def _matrix(dtype: Any, device: str, A: int, B: int) -> Interchange:
    return Interchange(dtype=dtype, result_dtype=dtype, device=device, N=1, A=A, B=B)


def _interchanged(x: NDArray, A: int, B: int, p: Window) -> NDArray:
    """(A, B) as a new array (B, A)."""
    y = memory.empty[p.device]((B, A), p.dtype)
    problem = _matrix(p.dtype, p.device, A, B)
    kernel("interchange", problem)(y, x, problem)
    return y
