"""The table of what was replaced, adopted or left."""

from typing import NamedTuple

from ._candidates import Verdict


class Line(NamedTuple):
    """What became of a name of a module."""

    module: str
    name: str
    verdict: Verdict


LINES: list[Line] = []


def report() -> list[Line]:
    """What became of every known name, in the order of the imports."""
    return list(LINES)
