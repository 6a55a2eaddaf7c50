"""Functions of a program that belong together: forward gives a cache, backward takes it.

They are compared together and replaced together. The cache that fastconv's forward gives holds what the program's own
would hold, as far as somebody may look at it; and whatever fastconv's backward does not take, the program's own does,
with a cache that its own forward makes anew.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ._candidates import LEFT_TO_OWN, Verdict
from ._proof import NotTaken, Trial, first_difference
from ._purity import impure


class Kept(tuple):
    """A cache of fastconv's.

    Attributes
    ----------
    arguments : tuple
        Those of forward, as they were.
    state
        What fastconv's backward needs.
    """

    arguments: tuple[Any, ...]
    state: Any

    @classmethod
    def of(cls, shown: tuple[Any, ...], arguments: tuple[Any, ...], state: Any) -> "Kept":
        cache = cls(shown)
        cache.arguments, cache.state = arguments, state
        return cache


@dataclass(frozen=True)
class Both:
    """fastconv's functions: forward(*arguments) -> (out, Kept), backward(dout, Kept).

    trial: in place of that of the pair.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    trial: Trial | None = None


@dataclass(frozen=True)
class Pair:
    """One of two functions, and which the other is.

    Attributes
    ----------
    parameters : int
        How many forward has.
    role : {"forward", "backward"}
        Which one this is.
    partner : str
        The other one's name in the same module.
    variants : sequence of Both
        The first one that is equal counts.
    trial : Trial
        Of (forward, backward).
    """

    parameters: int
    role: str
    partner: str
    variants: Sequence[Both]
    trial: Trial

    def prove(self, theirs: Any) -> Verdict:
        if not isinstance(theirs, FunctionType):
            return Verdict("left", "it is no plain function")
        partner = theirs.__globals__.get(self.partner)
        if not isinstance(partner, FunctionType):
            return Verdict("left", f"there is no function {self.partner} beside it")
        forward, backward = map(inspect.unwrap, (theirs, partner) if self.role == "forward" else (partner, theirs))
        for function, wanted in ((forward, self.parameters), (backward, 2)):
            if len(inspect.signature(function).parameters) != wanted:
                return Verdict(
                    "left", f"{function.__name__} has {len(inspect.signature(function).parameters)} parameters"
                )
            why = impure(function)
            if why:
                return Verdict("left", why)
        differences = []
        for i, ours in enumerate(self.variants):
            difference = first_difference(ours.trial or self.trial, (forward, backward), (ours.forward, ours.backward))
            if difference is None:
                return Verdict("replaced", "", i)
            differences.append(difference)
        return Verdict("left", max(differences, key=lambda d: d.steps).why)

    def put(self, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
        own, ours = namespace[name], self.variants[variant]
        if self.role == "forward":
            fast, later = _forward(own, ours.forward), own
        else:
            own_forward = inspect.unwrap(namespace[self.partner])
            fast, later = _backward(own, ours.backward, own_forward), _backward(own, None, own_forward)
        namespace[name] = fast

        def undo() -> None:  # caches of fastconv's may be alive
            if namespace.get(name) is fast:
                namespace[name] = later

        return undo


def _forward(own: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def fast(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            try:
                return ours(*args)
            except LEFT_TO_OWN:
                pass
        return own(*args, **kwargs)

    return fast


def _backward(own: Any, ours: Any, own_forward: Any) -> Callable[..., Any]:
    @functools.wraps(own)
    def fast(dout: Any, cache: Any) -> Any:
        if isinstance(cache, Kept):
            if ours is not None:
                try:
                    return ours(dout, cache)
                except LEFT_TO_OWN:
                    pass
            cache = own_forward(*cache.arguments)[1]
        return own(dout, cache)

    return fast


def refuse_others(cache: Any) -> None:
    """Raise for a cache that fastconv's forward did not make."""
    if not isinstance(cache, Kept):
        raise NotTaken("the cache is not fastconv's")
