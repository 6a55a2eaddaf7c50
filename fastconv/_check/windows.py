"""Checks of what slides a window over images: im2col, convolution, pooling."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._device import is_device, where
from .._problem import AdaptivePool2d, Conv2d, Pool2d, Window
from .._settings import settings
from . import arguments as arg
from .activations import activation_of
from .remembered import is_dense_int64, remembered
from .same import same_upper
from .vectors import vector

_INDEX = np.dtype(np.int64)
IMAGES = "(N, C, H, W), or (C, H, W)"


def images(name: str, x: Any) -> tuple[np.ndarray, bool]:
    """(N, C, H, W), and whether it came without N."""
    x = arg.array(name, x)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: expected {IMAGES}, got shape {x.shape}")
    return (x, False) if x.ndim == 4 else (x[None], True)


def not_empty(name: str, shape: tuple[int, ...]) -> None:
    if 0 in shape[1:]:
        raise ValueError(f"{name}: only the batch may be of size zero, got shape {shape}")


def window_sizes(
    x_shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int],
    ceil: bool = False,
) -> dict[str, Any]:
    """The sizes that Window holds; raises when the filter does not fit."""
    N, C, H, W = x_shape
    top, bottom, left, right = pads
    OH = arg.size(H, kernel[0], stride[0], top, bottom, dilation[0], ceil)
    OW = arg.size(W, kernel[1], stride[1], left, right, dilation[1], ceil)
    if OH < 1 or OW < 1:
        reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
        raise ValueError(
            f"kernel size {kernel} with dilation {dilation} reaches over {reach}, more than the padded input "
            f"{(H + top + bottom, W + left + right)} (x has shape {x_shape}, padding (top, bottom, left, right) {pads})"
        )
    stride, dilation = _counting(stride, (OH, OW), (H + top + bottom, W + left + right), kernel, dilation)
    return {
        "N": N, "C": C, "H": H, "W": W, "FH": kernel[0], "FW": kernel[1], "OH": OH, "OW": OW,
        "stride_h": stride[0], "stride_w": stride[1], "dilation_h": dilation[0], "dilation_w": dilation[1],
        "pad_top": top, "pad_bottom": bottom, "pad_left": left, "pad_right": right,
    }  # fmt: skip


def _counting(
    stride: tuple[int, int],
    windows: tuple[int, int],
    padded: tuple[int, int],
    kernel: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stride and dilation without what no kernel need see: a dilation of a filter with one tap, and a stride past the
    padded image, behind its only window, which may be any number and so need any amount of memory."""
    dilation = tuple(d if k > 1 else 1 for d, k in zip(dilation, kernel, strict=True))
    return tuple(s if n > 1 else min(s, size) for s, n, size in zip(stride, windows, padded, strict=True)), dilation


@remembered
def im2col(input_data, filter_h, filter_w, stride=1, pad=0):
    x = arg.array("input_data", input_data, (4,))
    kernel = arg.integer("filter_h", filter_h, 1), arg.integer("filter_w", filter_w, 1)
    strides = arg.pair("stride", stride, 1)
    pads = arg.padding(pad, kernel, strides, (1, 1), words=False, name="pad")
    kind = arg.kind(x)
    p = Window(**kind, **window_sizes(x.shape, kernel, strides, pads, (1, 1)))
    arg.fits("pad", (p.N * p.OH * p.OW, p.C * p.FH * p.FW), p.dtype, "a result")
    return p, *arg.dense(kind["dtype"], x)


@remembered
def col2im(col, input_shape, filter_h, filter_w, stride=1, pad=0):
    col = arg.array("col", col, (2,))
    shape = image_shape4("input_shape", input_shape)
    kernel = arg.integer("filter_h", filter_h, 1), arg.integer("filter_w", filter_w, 1)
    strides = arg.pair("stride", stride, 1)
    pads = arg.padding(pad, kernel, strides, (1, 1), words=False, name="pad")
    kind = arg.kind(col)
    p = Window(**kind, **window_sizes(shape, kernel, strides, pads, (1, 1)))
    arg.fits("input_shape", p.x_shape, p.dtype, "a result")
    arg.shape("col", col, (p.N * p.OH * p.OW, p.C * p.FH * p.FW), "(N*OH*OW, C*FH*FW)")
    return p, *arg.dense(kind["dtype"], col)


