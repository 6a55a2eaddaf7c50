"""Arithmetic, comparisons and logic, number by number, with NumPy's broadcasting."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np

from ... import _memory as memory
from ... import ops
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array
from .shape import SMALL, positive

_UNARY: dict[str, Any] = {
    "Abs": np.abs, "Neg": np.negative, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt, "Reciprocal": np.reciprocal,
    "Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "Sign": np.sign, "Sin": np.sin, "Cos": np.cos, "Tan": np.tan,
    "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh, "Asinh": np.arcsinh,
    "Acosh": np.arccosh, "Atanh": np.arctanh, "Not": np.logical_not, "IsNaN": np.isnan,
}  # fmt: skip
_BINARY: dict[str, Any] = {
    "Sub": lambda x, y: pooled(np.subtract, x, y), "Mul": lambda x, y: pooled(np.multiply, x, y),
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Equal": np.equal, "Less": np.less,
    "LessOrEqual": np.less_equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
}  # fmt: skip
_SEVERAL: dict[str, Any] = {"Min": np.minimum, "Max": np.maximum, "Sum": np.add}


def pooled(function: Any, x: Array, y: Array) -> Array:
    """The function of two arrays; a large result of floats lies in the library's own buffers."""
    if max(x.size, y.size) < SMALL or x.dtype != y.dtype or x.dtype.kind != "f":
        return function(x, y)
    return function(x, y, out=memory.pooled(np.broadcast_shapes(x.shape, y.shape), x.dtype))


def _quiet(function: Callable[..., Any]) -> Run:
    """NaN and infinity are results, not something to warn of."""

    def run(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return function(*arrays)

    return run


def _aligned(a: Any, run: Run) -> Run:
    """Before opset 7 the second array is as large as the first, or is said to be spread over it from an axis on."""
    if a.opset >= 7:
        return run
    spread, axis = a.flag("broadcast"), a.int("axis")

    def old(x: Array, y: Array) -> Array:
        if spread and axis is not None:
            y = y.reshape(*y.shape, *(1,) * (x.ndim - positive(axis, x.ndim) - y.ndim))
        return run(x, y)

    return old


def _plain(run: Run, a: Any) -> Run:
    return run


def _of_two(run: Run, a: Any) -> Run:
    return _aligned(a, run)


for _name, _function in _UNARY.items():
    operator(_name)(partial(_plain, _quiet(_function)))
for _name, _function in _BINARY.items():
    operator(_name, inputs=2)(partial(_of_two, _quiet(_function)))


@operator("Add", inputs=2)
def add(a: Any) -> Run:
    return _aligned(a, added)


def added(x: Array, y: Array) -> Array:
    if x.shape == y.shape and x.dtype == y.dtype and x.dtype in (np.float32, np.float64):
        return ops.activations.add_activation(x, y)
    return pooled(np.add, x, y)


@operator("Div", inputs=2)
def div(a: Any) -> Run:
    def run(x: Array, y: Array) -> Array:
        with np.errstate(all="ignore"):
            if x.dtype.kind == "f":
                return pooled(np.divide, x, y)
            quotient = x // y  # towards minus infinity; ONNX's is towards zero
            return quotient if x.dtype.kind == "u" else quotient + ((quotient < 0) & (quotient * y != x))

    return _aligned(a, run)


@operator("Pow", inputs=2)
def power(a: Any) -> Run:
    def run(x: Array, y: Array) -> Array:
        with np.errstate(all="ignore"):
            if y.size == 1 and x.dtype.kind == "f" and y.ndim <= x.ndim:  # the common ones are exact and fast
                exponent = float(y.reshape(()))
                if exponent in (2.0, 0.5):
                    return x * x if exponent == 2.0 else np.sqrt(x)
            if x.dtype.kind in "iu" and y.dtype.kind in "iu" and np.any(y < 0):
                return np.power(x.astype(np.float64), y).astype(x.dtype)
            return np.power(x, y).astype(x.dtype, copy=False)

    return _aligned(a, run)


@operator("Mod", inputs=2)
def mod(a: Any) -> Run:
    fmod = a.flag("fmod")
    return _quiet(np.fmod if fmod else np.mod)


def _several(function: Any, a: Any) -> Run:
    return lambda *arrays: reduce(function, arrays)


for _name, _function in _SEVERAL.items():
    operator(_name, inputs=(1, 1 << 30))(partial(_several, _function))


@operator("Mean", inputs=(1, 1 << 30))
def mean(a: Any) -> Run:
    return lambda *arrays: reduce(np.add, arrays) / arrays[0].dtype.type(len(arrays))


@operator("Where", inputs=3)
def where(a: Any) -> Run:
    return np.where


@operator("IsInf")
def is_inf(a: Any) -> Run:
    low, high = a.flag("detect_negative", True), a.flag("detect_positive", True)
    return lambda x: np.isinf(x) & (((x < 0) & low) | ((x > 0) & high))


@operator("CumSum", inputs=2)
def cumulative_sum(a: Any) -> Run:
    exclusive, reverse = a.flag("exclusive"), a.flag("reverse")

    def run(x: Array, axis: Array) -> Array:
        along = int(axis.reshape(()))
        y = np.flip(x, along) if reverse else x
        total = np.cumsum(y, axis=along, dtype=x.dtype)
        total = total - y if exclusive else total
        return np.flip(total, along) if reverse else total

    return run


@operator("BitShift", inputs=2)
def bit_shift(a: Any) -> Run:
    direction = a.text("direction", "", ("LEFT", "RIGHT"))
    if not direction:
        raise Unsupported("attribute direction is missing")
    return np.left_shift if direction == "LEFT" else np.right_shift
