"""Pickles from elsewhere, read as data: arrays and plain values, and no code of the file is run."""

import io
import pickle
import pickletools
from typing import IO, Any, ClassVar

import numpy as np

_NDARRAY = object()  # stands for the class, which a file must not call: it would give memory as it is


def _reconstruct(kind: Any, shape: Any, _: Any) -> np.ndarray:
    """The empty array that the state of a pickled one is then put into."""
    if kind is not _NDARRAY or shape != (0,):
        raise pickle.UnpicklingError("it makes an array from nothing")
    return np.ndarray((0,), np.uint8)


def _dtype(name: Any, *flags: Any) -> np.dtype:
    """A dtype of numbers or text."""
    dtype = np.dtype(name, *flags)
    if dtype.kind not in "biufcSU":
        raise pickle.UnpicklingError(f"it names the dtype {dtype}, and only arrays of numbers and text are admitted")
    return dtype


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that refuses every class and function but those that NumPy's arrays and dicts are made of."""

    _ALLOWED: ClassVar[set[tuple[str, str]]] = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),  # written by NumPy 1
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),  # pickle protocol 5
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),  # bytes in protocols 0 to 2
        ("collections", "OrderedDict"),
        ("builtins", "dict"),  # a network's `params`, in protocols of Python 3 and of Python 2
        ("__builtin__", "dict"),
    }

    _OWN: ClassVar[dict[str, Any]] = {"ndarray": _NDARRAY, "dtype": _dtype, "_reconstruct": _reconstruct}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays are admitted")
        if name in self._OWN:
            return self._OWN[name]
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


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
    return _ArraysOnly(io.BytesIO(content), encoding=encoding).load()


def _check_sizes(content: bytes) -> None:
    """Raise for a length or a place that the file is too small for, before the unpickler takes that much memory."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name.endswith("PUT") and argument > len(content):
            raise pickle.UnpicklingError(f"it remembers {argument} things, more than the file has")
