"""Device arrays for kernels: flat views, copies to and from the host, scratch, tables that stay on the device."""

from collections.abc import Callable
from functools import lru_cache, wraps
from inspect import signature
from typing import Any

import numpy as np

from .shim import DeviceArray, cuda


def flat(a: Any) -> Any:
    """A dense device array as a one-dimensional one of the same numbers."""
    a = a if isinstance(a, DeviceArray) else cuda.as_cuda_array(a, sync=False)
    return a if len(a.shape) == 1 else a.reshape(size(a))


def size(a: Any) -> int:
    """The number of elements."""
    return int(np.prod(a.shape, dtype=np.int64))


def scratch(count: int, dtype: Any) -> Any:
    """Uninitialised numbers for a kernel's own use."""
    return cuda.device_array(max(count, 1), dtype)


@lru_cache(maxsize=1024)
def table(numbers: tuple[int, ...]) -> Any:
    """Whole numbers on the device, kept there for the next call with the same ones."""
    return cuda.to_device(np.array(numbers or (0,), np.int64))


@lru_cache(maxsize=8)
def nothing(dtype: Any) -> Any:
    """An array of one number, in the place of one that is not given."""
    return cuda.to_device(np.zeros(1, dtype))


def entry(*results: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An entry point of the table, which takes device arrays and NumPy arrays alike.

    NumPy arrays, also in lists, are copied to the device; those named in `results` are copied back.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = list(signature(function).parameters)
        written = [names.index(name) for name in results]

        @wraps(function)
        def call(*args: Any) -> Any:
            if not any(_on_host(a) for a in args):
                return function(*args)
            staged = [_staged(a) for a in args]
            value = function(*staged)
            for i in written:
                _bring_back(args[i], staged[i])
            return value

        return call

    return decorate


def _on_host(a: Any) -> bool:
    return isinstance(a, np.ndarray) or (isinstance(a, list) and any(isinstance(item, np.ndarray) for item in a))


def _staged(a: Any) -> Any:
    if isinstance(a, list):
        return [_staged(item) for item in a]
    if not isinstance(a, np.ndarray):
        return a
    return cuda.to_device(a.reshape(-1)) if a.size else nothing(a.dtype)


def _bring_back(given: Any, staged: Any) -> None:
    if isinstance(given, list):
        for host, device in zip(given, staged, strict=True):
            _bring_back(host, device)
    elif given is not None and given.size:
        given.reshape(-1)[...] = staged.copy_to_host()
