"""``cs231n.im2col``: the columns of images, with the images' index innermost."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops

__all__ = ["col2im_indices", "get_im2col_indices", "im2col_indices"]


def get_im2col_indices(
    x_shape: tuple[int, ...], field_height: int = 3, field_width: int = 3, padding: int = 1, stride: int = 1
) -> tuple[NDArray, NDArray, NDArray]:
    """(k, i, j): the channel, row and column in the padded images of every entry of a column, for every window.

    k is (C*FH*FW, 1), i and j are (C*FH*FW, OH*OW). Windows that do not fit evenly are refused.
    """
    N, C, H, W = x_shape
    _even(x_shape, field_height, field_width, padding, stride)
    channel, row, column = (a.reshape(-1, 1) for a in np.indices((C, field_height, field_width)))
    OH = (H + 2 * padding - field_height) // stride + 1
    OW = (W + 2 * padding - field_width) // stride + 1
    down, right = (stride * a.reshape(1, -1) for a in np.indices((OH, OW)))
    return channel, row + down, column + right


def _even(x_shape: Any, field_height: int, field_width: int, padding: int, stride: int) -> None:
    for n, size, name in ((x_shape[2], field_height, "field_height"), (x_shape[3], field_width, "field_width")):
        if (n + 2 * padding - size) % stride:
            raise ValueError(
                f"{name}: windows of {size} with stride {stride} do not fit evenly into {n} + 2 * {padding}"
            )


def im2col_indices(
    x: NDArray, field_height: int = 3, field_width: int = 3, padding: int = 1, stride: int = 1
) -> NDArray:
    """x (N, C, H, W) -> (C*FH*FW, OH*OW*N): `fastconv.im2col` with ``layout="columns_n_last"``."""
    _even(x.shape, field_height, field_width, padding, stride)
    return ops.im2col(x, field_height, field_width, stride, padding, layout="columns_n_last")


def col2im_indices(
    cols: NDArray,
    x_shape: tuple[int, ...],
    field_height: int = 3,
    field_width: int = 3,
    padding: int = 1,
    stride: int = 1,
) -> NDArray:
    """The adjoint of `im2col_indices`: each entry added to the pixel that it was taken from."""
    _even(x_shape, field_height, field_width, padding, stride)
    return ops.col2im(cols, x_shape, field_height, field_width, stride, padding, layout="columns_n_last")
