"""The two graphs inside of an If, and what they read from around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _graph, _proto
from ._graph import Node
from ._proto import ModelError

Array = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Branch:
    """A graph inside of a node.

    Attributes
    ----------
    nodes : list of Node
    constants : dict
    outputs : list of str
    captured : list of str
        The values of the graph around it that it reads.
    """

    nodes: list[Node]
    constants: dict[str, Array]
    outputs: list[str]
    captured: list[str]

    def run(self, outer: dict[str, Any]) -> tuple[Array, ...]:
        """Its outputs for the values around it."""
        values = {"": None, **self.constants, **outer}
        for node in self.nodes:
            assert node.run is not None
            result = node.run(*[values[v] for v in node.inputs])
            results = result if isinstance(result, tuple) else (result,)
            values.update(zip(node.outputs, map(np.asarray, results), strict=False))
        return tuple(values[v] for v in self.outputs)


def resolve(nodes: Sequence[Node], opsets: dict[str, int], folder: Path | None, name: str) -> None:
    """Read the graphs of every If; what they read becomes an input of the node, behind its condition."""
    for node in nodes:
        if node.type != "If" or node.domain:
            continue
        branches = {
            key: _branch(value, opsets, folder, f"{name}: node {node}: {key}")
            for key, value in node.attributes.items()
            if hasattr(value, "g") and key in ("then_branch", "else_branch")
        }
        node.attributes = {**node.attributes, **branches}
        captured = dict.fromkeys(v for branch in branches.values() for v in branch.captured)
        node.inputs = (*node.inputs[:1], *captured)


def _branch(attribute: Any, opsets: dict[str, int], folder: Path | None, name: str) -> Branch:
    graph = attribute.g
    if graph.input:
        raise ModelError(f"{name}: has inputs of its own")
    constants = {t.name: _proto.array(t, f"{name}: initializer {t.name!r}", folder) for t in graph.initializer}
    nodes = _graph.nodes(graph, opsets, folder, name)
    resolve(nodes, opsets, folder, name)
    outputs = [v.name for v in graph.output]
    made = {*constants, *(v for node in nodes for v in node.outputs)}
    read = [*(v for node in nodes for v in node.inputs), *outputs]
    captured = list(dict.fromkeys(v for v in read if v and v not in made))
    return Branch(_graph.in_order(nodes, {*constants, *captured}, outputs, name), constants, outputs, captured)


def inside(nodes: Sequence[Node]) -> list[Node]:
    """The nodes, and those in their branches, innermost first."""
    found = []
    for node in nodes:
        for value in node.attributes.values():
            if isinstance(value, Branch):
                found += inside(value.nodes)
        found.append(node)
    return found
