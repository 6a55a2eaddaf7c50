"""Numbers that the model brings, and their types."""

from typing import Any

import numpy as np

from .. import _proto
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array
from .shape import numbers


@operator("Constant", inputs=0)
def constant(a: Any) -> Run:
    values = {
        "value": lambda v: v, "value_float": np.float32, "value_floats": lambda v: np.array(v, np.float32),
        "value_int": np.int64, "value_ints": lambda v: np.array(v, np.int64),
    }  # fmt: skip
    for name, convert in values.items():
        given = a.get(name, (np.ndarray, float, int, tuple))
        if given is not None:
            value = np.asarray(convert(given))
            return lambda: value
    raise Unsupported("has no value that is a tensor, a number or numbers")


@operator("ConstantOfShape")
def constant_of_shape(a: Any) -> Run:
    value = a.get("value", np.ndarray, np.zeros(1, np.float32))
    if value.size != 1:
        raise Unsupported(f"attribute value has {value.size} numbers")

    def run(shape: Array) -> Array:
        sizes = numbers(shape)
        if min(sizes, default=0) < 0 or float(np.prod(sizes, dtype=np.float64)) > 1 << 30:
            raise ValueError(f"the shape {list(sizes)} cannot be")
        return np.full(sizes, value.reshape(()), value.dtype)

    return run


@operator("Cast")
def cast(a: Any) -> Run:
    to = a.int("to")
    a.ignored("saturate", "round_mode")  # of types with 8 bits
    if to is None:
        raise Unsupported("attribute to is missing")
    try:
        dtype = _proto.type_of(to, "the result")
    except _proto.ModelError as error:
        raise Unsupported(str(error)) from None
    return lambda x: converted(x, dtype)


def converted(x: Array, dtype: np.dtype) -> Array:
    with np.errstate(all="ignore"):
        return _proto.widened(x.astype(dtype, copy=False))


@operator("CastLike", inputs=2)
def cast_like(a: Any) -> Run:
    a.ignored("saturate", "round_mode")
    return lambda x, like: converted(x, like.dtype)


@operator("Range", inputs=3)
def range_(a: Any) -> Run:
    def run(start: Array, limit: Array, delta: Array) -> Array:
        first, last, step = (v.reshape(()) for v in (start, limit, delta))
        count = max(int(np.ceil((last - first) / step)), 0) if step else 0
        if count > 1 << 30:
            raise ValueError(f"{count} numbers are too many")
        return (np.arange(count, dtype=start.dtype) * step + first).astype(start.dtype)

    return run
