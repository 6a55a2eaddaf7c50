"""The table: for every kernel operation, its implementations in order of preference.

A row names a backend, a "folder.module:function" below `fastconv.kernels`, and a function that takes the Problem and
returns "" or the reason for refusing it. The last CPU row of every operation is the NumPy reference, which takes
everything. Thresholds live in the `accepts` functions, each citing the measurement that set it. A kernel may have a
prepared form, `prepare`: a function of its weights and the Problem, which makes a Step (or a WeightsStep, or a
BackwardStep). Numba's rows come after the compiled ones: where those can be imported, nobody waits for Numba to compile
anything. AT_ONCE has kernels that do the work of several operations; what none of them takes, the operations do.

Arguments of the kernels (results first, sizes last; arrays dense, of the Problem's dtype, already checked):

conv2d_forward(out, x, w, b, p)                    b may be None; p.activation is one of `fused`, or None
conv2d_backward_data(dx, dout, w, p)
conv2d_backward_weights(dw, db, dout, x, p)        db may be None
conv2d_backward(dx, dw, db, dout, x, w, p)         likewise; of AT_ONCE
im2col(out, x, p), col2im(out, col, p)             also im2col_planes, col2im_planes
interchange(out, x, p)                             (N, A, B) to (N, B, A)
max_pool2d_forward(out, indices, x, p), max_pool2d_backward(dx, dout, indices, p) -> bool
    False if an index was outside of its plane, -1 included; its dout is left out
max_pool2d_shared_backward(dx, dout, x, y, p)      square windows that tile the planes; equal maxima share
avg_pool2d_forward(out, x, p), avg_pool2d_backward(dx, dout, p); adaptive_* alike
stochastic_pool2d_forward(out, indices, x, u, p)   u: uniform numbers in [0, 1), one for each window
stochastic_pool2d_inference(out, x, p)
affine_forward(out, x, w, b, p), affine_backward_data(dx, dout, w, p), affine_backward_weights(dw, db, dout, x, p)
batch_norm_training(out, mean, inv_std, x, gamma, beta, running_mean, running_var, p)     running_* may be None
batch_norm_inference(out, x, gamma, beta, mean, var, p)
batch_norm_backward(dx, dgamma, dbeta, dout, x, gamma, mean, inv_std, p)
local_response_forward(out, x, p), local_response_backward(dx, dout, x, p)
relu_forward(out, x, p), relu_backward(dx, dout, x, p); the others alike; sigmoid, tanh: backward from y
    out may be x
add_activation(out, x, y, p)                       the Problem's activation of x + y; out may be x or y
softmax_forward(out, x, p), softmax_backward(dx, dout, y, p); log_softmax alike
cross_entropy_forward(out, x, t, p) -> float, or what float() takes; cross_entropy_backward(dx, y, t, p)
dropout_forward(out, mask, x, seed, p), dropout_backward(dx, dout, mask, p)
    seed: an int; on a device a function that draws it
sgd(params, grads, hyper, p), momentum(params, grads, velocities, hyper, p), ...   lists of dense arrays, hyper a dict
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._problem import Problem
from ._settings import settings
from ._threads import vector_lanes, vector_registers


def anything(p: Problem) -> str:
    return "" if p.device == "cpu" else "the arrays are on cuda"


def floats(p: Problem) -> str:
    """float32 and float64 on the CPU."""
    if p.dtype not in (np.float32, np.float64):
        return f"computes in float32 and float64, not {p.dtype}"
    return anything(p)


def _spread(p: Any) -> str:
    """How far the windows reach, where the padded image is much larger than all that is read and written, else "".

    With dilation and padding of 10,000, kernels that copy the padded image ask for more memory than there is.
    """
    rows = max((p.OH - 1) * p.stride_h + p.dilation_h * (p.FH - 1) + 1, p.pad_top + p.H)
    columns = max((p.OW - 1) * p.stride_w + p.dilation_w * (p.FW - 1) + 1, p.pad_left + p.W)
    if p.C * rows * columns <= max(1 << 22, 16 * p.C * (p.H * p.W + p.OH * p.OW)):
        return ""
    return f"windows that reach over {rows} x {columns} for an image of {p.H} x {p.W} and {p.OH} x {p.OW} results"


def compact(p: Any) -> str:
    """Floats, and padded images that can be copied."""
    spread = _spread(p)
    return f"does not take {spread}" if spread else floats(p)


def spread(p: Any) -> str:
    """What `compact` refuses: computed a tap at a time, by the reference's own function."""
    return floats(p) if _spread(p) else "takes windows that are spread far beyond the image"


