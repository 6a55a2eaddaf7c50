"""The table of what was replaced, adopted or left."""

import os
from types import ModuleType
from typing import NamedTuple

from ._candidates import Verdict


class Line(NamedTuple):
    """What became of a name of a module.

    Attributes
    ----------
    module, name : str
    state : {"replaced", "adopted", "left", "provided"}
        "provided" is a whole module that the program does not have.
    why : str
        What was adopted, or the first difference.
    file : str
        Where the module lies.
    variant : int
        Which of fastconv's variants is equal; -1 for none.
    """

    module: str
    name: str
    state: str
    why: str
    file: str
    variant: int = -1


_STATES = ("replaced", "adopted", "left")
_LINES: dict[tuple[str, str], Line] = {}


def add(module: ModuleType, name: str, verdict: Verdict) -> None:
    """Note a verdict."""
    path = getattr(module, "__file__", None)  # a notebook's cells have no file
    file = os.path.relpath(path) if path else "cells of the notebook"
    _LINES[module.__name__, name] = Line(module.__name__, name, verdict.state, verdict.why, file, verdict.variant)


def provide(module: str) -> None:
    """Note a module that the program does not have and gets."""
    if "." in module:
        _LINES[module, ""] = Line(module, "", "provided", "the program has none of its own", "")


def forget() -> None:
    """Begin anew."""
    _LINES.clear()


def report() -> list[Line]:
    """What became of every known name, in the order of the imports."""
    return list(_LINES.values())


def table() -> str:
    """The report as text."""
    lines = report()
    if not lines:
        return "fastconv knows nothing of what this program defines.\n"
    rows = [(f"{line.module}.{line.name}".rstrip("."), line.state, line.why) for line in lines]
    wide = max(len(name) for name, _, _ in rows)
    counts = ", ".join(f"{sum(line.state == s for line in lines)} {s}" for s in _STATES)
    return "".join(f"{name:{wide}}  {state:8}  {why}".rstrip() + "\n" for name, state, why in rows) + counts + "\n"
