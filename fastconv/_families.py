"""Whose device arrays they are: results are of the family of an operation's first array.

A family is known by the module that defines the arrays' class. Whoever made such an array has loaded that module, so
nothing is imported here. Numba's arrays and all others make fastconv's own, "cuda".
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """What is done with a family's own module.

    Attributes
    ----------
    empty : callable
        (module, shape, dtype) to a new array on the device, by the family's own pool and on its current stream.
    view : callable
        (module, a) to one that shares the memory of fastconv's array a.
    stream : callable
        (module) to the address of the current stream; 0 is the default one.
    """

    empty: Callable[..., Any]
    view: Callable[..., Any]
    stream: Callable[..., int]


FAMILIES = {
    "cupy": Family(
        lambda cupy, shape, dtype: cupy.empty(shape, dtype),
        lambda cupy, a: cupy.asarray(a),
        lambda cupy: cupy.cuda.get_current_stream().ptr,
    ),
    "torch": Family(
        lambda torch, shape, dtype: torch.empty(shape, dtype=getattr(torch, dtype.name), device="cuda"),
        lambda torch, a: torch.as_tensor(a, device="cuda"),
        lambda torch: torch.cuda.current_stream().cuda_stream,
    ),
}


def family_of(a: Any) -> str:
    """The family of a device array: a key of FAMILIES, or "cuda"."""
    own = getattr(a, "family", None)
    if isinstance(own, str):
        return own
    names = (cls.__module__.partition(".")[0] for cls in type(a).__mro__)
    return next((name for name in names if name in FAMILIES), "cuda")


def stream_of(family: str) -> int | None:
    """The address of a family's current stream; None for fastconv's own, which has none of its own."""
    return FAMILIES[family].stream(sys.modules[family]) if family in FAMILIES else None


def empty(family: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """A new array of a family other than fastconv's."""
    return FAMILIES[family].empty(sys.modules[family], shape, dtype)


def view(family: str, a: Any) -> Any:
    """fastconv's array as one of a family other than its own."""
    return FAMILIES[family].view(sys.modules[family], a)
