"""What fastconv's side takes of a program's arguments; everything else is left to the program's own code."""

from typing import Any

import numpy as np

from . import _float32
from ._proof import NotTaken

DOUBLE = np.dtype(np.float64)
_FLOATS = (np.dtype(np.float32), DOUBLE)


def floats(a: Any, *ranks: int) -> Any:
    """The array, if it is a plain one of float32 or float64 and of one of these ranks (0: any but none)."""
    if type(a) is not np.ndarray or a.dtype not in _FLOATS or not (a.ndim in ranks or (a.ndim and 0 in ranks)):
        raise NotTaken("an argument is no float array of the usual rank")
    return _float32.cast(a) if _float32.on else a


def parameter(layer: Any, name: str, *ranks: int) -> Any:
    """An attribute that is a parameter of the layer, as `floats` takes it."""
    a = getattr(layer, name)
    if _float32.on and getattr(a, "dtype", None) == DOUBLE:
        _float32.meet(layer)
    return floats(a, *ranks)


def whole(*numbers: Any) -> None:
    """Refuse what is no plain int."""
    if not all(type(n) is int for n in numbers):
        raise NotTaken("a size is no int")


def number(value: Any) -> Any:
    """The value, if it is a plain number."""
    if type(value) not in (int, float, np.float64):
        raise NotTaken("an attribute is no plain number")
    return value


def double(a: Any, wanted: bool) -> Any:
    """The array in float64, where the program's own code computes so whatever it is given."""
    return a.astype(DOUBLE) if wanted and a.dtype != DOUBLE and not _float32.on else a


def bias(layer: Any, size: int, dtype: Any) -> Any:
    """What a layer's b adds to each of the last axis' `size` elements: a vector, or None for nothing."""
    b = layer.b
    if type(b) in (int, float):
        return np.full(size, b, dtype) if b else None
    b = parameter(layer, "b", 1, 2)
    if b.shape == (1, size):
        b = b[0]
    if b.shape != (size,) or np.promote_types(b.dtype, dtype) != dtype:
        raise NotTaken("the bias has another shape or a wider type")
    return b


def same_type(a: Any, dtype: Any) -> Any:
    """The array, if it has that type."""
    if a.dtype != dtype:
        raise NotTaken(f"a gradient is {a.dtype}, the result was {dtype}")
    return a
