"""What fastconv has for a name of somebody's module, and how it takes the name's place.

There are two kinds, functions (here) and classes (`_classes.py`). Both keep the program's own code behind them:
arguments that fastconv's side does not take (`NotTaken`), or for which it raises, go to the program's own function or
method, whose result or error is then that of plain Python.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal, NamedTuple, Protocol

from ._proof import NotTaken, Trial, first_difference
from ._purity import impure

LEFT_TO_OWN = (NotTaken, ValueError, TypeError, IndexError, KeyError, MemoryError)


class Verdict(NamedTuple):
    """What is to become of a name.

    Attributes
    ----------
    state : {"replaced", "adopted", "left"}
    why : str
        The first difference, or what was adopted.
    variant : int
        Which of the candidate's variants is equal; -1 if none is.
    """

    state: Literal["replaced", "adopted", "left"]
    why: str = ""
    variant: int = -1


class Candidate(Protocol):
    """What the table of a recogniser has for a name."""

    def prove(self, theirs: Any) -> Verdict:
        """Compare, and change nothing."""

    def put(self, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
        """Let the name of a module compute with fastconv.

        Returns
        -------
        callable
            Undoes it.
        """


@dataclass(frozen=True)
class Function:
    """A function of a program.

    Attributes
    ----------
    parameters : str
        As in a `def`: "input_data, filter_h, filter_w, stride=1, pad=0". Other names are taken, other defaults adopted.
    variants : sequence of callables
        fastconv's functions, all arguments positional in the order of `parameters`. The first one that is equal counts.
    trial : Trial
    """

    parameters: str
    variants: Sequence[Callable[..., Any]]
    trial: Trial

    def prove(self, theirs: Any) -> Verdict:
        if not isinstance(theirs, FunctionType):
            return Verdict("left", "it is no plain function")
        why, adopted = compare_parameters(theirs, self.parameters)
        why = why or impure(theirs)
        if why:
            return Verdict("left", why)
        differences = []
        for i, ours in enumerate(self.variants):
            difference = first_difference(self.trial, theirs, _with_defaults(theirs, ours, None))
            if not difference:
                return Verdict("adopted" if adopted else "replaced", adopted, i)
            differences.append(difference)
        return Verdict("left", max(differences, key=lambda d: d.steps).why)

    def put(self, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
        own = namespace[name]
        namespace[name] = fast = _with_defaults(own, self.variants[variant], own)

        def undo() -> None:
            if namespace.get(name) is fast:
                namespace[name] = own

        return undo


def _with_defaults(theirs: FunctionType, ours: Callable[..., Any], own: FunctionType | None) -> Callable[..., Any]:
    """fastconv's function under the parameters of the program's, with the program's own behind it (None: nothing)."""
    parameters = inspect.signature(theirs).parameters.values()
    names = tuple(p.name for p in parameters)
    defaults = tuple(p.default for p in parameters)

    @functools.wraps(theirs)
    def fast(*args: Any, **kwargs: Any) -> Any:
        try:
            full = args
            if kwargs or len(args) != len(names):
                taken = dict(kwargs)
                full = args + tuple(
                    taken.pop(name, default)
                    for name, default in zip(names[len(args) :], defaults[len(args) :], strict=True)
                )
                if taken or inspect.Parameter.empty in full:
                    raise NotTaken("arguments that it does not have")
            return ours(*full)
        except LEFT_TO_OWN:
            if own is None:
                raise
        return own(*args, **kwargs)

    return fast


def compare_parameters(theirs: Callable[..., Any], parameters: str) -> tuple[str, str]:
    """Why the parameters do not do, and which defaults are others.

    Parameters
    ----------
    theirs : callable
    parameters : str
        Those expected; names may be others.
    """
    expected = list(inspect.signature(eval(f"lambda {parameters}: None")).parameters.values())
    try:
        found = list(inspect.signature(theirs).parameters.values())
    except (TypeError, ValueError):
        return "its parameters are not known", ""
    if len(found) != len(expected) or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in found):
        shown = ", ".join(str(p) for p in found)
        return f"its parameters are ({shown}), expected ({parameters})", ""
    adopted = []
    for p, e in zip(found, expected, strict=True):
        if (p.default is p.empty) != (e.default is e.empty) or p.default != e.default:
            adopted.append(f"{p.name} has no default" if p.default is p.empty else f"{p.name}={p.default!r}")
    return "", ", ".join(adopted)
