"""Concatenations without a copy: what makes one of their inputs writes it where it belongs.

For one image the channels of a concatenation lie behind each other in memory, so each of its inputs is a dense slice of
it; and where a concatenation is part of a larger one, as in DenseNet, all are slices of the largest, its root. For
several images an input's planes are apart, which no kernel writes; then the inputs are copied together.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _memory as memory
from .nodes import Node

Array = npt.NDArray[Any]
Shaped = tuple[tuple[int, ...], np.dtype]


class Placement:
    """Where values lie in roots.

    Parameters
    ----------
    nodes : list of Node
    output : int
        The value that is the network's result, which is never a part of a root.
    shapes : dict
        The shape and dtype of every value.
    writers : iterable of int
        Values whose makers can write into an array that they are given.
    """

    def __init__(
        self,
        nodes: list[Node],
        output: int,
        shapes: dict[int, tuple[tuple[int, ...], np.dtype]],
        writers: Iterable[int],
    ) -> None:
        self._roots: list[Shaped] = []
        self._places: dict[int, tuple[int, int, int]] = {}  # value -> root, first and last channel
        joins = [node for node in nodes if node.kind == "concatenate" and self._is_dense(node, shapes)]
        able = {*writers, *(node.output for node in joins)} - {output}
        for node in reversed(joins):
            root, at = self._place_of(node, shapes) if able.intersection(node.inputs) else (-1, 0)
            for value in node.inputs:
                end = at + shapes[value][0][1]
                if root >= 0 and value in able and value not in self._places:
                    self._places[value] = root, at, end
                at = end

    @staticmethod
    def _is_dense(node: Node, shapes: dict[int, Shaped]) -> bool:
        shape, dtype = shapes[node.output]
        return (
            node.layer.axis == 1
            and len(shape) > 1
            and shape[0] == 1
            and all(shapes[v][1] == dtype for v in node.inputs)
        )

    def _place_of(self, node: Node, shapes: dict[int, Shaped]) -> tuple[int, int]:
        """The root of a concatenation, a new one where it is part of no other, and its first channel there."""
        if node.output not in self._places:
            shape, dtype = shapes[node.output]
            self._roots.append((shape, dtype))
            self._places[node.output] = len(self._roots) - 1, 0, shape[1]
        return self._places[node.output][:2]

    def __contains__(self, value: int) -> bool:
        return value in self._places

    def copies(self, node: Node, shapes: dict[int, Shaped]) -> list[tuple[int, int, int]]:
        """The inputs of a concatenation that are not in their place: position, first and last channel in the result."""
        root, first, _ = self._places[node.output]
        missing, at = [], 0
        for i, value in enumerate(node.inputs):
            end = at + shapes[value][0][1]
            if self._places.get(value) != (root, first + at, first + end):
                missing.append((i, at, end))
            at = end
        return missing

    def roots(self) -> "Roots":
        """The arrays of one run."""
        return Roots(self._roots, self._places)


class Roots:
    """The roots of one run, each made when its first part is."""

    __slots__ = ("_arrays", "_places", "_roots")

    def __init__(self, roots: list[Shaped], places: dict[int, tuple[int, int, int]]) -> None:
        self._roots, self._places = roots, places
        self._arrays: list[Any] = [None] * len(roots)

    def part(self, value: int) -> Array:
        """The array in which a value belongs."""
        i, first, last = self._places[value]
        root = self._arrays[i]
        if root is None:
            root = self._arrays[i] = memory.pooled(*self._roots[i])
        return root[:, first:last]
