"""Pooling over windows and over whole planes."""

import math
from typing import Any

import numpy as np

from ... import ops
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array, Window, counts, windows


def has_kernel(x: Array) -> bool:
    """Whether fastconv's functions take the images as they are."""
    return x.ndim == 4 and x.dtype in (np.float32, np.float64)


@operator("MaxPool", outputs=2)
def max_pool(a: Any) -> Run:
    window, ceil_mode = _window(a), a.flag("ceil_mode")
    columns_first = a.flag("storage_order")
    with_indices = a.outputs > 1 and a.node.outputs[1] != ""

    def run(x: Array) -> Any:
        strides, dilations, pads = window.over(x.shape[2:], window.kernel)
        if has_kernel(x):
            y, indices = ops.max_pool2d(x, window.kernel, strides, pads, dilations, ceil_mode)
        else:
            y, indices = _max(x, window.kernel, strides, dilations, pads, ceil_mode, with_indices)
        if not with_indices:
            return y
        if columns_first and x.ndim > 3:
            places = np.unravel_index(indices, x.shape[2:])
            indices = np.ravel_multi_index(places[::-1], x.shape[:1:-1])
        plane = math.prod(x.shape[2:])
        first = np.arange(math.prod(x.shape[:2]), dtype=np.int64) * plane
        return y, indices + first.reshape(*x.shape[:2], *(1,) * (x.ndim - 2))

    run.window, run.ceil_mode = window, ceil_mode  # type: ignore[attr-defined]
    return run


def _max(
    x: Array, kernel: Any, strides: Any, dilations: Any, pads: Any, ceil_mode: bool, with_indices: bool
) -> tuple[Array, Any]:
    out = counts(x.shape[2:], kernel, strides, dilations, pads, ceil_mode)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    taken = windows(x, kernel, strides, dilations, pads, out, lowest)
    if not with_indices:
        return taken.max(axis=-1), None
    places = np.arange(math.prod(x.shape[2:]), dtype=np.int64).reshape(1, 1, *x.shape[2:])
    inside = windows(places, kernel, strides, dilations, pads, out, -1)
    best = taken.argmax(axis=-1)[..., None]
    return np.take_along_axis(taken, best, -1)[..., 0], np.take_along_axis(
        np.broadcast_to(inside, taken.shape), best, -1
    )[..., 0]


def _window(a: Any, *, dilates: bool = True) -> Window:
    window = Window.read(a, dilates=dilates)
    if window.kernel is None:
        raise Unsupported("attribute kernel_shape is missing")
    return window


@operator("AveragePool")
def average_pool(a: Any) -> Run:
    window, ceil_mode, include = _window(a), a.flag("ceil_mode"), a.flag("count_include_pad")

    def run(x: Array) -> Array:
        strides, dilations, pads = window.over(x.shape[2:], window.kernel)
        if has_kernel(x) and max(dilations) == 1:
            return ops.avg_pool2d(x, window.kernel, strides, pads, ceil_mode, include)
        kernel: Any = window.kernel
        out = counts(x.shape[2:], kernel, strides, dilations, pads, ceil_mode)
        total = windows(x, kernel, strides, dilations, pads, out, 0).sum(axis=-1)
        ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
        if include:  # the padding counts, but not what ceil_mode adds behind it
            ones, pads = np.pad(ones, [(0, 0), (0, 0), *pads], constant_values=1), tuple((0, 0) for _ in pads)
        number = windows(ones, kernel, strides, dilations, pads, out, 0).sum(axis=-1)
        return total / np.maximum(number, 1)

    run.window, run.ceil_mode, run.include_pad = window, ceil_mode, include  # type: ignore[attr-defined]
    return run


@operator("LpPool")
def lp_pool(a: Any) -> Run:
    window, ceil_mode, p = _window(a), a.flag("ceil_mode"), _power(a)

    def run(x: Array) -> Array:
        strides, dilations, pads = window.over(x.shape[2:], window.kernel)
        out = counts(x.shape[2:], window.kernel, strides, dilations, pads, ceil_mode)
        return _norm(windows(x, window.kernel, strides, dilations, pads, out, 0), p, (-1,), keepdims=False)

    return run


def _power(a: Any) -> int:
    p = a.int("p", 2)
    if p < 1:
        raise Unsupported(f"attribute p is {p}, expected a positive int")
    return p


def _norm(x: Array, p: int, axes: tuple[int, ...], keepdims: bool) -> Array:
    total = (np.abs(x) ** p).sum(axis=axes, keepdims=keepdims)
    return np.sqrt(total) if p == 2 else total ** x.dtype.type(1 / p)


def _planes(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool")
def global_average_pool(a: Any) -> Run:
    return lambda x: ops.global_avg_pool2d(x) if has_kernel(x) else x.mean(axis=_planes(x), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(a: Any) -> Run:
    return lambda x: x.max(axis=_planes(x), keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(a: Any) -> Run:
    p = _power(a)
    return lambda x: _norm(x, p, _planes(x), keepdims=True)


@operator("LpNormalization")
def lp_normalization(a: Any) -> Run:
    axis, p = a.int("axis", -1), _power(a)

    def run(x: Array) -> Array:
        size = _norm(x, p, (axis,), keepdims=True)
        return np.divide(x, size, out=np.zeros_like(x), where=size != 0)

    return run
