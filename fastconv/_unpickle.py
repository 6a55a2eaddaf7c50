"""Pickles from elsewhere, read as data: arrays and plain values, and no code of the file is run.

Nothing that a file may name is NumPy's own: its functions trust their arguments, give memory as it is, and
`dtype.__setstate__` can crash. What stands in for them here takes what NumPy writes for arrays of numbers, and refuses
the rest.
"""

import collections
import io
import math
import pickle
import pickletools
from typing import IO, Any, ClassVar

import numpy as np

_NDARRAY = object()  # stands for the class ndarray: a file names it, but must not call it
_ORDERS = ("<", ">", "=", "|")


def _text(value: Any) -> Any:
    """Text of Python 2, which may have been read as bytes."""
    return value.decode("ascii") if isinstance(value, bytes) else value


class _Dtype:
    """The dtype of an array of numbers."""

    def __init__(self, name: Any, *_: Any) -> None:
        name = _text(name)
        if not (isinstance(name, str) and name[:1] in "biuf" and name[1:].isdecimal()):
            raise pickle.UnpicklingError(f"it names the dtype {name!r}, and only arrays of numbers are admitted")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1])
        if order not in _ORDERS:
            raise pickle.UnpicklingError(f"it names the byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array whose numbers come later."""

    def __init__(self, kind: Any, *_: Any) -> None:
        if kind is not _NDARRAY:
            raise pickle.UnpicklingError(f"it makes an array of {kind!r}")
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _numbers(data.encode("latin1") if isinstance(data, str) else data, dtype, shape, bool(fortran))


def _numbers(data: Any, dtype: Any, shape: Any, fortran: bool) -> np.ndarray:
    """An array with numbers of its own."""
    if not (isinstance(dtype, _Dtype) and isinstance(data, (bytes, bytearray))):
        raise pickle.UnpicklingError("its arrays are not arrays of numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"an array of shape {shape} and dtype {dtype.dtype} cannot have {len(data)} bytes")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if fortran else "C").copy()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    """An array as protocol 5 has it."""
    array = _numbers(data, dtype, shape, order == "F")
    return array if axes is None else array.transpose(axes)


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes as protocols 0 to 2 have them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that refuses every class and function but those that NumPy's arrays and dicts are made of."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "_reconstruct"): _Array,  # written by NumPy 1
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy.core.numeric", "_frombuffer"): _frombuffer,
        ("numpy._core.numeric", "_frombuffer"): _frombuffer,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("builtins", "dict"): dict,  # a network's `params`, in protocols of Python 3 and of Python 2
        ("__builtin__", "dict"): dict,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays are admitted")
        return self._KNOWN[module, name]


def load(file: IO[bytes], encoding: str = "latin1") -> Any:
    """What a pickle holds.

    Parameters
    ----------
    file : binary file
    encoding : str
        How to read the strings of Python 2: "latin1", which arrays need, makes them str; "bytes" leaves them bytes.

    Raises
    ------
    pickle.UnpicklingError
        If the file names anything that arrays are not made of, or is no pickle.
    """
    content = file.read()
    _check_sizes(content)
    return _plain(_ArraysOnly(io.BytesIO(content), encoding=encoding).load())


def _check_sizes(content: bytes) -> None:
    """Raise for a length or a place that the file is too small for, before the unpickler takes that much memory."""
    try:
        opcodes = list(pickletools.genops(content))
    except UnicodeDecodeError:  # escaped bytes in a text of Python 2, which pickletools takes for ASCII
        opcodes = list(pickletools.genops(content.replace(b"\\", b"/")))
    for opcode, argument, _ in opcodes:
        if opcode.name.endswith("PUT") and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"it remembers {argument} things, more than the file has")


def _plain(value: Any) -> Any:
    """The value with arrays where they were to come."""
    if isinstance(value, _Array):
        if value.array is None:
            raise pickle.UnpicklingError("it has an array without numbers")
        return value.array
    if isinstance(value, dict):
        return type(value)((key, _plain(each)) for key, each in value.items())
    if type(value) in (list, tuple):
        return type(value)(_plain(each) for each in value)
    return value