def image_shape4(name: str, shape: Any, unbatched: bool = False) -> tuple[int, ...]:
    try:
        sizes = tuple(shape)
    except TypeError:
        raise TypeError(f"{name}: expected a tuple {IMAGES}, got {shape!r}") from None
    if len(sizes) != 4 and not (unbatched and len(sizes) == 3):
        raise ValueError(f"{name}: expected {IMAGES if unbatched else '(N, C, H, W)'}, got {shape!r}")
    sizes = tuple(arg.integer(f"{name}[{i}]", n, 0) for i, n in enumerate(sizes))
    return sizes if len(sizes) == 4 else (1, *sizes)


def _image_shape(shape: Any, unbatched: bool) -> tuple[int, ...]:
    sizes = image_shape4("input_shape", shape, unbatched)
    if 0 in sizes[1:]:
        raise ValueError(f"input_shape: only the batch may be of size zero, got {shape!r}")
    return sizes


def _conv_geometry(x_shape, w_shape, stride, padding, dilation, groups) -> dict[str, Any]:
    strides, dilations = arg.pair("stride", stride, 1), arg.pair("dilation", dilation, 1)
    G = arg.integer("groups", groups, 1)
    FN, CG, FH, FW = w_shape
    if 0 in w_shape:
        raise ValueError(f"w: expected (FN, C/groups, FH, FW) without zeros, got shape {w_shape}")
    if x_shape[1] != CG * G:
        raise ValueError(
            f"w: expected (FN, C/groups, FH, FW) with C/groups = {x_shape[1]}/{G} to match x of shape "
            f"{tuple(x_shape)}, got shape {w_shape}"
        )
    if FN % G:
        raise ValueError(f"groups: expected a divisor of w's {FN} filters, got {G}")
    if isinstance(padding, str) and padding == "same":
        pads = same_upper(x_shape[2:], (FH, FW), strides, dilations)
    else:
        pads = arg.padding(padding, (FH, FW), strides, dilations, words=True)
    sizes = window_sizes(x_shape, (FH, FW), strides, pads, dilations)
    return dict(sizes, FN=FN, groups=G, precision=settings.float32_conv_precision)


@remembered
def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, activation=None, add=None):
    """The residual comes last, where there is one."""
    x, unbatched = images("x", x)
    w = arg.array("w", w, (4,))
    sizes = _conv_geometry(x.shape, w.shape, stride, padding, dilation, groups)
    not_empty("x", x.shape)
    b = vector(b, w.shape[0], "w's filters", others=(x, w))
    residual = () if add is None else (images("add", add)[0],)
    kind = arg.kind(x, w, b, *residual)
    p = Conv2d(**kind, unbatched=unbatched, activation=activation_of(activation), add=bool(residual), **sizes)
    arg.fits("padding", p.out_shape, p.dtype, "a result")
    if residual:
        arg.shape("add", residual[0], p.out_shape, "(N, FN, OH, OW), the shape of conv2d's result")
    return p, *arg.dense(kind["dtype"], x, w, b, *residual)


@remembered
def conv2d_backward(dout, x, w, stride=1, padding=0, dilation=1, groups=1, needs=(True, True, True)):
    """w comes back as None where only its shape was given."""
    x, unbatched = images("x", x)
    needs = needs_of(needs)
    w, w_shape = filters_or_shape(w, needs[0])
    sizes = _conv_geometry(x.shape, w_shape, stride, padding, dilation, groups)
    not_empty("x", x.shape)
    dout, _ = images("dout", dout)
    kind = arg.kind(dout, x, w)
    p = Conv2d(**kind, unbatched=unbatched, **sizes)
    arg.fits("padding", p.out_shape, p.dtype, "dout")
    arg.shape("dout", dout, p.out_shape, "(N, FN, OH, OW), the shape of conv2d's result")
    return p, *arg.dense(kind["dtype"], dout, x, w), needs


