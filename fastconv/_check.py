"""Arguments of the public operations -> (Problem, dense arrays...). The only place that raises on input.

One function per operation, with the operation's own signature; each returns the frozen Problem first. Checks that do
not look at the numbers in their float arrays are `remembered`: a call like an earlier one gets its Problem at once.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from . import _arguments as arg
from ._problem import (
    AdaptivePool2d,
    Affine,
    BatchNorm,
    Conv2d,
    CrossEntropy,
    Dropout,
    Elementwise,
    Pool2d,
    Softmax,
    Update,
    Window,
)
from ._settings import settings

try:
    from .kernels._cpu.remember import Remembered as remembered
    from .kernels._cpu.remember import dense_lists
except ImportError:  # a build without the compiled engine checks every call

    def remembered(check: Callable[..., Any]) -> Callable[..., Any]:
        return check

    def dense_lists(lists: list[list[Any]]) -> np.dtype | None:
        return None


IMAGES = "(N, C, H, W), or (C, H, W)"


def _images(name: str, x: Any) -> tuple[np.ndarray, bool]:
    """(N, C, H, W), and whether it came without N."""
    x = arg.array(name, x)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: expected {IMAGES}, got shape {x.shape}")
    return (x, False) if x.ndim == 4 else (x[None], True)


def _not_empty(name: str, x: np.ndarray) -> None:
    if 0 in x.shape[1:]:
        raise ValueError(f"{name}: only the batch may be of size zero, got shape {x.shape}")


def _activation(activation: Any) -> str | None:
    if activation is not None and activation != "relu":
        raise ValueError(f"activation: expected None or 'relu', got {activation!r}")
    return activation


def _window(
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
    return {
        "N": N, "C": C, "H": H, "W": W, "FH": kernel[0], "FW": kernel[1], "OH": OH, "OW": OW,
        "stride_h": stride[0], "stride_w": stride[1], "dilation_h": dilation[0], "dilation_w": dilation[1],
        "pad_top": top, "pad_bottom": bottom, "pad_left": left, "pad_right": right,
    }  # fmt: skip


# --- windows ----------------------------------------------------------------------------------------------------------


@remembered
def im2col(input_data, filter_h, filter_w, stride=1, pad=0):
    x = arg.array("input_data", input_data, (4,))
    kernel = arg.integer("filter_h", filter_h, 1), arg.integer("filter_w", filter_w, 1)
    strides = arg.pair("stride", stride, 1)
    pads = arg.padding(pad, kernel, strides, (1, 1), words=False)
    dtype, result = arg.dtypes(x)
    p = Window(dtype=dtype, result_dtype=result, **_window(x.shape, kernel, strides, pads, (1, 1)))
    return p, *arg.dense(dtype, x)


@remembered
def col2im(col, input_shape, filter_h, filter_w, stride=1, pad=0):
    col = arg.array("col", col, (2,))
    shape = _shape4("input_shape", input_shape)
    kernel = arg.integer("filter_h", filter_h, 1), arg.integer("filter_w", filter_w, 1)
    strides = arg.pair("stride", stride, 1)
    pads = arg.padding(pad, kernel, strides, (1, 1), words=False)
    dtype, result = arg.dtypes(col)
    p = Window(dtype=dtype, result_dtype=result, **_window(shape, kernel, strides, pads, (1, 1)))
    arg.shape("col", col, (p.N * p.OH * p.OW, p.C * p.FH * p.FW), "(N*OH*OW, C*FH*FW)")
    return p, *arg.dense(dtype, col)


def _shape4(name: str, shape: Any, unbatched: bool = False) -> tuple[int, ...]:
    try:
        sizes = tuple(shape)
    except TypeError:
        raise TypeError(f"{name}: expected a tuple {IMAGES}, got {shape!r}") from None
    if len(sizes) != 4 and not (unbatched and len(sizes) == 3):
        raise ValueError(f"{name}: expected {IMAGES if unbatched else '(N, C, H, W)'}, got {shape!r}")
    sizes = tuple(arg.integer(f"{name}[{i}]", n, 0) for i, n in enumerate(sizes))
    return sizes if len(sizes) == 4 else (1, *sizes)


def _conv_geometry(x_shape, w, stride, padding, dilation, groups) -> dict[str, Any]:
    strides, dilations = arg.pair("stride", stride, 1), arg.pair("dilation", dilation, 1)
    G = arg.integer("groups", groups, 1)
    FN, CG, FH, FW = w.shape
    if 0 in w.shape:
        raise ValueError(f"w: expected (FN, C/groups, FH, FW) without zeros, got shape {w.shape}")
    if x_shape[1] != CG * G:
        raise ValueError(
            f"w: expected (FN, C/groups, FH, FW) with C/groups = {x_shape[1]}/{G} to match x of shape "
            f"{tuple(x_shape)}, got shape {w.shape}"
        )
    if FN % G:
        raise ValueError(f"groups: expected a divisor of w's {FN} filters, got {G}")
    pads = arg.padding(padding, (FH, FW), strides, dilations, words=True)
    sizes = _window(x_shape, (FH, FW), strides, pads, dilations)
    return dict(sizes, FN=FN, groups=G, precision=settings.float32_conv_precision)


@remembered
def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, activation=None):
    x, unbatched = _images("x", x)
    w = arg.array("w", w, (4,))
    sizes = _conv_geometry(x.shape, w, stride, padding, dilation, groups)
    _not_empty("x", x)
    b = _bias(b, w.shape[0], "w's filters")
    dtype, result = arg.dtypes(x, w, b)
    p = Conv2d(dtype=dtype, result_dtype=result, unbatched=unbatched, activation=_activation(activation), **sizes)
    return p, *arg.dense(dtype, x, w, b)


def _bias(b: Any, n: int, why: str, name: str = "b") -> np.ndarray | None:
    if b is not None:
        b = arg.array(name, b)
        arg.shape(name, b, (n,), f"one number for each of {why}")
    return b


@remembered
def conv2d_backward(dout, x, w, stride=1, padding=0, dilation=1, groups=1, needs=(True, True, True)):
    x, unbatched = _images("x", x)
    w = arg.array("w", w, (4,))
    sizes = _conv_geometry(x.shape, w, stride, padding, dilation, groups)
    _not_empty("x", x)
    dout, _ = _images("dout", dout)
    dtype, result = arg.dtypes(dout, x, w)
    p = Conv2d(dtype=dtype, result_dtype=result, unbatched=unbatched, **sizes)
    arg.shape("dout", dout, p.out_shape, "(N, FN, OH, OW), the shape of conv2d's result")
    return p, *arg.dense(dtype, dout, x, w), _needs(needs)


def _needs(needs: Any) -> tuple[bool, bool, bool]:
    try:
        data, weights, bias = needs
    except (TypeError, ValueError):
        raise ValueError(f"needs: expected three truth values (dx, dw, db), got {needs!r}") from None
    return bool(data), bool(weights), bool(bias)


@remembered
def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The Problem is that of the convolution whose backward-data this is: its input is our result."""
    x, unbatched = _images("x", x)
    w = arg.array("w", w, (4,))
    strides, dilations = arg.pair("stride", stride, 1), arg.pair("dilation", dilation, 1)
    extra = arg.pair("output_padding", output_padding, 0)
    G = arg.integer("groups", groups, 1)
    _not_empty("x", x)
    N, C, H, W = x.shape
    if w.shape[0] != C or 0 in w.shape:
        raise ValueError(
            f"w: expected (C, FN/groups, FH, FW) with C = {C} to match x of shape {x.shape}, got shape {w.shape}"
        )
    if C % G:
        raise ValueError(f"groups: expected a divisor of x's {C} channels, got {G}")
    kernel = w.shape[2:]
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
    b = _bias(b, w.shape[1] * G, "the result's channels")
    dtype, result = arg.dtypes(x, w, b)
    p = Conv2d(
        dtype=dtype, result_dtype=result, unbatched=unbatched, precision=settings.float32_conv_precision,
        N=N, C=w.shape[1] * G, H=out[0], W=out[1], FN=C, FH=kernel[0], FW=kernel[1], OH=H, OW=W,
        stride_h=strides[0], stride_w=strides[1], pad_top=top, pad_bottom=bottom, pad_left=left, pad_right=right,
        dilation_h=dilations[0], dilation_w=dilations[1], groups=G,
    )  # fmt: skip
    return p, *arg.dense(dtype, x, w, b)


