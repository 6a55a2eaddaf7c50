"""Which layer reads which value: a tree of layers traced into a list of nodes, each behind those that it reads."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

JOINS = frozenset({"sum", "concatenate", "product"})
"""Kinds of nodes that read several values: their layers have `join` and `split` for forward and backward."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One layer at one place of a network: it reads some values and makes one.

    Attributes
    ----------
    layer
        A layer used in several places has several nodes.
    path : str
        Its dotted name, "layer1.0.conv1".
    kind : str
        What it computes, "conv2d", or "" for a layer of the user's own and for one that is hooked.
    inputs : tuple of int
    output : int
        Numbers of values; the network's input is value 0.
    """

    layer: Any
    path: str
    kind: str
    inputs: tuple[int, ...]
    output: int


class Graph:
    """The nodes of a network, in an order in which they can run.

    Parameters
    ----------
    root
        A container: it has `children` and `connect`.

    Attributes
    ----------
    nodes : list of Node
    output : int
        The number of the value that is the network's result.
    readers : list of list of int
        For every value the positions of the nodes that read it.
    bindings : list of (dict, name)
        Attributes on which the graph depends: methods of layers, which a hook replaces, and the containers' holders.
    holders : list of list or dict
        What holds the layers.
    """

    def __init__(self, root: Any) -> None:
        self.nodes: list[Node] = []
        self.readers: list[list[int]] = [[]]
        self.bindings: list[tuple[dict[str, Any], str]] = []
        self.holders: list[Any] = []
        self._watch(root)
        self.output: int = root.connect(self, 0, "")

    def apply(self, layer: Any, x: int, path: str) -> int:
        """Trace a layer that reads the value x; the value that it makes."""
        self.bindings += [(_attributes(layer), name) for name in ("forward", "backward")]
        if _connects(layer):
            self._watch(layer)
            return layer.connect(self, x, path)
        return self.add(layer, (x,), path, kind_of(layer))

    def add(self, layer: Any, inputs: tuple[int, ...], path: str, kind: str) -> int:
        """A node at the end; the value that it makes."""
        for value in dict.fromkeys(inputs):
            self.readers[value].append(len(self.nodes))
        self.readers.append([])
        node = Node(layer, path, kind, inputs, len(self.readers) - 1)
        self.nodes.append(node)
        return node.output

    def _watch(self, container: Any) -> None:
        holders = {id(child.holder): child.holder for child in container.children()}
        self.holders += holders.values()
        own = _attributes(container)
        self.bindings += [(own, name) for name, value in own.items() if id(value) in holders]

    def until(self, position: int, value: int) -> "Graph":
        """The nodes before a position as a graph of its own, whose result is `value`."""
        part = copy(self)
        part.nodes, part.output = self.nodes[:position], value
        part.readers = [[i for i in readers if i < position] for readers in self.readers]
        return part

    def only_reader(self, node: Node) -> int | None:
        """The position of the one node that reads what `node` makes; None if others do, or the network returns it."""
        readers = self.readers[node.output]
        return readers[0] if len(readers) == 1 and node.output != self.output else None


@dataclass(frozen=True, slots=True)
class Child:
    """A layer inside of another: its name there, and the list or dict that holds it under a key."""

    name: str
    holder: Any
    key: Any

    @property
    def layer(self) -> Any:
        return self.holder[self.key]


def walk(root: Any, path: str = "") -> Iterator[tuple[str, Any, Child]]:
    """All layers inside of a container, at any depth: the path, the layer, and where it is held."""
    for child in root.children():
        name = dotted(path, child.name)
        yield name, child.layer, child
        if hasattr(child.layer, "children"):
            yield from walk(child.layer, name)


def dotted(path: str, name: str) -> str:
    """The path of what is called `name` inside of `path`; a nameless child has its parent's."""
    return f"{path}.{name}" if path and name else path or name


def kind_of(layer: Any) -> str:
    """What a layer computes, or "" where its class or a hook may have changed that."""
    cls: Any = type(layer)
    return "" if _is_hooked(layer) else _kind_of_class(cls)


def _is_hooked(layer: Any) -> bool:
    return bool({"forward", "backward"} & _attributes(layer).keys())


def _connects(layer: Any) -> bool:
    """Whether a container may be taken apart: neither its class nor a hook replaced what it does as a whole."""
    cls: Any = type(layer)
    return not _is_hooked(layer) and _keeps_methods(cls, "connect")


@cache
def _kind_of_class(cls: type) -> str:
    return getattr(cls, "kind", "") if _keeps_methods(cls, "kind") else ""


@cache
def _keeps_methods(cls: type, name: str) -> bool:
    """Whether a class has the methods of the class that defines `name`."""
    owner: Any = next((c for c in cls.__mro__ if name in vars(c)), None)
    return owner is not None and all(
        getattr(cls, method, None) is getattr(owner, method, None) for method in ("forward", "backward", "predict")
    )


def _attributes(layer: Any) -> dict[str, Any]:
    return getattr(layer, "__dict__", {})