def filters_or_shape(w: Any, needed: bool) -> tuple[np.ndarray | None, tuple[int, ...]]:
    """The filters, or None where only their shape is given; and the shape."""
    if not (isinstance(w, Sequence) and len(w) == 4 and all(isinstance(n, (int, np.integer)) for n in w)):
        w = arg.array("w", w, (4,))
        return w, w.shape
    if needed:
        raise ValueError(f"w: expected the filters, since dx is needed, got a shape: {tuple(w)}")
    return None, tuple(arg.integer(f"w[{i}]", n, 0) for i, n in enumerate(w))


def needs_of(needs: Any) -> tuple[bool, bool, bool]:
    try:
        data, weights, bias = needs
    except (TypeError, ValueError):
        raise ValueError(f"needs: expected three truth values (dx, dw, db), got {needs!r}") from None
    return bool(data), bool(weights), bool(bias)


@remembered
def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The Problem is that of the convolution whose backward-data this is: its input is our result."""
    return _transposed(x, arg.array("w", w, (4,)), b, stride, padding, output_padding, groups, dilation)


def _transposed(x, w, b, stride, padding, output_padding, groups, dilation):
    """w: the filters, or their shape."""
    x, unbatched = images("x", x)
    w, w_shape = (None, w) if isinstance(w, tuple) else (w, w.shape)
    strides, dilations = arg.pair("stride", stride, 1), arg.pair("dilation", dilation, 1)
    extra = arg.pair("output_padding", output_padding, 0)
    G = arg.integer("groups", groups, 1)
    not_empty("x", x.shape)
    N, C, H, W = x.shape
    if w_shape[0] != C or 0 in w_shape:
        raise ValueError(
            f"w: expected (C, FN/groups, FH, FW) with C = {C} to match x of shape {x.shape}, got shape {w_shape}"
        )
    if C % G:
        raise ValueError(f"groups: expected a divisor of x's {C} channels, got {G}")
    kernel = w_shape[2:]
    top, bottom, left, right = arg.padding(padding, kernel, strides, dilations, words=False)
    for i in (0, 1):
        if extra[i] >= max(strides[i], dilations[i]):
            raise ValueError(
                f"output_padding: expected less than stride {strides} or dilation {dilations}, got {extra}"
            )
    out = tuple(
        (n - 1) * s - before - after + d * (k - 1) + e + 1
        for n, s, before, after, d, k, e in zip(
            (H, W), strides, (top, left), (bottom, right), dilations, kernel, extra, strict=True
        )
    )
    if min(out) < 1:
        raise ValueError(f"padding: {(top, bottom, left, right)} leaves a result of {out} for x of shape {x.shape}")
    b = vector(b, w_shape[1] * G, "the result's channels", others=(x,) if w is None else (x, w))
    strides, dilations = _counting(strides, (H, W), (out[0] + top + bottom, out[1] + left + right), kernel, dilations)
    kind = arg.kind(x, w, b)
    p = Conv2d(
        **kind, unbatched=unbatched, precision=settings.float32_conv_precision,
        N=N, C=w_shape[1] * G, H=out[0], W=out[1], FN=C, FH=kernel[0], FW=kernel[1], OH=H, OW=W,
        stride_h=strides[0], stride_w=strides[1], pad_top=top, pad_bottom=bottom, pad_left=left, pad_right=right,
        dilation_h=dilations[0], dilation_w=dilations[1], groups=G,
    )  # fmt: skip
    arg.fits("stride, dilation or output_padding", p.x_shape, p.dtype, "a result")
    return p, *arg.dense(kind["dtype"], x, w, b)


@remembered
def conv_transpose2d_backward(
    dout, x, w, stride=1, padding=0, output_padding=0, groups=1, dilation=1, needs=(True, True, True)
):
    needs = needs_of(needs)
    w, w_shape = filters_or_shape(w, needs[0])
    p, x, w, _ = _transposed(x, w_shape if w is None else w, None, stride, padding, output_padding, groups, dilation)
    dout, _ = images("dout", dout)
    arg.shape("dout", dout, p.x_shape, "the shape of conv_transpose2d's result")
    kind = arg.kind(dout, x, w)
    p = replace(p, **kind)
    return p, *arg.dense(kind["dtype"], dout, x, w), needs


def _pool(x_shape, unbatched, kind, kernel_size, stride, padding, dilation=1, ceil_mode=False, **more) -> Pool2d:
    kernel = arg.pair("kernel_size", kernel_size, 1)
    whole = stride is None or (isinstance(stride, (tuple, list)) and not stride)  # PyTorch's own default is []
    strides = kernel if whole else arg.pair("stride", stride, 1)
    dilations = arg.pair("dilation", dilation, 1)
    pads = arg.padding(padding, kernel, strides, dilations, words=False)
    sizes = window_sizes(x_shape, kernel, strides, pads, dilations, bool(ceil_mode))
    p = Pool2d(**kind, unbatched=unbatched, **sizes, **more)
    arg.fits("padding", p.out_shape, _INDEX, "a result")
    arg.fits("input_shape", p.x_shape, p.dtype, "an array")
    return p


@remembered
def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    x, unbatched = images("x", x)
    not_empty("x", x.shape)
    p = _pool(x.shape, unbatched, arg.kind(x), kernel_size, stride, padding, dilation, ceil_mode)
    return p, *arg.dense(p.dtype, x)


def max_pool2d_backward(dout, indices, input_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    p, dout = _max_pool2d_dout(dout, input_shape, kernel_size, stride, padding, dilation, ceil_mode)
    if is_dense_int64(indices) and indices.shape == p.out_shape and p.device == "cpu":  # as max_pool2d gave them
        return p, dout, indices
    indices = arg.array("indices", indices)
    where((dout, indices))
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices: expected integers as max_pool2d gives them, got dtype {indices.dtype}")
    indices = indices[None] if p.unbatched and indices.ndim == 3 else indices
    arg.shape("indices", indices, p.out_shape, "the shape of dout")
    return p, dout, indices if is_device(indices) else arg.int64("indices", indices)


@remembered
def _max_pool2d_dout(dout, input_shape, kernel_size, stride, padding, dilation, ceil_mode):
    dout, unbatched = images("dout", dout)
    shape = _image_shape(input_shape, unbatched)
    p = _pool(shape, unbatched, arg.kind(dout), kernel_size, stride, padding, dilation, ceil_mode)
    arg.shape("dout", dout, p.out_shape, "(N, C, OH, OW)")
    return p, *arg.dense(p.dtype, dout)


def max_pool2d_indices(inside, indices, p, counts=False):
    """Raises unless every index was inside of its plane, or -1 for a window of padding alone.

    inside: whether the kernel found all of them inside. counts: whether padding has a value, which may be a maximum.
    """
    if inside:
        return
    allowed = (indices >= 0) & (indices < p.H * p.W)
    allowed |= (indices == -1) & (windows_into_padding(p) if counts else windows_of_padding(p))
    if not allowed.all():
        wrong = indices[~allowed]
        raise ValueError(
            f"indices: expected 0 to {p.H * p.W - 1} (flat in H*W), or -1 where a window sees padding alone, got "
            f"{wrong.min()} to {wrong.max()}"
        )


def windows_of_padding(p: Window) -> np.ndarray:
    """Which windows have no tap in the image, (OH, OW)."""

    def axis(windows, stride, pad, extent, taps, dilation):
        start = np.arange(windows, dtype=np.int64) * stride - pad
        skipped = np.maximum(0, -(start // dilation))  # taps before the image
        return (skipped >= taps) | (start + skipped * dilation >= extent)

    rows = axis(p.OH, p.stride_h, p.pad_top, p.H, p.FH, p.dilation_h)
    columns = axis(p.OW, p.stride_w, p.pad_left, p.W, p.FW, p.dilation_w)
    return rows[:, None] | columns


def windows_into_padding(p: Window) -> np.ndarray:
    """Which windows reach beyond the image, (OH, OW)."""

    def axis(windows, stride, pad, extent, reach):
        start = np.arange(windows, dtype=np.int64) * stride - pad
        return (start < 0) | (start + reach > extent)

    rows = axis(p.OH, p.stride_h, p.pad_top, p.H, p.dilation_h * (p.FH - 1) + 1)
    columns = axis(p.OW, p.stride_w, p.pad_left, p.W, p.dilation_w * (p.FW - 1) + 1)
    return rows[:, None] | columns


def pad_value(value: Any, p: Window) -> float:
    """What padding counts as: a number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"pad_value: expected a number, got {value!r}")
    if np.isnan(value):
        raise ValueError("pad_value: expected a number, got nan")
    if p.device != "cpu":
        raise TypeError("pad_value: expected None, since the arrays are on cuda")
    return float(value)


