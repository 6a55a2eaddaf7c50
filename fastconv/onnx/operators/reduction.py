"""Reductions along axes."""

from typing import Any

import numpy as np

from ... import ops
from ._table import Run, operator
from ._windows import Array
from .pooling import has_kernel
from .shape import axes_of

_SINCE_13 = ("ReduceSum",)  # the others take their axes as an input from opset 18 on


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Array:
    most = x.max(axis=axis, keepdims=True, initial=-np.inf)
    safe = np.where(np.isfinite(most), most, 0)
    total = np.log(np.exp(x - safe).sum(axis=axis, keepdims=True)) + safe
    return total if keepdims else total.reshape(x.sum(axis=axis).shape)


def _mean(x: Array, axis: Any, keepdims: bool) -> Array:
    if axis is not None and has_kernel(x) and sorted(a % 4 for a in axis) == [2, 3] and x.size:
        y = ops.global_avg_pool2d(x)
        return y if keepdims else y.reshape(y.shape[:2])
    return x.mean(axis=axis, keepdims=keepdims)


def _max(x: Array, axis: Any, keepdims: bool) -> Array:
    return x.max(axis=axis, keepdims=keepdims, initial=_bound(x, -1))


def _min(x: Array, axis: Any, keepdims: bool) -> Array:
    return x.min(axis=axis, keepdims=keepdims, initial=_bound(x, 1))


def _bound(x: Array, sign: int) -> Any:
    """What the greatest (sign -1) or least of no numbers is."""
    if x.dtype.kind == "f":
        return sign * np.inf
    if x.dtype == bool:
        return sign > 0
    return np.iinfo(x.dtype).min if sign < 0 else np.iinfo(x.dtype).max


_REDUCTIONS: dict[str, Any] = {
    "ReduceSum": lambda x, axis, keepdims: x.sum(axis=axis, keepdims=keepdims),
    "ReduceMean": _mean,
    "ReduceMax": _max,
    "ReduceMin": _min,
    "ReduceProd": lambda x, axis, keepdims: x.prod(axis=axis, keepdims=keepdims),
    "ReduceL1": lambda x, axis, keepdims: np.abs(x).sum(axis=axis, keepdims=keepdims),
    "ReduceL2": lambda x, axis, keepdims: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)),
    "ReduceSumSquare": lambda x, axis, keepdims: (x * x).sum(axis=axis, keepdims=keepdims),
    "ReduceLogSum": lambda x, axis, keepdims: np.log(x.sum(axis=axis, keepdims=keepdims)),
    "ReduceLogSumExp": _log_sum_exp,
}


def _reduction(name: str, function: Any) -> Any:
    def make(a: Any) -> Run:
        axes_given = axes_of(a, 13 if name in _SINCE_13 else 18)
        keepdims = a.flag("keepdims", True)
        nothing = a.flag("noop_with_empty_axes")

        def run(x: Array, axes: Any = None) -> Array:
            chosen = axes_given(axes)
            if not chosen:
                if nothing:
                    chosen = ()
                    if name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
                        return x
                else:
                    chosen = None
            with np.errstate(all="ignore"):
                return np.asarray(function(x, chosen, keepdims)).astype(x.dtype, copy=False)

        run.axes_given, run.keepdims = axes_given, keepdims  # type: ignore[attr-defined]
        return run

    return make


for _name, _function in _REDUCTIONS.items():
    operator(_name, inputs=(1, 2))(_reduction(_name, _function))
