"""``cs231n.fast_layers``: convolution and max pooling with caches.

The assignment has two convolutions, by strides and by im2col, which compute the same; here all names are one. Its max
pooling has two, which differ where a window has several equal maxima: windows that tile the image share the gradient
among these, others give it to the first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..layers._kept import fingerprint
from ..ops.pool2d import shared_gradient

__all__ = [
    "conv_backward_fast",
    "conv_backward_im2col",
    "conv_backward_strides",
    "conv_forward_fast",
    "conv_forward_im2col",
    "conv_forward_strides",
    "max_pool_backward_fast",
    "max_pool_backward_im2col",
    "max_pool_backward_reshape",
    "max_pool_forward_fast",
    "max_pool_forward_im2col",
    "max_pool_forward_reshape",
]

Param = dict[str, Any]
Cache = tuple[Any, ...]


class Columns:
    """The last item of a convolution's cache: where the assignment keeps x_cols, which are made here when asked for.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    window : (FH, FW, stride, pad)
    layout : str
        As for `fastconv.im2col`.
    print_ : int, optional
        The fingerprint of x; None if nobody changes it.
    """

    def __init__(self, x: NDArray, window: tuple[int, int, int, int], layout: str, print_: int | None = None) -> None:
        self.x, self.window, self.layout, self.print = x, window, layout, print_

    @classmethod
    def of(cls, x: NDArray, window: tuple[int, int, int, int], layout: str) -> "Columns":
        """Of images that others may change: with a fingerprint, or of a copy where the kernels had to make one."""
        print_ = fingerprint(x)
        return cls(np.array(x, order="C") if print_ is None else x, window, layout, print_)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """The columns, (C*FH*FW, windows)."""
        cols = ops.im2col(self.unchanged(), *self.window, layout=self.layout)
        return cols if dtype is None else cols.astype(dtype, copy=False)

    @property
    def T(self) -> NDArray:
        return self.__array__().T

    def unchanged(self) -> NDArray:
        """The images.

        Raises
        ------
        RuntimeError
            If their numbers have changed since: the assignment has copied them into its columns.
        """
        if self.print is not None and fingerprint(self.x) != self.print:
            raise RuntimeError(
                "cache: x was changed in place since the forward pass, and the gradient needs it as it was: change a "
                "copy, or change it after the backward pass"
            )
        return self.x


def _even(extent: int, window: int, stride: int, name: str) -> None:
    if (extent - window) % stride:
        raise ValueError(f"{name}: windows of {window} with stride {stride} do not fit evenly into {extent}")


def _forward(x: NDArray, w: NDArray, b: NDArray, conv_param: Param, layout: str, activation: Any = None) -> Any:
    stride, pad = conv_param["stride"], conv_param["pad"]
    FH, FW = w.shape[2:]
    _even(x.shape[2] + 2 * pad, FH, stride, "conv_param")
    _even(x.shape[3] + 2 * pad, FW, stride, "conv_param")
    out = ops.conv2d(x, w, b, stride, pad, activation=activation)
    return out, (x, w, b, conv_param, Columns.of(x, (FH, FW, stride, pad), layout))


def conv_forward_strides(x: NDArray, w: NDArray, b: NDArray, conv_param: Param) -> tuple[NDArray, Cache]:
    """Convolution, forward.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    w : ndarray (F, C, HH, WW)
    b : ndarray (F,)
    conv_param : dict
        "stride" and "pad", ints. The windows must fit evenly.

    Returns
    -------
    out : ndarray (N, F, H', W')
        ``H' = 1 + (H + 2*pad - HH) / stride``, likewise W'.
    cache : (x, w, b, conv_param, x_cols)
        For `conv_backward_fast`. x_cols makes the columns of x when it is used as an array.
    """
    return _forward(x, w, b, conv_param, "columns")


def conv_forward_im2col(x: NDArray, w: NDArray, b: NDArray, conv_param: Param) -> tuple[NDArray, Cache]:
    """As `conv_forward_strides`, but for the order of x_cols in the cache: images innermost."""
    return _forward(x, w, b, conv_param, "columns_n_last")


def conv_backward_strides(dout: NDArray, cache: Cache) -> tuple[NDArray, NDArray, NDArray]:
    """Convolution, backward.

    Parameters
    ----------
    dout : ndarray (N, F, H', W')
    cache
        From `conv_forward_fast`.

    Returns
    -------
    dx, dw, db : ndarray
        In the shapes of x, w and b.
    """
    x, w, b, conv_param, x_cols = cache
    if isinstance(x_cols, Columns):
        x = x_cols.unchanged()
    dx, dw, db = ops.conv2d_backward(dout, x, w, conv_param["stride"], conv_param["pad"])
    return dx, dw, db  # type: ignore[return-value]


conv_backward_im2col = conv_backward_strides
conv_forward_fast = conv_forward_strides
conv_backward_fast = conv_backward_strides


def _window(pool_param: Param) -> tuple[tuple[int, int], int]:
    return (pool_param["pool_height"], pool_param["pool_width"]), pool_param["stride"]


def _tiles(x: NDArray, pool_param: Param) -> bool:
    """Whether square windows cover the images, each pixel once."""
    (height, width), stride = _window(pool_param)
    return height == width == stride and x.shape[2] % height == 0 and x.shape[3] % width == 0


def max_pool_forward_fast(x: NDArray, pool_param: Param) -> tuple[NDArray, Cache]:
    """Max pooling, forward.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    pool_param : dict
        "pool_height", "pool_width" and "stride", ints. The windows must fit evenly.

    Returns
    -------
    out : ndarray (N, C, H', W')
    cache : ("reshape" or "im2col", what that function needs)
        For `max_pool_backward_fast`.
    """
    if _tiles(x, pool_param):
        out, cache = max_pool_forward_reshape(x, pool_param)
        return out, ("reshape", cache)
    out, cache = max_pool_forward_im2col(x, pool_param)
    return out, ("im2col", cache)


def max_pool_backward_fast(dout: NDArray, cache: Cache) -> NDArray:
    """Max pooling, backward: dx in the shape of x."""
    method, kept = cache
    if method == "reshape":
        return max_pool_backward_reshape(dout, kept)
    if method == "im2col":
        return max_pool_backward_im2col(dout, kept)
    raise ValueError(f'cache: expected "reshape" or "im2col" as its first item, got {method!r}')


def max_pool_forward_reshape(x: NDArray, pool_param: Param) -> tuple[NDArray, Cache]:
    """Max pooling with square windows that tile the images: (out, (x, x_reshaped, out))."""
    if not _tiles(x, pool_param):
        raise ValueError(f"pool_param: expected square windows that tile x of shape {x.shape}, got {pool_param}")
    N, C, H, W = x.shape
    size = pool_param["pool_height"]
    out, _ = ops.max_pool2d(x, size)
    return out, (x, x.reshape(N, C, H // size, size, W // size, size), out)


def max_pool_backward_reshape(dout: NDArray, cache: Cache) -> NDArray:
    """The gradient of `max_pool_forward_reshape`: equal maxima of a window share it."""
    x, windows, out = cache
    return shared_gradient(dout, x, out, windows.shape[3])


def max_pool_forward_im2col(x: NDArray, pool_param: Param) -> tuple[NDArray, Cache]:
    """Max pooling with any windows that fit evenly: (out, (x, indices, pool_param)), indices flat in H*W."""
    window, stride = _window(pool_param)
    for extent, size, name in zip(x.shape[2:], window, ("pool_height", "pool_width"), strict=True):
        _even(extent, size, stride, f"pool_param[{name!r}]")
    out, indices = ops.max_pool2d(x, window, stride)
    return out, (x, indices, pool_param)


def max_pool_backward_im2col(dout: NDArray, cache: Cache) -> NDArray:
    """The gradient of `max_pool_forward_im2col`: the first maximum of a window has it."""
    x, indices, pool_param = cache
    return ops.max_pool2d_backward(dout, indices, x.shape, *_window(pool_param))
