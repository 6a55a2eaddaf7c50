"""Resize and Upsample: each axis by itself, as sums over a few neighbours with weights."""

import math
from typing import Any, NamedTuple

import numpy as np

from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array
from .shape import positive

_MODES = ("nearest", "linear", "cubic")
_COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)  # fmt: skip
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_ROUNDED: dict[str, Any] = {
    "floor": np.floor, "ceil": np.ceil,
    "round_prefer_floor": lambda v: np.ceil(v - 0.5), "round_prefer_ceil": lambda v: np.floor(v + 0.5),
}  # fmt: skip
_POLICIES = ("stretch", "not_larger", "not_smaller")


class Rule(NamedTuple):
    """How an axis is resized."""

    mode: str
    coordinates: str = "asymmetric"
    rounding: str = "floor"
    a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float | None = None


@operator("Resize", inputs=(1, 4))
def resize(a: Any) -> Run:
    mode = a.text("mode", "nearest", _MODES)
    if a.opset < 11:
        return lambda x, scales: resized(x, _scales(scales), None, range(x.ndim), None, Rule(mode))
    coordinates = a.text("coordinate_transformation_mode", "half_pixel", _COORDINATES)
    crops = coordinates == "tf_crop_and_resize"
    rule = Rule(
        mode,
        coordinates,
        a.text("nearest_mode", "round_prefer_floor", _ROUNDINGS),
        a.float("cubic_coeff_a", -0.75),
        a.flag("exclude_outside"),
        a.flag("antialias"),
        a.float("extrapolation_value", 0.0) if crops else None,
    )
    if not crops:
        a.ignored("extrapolation_value")
    axes, policy = a.ints("axes"), a.text("keep_aspect_ratio_policy", "stretch", _POLICIES)

    def run(x: Array, roi: Any = None, scales: Any = None, sizes: Any = None) -> Array:
        along = [positive(axis, x.ndim) for axis in (range(x.ndim) if axes is None else axes)]
        factors = None if scales is None or scales.size == 0 else _scales(scales)
        wanted = None if sizes is None or sizes.size == 0 else [int(n) for n in sizes]
        if (factors is None) == (wanted is None):
            raise ValueError("expected either scales or sizes")
        if wanted is not None and policy != "stretch":
            pick = min if policy == "not_larger" else max
            factor = pick(n / x.shape[axis] for n, axis in zip(wanted, along, strict=True))
            factors = [factor] * len(along)
            wanted = [math.floor(factor * x.shape[axis] + 0.5) for axis in along]
        return resized(x, factors, wanted, along, roi if crops else None, rule)

    return run


@operator("Upsample", inputs=(1, 2))
def upsample(a: Any) -> Run:
    mode = a.text("mode", "nearest", ("nearest", "linear", "bilinear"))
    rule = Rule("linear" if mode == "bilinear" else mode)
    if a.opset < 9:
        scales = a.get("scales", tuple)
        if scales is None:
            raise Unsupported("attribute scales is missing")
        return lambda x: resized(x, list(scales), None, range(x.ndim), None, rule)
    return lambda x, scales: resized(x, _scales(scales), None, range(x.ndim), None, rule)


def _scales(scales: Array) -> list[float]:
    return [float(s) for s in scales.reshape(-1)]


def resized(x: Array, scales: Any, sizes: Any, axes: Any, roi: Any, rule: Rule) -> Array:
    """x with other sizes along some axes."""
    axes = list(axes)
    if len(scales or sizes) != len(axes):
        raise ValueError(f"{len(scales or sizes)} scales or sizes for {len(axes)} axes")
    y = x
    for i, axis in enumerate(axes):
        n = x.shape[axis]
        if scales is None:
            scale, size = sizes[i] / n if n else 1.0, sizes[i]
        else:
            scale, size = scales[i], sizes[i] if sizes else math.floor(n * scales[i])
        if not (0 < scale < math.inf) or not 0 <= size < 1 << 32:
            raise ValueError(f"cannot resize {n} numbers by {scale}")
        window = None if roi is None else (float(roi[i]), float(roi[i + len(axes)]))
        if scale != 1 or size != n or window not in (None, (0.0, 1.0)):
            y = _along(y, axis, size, scale, window, rule)
    return y.astype(x.dtype, copy=False)


def _along(x: Array, axis: int, size: int, scale: float, window: Any, rule: Rule) -> Array:
    n = x.shape[axis]
    at = _places(n, size, scale, window, rule)
    outside = (at < 0) | (at > n - 1) if rule.extrapolation is not None else None
    if rule.mode == "nearest":
        rounded = _ROUNDED[rule.rounding](at)
        y = np.take(x, np.clip(rounded, 0, n - 1).astype(np.intp), axis=axis)
    else:
        y = _weighted(x, axis, *_neighbours(at, n, scale, rule))
    if outside is not None and outside.any():
        y = y.copy()
        y[(slice(None),) * axis + (outside,)] = rule.extrapolation
    return y


def _places(n: int, size: int, scale: float, window: Any, rule: Rule) -> Array:
    """Where in the input each number of the output lies."""
    i, kind = np.arange(size, dtype=np.float64), rule.coordinates
    if kind == "asymmetric":
        return i / scale
    if kind == "align_corners":
        whole = n * scale if not float(n * scale).is_integer() else size
        return i * (n - 1) / (whole - 1) if size > 1 else i * 0
    if kind == "tf_crop_and_resize":
        first, last = window or (0.0, 1.0)
        if size > 1:
            return first * (n - 1) + i * (last - first) * (n - 1) / (size - 1)
        return i * 0 + 0.5 * (first + last) * (n - 1)
    if kind == "pytorch_half_pixel" and size <= 1:
        return i * 0
    if kind == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if kind == "half_pixel_symmetric":
        adjustment = size / (n * scale)
        return n / 2 * (1 - adjustment) + (i + 0.5) / scale - 0.5
    return (i + 0.5) / scale - 0.5


def _neighbours(at: Array, n: int, scale: float, rule: Rule) -> tuple[Array, Array]:
    """For every number of the output the places of its neighbours, (taps, size), and their weights."""
    stretch = max(1.0, 1.0 / scale) if rule.antialias else 1.0
    reach = (1 if rule.mode == "linear" else 2) * stretch
    first = np.floor(at) - math.ceil(reach) + 1
    places = first + np.arange(2 * math.ceil(reach)).reshape(-1, 1)
    distance = np.abs(places - at) / stretch
    if rule.mode == "linear":
        weights = np.maximum(1 - distance, 0)
    else:
        a = rule.a
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    if rule.exclude_outside:
        weights = np.where((places < 0) | (places > n - 1), 0, weights)
    if rule.exclude_outside or rule.antialias:
        weights = weights / weights.sum(axis=0)
    return np.clip(places, 0, n - 1).astype(np.intp), weights


def _weighted(x: Array, axis: int, places: Array, weights: Array) -> Array:
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    total: Any = None
    for place, weight in zip(places, weights, strict=True):
        if weight.any():
            part = np.take(x, place, axis=axis) * weight.astype(dtype).reshape(-1, *(1,) * (x.ndim - 1 - axis))
            total = part if total is None else total + part
    return total