@remembered
def conv_transpose2d_backward(
    dout, x, w, stride=1, padding=0, output_padding=0, groups=1, dilation=1, needs=(True, True, True)
):
    p, x, w, _ = conv_transpose2d(x, w, None, stride, padding, output_padding, groups, dilation)
    dout, _ = _images("dout", dout)
    arg.shape("dout", dout, p.x_shape, "the shape of conv_transpose2d's result")
    dtype, result = arg.dtypes(dout, x, w)
    p = replace(p, dtype=dtype, result_dtype=result)
    return p, *arg.dense(dtype, dout, x, w), _needs(needs)


# --- pooling ----------------------------------------------------------------------------------------------------------


def _pool(x_shape, unbatched, dtypes, kernel_size, stride, padding, dilation=1, ceil_mode=False, **more) -> Pool2d:
    kernel = arg.pair("kernel_size", kernel_size, 1)
    strides = kernel if stride is None else arg.pair("stride", stride, 1)
    dilations = arg.pair("dilation", dilation, 1)
    pads = arg.padding(padding, kernel, strides, dilations, words=False)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    if max(pads[:2]) > reach[0] // 2 or max(pads[2:]) > reach[1] // 2:
        raise ValueError(f"padding: expected at most half of the window {tuple(reach)}, got {padding!r}")
    sizes = _window(x_shape, kernel, strides, pads, dilations, bool(ceil_mode))
    return Pool2d(dtype=dtypes[0], result_dtype=dtypes[1], unbatched=unbatched, **sizes, **more)


