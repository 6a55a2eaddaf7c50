"""Pooling: maximum, minimum, average, adaptive and global average, stochastic."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _layout as layouts
from .. import _memory as memory
from .._dispatch import kernel, straight
from .._problem import Pool2d

_INT64 = np.dtype(np.int64)


def _result(out: NDArray | None, x: NDArray, p: Any) -> NDArray:
    """Where the kernel writes, not initialised."""
    return memory.result(memory.batched(out, p), p.out_shape, p.dtype, (x,), p.device)


def _last(op: Callable[..., Any], name: str, images: Any, options: tuple[Any, ...], layout: Any) -> Any:
    """An operation on images whose channels come last: its results have their channels first."""
    layouts.is_last(layout)
    images = layouts.first(name, images)
    with layouts.transposed():
        return op(images, *options)


def _indices(indices: NDArray, p: Pool2d) -> NDArray:
    return p.give(indices[0] if p.unbatched else indices)


def max_pool2d(
    x: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    pad_value: float | None = None,
    out: NDArray | None = None,
    layout: str = "NCHW",
) -> tuple[NDArray, NDArray]:
    """The maximum of each window, and where it was.

    Parameters
    ----------
    x : array_like (N, C, H, W) or (C, H, W)
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        kernel_size when not given.
    padding : int, (h, w) or ((top, bottom), (left, right))
        Counts as -inf, or as `pad_value`; of any size.
    dilation : int or (h, w)
    ceil_mode : bool
        Round the output size up: a last window, or the only one, may reach past the padded input. It is dropped where
        it would begin behind the input (PyTorch's rule).
    pad_value : float, optional
        What padding counts as, for programs that pad with zeros. A window whose first maximum is in the padding has the
        index -1. With a copy of x.
    out : ndarray, optional
        Receives y: its shape, a float dtype.
    layout : {"NCHW", "NHWC"}
        "NHWC": images, results and indices are (N, H, W, C) or (H, W, C); by transposition.

    Returns
    -------
    y : ndarray (N, C, OH, OW) or (C, OH, OW)
        NaN where the window holds a NaN, -inf where it is padding alone.
    indices : ndarray of int64, like y
        Flat position in H*W of the first maximum (PyTorch's indices), -1 where the window is padding alone.

    Raises
    ------
    ValueError, TypeError
        When the window does not fit, or an argument is of the wrong kind.
    """
    if layout != "NCHW":
        pool = partial(max_pool2d, pad_value=pad_value)
        y, indices = _last(pool, "x", x, (kernel_size, stride, padding, dilation, ceil_mode), layout)
        return layouts.last(y, out), layouts.last(indices)
    p, x = check.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    if pad_value is not None:
        return _max_pool2d_padded(p, x, check.pad_value(pad_value, p), out)
    empty, shape = memory.empty[p.device], p.out_shape
    y, indices = empty(shape, p.dtype) if out is None else _result(out, x, p), empty(shape, _INT64)
    kernel("max_pool2d_forward", p)(y, indices, x, p)
    return p.finish(y) if out is None else memory.deliver(out, y, p), _indices(indices, p)


def _max_pool2d_padded(p: Pool2d, x: NDArray, value: float, out: NDArray | None) -> tuple[NDArray, NDArray]:
    """Maxima of images that are padded with a value; behind these (in ceil mode) there is still -inf."""
    shape = p.N, p.C, p.pad_top + p.H + p.pad_bottom, p.pad_left + p.W + p.pad_right
    padded = memory.empty[p.device](shape, p.dtype)
    padded.fill(value)
    padded[:, :, p.pad_top : p.pad_top + p.H, p.pad_left : p.pad_left + p.W] = x
    reach = (
        (p.OH - 1) * p.stride_h + p.dilation_h * (p.FH - 1) + 1,
        (p.OW - 1) * p.stride_w + p.dilation_w * (p.FW - 1) + 1,
    )
    behind = tuple((0, max(0, r - n)) for r, n in zip(reach, shape[2:], strict=True))
    window = (p.FH, p.FW), (p.stride_h, p.stride_w), behind, (p.dilation_h, p.dilation_w)
    y, places = max_pool2d(padded, *window)
    rows, columns = np.divmod(places, shape[3])
    rows -= p.pad_top
    columns -= p.pad_left
    inside = (places >= 0) & (rows >= 0) & (rows < p.H) & (columns >= 0) & (columns < p.W)
    return memory.deliver(out, y, p), _indices(np.where(inside, rows * p.W + columns, -1), p)


def max_pool2d_backward(
    dout: ArrayLike,
    indices: ArrayLike,
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    pad_value: float | None = None,
    layout: str = "NCHW",
) -> NDArray:
    """Gradient of `max_pool2d`: each dout added at its window's index; where that is -1, nowhere.

    Parameters
    ----------
    dout : array_like (N, C, OH, OW) or (C, OH, OW)
    indices : array_like of int, like dout
        As `max_pool2d` gave them.
    input_shape : (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, dilation, ceil_mode, pad_value, layout
        As given to `max_pool2d`.

    Returns
    -------
    ndarray of input_shape

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit, or an index is outside of the plane: -1 is only for windows of padding alone, with a
        pad_value for windows that reach into it.
    """
    if layout != "NCHW":
        layouts.is_last(layout)
        arrays = layouts.first("dout", dout), layouts.first_of_integers("indices", indices)
        shape = layouts.shape_first("input_shape", input_shape)
        with layouts.transposed():
            options = kernel_size, stride, padding, dilation, ceil_mode
            dx = max_pool2d_backward(*arrays, shape, *options, pad_value=pad_value)
        return layouts.last(dx)
    p, dout, indices = check.max_pool2d_backward(
        dout, indices, input_shape, kernel_size, stride, padding, dilation, ceil_mode
    )
    dx = memory.empty[p.device](p.x_shape, p.dtype)
    inside = kernel("max_pool2d_backward", p)(dx, dout, indices, p)
    check.max_pool2d_indices(inside, indices, p, pad_value is not None)
    return p.finish(dx)


def shared_gradient(dout: NDArray, x: NDArray, y: NDArray, size: int) -> NDArray:
    """Gradient of ``y, _ = max_pool2d(x, size)`` that equal maxima of a window share; the windows tile the images."""
    p, x = check.max_pool2d(x, size)
    check.shape("x", x, (p.N, p.C, p.OH * size, p.OW * size), "whole windows")
    for name, a in (("dout", dout), ("y", y)):
        check.shape(name, a, p.out_shape, "one number for each window")
    dx = memory.empty[p.device](p.x_shape, p.dtype)
    kernel("max_pool2d_shared_backward", p)(dx, *check.dense(p.dtype, dout), x, *check.dense(p.dtype, y), p)
    return p.finish(dx)


def min_pool2d(
    x: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    out: NDArray | None = None,
    layout: str = "NCHW",
) -> tuple[NDArray, NDArray]:
    """The minimum of each window, and where it was: ``-max_pool2d(-x)``; padding counts as +inf.

    Parameters, results and errors as `max_pool2d`.
    """
    if layout != "NCHW":
        y, indices = _last(min_pool2d, "x", x, (kernel_size, stride, padding, dilation, ceil_mode), layout)
        return layouts.last(y, out), layouts.last(indices)
    p, x = check.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    empty, shape = memory.empty[p.device], p.out_shape
    y, indices = empty(shape, p.dtype) if out is None else _result(out, x, p), empty(shape, _INT64)
    kernel("max_pool2d_forward", p)(y, indices, -x, p)
    if out is None:
        return p.finish(-y), _indices(indices, p)
    return memory.deliver(out, np.negative(y, out=y), p), _indices(indices, p)


def min_pool2d_backward(
    dout: ArrayLike,
    indices: ArrayLike,
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    layout: str = "NCHW",
) -> NDArray:
    """Gradient of `min_pool2d`: each dout added at its window's index. As `max_pool2d_backward`."""
    options = kernel_size, stride, padding, dilation, ceil_mode
    return max_pool2d_backward(dout, indices, input_shape, *options, layout=layout)


@straight(check.avg_pool2d, "avg_pool2d_forward")
def avg_pool2d(
    x: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: NDArray | None = None,
    layout: str = "NCHW",
) -> NDArray:
    """The mean of each window.

    Parameters
    ----------
    x : array_like (N, C, H, W) or (C, H, W)
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        kernel_size when not given.
    padding : int, (h, w) or ((top, bottom), (left, right))
        Zeros; of any size.
    ceil_mode : bool
        Round the output size up, as in `max_pool2d`.
    count_include_pad : bool
        Whether the divisor counts the padding. A window of padding alone has the mean 0 either way.
    divisor_override : int, optional
        Divide by this instead; any number but 0.
    out : ndarray, optional
        Receives y: its shape, a float dtype.
    layout : {"NCHW", "NHWC"}
        "NHWC": images, results and indices are (N, H, W, C) or (H, W, C); by transposition.

    Returns
    -------
    ndarray (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError, TypeError
        When the window does not fit, or an argument is of the wrong kind.
    """
    if layout != "NCHW":
        options = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        return layouts.last(_last(avg_pool2d, "x", x, options, layout), out)
    p, x = check.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    y = _result(out, x, p)
    kernel("avg_pool2d_forward", p)(y, x, p)
    return memory.deliver(out, y, p)


@straight(check.avg_pool2d_backward, "avg_pool2d_backward")
def avg_pool2d_backward(
    dout: ArrayLike,
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: str = "NCHW",
) -> NDArray:
    """Gradient of `avg_pool2d`: each dout spread evenly over its window.

    Parameters
    ----------
    dout : array_like (N, C, OH, OW) or (C, OH, OW)
    input_shape : (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
        As given to `avg_pool2d`.

    Returns
    -------
    ndarray of input_shape

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit.
    """
    if layout != "NCHW":
        shape = layouts.shape_first("input_shape", input_shape)
        options = shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        return layouts.last(_last(avg_pool2d_backward, "dout", dout, options, layout))
    p, dout = check.avg_pool2d_backward(
        dout, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    dx = memory.empty[p.device](p.x_shape, p.dtype)
    kernel("avg_pool2d_backward", p)(dx, dout, p)
    return p.finish(dx)


@straight(check.adaptive_avg_pool2d, "adaptive_avg_pool2d_forward")
def adaptive_avg_pool2d(x: ArrayLike, output_size: Any, *, out: NDArray | None = None, layout: str = "NCHW") -> NDArray:
    """Means over a grid of output_size bins that cover the plane; bin i spans ``floor(i*H/OH)`` to
    ``ceil((i + 1)*H/OH)``.

    Parameters
    ----------
    x : array_like (N, C, H, W) or (C, H, W)
    output_size : int or (h, w)
    out : ndarray, optional
        Receives y: its shape, a float dtype.
    layout : {"NCHW", "NHWC"}
        "NHWC": images, results and indices are (N, H, W, C) or (H, W, C); by transposition.

    Returns
    -------
    ndarray (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError, TypeError
        For a wrong shape or size.
    """
    if layout != "NCHW":
        return layouts.last(_last(adaptive_avg_pool2d, "x", x, (output_size,), layout), out)
    p, x = check.adaptive_avg_pool2d(x, output_size)
    y = _result(out, x, p)
    kernel("adaptive_avg_pool2d_forward", p)(y, x, p)
    return memory.deliver(out, y, p)


def adaptive_avg_pool2d_backward(dout: ArrayLike, input_shape: tuple[int, ...], *, layout: str = "NCHW") -> NDArray:
    """Gradient of `adaptive_avg_pool2d`: each dout spread evenly over its bin.

    Parameters
    ----------
    dout : array_like (N, C, OH, OW) or (C, OH, OW)
    input_shape : (N, C, H, W) or (C, H, W)
    layout : {"NCHW", "NHWC"}
        As given to `adaptive_avg_pool2d`.

    Returns
    -------
    ndarray of input_shape

    Raises
    ------
    ValueError, TypeError
        When the shapes do not fit.
    """
    if layout != "NCHW":
        shape = layouts.shape_first("input_shape", input_shape)
        return layouts.last(_last(adaptive_avg_pool2d_backward, "dout", dout, (shape,), layout))
    p, dout = check.adaptive_avg_pool2d_backward(dout, input_shape)
    dx = memory.empty[p.device]((p.N, p.C, p.H, p.W), p.dtype)
    kernel("adaptive_avg_pool2d_backward", p)(dx, dout, p)
    return p.finish(dx)


def global_avg_pool2d(x: ArrayLike, *, out: NDArray | None = None, layout: str = "NCHW") -> NDArray:
    """The mean of each plane: `adaptive_avg_pool2d` with output size 1, (N, C, H, W) to (N, C, 1, 1).

    References
    ----------
    M. Lin, Q. Chen and S. Yan, Network in Network, 2014.
    """
    return adaptive_avg_pool2d(x, 1, out=out, layout=layout)


def global_avg_pool2d_backward(dout: ArrayLike, input_shape: tuple[int, ...], *, layout: str = "NCHW") -> NDArray:
    """Gradient of `global_avg_pool2d`: dout / (H*W) everywhere."""
    return adaptive_avg_pool2d_backward(dout, input_shape, layout=layout)


def stochastic_pool2d(
    x: ArrayLike,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    training: bool = True,
    rng: "np.random.Generator | int | None" = None,
    out: NDArray | None = None,
) -> tuple[NDArray, NDArray | None]:
    """One element of each window drawn in proportion to its activation; at inference their expectation.

    Element i has probability ``max(x_i, 0) / sum of max(x, 0)``; a window without a positive element is drawn from
    evenly.

    Parameters
    ----------
    x : array_like (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding
        As for `max_pool2d`. Padding is never drawn: a window of padding alone gives 0 and the index -1.
    training : bool
        Draw, or take the probability-weighted mean.
    rng : Generator, int or None
        Source of the draws, or its seed.
    out : ndarray, optional
        Receives y: its shape, a float dtype.

    Returns
    -------
    y : ndarray (N, C, OH, OW) or (C, OH, OW)
    indices : ndarray of int64, like y
        Flat position in H*W of the element drawn; None when not training.

    Raises
    ------
    ValueError, TypeError
        As `max_pool2d`.

    References
    ----------
    M. Zeiler and R. Fergus, Stochastic Pooling for Regularization of Deep Convolutional Neural Networks, 2013.
    """
    p, x = check.stochastic_pool2d(x, kernel_size, stride, padding)
    y = _result(out, x, p)
    if not training:
        kernel("stochastic_pool2d_inference", p)(y, x, p)
        return memory.deliver(out, y, p), None
    u = memory.same_place(check.rng(rng).random(p.out_shape, dtype=p.arithmetic.type), p.device)
    indices = memory.empty[p.device](p.out_shape, _INT64)
    kernel("stochastic_pool2d_forward", p)(y, indices, x, u, p)
    return memory.deliver(out, y, p), _indices(indices, p)


def stochastic_pool2d_backward(
    dout: ArrayLike,
    indices: ArrayLike,
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
) -> NDArray:
    """Gradient of `stochastic_pool2d` when training: each dout added at the element drawn."""
    return max_pool2d_backward(dout, indices, input_shape, kernel_size, stride, padding)
