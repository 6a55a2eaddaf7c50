"""Single arguments into plain values: arrays, pairs, paddings, axes. Used by `_check` alone.

Every error names the argument, what it was and what was expected.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._device import is_device, taken, where
from .._problem import arithmetic

FLOATS = "float16, float32 or float64"
MOST = 2**31 - 1  # of an integer: products of a few of them and the sizes of arrays stay within 64 bits
MOST_BYTES = 2**47  # of a result: what a process can address


def array(name: str, a: Any, ndim: tuple[int, ...] | None = None) -> np.ndarray:
    """`a` as an ndarray of real numbers (not copied when it is one)."""
    if is_device(a):
        a = taken(name, a)
        return _checked(name, a, ndim)
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name}: masked arrays are not supported; fill it first")
    try:
        a = np.asarray(a)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name}: expected an array of numbers, got {type(a).__name__} ({error})") from None
    return _checked(name, a, ndim)


def _checked(name: str, a: Any, ndim: tuple[int, ...] | None) -> Any:
    if a.dtype.kind == "O" and not is_device(a) and all(isinstance(n, int) for n in a.flat):
        wide = next((n for n in a.flat if n.bit_length() > 63), None)
        if wide is not None:
            raise ValueError(f"{name}: expected integers of 64 bits, got {_digits(wide)}")
    if a.dtype.kind not in "fiub" or a.dtype.itemsize > 8:
        raise TypeError(f"{name}: expected {FLOATS} (integers are promoted), got dtype {a.dtype}")
    if ndim is not None and a.ndim not in ndim:
        raise ValueError(f"{name}: expected {_ranks(ndim)}, got shape {a.shape}")
    return a


def _ranks(ndim: tuple[int, ...]) -> str:
    return " or ".join(f"{n}-D" for n in ndim)


def shape(name: str, a: np.ndarray, expected: tuple[int, ...], why: str) -> None:
    if a.shape != expected:
        raise ValueError(f"{name}: expected shape {expected} ({why}), got {a.shape}")


def kind(*arrays: np.ndarray | None) -> dict[str, Any]:
    """What is common to all Problems: the dtype computed in and that of the result by NumPy's promotion (integers alone
    become float64), and the device."""
    result = np.result_type(*(a.dtype for a in arrays if a is not None))
    if result.kind != "f":
        result = np.dtype(np.float64)
    if not result.isnative:
        result = result.newbyteorder("=")
    device = where(arrays)
    compute = arithmetic(result) if device == "cpu" else result  # kernels on a device read and write float16
    return {"dtype": compute, "result_dtype": result, "device": device}


def dense(dtype: np.dtype, *arrays: np.ndarray | None) -> list[Any]:
    """The arrays as kernels want them: of `dtype`, C-contiguous, aligned. None stays None."""
    return [
        # np.require would make a view where the dtype is equal but another object
        a
        if a is None or (a.dtype == dtype and a.flags.c_contiguous and a.flags.aligned)
        else (a.astype(dtype) if is_device(a) else np.require(a, dtype, ("C", "A")))
        for a in arrays
    ]


def int64(name: str, a: np.ndarray) -> np.ndarray:
    """Integers, dense and of int64."""
    if a.dtype.kind == "u" and a.size and a.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: expected integers below 2**63, got {a.max()}")
    return np.require(a, np.int64, ("C", "A"))


def integer(name: str, value: Any, least: int, most: int = MOST) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an int, got {value!r}")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an int, got {value!r} ({type(value).__name__})") from None
    if value < least:
        raise ValueError(f"{name}: expected at least {_power(least)}, got {_digits(value)}")
    if value > most:
        raise ValueError(f"{name}: expected at most {_power(most)}, got {_digits(value)}")
    return value


_AS_POWERS = {
    2**31 - 1: "2**31 - 1",
    2**63 - 1: "2**63 - 1",
    1 - 2**63: "-(2**63 - 1)",
}


def _power(bound: int) -> str:
    """A bound as people write it."""
    return _AS_POWERS.get(bound, str(bound))


def _digits(value: int) -> str:
    """An int in an error message: Python refuses to print one of thousands of digits."""
    return str(value) if value.bit_length() < 1000 else f"an int of {value.bit_length()} bits"


def _is_sequence(value: Any) -> bool:
    return (
        value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, Sequence) and not isinstance(value, str)
    )


def pair(name: str, value: Any, least: int) -> tuple[int, int]:
    """An int, or (h, w); a sequence of one int counts as that int (PyTorch's rule)."""
    if _is_sequence(value):
        if len(value) == 1:
            value = integer(f"{name}[0]", value[0], least)
            return value, value
        if len(value) != 2:
            raise ValueError(f"{name}: expected an int or (h, w), got {value!r}")
        return integer(f"{name}[0]", value[0], least), integer(f"{name}[1]", value[1], least)
    number = integer(name, value, least)
    return number, number


def fits(name: str, sizes: tuple[int, ...], dtype: np.dtype, why: str) -> None:
    """Raise unless an array of these sizes could exist: a size of 0 on one axis does not excuse the others."""
    count = math.prod(max(n, 1) for n in sizes) * dtype.itemsize
    if count > MOST_BYTES:
        raise ValueError(f"{name}: {why} of shape {sizes} and dtype {dtype} would need {_digits(count)} bytes")


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    if isinstance(value, (str, bytes, bool, np.bool_)):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r} ({type(value).__name__})") from None
    except OverflowError:  # an int beyond the doubles
        raise ValueError(f"{name}: expected a number that a float can hold, got {_digits(value)}") from None
    if not low <= number <= high:
        raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, got {value!r}")
    return number


def padding(
    value: Any,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    words: bool,
    name: str = "padding",
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) from an int, (h, w), ((top, bottom), (left, right)) or "valid"."""
    if isinstance(value, str) and words:
        if value == "valid":
            return 0, 0, 0, 0
        raise ValueError(f"{name}: expected 'same' or 'valid' (or numbers), got {value!r}")
    if _is_sequence(value):
        if len(value) == 2 and all(_is_sequence(v) for v in value):
            return *pair(f"{name}[0]", value[0], 0), *pair(f"{name}[1]", value[1], 0)
        if len(value) not in (1, 2):
            raise ValueError(f"{name}: expected an int, (h, w) or ((top, bottom), (left, right)), got {value!r}")
    h, w = pair(name, value, 0)
    return h, h, w, w


def axis(value: Any, ndim: int) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"axis: expected an int, got {value!r}")
    try:
        index = operator.index(value)
    except TypeError:
        raise TypeError(f"axis: expected an int, got {value!r} ({type(value).__name__})") from None
    if not -ndim <= index < ndim:
        raise ValueError(f"axis: expected {-ndim} to {ndim - 1} for a {ndim}-D array, got {_digits(index)}")
    return index % ndim


def size(extent: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil: bool = False) -> int:
    """Number of window positions along one axis; below 1 when the window does not fit.

    floor((extent + before + after - dilation*(kernel - 1) - 1) / stride) + 1; with `ceil` the division rounds up, so
    that a window larger than the padded input may have a position, and a last window that would start in the padding
    after the input is dropped (PyTorch's rule).
    """
    room = extent + before + after - dilation * (kernel - 1) - 1
    if room < 0 and not ceil:
        return 0
    positions = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (positions - 1) * stride >= extent + before:
        positions -= 1
    return positions
