"""Inputs that a layer keeps for `backward` by reference, where a copy would cost more than it protects.

The book's convolution and batch normalisation keep copies (`col`, `xn`), so a program may change x in place after
`forward`. These layers keep x itself and a fingerprint of its numbers, which `backward` compares: a gradient of changed
numbers is refused, never given. Inside of a network's own pass nobody else sees the arrays between the layers, and no
fingerprint is taken (`private`).
"""

import zlib
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any
from weakref import ref

import numpy as np

from .._device import is_device

try:
    from ..kernels.chain.cy import fingerprint
except ImportError:  # a build without the compiled engine

    def fingerprint(array: Any) -> int | None:
        """As the compiled one."""
        if isinstance(array, np.ndarray) and array.flags.c_contiguous:
            return zlib.crc32(array.reshape(-1).view(np.uint8).data)
        return None


_pass: ContextVar[Any] = ContextVar("fastconv_private_pass", default=lambda: None)
"""A weak reference to the `private` block that runs: one whose end an interrupt prevented does not last."""

_NOTHING = None, None  # the array and its fingerprint before the first `forward`


class Kept:
    """An attribute of a layer: an array that `forward` keeps for `backward`.

    Assigned plainly, the array is taken to stay as it is; `keep` makes sure.

    Parameters
    ----------
    what : str
        What it is, for the message of `kept`.
    """

    def __init__(self, what: str = "input") -> None:
        self.what = what

    def __set_name__(self, owner: type, name: str) -> None:
        self.slot = f"_kept_{name}"

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        return self if layer is None else vars(layer).get(self.slot, _NOTHING)[0]

    def __set__(self, layer: Any, array: Any) -> None:
        vars(layer)[self.slot] = array, None

    def keep(self, layer: Any, array: Any, given: Any = None) -> None:
        """Keep an array, with a fingerprint or as a copy where others may change it.

        given: what `forward` was given, where `array` is another view of its memory.
        """
        inside, print_ = _pass.get()(), None
        if inside is None or inside.seen is (array if given is None else given):
            print_ = fingerprint(array)
            if print_ is None and not is_device(array):  # the kernels had to copy it anyway
                array = np.array(array, order="C")
        vars(layer)[self.slot] = array, print_

    def unchanged(self, layer: Any) -> Any:
        """The array that `forward` kept.

        Raises
        ------
        RuntimeError
            If its numbers have changed since.
        """
        array, print_ = vars(layer).get(self.slot, _NOTHING)
        if print_ is not None and fingerprint(array) != print_:
            raise RuntimeError(
                f"{type(layer).__name__}.backward: its {self.what} was changed in place since forward; the gradient "
                "needs it as it was: change a copy, or change it after backward"
            )
        return array


class private:
    """A context manager: of what layers keep inside of it, others can change the array `seen` alone.

    For layers of which `are_own` is true. A block inside of another changes nothing.
    """

    __slots__ = ("__weakref__", "seen", "token")

    def __init__(self, seen: Any = None) -> None:
        self.seen = seen
        self.token: Any = None

    def __enter__(self) -> None:
        if _pass.get()() is None:
            self.token = _pass.set(ref(self))

    def __exit__(self, *error: object) -> None:
        if self.token is not None:
            _pass.reset(self.token)


def are_own(layers: Iterable[Any]) -> bool:
    """Whether all layers are fastconv's own, without a method replaced on the object as hooks do.

    Then no other code runs between them, which could change what they keep.
    """
    return all(
        type(layer).__module__.startswith("fastconv.layers.") and not {"forward", "backward"} & vars(layer).keys()
        for layer in layers
    )
