"""Rules of layers that slide a window: convolutions and pooling.

Sizes are written out for the image size of the export, so that a file means the same to every reader: no automatic
padding and no ceil mode, on which runtimes have disagreed.
"""

import numpy as np

from ... import _check as check
from ..._check.windows import windows_of_padding
from ..._problem import Pool2d, Window
from .draft import Array, Site

Pads = tuple[int, int, int, int]  # top, left, bottom, right: ONNX's order


def _geometry(p: Window) -> dict[str, list[int]]:
    return {
        "kernel_shape": [p.FH, p.FW],
        "strides": [p.stride_h, p.stride_w],
        "dilations": [p.dilation_h, p.dilation_w],
        "pads": [p.pad_top, p.pad_left, p.pad_bottom, p.pad_right],
    }


def convolution(site: Site) -> str:
    site.images()
    layer = site.layer
    p, _, _, b = check.conv2d(site.x, layer.W, layer.b, layer.stride, layer.pad, layer.dilation, layer.groups)
    inputs = [site.value(), site.parameter("W")]
    if b is not None:
        inputs.append(site.parameter("b", b))
    return site.node("Conv", *inputs, group=p.groups, **_geometry(p))


def transposed_convolution(site: Site) -> str:
    """The result is cut by the padding and extended by the output padding. Of the two, only the difference is written;
    both as a Pad where ONNX Runtime takes no output padding of that size."""
    site.images()
    layer = site.layer
    geometry = layer.stride, layer.pad, layer.output_padding, layer.groups, layer.dilation
    p, _, _, b = check.conv_transpose2d(site.x, layer.W, layer.b, *geometry)
    # The result is p.H x p.W, that of a convolution with these sizes is its input.
    room = [
        p.H + p.pad_top - (p.OH - 1) * p.stride_h - p.dilation_h * (p.FH - 1) - 1,
        p.W + p.pad_left - (p.OW - 1) * p.stride_w - p.dilation_w * (p.FW - 1) - 1,
    ]
    extra = [max(0, n) for n in room]
    options = {**_geometry(p), "group": p.groups}
    inputs = [site.value(), site.parameter("W")]
    bias = [] if b is None else [site.parameter("b", b)]
    if extra[0] < p.stride_h and extra[1] < p.stride_w:
        options["pads"] = [p.pad_top, p.pad_left, *(max(0, -n) for n in room)]
        return site.node("ConvTranspose", *inputs, *bias, output_padding=extra, **options)
    whole = site.node("ConvTranspose", *inputs, **{**options, "pads": [0, 0, 0, 0]})
    y = _padded(site, whole, (-p.pad_top, -p.pad_left, *room), 0.0)
    return y if b is None else site.node("Add", y, site.reshape(bias[0], 1, -1, 1, 1))


def _axis(extent: int, before: int, after: int, taps: int, stride: int, windows: int) -> int:
    """The padding behind an axis with which rounding down gives so many windows."""
    if (extent + before + after - taps) // stride + 1 == windows:
        return after
    return max(0, (windows - 1) * stride + taps - extent - before)


def _pads(p: Pool2d) -> Pads:
    bottom = _axis(p.H, p.pad_top, p.pad_bottom, p.FH, p.stride_h, p.OH)
    right = _axis(p.W, p.pad_left, p.pad_right, p.FW, p.stride_w, p.OW)
    return p.pad_top, p.pad_left, bottom, right


def _are_usual(pads: Pads, p: Pool2d) -> bool:
    """Whether ONNX Runtime takes them: no window may see padding alone."""
    return max(pads[::2]) < p.FH and max(pads[1::2]) < p.FW


def _padded(site: Site, value: str, pads: Pads, fill: float) -> str:
    if not any(pads):
        return value
    top, left, bottom, right = pads
    return site.node(
        "Pad", value, site.integers("pads", 0, 0, top, left, 0, 0, bottom, right), site.number("pad", fill)
    )


def _maxima(site: Site, value: str, p: Pool2d) -> str:
    pads = _pads(p)
    if not _are_usual(pads, p):
        value, pads = _padded(site, value, pads, -np.inf), (0, 0, 0, 0)
    y = site.node("MaxPool", value, kernel_shape=[p.FH, p.FW], strides=[p.stride_h, p.stride_w], pads=list(pads))
    empty = windows_of_padding(p)
    if not empty.any():
        return y
    # ONNX Runtime begins with the lowest finite number: a window that sees nothing but -inf would give that.
    return site.node("Where", site.draft.constant(f"{site.path}/empty", empty), site.number("nothing", -np.inf), y)


