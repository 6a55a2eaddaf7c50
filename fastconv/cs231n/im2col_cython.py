"""``cs231n.im2col_cython``: the functions of the assignment's own extension module, which need no compiler here."""

from numpy.typing import NDArray

from .. import ops

__all__ = ["col2im_6d_cython", "col2im_cython", "im2col_cython"]


def im2col_cython(x: NDArray, field_height: int, field_width: int, padding: int, stride: int) -> NDArray:
    """x (N, C, H, W) -> (C*FH*FW, OH*OW*N): `fastconv.im2col` with ``layout="columns_n_last"``."""
    return ops.im2col(x, field_height, field_width, stride, padding, layout="columns_n_last")


def col2im_cython(
    cols: NDArray, N: int, C: int, H: int, W: int, field_height: int, field_width: int, padding: int, stride: int
) -> NDArray:
    """The adjoint of `im2col_cython`: (C*FH*FW, OH*OW*N) -> (N, C, H, W)."""
    return ops.col2im(cols, (N, C, H, W), field_height, field_width, stride, padding, layout="columns_n_last")


def col2im_6d_cython(cols: NDArray, N: int, C: int, H: int, W: int, HH: int, WW: int, pad: int, stride: int) -> NDArray:
    """(C, FH, FW, N, OH, OW) -> (N, C, H, W): the adjoint of `fastconv.im2col` with ``layout="columns"``."""
    if cols.ndim != 6:
        raise ValueError(f"cols: expected (C, FH, FW, N, OH, OW), got shape {cols.shape}")
    return ops.col2im(cols.reshape(C * HH * WW, -1), (N, C, H, W), HH, WW, stride, pad, layout="columns")
