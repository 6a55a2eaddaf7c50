"""The table of recognisers, in order: the first one that knows a name of a module decides.

A recogniser is a file here with a `Recogniser` named RECOGNISER, and a line in `TABLE`.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

TABLE = ("book", "cs231n", "dezero", "named")


class Recogniser(NamedTuple):
    """What is known of one kind of program.

    Attributes
    ----------
    name : str
        Whose code it is, for the report: "the book".
    candidates : callable
        candidates(module) -> {name in that module: Candidate}, for a module's full name; empty for modules that are not
        of this kind. It is called at every import, of other packages' modules too, so it must be quick and must import
        what computes only behind its first match.
    provides : callable
        provides(module) -> None, or a function that gives the contents of a module that the program may import without
        having it.
    libraries : frozenset of str
        Modules that are looked at also where they are installed, and not the program's own.
    """

    name: str
    candidates: Callable[[str], Mapping[str, Any]]
    provides: Callable[[str], Callable[[], Mapping[str, Any]] | None] = lambda module: None
    libraries: frozenset[str] = frozenset()


def table() -> list[Recogniser]:
    """All recognisers."""
    return [import_module(f".{name}", __name__).RECOGNISER for name in TABLE]