def on_device(p: Problem) -> str:
    """Floats on a CUDA device; NumPy arrays when asked for, since they are copied there and back."""
    if p.dtype not in (np.float16, np.float32, np.float64):
        return f"takes float16, float32 and float64, not {p.dtype}"
    if p.device == "cpu" and settings.backend != "cuda":
        return "the arrays are on the CPU, and backend 'cuda' is not forced"
    return ""


def on_device_by_taps(p: Any) -> str:
    """Convolutions whose filters fit the bits of a tap in the CUDA kernels' tables."""
    return on_device(p) if max(p.FH, p.FW) < 64 else f"takes filters of up to 63 x 63, not {p.FH} x {p.FW}"


def _is_depthwise(p: Any) -> str:
    return "" if p.groups == p.C > 1 else f"is not depthwise: {p.groups} groups, {p.C} channels"


def depthwise(p: Any) -> str:
    """Convolutions in which every channel has filters of its own."""
    return _is_depthwise(p) or compact(p)


def depthwise_on_device(p: Any) -> str:
    return _is_depthwise(p) or on_device(p)


def _winograd(
    p: Any, rows: int, cols: int, source: int, result: int, filters: tuple[int, int] = (150, 60), direct: float = 1
) -> str:
    """3 x 3 convolutions from `source` to `result` channels of rows x cols that are cheaper by tiles.

    A tile of 4 x 4 takes 36 products for each pair of channels, and its transforms about as long as 250 for each
    channel; a transformed filter, as 150. Tiles of 2 x 2 are for results that are no larger. Direct sums on planes that
    small run at half of their usual rate. Fitted to 36 shapes of 3 to 512 channels and 1 to 4900 tiles, timed against
    the direct kernels on one thread. Wherever this rule picks tiles, they were 1.0 to 3 times as fast
    (docs/decisions/winograd.md#when-tiles-pay, docs/decisions/winograd.md#when-tiles-of-2-x-2-pay).

    With stride 2 a tile of 4 x 4 takes 81 products, and its transforms as long as 320; a filter, as 60, but 400 for its
    gradient, whose 81 sums pass through the caches. Fitted to 21 shapes. Wherever this rule picks tiles, they were .9
    to 1.8 times as fast on one thread (docs/decisions/winograd_stride2.md#when-tiles-with-stride-2-pay).

    filters: cost of a transformed filter with stride 1 and with stride 2. direct: factor on the time of direct sums.
    AVX2 needs its own values of both, fitted to 35 shapes. Wherever this rule picks tiles, they were .94 to 2.9 times
    as fast on one thread or two, with one exception: the filters' gradient of 1 x 64 x 8 x 8 on two threads (.6). With
    dx, `winograd_backward` takes both gradients there.
    """
    if p.precision != "high":
        return f"is less precise than float32_conv_precision {p.precision!r} asks for"
    if p.dtype != np.float32:
        return f"computes in float32, not {p.dtype}"
    strides = p.stride_h, p.stride_w
    if (p.FH, p.FW, p.dilation_h, p.dilation_w, p.groups) != (3, 3, 1, 1, 1) or strides not in ((1, 1), (2, 2)):
        return "computes filters of 3 x 3 with stride 1 or 2, dilation 1 and one group"
    if p.stride_h == 2:
        tile, products, transforms, filter_cost = 4, 81, 320, filters[1]
    else:
        small = max(rows, cols) <= 2
        tile, products, transforms, filter_cost = (2, 16, 120, 80) if small else (4, 36, 250, filters[0])
    tiles = p.N * -(-rows // tile) * -(-cols // tile)
    # Part of a vector costs as much as all of it; direct sums have half vectors.
    lanes = vector_lanes()
    into, out_of, whole = -(-result // 8) * 8, -(-source // 8) * 8, -(-result // lanes) * lanes
    direct *= source * (into if result > 4 else result) * (1.9 if max(p.OH, p.OW) <= 2 else 1)
    direct *= p.N * _taps_inside(p)
    if direct < tiles * (products * source * whole + transforms * (out_of + into)) + filter_cost * source * into:
        return f"pays from more channels or pixels than C={p.C}, FN={p.FN} and {p.N} x {rows} x {cols}"
    return anything(p)


def _taps_inside(p: Any) -> int:
    """How many taps of all windows of an image do not lie in the padding, in one channel."""

    def along(outputs: int, extent: int, pad: int, stride: int, taps: int) -> int:
        return sum(
            max(0, min(outputs, -((u - pad - extent) // stride)) - max(0, -((u - pad) // stride))) for u in range(taps)
        )

    return along(p.OH, p.H, p.pad_top, p.stride_h, p.FH) * along(p.OW, p.W, p.pad_left, p.stride_w, p.FW)


def _winograd_rows(p: Any, direction: str) -> str:
    """Filters of 5 to 7 rows that are cheaper by tiles of rows.

    In multiplications of vectors: besides its products, a tile's row of vectors takes about 35 for each result channel,
    and 60 for each source channel; a filter's column, 50. The filters' gradient takes 45 and, for each of its sums, as
    much as 3 multiplications once an image and 30 at the end; direct sums transpose dout, 12 a vector. Fitted to 16
    shapes of 1 to 32 channels with AVX2. Wherever this rule picks rows, they were 1.1 to 2.3 times as fast as direct
    sums (docs/decisions/winograd_rows.md#when-rows-pay). AVX-512 was not timed, so rows must be half as fast again.
    """
    if p.precision != "high":
        return f"is less precise than float32_conv_precision {p.precision!r} asks for"
    if p.dtype != np.float32:
        return f"computes in float32, not {p.dtype}"
    if not 5 <= p.FH <= 7 or max(p.stride_h, p.stride_w) > 2 or (p.dilation_h, p.dilation_w, p.groups) != (1, 1, 1):
        return "computes filters of 3 or of 5 to 7 rows with stride 1 or 2, dilation 1 and one group"
    if max(p.pad_top, p.pad_bottom) >= p.FH or max(p.pad_left, p.pad_right) >= p.FW:
        return "takes padding of less than a filter"
    phases, taps, rows, cols, source, result = p.stride_h, -(-p.FH // p.stride_h), p.OH, p.OW, p.C, p.FN
    terms = phases * source * p.FW
    if direction == "data":
        if p.stride_h != p.stride_w:
            return "computes dx with the same stride for rows and columns"
        s = p.stride_h  # phases of dx are channels of their own, of a correlation with half of the filter
        phases, rows, cols, source, result = 1, -(-p.H // s), -(-p.W // s), p.FN, p.C * s * s
        terms = source * (p.FW if s == 1 else p.FW // 2 + 1)
    products, tile = {3: (6, 4), 4: (7, 4), 5: (8, 4)}.get(taps, (8, 2))
    lanes = vector_lanes()
    vectors = p.N * -(-rows // tile) * -(-cols // lanes)
    direct = p.N * _taps_inside(p) / lanes * p.C * p.FN
    if direction == "weights":
        sums = products * terms * result
        if 4 * sums * lanes > 1 << 20:
            return f"keeps up to 1 MB of sums, not {4 * sums * lanes >> 10} KB"
        cost = vectors * (result * (1.3 * products * terms + 45) + 60 * phases * source) + (3 * p.N + 60) * sums
        direct = (direct + 12 * p.N * rows * cols * p.FN / lanes) * (-(-p.FN // 8) * 8 / p.FN)
    else:
        cost = vectors * (result * (products * terms + 35) + 60 * phases * source) + 50 * terms * result
    if direct < (1.2 if vector_registers() == 16 else 1.5) * cost:
        return f"pays from more channels or pixels than C={p.C}, FN={p.FN} and {p.N} x {rows} x {cols}"
    return anything(p)


def winograd(p: Any) -> str:
    return _winograd_rows(p, "forward") if p.FH > 3 else _winograd(p, p.OH, p.OW, p.C, p.FN)


def winograd_backward_weights(p: Any) -> str:
    if p.FH > 3:
        return _winograd_rows(p, "weights")
    return _winograd(p, p.OH, p.OW, p.C, p.FN, filters=(280 if vector_registers() == 16 else 150, 400))


def winograd_backward_data(p: Any) -> str:
    """With stride 2 every second row and column of dx; the first are -1 or 0, as the padding is even or odd."""
    if p.FH > 3:
        return _winograd_rows(p, "data")
    if p.stride_h == 1:
        return _winograd(p, p.H, p.W, p.FN, p.C)
    rows, cols = (p.H + 2 - p.pad_top % 2) // 2, (p.W + 2 - p.pad_left % 2) // 2
    return _winograd(p, rows, cols, p.FN, p.C, direct=1.3 if vector_registers() == 16 else 1)


def winograd_backward(p: Any) -> str:
    """Both gradients, where sums for each pair of channels are few, or pay for so many tiles.

    The filters' gradient alone is cut into tiles of dout, of which there can be fewer than of x. Timed against both
    kernels, one after the other, on 45 shapes of 4 to 6272 tiles with one and two threads
    (docs/decisions/winograd.md#both-gradients-in-one-kernel).
    """
    if p.FH > 3 or p.stride_h != 1:
        return "computes filters of 3 x 3 with stride 1 alone"
    refused = winograd(p) or winograd_backward_data(p)
    if refused:
        return refused
    if max(p.pad_top, p.pad_bottom, p.pad_left, p.pad_right) > 2:
        return "takes padding of up to 2"
    if min(max(p.H, p.W), max(p.OH, p.OW)) <= 2:
        return "has no tiles of 2 x 2"
    tiles, of_weights = (p.N * -(-rows // 4) * -(-cols // 4) for rows, cols in ((p.H, p.W), (p.OH, p.OW)))
    if tiles > of_weights:
        return f"cuts x into {tiles} tiles, more than the {of_weights} of dout"
    pairs = p.C * p.FN
    if pairs > max(64 * 64, 32 * tiles):
        return f"pays from more pixels than {tiles} tiles for C={p.C}, FN={p.FN}"
    return ""


def _pointwise(p: Any, source: int, result: int) -> str:
    """1 x 1 filters, from `source` to `result` channels, that are faster by vectors over pixels than over channels.

    The former write results as they lie in memory, the latter transpose them, but ask for their source long before they
    read it. So pixels win where few channels become many, or where an image stays in the caches. Timed for 58 shapes of
    4 to 1024 channels and 1 to 12544 pixels. Wherever this rule picks pixels, they were 0.95 to 2.4 times as fast.
    With 16 registers, tiles over channels are small and requests ahead cost more: 0.9 to 3.6 times from 36 pixels on
    (docs/decisions/pointwise.md#when-vectors-run-over-pixels).
    """
    if (p.FH, p.FW) != (1, 1):
        return "computes filters of 1 x 1"
    if max(p.pad_top, p.pad_bottom, p.pad_left, p.pad_right) > 0:
        return "computes images without padding"
    if (p.stride_h, p.stride_w) == (1, 1) and (p.H, p.W) != (p.OH, p.OW):  # output padding of a transposed convolution
        return f"computes as many pixels as there are, not {p.OH} x {p.OW} for {p.H} x {p.W}"
    pixels, few_registers = p.OH * p.OW, vector_registers() == 16
    if p.groups > 1 and not few_registers:
        return "pays for groups with 16 vector registers"
    source, result = source // p.groups, result // p.groups
    if pixels < 36 or (not few_registers and (pixels < 64 or (result < 2 * source and source * pixels > 16384))):
        return f"pays from more pixels or fewer source channels than {pixels} pixels, {source} to {result} channels"
    return floats(p)


def pointwise(p: Any) -> str:
    if vector_registers() > 16 and (p.stride_h, p.stride_w) != (1, 1):
        return "pays for strides with 16 vector registers"
    return _pointwise(p, p.C, p.FN)


def pointwise_backward_data(p: Any) -> str:
    if (p.stride_h, p.stride_w) != (1, 1):
        return "computes stride 1"
    return _pointwise(p, p.FN, p.C)


@dataclass(frozen=True, slots=True)
class Row:
    backend: str
    kernel: str
    accepts: Callable[..., str]
    prepare: str | None = None

    def __str__(self) -> str:
        return f"{self.backend} {self.kernel}"


def _rows(folder: str, function: str, prepare: str | None = None) -> list[Row]:
    """The usual list: the compiled kernel, Numba's, CUDA's, then the reference, all under one function name."""
    return [
        Row("cython", f"{folder}.cy:{function}", floats, prepare and f"{folder}.cy:{prepare}"),
        Row("numba", f"{folder}.nb:{function}", floats),
        Row("cuda", f"{folder}.cu:{function}", on_device),
        Row("numpy", f"{folder}.ref:{function}", anything),
    ]


def _convolution(direction: str) -> list[Row]:
    """A direction's last rows: CUDA's and the reference."""
    return [
        Row("cuda", f"depthwise.cu:{direction}", depthwise_on_device),
        Row("cuda", f"conv2d.cu:{direction}", on_device_by_taps),
        Row("numpy", f"conv2d.ref:{direction}", anything),
    ]


_CLIPPING = frozenset({
    "conv2d.cy:forward", "depthwise.cy:forward", "affine.cy:forward", "affine.cy:pointwise_forward",
    "batch_norm.cy:training", "batch_norm.cy:inference",
})  # fmt: skip
"""Kernels that keep a result between two bounds."""


def fused(op: str, row: Row) -> tuple[str, ...]:
    """The activations that a row's kernel applies on the way out, besides none."""
    if row.kernel in _CLIPPING:
        return "relu", "relu6"
    return ("relu",) if op in ("conv2d_forward", "affine_forward") else ()


ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "sigmoid", "hard_sigmoid", "tanh", "hard_swish", "silu", "gelu", "gelu_tanh",
)  # fmt: skip

TABLE: dict[str, list[Row]] = {
    "conv2d_forward": [
        Row("cython", "depthwise.cy:forward", depthwise, "depthwise.cy:prepare"),
        Row("cython", "winograd.cy:forward", winograd, "winograd.cy:prepare"),
        Row("cython", "affine.cy:pointwise_forward", pointwise, "affine.cy:prepare_pointwise"),
        Row("cython", "conv2d.cy:forward", compact, "conv2d.cy:prepare"),
        Row("cython", "conv2d.cy:forward_by_taps", spread),
        Row("numba", "conv2d.nb:forward", compact),
        Row("numba", "conv2d.nb:forward_by_taps", spread),
        *_convolution("forward"),
    ],
    "conv2d_backward_data": [
        Row("cython", "depthwise.cy:backward_data", depthwise),
        Row("cython", "winograd.cy:backward_data", winograd_backward_data, "winograd.cy:prepare_data"),
        Row("cython", "affine.cy:pointwise_backward_data", pointwise_backward_data, "affine.cy:prepare_pointwise_data"),
        Row("cython", "conv2d.cy:backward_data", compact, "conv2d.cy:prepare_data"),
        Row("cython", "conv2d.cy:backward_data_by_taps", spread),
        Row("numba", "conv2d.nb:backward_data", compact),
        Row("numba", "conv2d.nb:backward_data_by_taps", spread),
        *_convolution("backward_data"),
    ],
    "conv2d_backward_weights": [
        Row("cython", "depthwise.cy:backward_weights", depthwise),
        Row("cython", "winograd.cy:backward_weights", winograd_backward_weights, "winograd.cy:prepare_weights"),
        Row("cython", "conv2d_weights.cy:backward_weights", compact, "conv2d_weights.cy:prepare_weights"),
        Row("cython", "conv2d.cy:backward_weights_by_taps", spread),
        Row("numba", "conv2d_weights.nb:backward_weights", compact),
        Row("numba", "conv2d.nb:backward_weights_by_taps", spread),
        *_convolution("backward_weights"),
    ],
    "im2col": [
        Row("cython", "im2col.cy:im2col", compact),
        Row("cython", "im2col.cy:im2col_by_taps", spread),
        *_rows("im2col", "im2col")[1:],
    ],
    "col2im": [
        Row("cython", "im2col.cy:col2im", compact),
        Row("cython", "im2col.cy:col2im_by_taps", spread),
        *_rows("im2col", "col2im")[1:],
    ],
    "im2col_planes": _rows("im2col", "im2col_planes"),
    "col2im_planes": _rows("im2col", "col2im_planes"),
    "interchange": _rows("im2col", "interchange"),
    "max_pool2d_forward": _rows("pool2d", "max_forward", "prepare_max"),
    "max_pool2d_backward": _rows("pool2d", "max_backward"),
    "max_pool2d_shared_backward": _rows("pool2d", "max_shared_backward"),
    "avg_pool2d_forward": _rows("pool2d", "avg_forward", "prepare_average"),
    "avg_pool2d_backward": _rows("pool2d", "avg_backward"),
    "adaptive_avg_pool2d_forward": _rows("pool2d", "adaptive_avg_forward"),
    "adaptive_avg_pool2d_backward": _rows("pool2d", "adaptive_avg_backward"),
    "stochastic_pool2d_forward": _rows("pool2d", "stochastic_forward"),
    "stochastic_pool2d_inference": _rows("pool2d", "stochastic_inference"),
    "affine_forward": _rows("affine", "forward", "prepare"),
    "affine_backward_data": _rows("affine", "backward_data"),
    "affine_backward_weights": _rows("affine", "backward_weights"),
    "batch_norm_training": _rows("batch_norm", "training"),
    "batch_norm_inference": _rows("batch_norm", "inference", "prepare"),
    "batch_norm_backward": _rows("batch_norm", "backward"),
    **{
        f"local_response_{direction}": [
            Row("cython", f"batch_norm.cy:local_response_{direction}", floats),
            *_rows("local_response", direction)[1:],
        ]
        for direction in ("forward", "backward")
    },
    **{
        f"{name}_{direction}": _rows(
            "activations", f"{name}_{direction}", f"prepare_{name}" if direction == "forward" else None
        )
        for name in ACTIVATIONS
        for direction in ("forward", "backward")
    },
    "add_activation": _rows("activations", "add_activation"),
    "relu_masked_forward": _rows("activations", "relu_masked_forward"),
    "relu_masked_backward": _rows("activations", "relu_masked_backward"),
    "softmax_forward": _rows("softmax", "forward"),
    "softmax_backward": _rows("softmax", "backward"),
    "log_softmax_forward": _rows("softmax", "log_forward"),
    "log_softmax_backward": _rows("softmax", "log_backward"),
    "cross_entropy_forward": _rows("softmax", "cross_entropy_forward"),
    "cross_entropy_backward": _rows("softmax", "cross_entropy_backward"),
    "dropout_forward": _rows("dropout", "forward"),
    "dropout_backward": _rows("dropout", "backward"),
    **{
        name: _rows("optim", name) for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam")
    },
}

AT_ONCE: dict[str, list[Row]] = {
    "conv2d_backward": [Row("cython", "winograd.cy:backward", winograd_backward, "winograd.cy:prepare_backward")],
}
