"""Arrays on a CUDA device: told from others without loading anything, and made into what the kernels take.

Anything with `__cuda_array_interface__` counts. `src/kernels/_cuda/arrays.py`, which needs Numba-CUDA, is imported when
the first such array is met.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from . import _families
from ._families import FAMILIES, family_of

HELP = "move all of them with fastconv.to_device(a), or back with fastconv.to_host(a)"


def is_device(a: Any) -> bool:
    """Whether an array lives on a CUDA device."""
    return not isinstance(a, np.ndarray) and hasattr(a, "__cuda_array_interface__")


def arrays() -> ModuleType:
    """The module of device arrays, or a RuntimeError that says what is missing."""
    try:
        from .kernels._cuda import arrays, shim

        shim.require()
    except ImportError as error:
        raise RuntimeError(f"arrays on a CUDA device cannot be used: {error}") from None
    except Exception as error:
        raise RuntimeError(f"arrays on a CUDA device cannot be used: {type(error).__name__}: {error}") from error
    return arrays


def taken(name: str, a: Any) -> Any:
    """Any device array as fastconv's own, sharing its memory; it knows what it is made of, for `given_back`."""
    family = family_of(a)
    try:
        return arrays().taken(a, family, _families.stream_of(family))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def ours(a: Any) -> Any:
    """Any device array as fastconv's own, to write to; an ndarray as it is."""
    return taken("a", a) if is_device(a) else a


def given_back(a: Any, family: str) -> Any:
    """fastconv's array as one of the caller's family: the one that it is made of, or a view."""
    if family not in FAMILIES:
        return a
    arrays().let_wait(_families.stream_of(family))
    return _families.view(family, a) if a.given is None else a.given


def like_given(a: Any, given: Any) -> Any:
    """`a` in the family of an argument."""
    return given_back(a, family_of(given)) if is_device(given) else a


def where(given: tuple[Any, ...]) -> str:
    """Where all arrays are: "cpu", or the family of the first on the device. TypeError when they are not together."""
    present = [a for a in given if a is not None]
    there = {is_device(a) for a in present}
    if len(there) > 1:
        sides = ["cuda" if is_device(a) else "cpu" for a in present]
        raise TypeError(f"expected all arrays on one device, got them on {', '.join(sides)}: {HELP}")
    return family_of(present[0]) if True in there else "cpu"


def _empty(family: str, shape: tuple[int, ...], dtype: Any) -> Any:
    if family in FAMILIES:
        return taken("", _families.empty(family, shape, dtype))
    return arrays().empty(shape, dtype)


empty: dict[str, Callable[..., Any]] = {family: partial(_empty, family) for family in ("cuda", *FAMILIES)}
"""By the family of a Problem's arrays: an uninitialised device array of a shape and dtype."""


def between() -> ModuleType:
    """The module of what is computed between kernels."""
    arrays()
    from .kernels._cuda import between

    return between


def graphs() -> ModuleType:
    """The module of captured launches."""
    arrays()
    from .kernels._cuda import graphs

    return graphs


def to_device(a: Any) -> Any:
    """A copy of an array on the current CUDA device; a device array as it is.

    Parameters
    ----------
    a : array_like, or anything with ``__cuda_array_interface__``

    Returns
    -------
    DeviceArray
        Dense; has ``__cuda_array_interface__``, so ``cupy.asarray`` and ``torch.as_tensor`` share its memory.

    Raises
    ------
    RuntimeError
        When there is no device, no driver or no numba-cuda, with what to do.
    MemoryError
        When the device's memory is full.
    """
    return taken("a", a).own() if is_device(a) else arrays().copied(np.asarray(a))


@contextmanager
def cuda_stream(stream: Any) -> Iterator[None]:
    """Launch on another stream than the default one inside a ``with`` block, in this thread or task alone.

    Parameters
    ----------
    stream : a stream of Numba, CuPy or PyTorch, or the address of one
        Arrays used in it must not be in use on another stream: the library waits for none.
    """
    module = arrays()
    token = module.stream.set(module.numba_stream(stream))
    try:
        yield
    finally:
        module.stream.reset(token)


def like(a: np.ndarray, x: Any) -> Any:
    """An ndarray where x is."""
    return to_device(a) if is_device(x) else a


def zeros_like(a: Any) -> Any:
    """Zeros where `a` is."""
    return like(np.zeros(a.shape, a.dtype), a)


def to_host(a: Any) -> np.ndarray:
    """A copy of a device array as an ndarray; an ndarray as it is. Waits for the device."""
    return taken("a", a).copy_to_host() if is_device(a) else np.asarray(a)
