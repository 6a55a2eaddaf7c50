"""What an ONNX file will hold, while it is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...graph.nodes import dotted

Array = npt.NDArray[Any]
Sizes: TypeAlias = tuple[int | str | None, ...]


class Refusal(Exception):
    """Why a layer has no form in ONNX."""


@dataclass(slots=True)
class Operation:
    """A node of the file."""

    type: str
    name: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


@dataclass(slots=True)
class Draft:
    """The nodes and the arrays of a file. Every name is used once.

    Attributes
    ----------
    opset : int
    names : dict of (id of a layer, attribute) -> str
        What the network calls its arrays. An array in several places has one name.
    operations : list of Operation
    arrays : dict of str -> ndarray
    """

    opset: int
    names: Mapping[tuple[int, str], str]
    operations: list[Operation] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _parameters: dict[tuple[str, str, tuple[int, ...]], str] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        if name in self._taken:
            name = next(numbered for i in count(2) if (numbered := f"{name}_{i}") not in self._taken)
        self._taken.add(name)
        return name

    def parameter(self, name: str, a: Array) -> str:
        """An array of the network: one array of the file for all its places."""
        key = name, a.dtype.str, a.shape
        if key not in self._parameters:
            self._parameters[key] = self.constant(name, a)
        return self._parameters[key]

    def constant(self, name: str, a: Array) -> str:
        """An array; the name that it got."""
        name = self.unique(name)
        self.arrays[name] = a
        return name

    def operation(self, type: str, name: str, inputs: list[str], attributes: dict[str, Any]) -> str:
        """A node behind those before; the name of what it makes."""
        name = self.unique(name)
        self.operations.append(Operation(type, name, inputs, name, attributes))
        return name

    def rename(self, before: str, name: str) -> None:
        """Call a result otherwise."""
        for operation in self.operations:
            operation.inputs = [name if value == before else value for value in operation.inputs]
            if operation.output == before:
                operation.output = name

    def write_to(self, graph: Any, onnx: ModuleType) -> None:
        """Put all into a GraphProto: one array after the other, since every message of ONNX holds a copy."""
        graph.node.extend(
            onnx.helper.make_node(o.type, o.inputs, [o.output], o.name, **o.attributes) for o in self.operations
        )
        for name, a in self.arrays.items():
            graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(a, name))


@dataclass(slots=True)
class Site:
    """One node of a network: what a rule reads, and where it writes.

    Attributes
    ----------
    draft : Draft
    layer
        After its `forward`: a copy, which shares its arrays with the network's.
    original
        The network's own layer.
    path : str
    values : tuple of str
        The names of what it reads in the file.
    xs : tuple of ndarray
        What it read, and `y` : ndarray, what it made: for the shapes and dtypes.
    sizes : tuple
        The shape of the result as the file tells it: a name or None for what may vary. Known but for the rules that
        change it.
    """

    draft: Draft
    layer: Any
    original: Any
    path: str
    values: tuple[str, ...]
    xs: tuple[Array, ...]
    y: Array
    sizes: Sizes

    @property
    def x(self) -> Array:
        return self.xs[0]

    @property
    def exact(self) -> bool:
        """Whether attributes, which ONNX keeps in float32, are as fine as the numbers."""
        return self.y.dtype.itemsize <= 4

    def value(self, i: int = 0) -> str:
        """What is read, in the dtype of the result."""
        if self.xs[i].dtype == self.y.dtype:
            return self.values[i]
        return self.node("Cast", self.values[i], to=_ELEMENT_TYPES[self.y.dtype.type])

    def node(self, type: str, *inputs: str, **attributes: Any) -> str:
        """A node of the file; the name of what it makes."""
        return self.draft.operation(type, f"{self.path}/{type}", list(inputs), attributes)

    def parameter(self, attribute: str, a: Any = None) -> str:
        """An array of the layer in the dtype of the result, under its name in the network."""
        name = self.draft.names.get((id(self.original), attribute)) or dotted(self.path, attribute)
        a = getattr(self.layer, attribute) if a is None else a
        return self.draft.parameter(name, np.require(a, self.y.dtype.newbyteorder("="), ("C",)))

    def number(self, name: str, value: Any) -> str:
        """A constant of the dtype of the result."""
        return self.draft.constant(f"{self.path}/{name}", np.array(value, self.y.dtype))

    def integers(self, name: str, *values: int) -> str:
        """A constant vector of integers: a shape, for example."""
        return self.draft.constant(f"{self.path}/{name}", np.array(values, np.int64))

    def reshape(self, value: str, *shape: int) -> str:
        """A value in another shape; a size of 0 is the value's own."""
        return self.node("Reshape", value, self.integers("shape", *shape))

    def images(self) -> None:
        """Raise unless the layer reads images with their batch."""
        if self.x.ndim != 4:
            raise Refusal(f"it reads an array of shape {self.x.shape}; ONNX's operator needs (N, C, H, W)")


_ELEMENT_TYPES = {np.float32: 1, np.float16: 10, np.float64: 11}  # of ONNX's TensorProto