@remembered
def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    x, unbatched = _images("x", x)
    _not_empty("x", x)
    p = _pool(x.shape, unbatched, arg.dtypes(x), kernel_size, stride, padding, dilation, ceil_mode)
    return p, *arg.dense(p.dtype, x)


def max_pool2d_backward(dout, indices, input_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    dout, unbatched = _images("dout", dout)
    shape = _shape4("input_shape", input_shape, unbatched)
    p = _pool(shape, unbatched, arg.dtypes(dout), kernel_size, stride, padding, dilation, ceil_mode)
    arg.shape("dout", dout, p.out_shape, "(N, C, OH, OW)")
    indices = np.asarray(indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices: expected integers as max_pool2d gives them, got dtype {indices.dtype}")
    indices = indices[None] if unbatched and indices.ndim == 3 else indices
    arg.shape("indices", indices, p.out_shape, "the shape of dout")
    if indices.size and not (indices.min() >= 0 and indices.max() < p.H * p.W):
        raise ValueError(
            f"indices: expected 0 to {p.H * p.W - 1} (flat in H*W), got {indices.min()} to {indices.max()}"
        )
    return p, *arg.dense(p.dtype, dout), np.require(indices, np.int64, ("C", "A"))


@remembered
def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    x, unbatched = _images("x", x)
    _not_empty("x", x)
    more = _average(count_include_pad, divisor_override)
    p = _pool(x.shape, unbatched, arg.dtypes(x), kernel_size, stride, padding, ceil_mode=ceil_mode, **more)
    return p, *arg.dense(p.dtype, x)


def _average(count_include_pad: Any, divisor_override: Any) -> dict[str, Any]:
    divisor = 0 if divisor_override is None else arg.integer("divisor_override", divisor_override, 1)
    return {"count_include_pad": bool(count_include_pad), "divisor": divisor}


@remembered
def avg_pool2d_backward(
    dout, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    dout, unbatched = _images("dout", dout)
    shape = _shape4("input_shape", input_shape, unbatched)
    more = _average(count_include_pad, divisor_override)
    p = _pool(shape, unbatched, arg.dtypes(dout), kernel_size, stride, padding, ceil_mode=ceil_mode, **more)
    arg.shape("dout", dout, p.out_shape, "(N, C, OH, OW)")
    return p, *arg.dense(p.dtype, dout)


def stochastic_pool2d(x, kernel_size, stride=None, padding=0):
    return max_pool2d(x, kernel_size, stride, padding)


@remembered
def adaptive_avg_pool2d(x, output_size):
    x, unbatched = _images("x", x)
    _not_empty("x", x)
    dtype, result = arg.dtypes(x)
    OH, OW = arg.pair("output_size", output_size, 1)
    N, C, H, W = x.shape
    p = AdaptivePool2d(dtype=dtype, result_dtype=result, unbatched=unbatched, N=N, C=C, H=H, W=W, OH=OH, OW=OW)
    return p, *arg.dense(dtype, x)


@remembered
def adaptive_avg_pool2d_backward(dout, input_shape):
    dout, unbatched = _images("dout", dout)
    N, C, H, W = _shape4("input_shape", input_shape, unbatched)
    if dout.shape[:2] != (N, C):
        raise ValueError(f"dout: expected {(N, C)} first to match input_shape, got shape {dout.shape}")
    dtype, result = arg.dtypes(dout)
    OH, OW = dout.shape[2:]
    p = AdaptivePool2d(dtype=dtype, result_dtype=result, unbatched=unbatched, N=N, C=C, H=H, W=W, OH=OH, OW=OW)
    return p, *arg.dense(dtype, dout)


# --- affine, batch normalisation --------------------------------------------------------------------------------------


def _rows(name: str, x: np.ndarray, K: int, W_shape: tuple[int, ...]) -> np.ndarray:
    """x as (N, K): 2-D as it is, 1-D as one row, more axes flattened behind the first (the book's Affine)."""
    if x.ndim == 0 or math.prod(x.shape[1:] if x.ndim > 1 else x.shape) != K:
        raise ValueError(f"{name}: expected (N, {K}) to match W of shape {W_shape}, got shape {x.shape}")
    return x.reshape(1 if x.ndim == 1 else x.shape[0], K)


@remembered
def affine(x, W, b=None, activation=None, transposed=False, names=("W", "b")):
    x = arg.array("x", x)
    W = arg.array(names[0], W, (2,))
    M, K = W.shape if transposed else W.shape[::-1]
    unbatched = x.ndim == 1
    x = _rows("x", x, K, W.shape)
    b = _bias(b, M, f"{names[0]}'s {M} outputs", names[1])
    dtype, result = arg.dtypes(x, W, b)
    p = Affine(
        dtype=dtype, result_dtype=result, unbatched=unbatched, N=x.shape[0], K=K, M=M,
        transposed=transposed, activation=_activation(activation),
    )  # fmt: skip
    return p, *arg.dense(dtype, x, W, b)


def leading_axes(x, weight, name="x"):
    """PyTorch's linear: (..., in) as rows, and the shape in front of `in`."""
    x = arg.array(name, x)
    if x.ndim == 0 or (weight is not None and np.ndim(weight) == 2 and x.shape[-1] != np.shape(weight)[1]):
        raise ValueError(f"{name}: expected (..., in) to match weight of shape {np.shape(weight)}, got {x.shape}")
    return (x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim != 1 else x[None]), x.shape[:-1]


@remembered
def affine_backward(dout, x, W, needs=(True, True, True), transposed=False, names=("W", "b")):
    p, x, W, _ = affine(x, W, None, None, transposed, names)
    dout = arg.array("dout", dout)
    dout = dout[None] if p.unbatched and dout.ndim == 1 else dout
    arg.shape("dout", dout, (p.N, p.M), "(N, out)")
    dtype, result = arg.dtypes(dout, x, W)
    p = Affine(dtype=dtype, result_dtype=result, unbatched=p.unbatched, N=p.N, K=p.K, M=p.M, transposed=transposed)
    return p, *arg.dense(dtype, dout, x, W), _needs(needs)


@remembered
def batch_norm(x, gamma, beta, running_mean, running_var, training=False, momentum=0.1, eps=1e-5):
    """The running statistics come back as they are: they are updated in place."""
    x = arg.array("x", x, (2, 4))
    _not_empty("x", x)
    N, C, P = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    given = {"gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var}
    vectors = {name: _bias(v, C, "x's channels", name) for name, v in given.items()}
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean, running_var: expected both or neither")
    if training:
        if N * P == 1:
            raise ValueError(f"x: expected more than one value per channel when training, got shape {x.shape}")
        for name in ("running_mean", "running_var"):
            v = given[name]
            if v is not None and not (isinstance(v, np.ndarray) and v.dtype.kind == "f" and v.flags.writeable):
                raise TypeError(f"{name}: expected a writeable float array (it is updated in place), got {v!r}")
    elif running_mean is None:
        raise ValueError("running_mean, running_var: expected arrays when training is False, got None")
    dtype, result = arg.dtypes(x, vectors["gamma"], vectors["beta"])
    p = BatchNorm(
        dtype=dtype, result_dtype=result, N=N, C=C, P=P, training=bool(training),
        momentum=arg.real("momentum", momentum, 0, 1), eps=arg.real("eps", eps, 0),
    )  # fmt: skip
    x, gamma, beta = arg.dense(dtype, x, vectors["gamma"], vectors["beta"])
    return p, x, gamma, beta, running_mean, running_var


def batch_norm_backward(dout, shape, dtype):
    dout = arg.array("dout", dout)
    arg.shape("dout", dout, shape, "the shape of batch_norm's x")
    return arg.dense(dtype, dout)[0]


# --- element-wise, rows, losses ---------------------------------------------------------------------------------------


@remembered
def elementwise(x, negative_slope=0.0):
    x = arg.array("x", x)
    dtype, result = arg.dtypes(x)
    slope = arg.real("negative_slope", negative_slope)
    p = Elementwise(dtype=dtype, result_dtype=result, size=x.size, negative_slope=slope)
    return p, *arg.dense(dtype, x)


@remembered
def elementwise_backward(dout, saved, name, negative_slope=0.0):
    dout, saved = arg.array("dout", dout), arg.array(name, saved)
    arg.shape("dout", dout, saved.shape, f"the shape of {name}")
    dtype, result = arg.dtypes(dout, saved)
    slope = arg.real("negative_slope", negative_slope)
    p = Elementwise(dtype=dtype, result_dtype=result, size=dout.size, negative_slope=slope)
    return p, *arg.dense(dtype, dout, saved)


@remembered
def softmax(x, axis=-1):
    x = arg.array("x", x)
    if x.ndim == 0:
        raise ValueError("x: expected at least 1-D, got a scalar")
    at = arg.axis(axis, x.ndim)
    dtype, result = arg.dtypes(x)
    p = Softmax(
        dtype=dtype, result_dtype=result, outer=math.prod(x.shape[:at]), n=x.shape[at],
        inner=math.prod(x.shape[at + 1 :]),
    )  # fmt: skip
    return p, *arg.dense(dtype, x)


@remembered
def softmax_backward(dout, y, axis=-1):
    p, y = softmax(arg.array("y", y), axis)
    dout = arg.array("dout", dout)
    arg.shape("dout", dout, y.shape, "the shape of y")
    dtype, result = arg.dtypes(dout, y)
    p = Softmax(dtype=dtype, result_dtype=result, outer=p.outer, n=p.n, inner=p.inner)
    return p, *arg.dense(dtype, dout, y)


@remembered
def softmax_cross_entropy(x, t, name="x"):
    x = arg.array(name, x, (1, 2))
    unbatched = x.ndim == 1
    x = x[None] if unbatched else x
    N, C = x.shape
    if C == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}")
    t = arg.array("t", t)
    dtype, result = arg.dtypes(x)
    common: dict[str, Any] = {"dtype": dtype, "result_dtype": result, "unbatched": unbatched, "N": N, "C": C}
    if t.size == x.size and t.shape in (x.shape, (C,)) and not (t.shape == (N,) and t.dtype.kind in "iu" and C == 1):
        return CrossEntropy(labels=False, **common), *arg.dense(dtype, x, t.reshape(N, C))
    return CrossEntropy(labels=True, **common), *arg.dense(dtype, x), labels(t, N, C)


def labels(t: np.ndarray, N: int, C: int) -> np.ndarray:
    """Class labels as (N,) int64, each in [0, C); (N, 1) is taken as (N,)."""
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"t: expected integer labels of shape {(N,)}, or targets of shape {(N, C)}, "
            f"got dtype {t.dtype} and shape {t.shape}"
        )
    if t.shape not in ((N,), (N, 1)) and not (N == 1 and t.ndim == 0):
        raise ValueError(f"t: expected labels of shape {(N,)} or targets of shape {(N, C)}, got shape {t.shape}")
    if t.size and not (t.min() >= 0 and t.max() < C):
        raise ValueError(f"t: expected labels from 0 to {C - 1}, got {t.min()} to {t.max()}")
    return np.require(t.reshape(N), np.int64, ("C", "A"))


def nll_loss(log_y, t):
    log_y = arg.array("log_y", log_y, (2,))
    return log_y, labels(arg.array("t", t), *log_y.shape)


def same_shape(y, t, reduction="half_sum"):
    y, t = arg.array("y", y), arg.array("t", t)
    arg.shape("t", t, y.shape, "the shape of y")
    if reduction not in ("half_sum", "mean", "sum"):
        raise ValueError(f"reduction: expected 'half_sum', 'mean' or 'sum', got {reduction!r}")
    dtype, _ = arg.dtypes(y, t)
    return arg.dense(dtype, y, t)


# --- dropout, optimisers ----------------------------------------------------------------------------------------------


@remembered
def dropout(x, ratio=0.5, inverted=True, planes=False):
    x = _images("x", x)[0] if planes else arg.array("x", x)
    ratio = arg.real("ratio", ratio, 0, 1)
    dtype, result = arg.dtypes(x)
    repeat = math.prod(x.shape[2:]) if planes else 1
    # 1/(1 - ratio) is infinite at 1, where nothing is kept: any finite scale gives the right zeros.
    scale = 1.0 / (1.0 - ratio) if inverted and ratio < 1 else 1.0
    p = Dropout(
        dtype=dtype, result_dtype=result, size=x.size // max(repeat, 1), repeat=repeat,
        threshold=round(ratio * 2**32), scale=scale,
    )  # fmt: skip
    return p, *arg.dense(dtype, x)


def dropout_backward(dout, mask, ratio=0.5, inverted=True, planes=False):
    p, dout = dropout(arg.array("dout", dout), ratio, inverted, planes)
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"mask: expected the bool mask that dropout gave, got dtype {mask.dtype}")
    if mask.size != p.size:
        raise ValueError(f"mask: expected the mask that dropout gave for shape {dout.shape}, got shape {mask.shape}")
    return p, dout, np.ascontiguousarray(mask)


def rng(value: Any) -> np.random.Generator:
    if value is None or isinstance(value, (int, np.integer)):
        return np.random.default_rng(value)
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"rng: expected a numpy Generator, an int seed or None, got {type(value).__name__}")
    return value


