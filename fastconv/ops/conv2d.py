"""Convolution and transposed convolution."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from .. import _check as check
from .. import _layout as layouts
from .. import _memory as memory
from .._between import between
from .._dispatch import at_once, kernel, straight
from .._problem import Conv2d

Gradients = tuple[NDArray | None, NDArray | None, NDArray | None]


@straight(check.conv2d, "conv2d_forward")
def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    add: ArrayLike | None = None,
    out: NDArray | None = None,
    layout: str = "NCHW",
) -> NDArray:
    """2-D cross-correlation of a batch of images with a bank of filters.

    ``y[n, f, i, j] = b[f] + sum over c, u, v of x[n, c, i*sh + u*dh - top, j*sw + v*dw - left] * w[f, c, u, v]``

    Parameters
    ----------
    x : array_like (N, C, H, W) or (C, H, W), float
        The images.
    w : array_like (FN, C/groups, FH, FW), float
        The filters.
    b : array_like (FN,), optional
        One number added to each output channel. Also (FN, 1), (1, FN), (1, FN, 1, 1), or a scalar for all.
    stride, dilation : int or (h, w)
        Step of the filter, and distance between its taps.
    padding : int, (h, w), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around each image. "same" gives ``ceil(H / sh)`` rows and ``ceil(W / sw)`` columns, an odd row or column
        of zeros at the end: TensorFlow's rule, and SAME_UPPER of ONNX.
    groups : int
        Channels and filters are split into this many independent convolutions; ``groups=C`` is depthwise.
    activation : {None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu"}
        Applied to the result: "relu" inside the kernel, the others in a second pass right behind it. The slope of
        "leaky_relu" is .01.
    add : array_like, the shape of the result, optional
        A residual: added to the result before the activation.
    out : ndarray, optional
        Receives the result: the result's shape, a float dtype.
    layout : {"NCHW", "NHWC"}
        "NHWC": x, add, out and the result are (N, H, W, C) or (H, W, C), w is (FH, FW, C/groups, FN); by transposition.

    Returns
    -------
    ndarray (N, FN, OH, OW) or (FN, OH, OW)
        ``OH = floor((H + top + bottom - dh*(FH - 1) - 1) / sh) + 1``, likewise OW. dtype by NumPy's promotion.

    Raises
    ------
    ValueError
        When shapes, padding, stride, dilation or groups do not fit; the message names the argument.
    TypeError
        When an array is not of real numbers, or a number is not an int.

    Notes
    -----
    float32 with ``set_float32_conv_precision("high")``, the default, may use Winograd's minimal filtering F(4x4, 3x3)
    (A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016) for filters of 3 x 3. The root mean
    square of its error, relative to the result's, is 3e-7 to 1e-6, that of direct sums 2e-7 to 6e-7. Results of at
    most 2 x 2 have F(2x2, 3x3), with 1e-7 to 5e-7; stride 2 has F(4x4, 2x2) of every second row and column, with 2e-7
    to 7e-7. Filters of 5 to 7 rows have F(4, 5), F(4, 4), F(4, 3) or F(2, 7) along the rows alone, with 2e-7 to
    1.1e-6. These figures are for numbers of one range: a result's error is at most 6e-6 times the largest abs(x) that
    its tile of 4 x 4 results reads, times the sum of its filter's abs(w), so a single 1e6 among numbers around 1 spoils
    its neighbours (`explain` tells). NaN and infinities are exactly where direct sums put them, and finite numbers of
    any size give no NaN: what is not finite in a tile is computed again as a direct sum. "highest" never uses it.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv2d(np.ones((1, 4, 4)), np.ones((1, 1, 3, 3))).shape
    (1, 2, 2)
    """
    if layout != "NCHW":
        return _conv2d_last(x, w, (b, stride, padding, dilation, groups), activation, add, out, layout)
    p, *arrays = check.conv2d(x, w, b, stride, padding, dilation, groups, activation, add)
    y = memory.result(memory.batched(out, p), p.out_shape, p.dtype, arrays, p.device)
    kernel("conv2d_forward", p)(y, *arrays, p)
    return memory.deliver(out, y, p)


def _conv2d_last(x: Any, w: Any, geometry: Any, activation: Any, add: Any, out: Any, layout: Any) -> NDArray:
    layouts.is_last(layout)
    images, filters = layouts.first("x", x), layouts.filters_first(w)
    residual = None if add is None else layouts.first("add", add)
    with layouts.transposed():
        y = conv2d(images, filters, *geometry, activation=activation, add=residual)
    return layouts.last(y, out)


def conv2d_backward(
    dout: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    needs: tuple[bool, bool, bool] = (True, True, True),
    layout: str = "NCHW",
) -> Gradients:
    """Gradients of `conv2d` with respect to its input, filters and bias.

    ``dx`` is the transposed convolution of dout with w, ``dw[f, c, u, v] = sum over n, i, j of dout[n, f, i, j] *
    x[n, c, i*sh + u*dh - top, j*sw + v*dw - left]``, ``db[f] = sum over n, i, j of dout[n, f, i, j]``.

    Parameters
    ----------
    dout : array_like (N, FN, OH, OW) or (FN, OH, OW)
        Gradient of the loss with respect to conv2d's result.
    x, w, stride, padding, dilation, groups
        As given to `conv2d`. Where dx is not needed, w may be the filters' shape, a tuple of four ints.
    needs : three bools
        Which of (dx, dw, db) to compute.
    layout : {"NCHW", "NHWC"}
        As given to `conv2d`; dout, dx and dw are laid out alike.

    Returns
    -------
    (dx, dw, db)
        With the shapes of x and w, and (FN,); None where not needed.

    Raises
    ------
    ValueError, TypeError
        As `conv2d`; also when dout does not have the shape of its result.
    """
    if layout != "NCHW":
        return _conv2d_backward_last(dout, x, w, (stride, padding, dilation, groups), needs, layout)
    p, dout, x, w, needs = check.conv2d_backward(dout, x, w, stride, padding, dilation, groups, needs)
    dx = _empty(p.x_shape, p) if needs[0] else None
    dw = _empty(p.w_shape, p) if needs[1] or needs[2] else None
    db = _empty((p.FN,), p) if needs[2] else None
    both = None if dx is None or dw is None else at_once("conv2d_backward", p)
    if both:
        both(dx, dw, db, dout, x, w, p)
    else:
        if dx is not None:
            kernel("conv2d_backward_data", p)(dx, dout, w, p)
        if dw is not None:
            kernel("conv2d_backward_weights", p)(dw, db, dout, x, p)
    return dx if dx is None else p.finish(dx), _cast(dw, p) if needs[1] else None, _cast(db, p)


def _conv2d_backward_last(dout: Any, x: Any, w: Any, geometry: Any, needs: Any, layout: Any) -> Gradients:
    layouts.is_last(layout)
    arrays = layouts.first("dout", dout), layouts.first("x", x), layouts.filters_first(w)
    with layouts.transposed():
        dx, dw, db = conv2d_backward(*arrays, *geometry, needs=needs)
    return None if dx is None else layouts.last(dx), layouts.filters_last(dw), db


def _empty(shape: tuple[int, ...], p: Conv2d) -> NDArray:
    return memory.empty[p.device](shape, p.dtype)


def _cast(a: Any, p: Any) -> Any:
    return p.give(a if a is None or a.dtype == p.result_dtype else a.astype(p.result_dtype))


def conv_transpose2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> NDArray:
    """Transposed 2-D convolution: the gradient of `conv2d` with respect to its input, as an operation of its own.

    Parameters
    ----------
    x : array_like (N, C, H, W) or (C, H, W)
    w : array_like (C, FN/groups, FH, FW)
        PyTorch's layout: the input channels come first.
    b : array_like (FN,), optional
        As `conv2d`'s.
    stride, dilation : int or (h, w)
    padding : int, (h, w) or ((top, bottom), (left, right))
        Rows and columns taken off the full result.
    output_padding : int or (h, w)
        Rows and columns added at the bottom and right; less than stride or dilation.
    groups : int

    Returns
    -------
    ndarray (N, FN, OH, OW) or (FN, OH, OW)
        ``OH = (H - 1)*sh - top - bottom + dh*(FH - 1) + output_padding + 1``.

    Raises
    ------
    ValueError, TypeError
        As `conv2d`.

    References
    ----------
    M. Zeiler et al., Deconvolutional networks, 2010.
    """
    p, x, w, b = check.conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation)
    y = _empty(p.x_shape, p)
    kernel("conv2d_backward_data", p)(y, x, w, p)
    if b is not None:
        between(y).add_to_channels(y, b)
    return p.finish(y)


def conv_transpose2d_backward(
    dout: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> Gradients:
    """Gradients of `conv_transpose2d` with respect to its input, filters and bias.

    ``dx = conv2d(dout, w)``, and dw is conv2d's with dout in the place of the image.

    Parameters
    ----------
    dout : array_like
        Gradient with respect to the result, in its shape.
    x, w, stride, padding, output_padding, groups, dilation
        As given to `conv_transpose2d`. Where dx is not needed, w may be the filters' shape, a tuple of four ints.
    needs : three bools
        Which of (dx, dw, db) to compute.

    Returns
    -------
    (dx, dw, db)
        With the shapes of x, w and b; None where not needed.

    Raises
    ------
    ValueError, TypeError
        As `conv_transpose2d`; also when dout does not have the shape of its result.
    """
    p, dout, x, w, needs = check.conv_transpose2d_backward(
        dout, x, w, stride, padding, output_padding, groups, dilation, needs
    )
    dx = dw = db = None
    if needs[0]:
        dx = _empty(p.out_shape, p)
        kernel("conv2d_forward", p)(dx, dout, w, None, p)
        dx = p.finish(dx)
    if needs[1]:
        dw = _empty(p.w_shape, p)
        kernel("conv2d_backward_weights", p)(dw, None, x, dout, p)
        dw = _cast(dw, p)
    if needs[2]:
        db = _cast(between(dout).sum_channels(dout), p)
    return dx, dw, db