@remembered
def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    x, unbatched = images("x", x)
    not_empty("x", x.shape)
    more = _average(count_include_pad, divisor_override)
    p = _pool(x.shape, unbatched, arg.kind(x), kernel_size, stride, padding, ceil_mode=ceil_mode, **more)
    return p, *arg.dense(p.dtype, x)


def _average(count_include_pad: Any, divisor_override: Any) -> dict[str, Any]:
    divisor = 0
    if divisor_override is not None:
        divisor = arg.integer("divisor_override", divisor_override, 1 - 2**63, 2**63 - 1)
        if divisor == 0:
            raise ValueError("divisor_override: expected a number other than 0, got 0")
    return {"count_include_pad": bool(count_include_pad), "divisor": divisor}


@remembered
def avg_pool2d_backward(
    dout, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    dout, unbatched = images("dout", dout)
    shape = _image_shape(input_shape, unbatched)
    more = _average(count_include_pad, divisor_override)
    p = _pool(shape, unbatched, arg.kind(dout), kernel_size, stride, padding, ceil_mode=ceil_mode, **more)
    arg.shape("dout", dout, p.out_shape, "(N, C, OH, OW)")
    return p, *arg.dense(p.dtype, dout)


def stochastic_pool2d(x, kernel_size, stride=None, padding=0):
    return max_pool2d(x, kernel_size, stride, padding)


@remembered
def adaptive_avg_pool2d(x, output_size):
    x, unbatched = images("x", x)
    not_empty("x", x.shape)
    kind = arg.kind(x)
    OH, OW = arg.pair("output_size", output_size, 1)
    N, C, H, W = x.shape
    p = AdaptivePool2d(**kind, unbatched=unbatched, N=N, C=C, H=H, W=W, OH=OH, OW=OW)
    arg.fits("output_size", p.out_shape, p.dtype, "a result")
    return p, *arg.dense(kind["dtype"], x)


@remembered
def adaptive_avg_pool2d_backward(dout, input_shape):
    dout, unbatched = images("dout", dout)
    not_empty("dout", dout.shape)
    N, C, H, W = _image_shape(input_shape, unbatched)
    if dout.shape[:2] != (N, C):
        raise ValueError(f"dout: expected {(N, C)} first to match input_shape, got shape {dout.shape}")
    not_empty("input_shape", (N, C, H, W))
    kind = arg.kind(dout)
    OH, OW = dout.shape[2:]
    p = AdaptivePool2d(**kind, unbatched=unbatched, N=N, C=C, H=H, W=W, OH=OH, OW=OW)
    arg.fits("input_shape", (N, C, H, W), p.dtype, "a result")
    return p, *arg.dense(kind["dtype"], dout)