def update(*groups, **hyper) -> tuple[list[tuple[Update, list, list]], dict[str, float]]:
    """Lists of arrays that belong together (params, grads, state...), all but grads changed in place.

    Returns for each dtype of the parameters (Problem, the lists dense, pairs of (user's array, dense copy) to bring
    back), and the hyper-parameters as floats.
    """
    names = ("params", "grads", "state", "state")
    lists = [list(group) for group in groups]
    rates = {key: arg.real(key, value) for key, value in hyper.items()}
    dtype = dense_lists(lists)
    if dtype is not None:
        return [(_update(dtype, dtype), lists, [])], rates
    for name, group in zip(names, lists, strict=False):
        if len(group) != len(lists[0]):
            raise ValueError(f"{name}: expected {len(lists[0])} arrays to match params, got {len(group)}")
        for i, (a, like) in enumerate(zip(group, lists[0], strict=True)):
            if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
                raise TypeError(f"{name}[{i}]: expected a float array, got {getattr(a, 'dtype', type(a).__name__)}")
            arg.shape(f"{name}[{i}]", a, like.shape, f"the shape of params[{i}]")
            if name != "grads" and not a.flags.writeable:
                raise ValueError(f"{name}[{i}]: expected a writeable array (it is updated in place)")
    jobs = []
    for given in sorted({a.dtype for a in lists[0]}, key=str):
        compute, _ = arg.dtypes(np.empty(0, given))
        rows = [row for row in zip(*lists, strict=True) if row[0].dtype == given]
        dense = [arg.dense(compute, *row) for row in rows]
        back = [
            (a, d)
            for row, kept in zip(rows, dense, strict=True)
            for i, (a, d) in enumerate(zip(row, kept, strict=True))
            if i != 1 and a is not d
        ]
        columns = [list(column) for column in zip(*dense, strict=True)]
        jobs.append((_update(compute, given), columns, back))
    return jobs, rates


@cache
def _update(compute: np.dtype, given: np.dtype) -> Update:
    return Update(dtype=compute, result_dtype=given)
