"""Checks of im2col and col2im in the layouts that are not the book's."""

from dataclasses import fields
from typing import Any

from .._problem import Planes, Problem, Window
from . import arguments as arg
from .remembered import remembered
from .windows import image_shape4, window_sizes

LAYOUTS = ("rows", "rows_nhwc", "columns", "columns_n_last", "unfold")
_COMMON = {f.name for f in fields(Problem)}


def _problem(kind: dict[str, Any], shape: tuple[int, ...], filter_h, filter_w, stride, pad, layout) -> Window:
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {LAYOUTS}, got {layout!r}")
    kernel = arg.integer("filter_h", filter_h, 1), arg.integer("filter_w", filter_w, 1)
    strides = arg.pair("stride", stride, 1)
    pads = arg.padding(pad, kernel, strides, (1, 1), words=False, name="pad")
    if layout == "rows_nhwc":
        shape = shape[0], shape[3], *shape[1:3]
    p = Window(**kind, **window_sizes(shape, kernel, strides, pads, (1, 1)))
    arg.fits("pad", (p.N * p.OH * p.OW, p.C * p.FH * p.FW), p.dtype, "a result")
    arg.fits("input_shape", p.x_shape, p.dtype, "a result")
    sizes = {f.name: getattr(p, f.name) for f in fields(Window) if f.init and f.name not in _COMMON}
    if layout == "rows_nhwc":  # a row of pixels with their channels is a row of one channel
        sizes["C"] = 1
        for name in ("W", "FW", "stride_w", "pad_left", "pad_right"):
            sizes[name] *= p.C
        return Window(**kind, **sizes)
    if layout == "columns_n_last":
        return Planes(**kind, **(sizes | {"N": 1}), run=p.N)
    return Planes(**kind, **sizes, images_first=layout == "unfold")


def _col_shape(p: Window, layout: str) -> tuple[int, ...]:
    taps, windows = p.C * p.FH * p.FW, p.OH * p.OW
    if not isinstance(p, Planes):
        return p.N * windows, taps
    return (p.N, taps, windows) if layout == "unfold" else (taps, p.N * windows * p.run)


@remembered
def im2col_laid_out(input_data, filter_h, filter_w, stride, pad, layout):
    """The shape of the columns comes last."""
    x = arg.array("input_data", input_data, (4,))
    if layout == "rows_nhwc" and 0 in x.shape[1:]:
        raise ValueError(f"input_data: only the batch may be of size zero, got shape {x.shape}")
    kind = arg.kind(x)
    p = _problem(kind, x.shape, filter_h, filter_w, stride, pad, layout)
    return p, *arg.dense(kind["dtype"], x), _col_shape(p, layout)


@remembered
def col2im_laid_out(col, input_shape, filter_h, filter_w, stride, pad, layout):
    """The shape of the images comes last."""
    col = arg.array("col", col, (3 if layout == "unfold" else 2,))
    shape = image_shape4("input_shape", input_shape)
    kind = arg.kind(col)
    p = _problem(kind, shape, filter_h, filter_w, stride, pad, layout)
    arg.shape("col", col, _col_shape(p, layout), f"im2col's result for input_shape with layout={layout!r}")
    return p, *arg.dense(kind["dtype"], col), shape