def _max_problem(site: Site) -> Pool2d:
    site.images()
    layer = site.layer
    window = (layer.pool_h, layer.pool_w), layer.stride, layer.pad
    return check.max_pool2d(site.x, *window, ceil_mode=layer.ceil_mode)[0]


def max_pooling(site: Site) -> str:
    return _maxima(site, site.value(), _max_problem(site))


def min_pooling(site: Site) -> str:
    return site.node("Neg", _maxima(site, site.node("Neg", site.value()), _max_problem(site)))


def _spans(windows: int, stride: int, taps: int, before: int, low: int, high: int) -> Array:
    """How many places of low..high, counted from the first pixel, the windows along an axis cover."""
    start = np.arange(windows) * stride - before
    return np.maximum(np.minimum(start + taps, high) - np.maximum(start, low), 0)


def _means(site: Site, value: str, p: Pool2d, with_padding: bool) -> str:
    """Averages as fastconv's: of ONNX's where they are the same, else those of a padded image, times a factor for each
    window."""
    pads = _pads(p)
    window = {"kernel_shape": [p.FH, p.FW], "strides": [p.stride_h, p.stride_w]}
    if pads[2:] == (p.pad_bottom, p.pad_right) and _are_usual(pads, p):
        return site.node("AveragePool", value, pads=list(pads), count_include_pad=int(with_padding), **window)
    above, below, left, right = (p.pad_top, p.pad_bottom, p.pad_left, p.pad_right) if with_padding else (0, 0, 0, 0)
    rows = _spans(p.OH, p.stride_h, p.FH, p.pad_top, -above, p.H + below)
    columns = _spans(p.OW, p.stride_w, p.FW, p.pad_left, -left, p.W + right)
    divisors = np.outer(np.maximum(rows, 1), np.maximum(columns, 1))
    means = site.node("AveragePool", _padded(site, value, pads, 0.0), **window)
    factors = p.FH * p.FW / divisors
    return means if (factors == 1).all() else site.node("Mul", means, site.number("factors", factors[None, None]))


def average_pooling(site: Site) -> str:
    site.images()
    layer = site.layer
    window = (layer.pool_h, layer.pool_w), layer.stride, layer.pad
    p = check.avg_pool2d(site.x, *window, layer.ceil_mode, layer.count_include_pad)[0]
    return _means(site, site.value(), p, p.count_include_pad)


def stochastic_pooling(site: Site) -> str:
    """Inference: sum(w * x) / sum(w) with w = max(x, 0); the mean where all are 0."""
    site.images()
    p = check.stochastic_pool2d(site.x, *site.layer.window)[0]
    x = site.value()
    weights = site.node("Relu", x)
    sums = _means(site, weights, p, True)
    squares = _means(site, site.node("Mul", weights, weights), p, True)
    is_positive = site.node("Greater", sums, site.number("zero", 0.0))
    return site.node("Where", is_positive, site.node("Div", squares, sums), _means(site, x, p, False))


def _bins(extent: int, count: int) -> Array:
    """The averages over the bins of an axis, as a matrix (count, extent)."""
    matrix = np.zeros((count, extent))
    for i, row in enumerate(matrix):
        bin_ = slice(i * extent // count, -(-(i + 1) * extent // count))
        row[bin_] = 1 / (bin_.stop - bin_.start)
    return matrix


def adaptive_average_pooling(site: Site) -> str:
    site.images()
    p = check.adaptive_avg_pool2d(site.x, site.layer.output_size)[0]
    x = site.value()
    if (p.OH, p.OW) == (1, 1):
        return site.node("GlobalAveragePool", x)
    if (p.OH, p.OW) == (p.H, p.W):
        return x
    if p.H % p.OH == 0 and p.W % p.OW == 0:
        bins = [p.H // p.OH, p.W // p.OW]
        return site.node("AveragePool", x, kernel_shape=bins, strides=bins)
    rows = site.node("MatMul", site.number("rows", _bins(p.H, p.OH)), x)
    return site.node("MatMul", rows, site.number("columns", _bins(p.W, p.OW).T))


def global_average_pooling(site: Site) -> str:
    site.images()
    return site.node("GlobalAveragePool", site.value())
