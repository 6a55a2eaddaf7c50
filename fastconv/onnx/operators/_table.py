"""The table of operators."""

from collections.abc import Callable
from typing import Any, NamedTuple

Run = Callable[..., Any]


class Operator(NamedTuple):
    """How to make the function of a node.

    Attributes
    ----------
    make : callable
        Attributes in, a function of the node's inputs out.
    inputs : (int, int)
        The least and the most that it takes.
    outputs : int
        The most that it gives.
    """

    make: Callable[[Any], Run]
    inputs: tuple[int, int]
    outputs: int


OPERATORS: dict[str, Operator] = {}
"""By the type of a node, in ONNX's own domain."""


def operator(
    *types: str, inputs: int | tuple[int, int] = 1, outputs: int = 1
) -> Callable[[Callable[[Any], Run]], Callable[[Any], Run]]:
    """Enter an operator in the table under its types."""

    def enter(make: Callable[[Any], Run]) -> Callable[[Any], Run]:
        for name in types:
            OPERATORS[name] = Operator(make, inputs if isinstance(inputs, tuple) else (inputs, inputs), outputs)
        return make

    return enter
