"""Pickles from elsewhere, read as data: arrays and plain values, and no code of the file is run."""

import pickle
from typing import IO, Any, ClassVar


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

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays are admitted")
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
    return _ArraysOnly(file, encoding=encoding).load()
