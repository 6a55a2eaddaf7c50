"""Nodes with their attributes, in an order in which they can run."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import _proto
from ._proto import ModelError


class Value(NamedTuple):
    """An input or an output of a model: its name; its sizes, a name or None where they may vary; its dtype."""

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype


@dataclass(slots=True, eq=False)
class Node:
    """An operation of a model.

    Attributes
    ----------
    type, name, domain : str
    opset : int
        The version of its domain's operators.
    inputs, outputs : tuple of str
        Names of values, "" for those left out.
    attributes : dict
    run : callable
        The operator: arrays in, None for those left out; an array, or a tuple of them.
    place : int
        Where it stands in its graph.
    """

    type: str
    name: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    run: Callable[..., Any] | None = None
    place: int = 0

    def __str__(self) -> str:
        kind = f"{self.domain}.{self.type}" if self.domain else self.type
        return f"{kind} {self.name!r} (opset {self.opset})"


class Unsupported(Exception):
    """Why a node cannot be computed."""


class Attributes:
    """The attributes of a node as its operator reads them: each once, with its default and its check.

    What an operator does not ask for is not supported: `leftover` lists it.
    """

    def __init__(self, node: Node) -> None:
        self.opset, self.node = node.opset, node
        self.inputs, self.outputs = len(node.inputs), len(node.outputs)
        self._values = dict(node.attributes)

    def has_input(self, i: int) -> bool:
        """Whether the input is given."""
        return i < self.inputs and self.node.inputs[i] != ""

    def get(self, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        if name not in self._values:
            return default
        value = self._values.pop(name)
        if not isinstance(value, kind):
            raise Unsupported(f"attribute {name} is {value!r}")
        return value

    def int(self, name: str, default: Any = None) -> Any:
        return self.get(name, int, default)

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.get(name, int, default))

    def float(self, name: str, default: Any = None) -> Any:
        return self.get(name, float, default)

    def text(self, name: str, default: str, among: Collection[str]) -> str:
        value = self.get(name, str, default)
        if value not in among:
            raise Unsupported(f"attribute {name} is {value!r}, expected one of {', '.join(map(repr, among))}")
        return value

    def ints(self, name: str, default: Any = None, count: Any = None) -> Any:
        """A tuple of ints, `count` of them where that is given."""
        value = self.get(name, tuple, default)
        if value is not default and (
            not all(isinstance(n, int) for n in value) or (count is not None and len(value) != count)
        ):
            raise Unsupported(f"attribute {name} is {list(value)}, expected {count or ''} ints")
        return value

    def ignored(self, *names: str) -> None:
        """Attributes that do not change the result."""
        for name in names:
            self._values.pop(name, None)

    def leftover(self) -> list[str]:
        return sorted(self._values)


def nodes(graph: Any, opsets: dict[str, int], folder: Path | None, name: str) -> list[Node]:
    """The nodes of a GraphProto."""
    made = []
    for i, proto in enumerate(graph.node):
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        given, results = tuple(proto.input), tuple(proto.output)
        node = Node(proto.op_type, proto.name or f"#{i}", domain, opsets.get(domain, 0), given, results, place=i)
        for attribute in proto.attribute:
            node.attributes[attribute.name] = _attribute(attribute, f"{name}: node {node}", folder)
        made.append(node)
    return made


def _attribute(proto: Any, what: str, folder: Path | None) -> Any:
    kinds = type(proto)
    kind = proto.type
    if kind == kinds.FLOAT:
        return proto.f
    if kind == kinds.INT:
        return proto.i
    if kind == kinds.STRING:
        return proto.s.decode("utf-8", "replace")
    if kind == kinds.TENSOR:
        return _proto.array(proto.t, f"{what}: attribute {proto.name}", folder)
    if kind == kinds.FLOATS:
        return tuple(proto.floats)
    if kind == kinds.INTS:
        return tuple(proto.ints)
    if kind == kinds.STRINGS:
        return tuple(s.decode("utf-8", "replace") for s in proto.strings)
    return proto  # a graph, a sparse tensor or another thing that no operator here takes


def in_order(nodes: Sequence[Node], given: Collection[str], outputs: Sequence[str], name: str) -> list[Node]:
    """The nodes, each behind those whose results it reads.

    Raises
    ------
    ModelError
        If a value is made twice or never, or nodes wait for each other.
    """
    maker: dict[str, Node] = {}
    for node in nodes:
        for output in node.outputs:
            if output and (output in maker or output in given):
                raise ModelError(f"{name}: node {node} makes the value {output!r}, which is there already")
            maker[output] = node
    for node in nodes:
        for value in node.inputs:
            if value and value not in given and value not in maker:
                raise ModelError(f"{name}: node {node} reads the value {value!r}, which nothing makes")
    for value in outputs:
        if value not in given and value not in maker:
            raise ModelError(f"{name}: nothing makes the output {value!r}")
    waiting = {id(node): len({v for v in node.inputs if v in maker}) for node in nodes}
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for value in {v for v in node.inputs if v in maker}:
            readers.setdefault(value, []).append(node)
    ready = [(node.place, node) for node in nodes if not waiting[id(node)]]  # in order of place: a heap
    ordered = []
    while ready:
        _, node = heappop(ready)
        ordered.append(node)
        for reader in (reader for value in node.outputs for reader in readers.get(value, [])):
            waiting[id(reader)] -= 1
            if not waiting[id(reader)]:
                heappush(ready, (reader.place, reader))
    if len(ordered) < len(nodes):
        stuck = [str(node) for node in nodes if waiting[id(node)]]
        raise ModelError(f"{name}: nodes wait for each other's results: {', '.join(stuck[:5])}")
    return ordered
