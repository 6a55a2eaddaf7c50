"""Layers that join others: one after another, or side by side.

A container names the layers inside of it (`children`), and tells a graph how they read each other's results
(`connect`); what it computes follows from that. Lists and dicts of layers may be nested in any container: a list's
layers are named by their positions, a dict's by its keys.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..graph._watch import Watch
from ..graph.nodes import Child, Graph, dotted
from ..graph.training import Training
from ..ops.activations import add_activation
from ._kept import Kept
from ._layer import Array, Layer


def nested(layers: Any) -> Any:
    """A list or dict of layers, in which lists and dicts inside of it are made `Sequential`.

    Raises
    ------
    TypeError
        If something in it is no layer.
    """
    if isinstance(layers, Mapping):
        return {str(name): as_layer(layer, str(name)) for name, layer in layers.items()}
    return [as_layer(layer, str(i)) for i, layer in enumerate(layers)]


def as_layer(layer: Any, name: str) -> Any:
    """A layer itself, or a list or dict of layers as one."""
    if isinstance(layer, Mapping | list | tuple):
        return Sequential(layer)
    if not (hasattr(layer, "forward") and hasattr(layer, "backward")) or isinstance(layer, type):
        raise TypeError(f"layers: expected layers, or lists or dicts of layers, got {layer!r} under {name!r}")
    return layer


def _one_row(layers: tuple[Any, ...]) -> Any:
    """The layers given one by one, or all in one list or dict."""
    alone = len(layers) == 1 and isinstance(layers[0], Iterable) and not isinstance(layers[0], Layer)
    return layers[0] if alone else layers


def _names_of(container: Any) -> Iterator[str]:
    """The names of the layers in a container, with those that nameless layers lend it."""
    for child in container.children():
        if child.name:
            yield child.name
        else:
            yield from _names_of(child.layer)


class Container(Layer):
    """A layer made of others: its forward and backward run them as a graph."""

    runs_on_cuda = True
    takes_train_flg = True
    _training: Any = None
    _watch: Any = None

    def connect(self, graph: Graph, x: int, path: str) -> int:
        """Trace the layers for an input value; the value of the result."""
        raise TypeError(f"{type(self).__name__}: expected a `connect`, or a `forward` and `backward` of its own")

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        return self._program().forward(x, train_flg)

    def backward(self, dout: Array) -> Array | None:
        return self._program().backward(dout, needs_dx=True)

    def _program(self) -> Training:
        if self._training is None or not self._watch.unchanged():
            self._training = Training(Graph(self))
            self._watch = Watch(self._training.graph.bindings, holders=self._training.graph.holders)
        return self._training

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_training", "_watch")}

    def __repr__(self) -> str:
        inner = [f"{child.name or '-'}: {child.layer!r}" for child in self.children()]
        text = "\n".join(inner).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {text}\n)" if inner else f"{type(self).__name__}()"


class Sequential(Container):
    """Layers one after another.

    Parameters
    ----------
    *layers : layers, or one list or dict of layers
        Lists and dicts among them are rows of their own.

    Attributes
    ----------
    layers : list or dict
        May be changed: the next call follows.
    """

    def __init__(self, *layers: Any) -> None:
        self.layers = nested(_one_row(layers))

    def children(self) -> Iterator[Child]:
        items = self.layers.items() if isinstance(self.layers, Mapping) else enumerate(self.layers)
        return (Child(str(key), self.layers, key) for key, _ in items)

    def connect(self, graph: Graph, x: int, path: str) -> int:
        for child in self.children():
            x = graph.apply(child.layer, x, dotted(path, child.name))
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter([child.layer for child in self.children()])

    def __getitem__(self, key: Any) -> Any:
        return self.layers[key]

    def __setitem__(self, key: Any, layer: Any) -> None:
        self.layers[key] = as_layer(layer, str(key))


class _Branches(Container):
    """Layers that read the same input, and a join of their results.

    A branch given as a dict lends its names to the container; any other has its position for a name.
    """

    kind_of_join: ClassVar[str]

    def __init__(self, *branches: Any, names: tuple[str, ...] = ()) -> None:
        if not branches:
            raise ValueError(f"branches: expected at least one for {type(self).__name__}, got none")
        names = names or tuple(str(i) for i in range(len(branches)))
        self._names = tuple("" if isinstance(b, Mapping) else name for b, name in zip(branches, names, strict=True))
        self.branches = [as_layer(b, name) for b, name in zip(branches, names, strict=True)]
        inside = list(_names_of(self))
        twice = sorted({name for name in inside if inside.count(name) > 1})
        if twice:
            raise ValueError(f"branches: expected different names, got {', '.join(twice)} in several of them")

    def children(self) -> Iterator[Child]:
        return (Child(name, self.branches, i) for i, name in enumerate(self._names))

    def connect(self, graph: Graph, x: int, path: str) -> int:
        values = tuple(graph.apply(child.layer, x, dotted(path, child.name)) for child in self.children())
        return graph.add(self, values, path, self.kind_of_join)


class Sum(_Branches):
    """The sum of what the branches make of one input.

    Parameters
    ----------
    *branches : layers, lists or dicts of layers
        An empty list or dict is the identity.
    """

    kind_of_join = "sum"

    def join(self, *values: Array, activation: str | None = None) -> Array:
        if any(v.shape != values[0].shape for v in values):
            raise ValueError(f"{type(self).__name__}: expected results of one shape, got {[v.shape for v in values]}")
        if len(values) == 1:
            return values[0] if activation is None else getattr(ops, activation)(values[0])
        total = values[0]
        for value in values[1:-1]:
            total = add_activation(total, value)
        return add_activation(total, values[-1], activation)

    def split(self, dout: Array) -> tuple[Array, ...]:
        return (dout,) * len(self.branches)


class Residual(Sum):
    """body(x) + shortcut(x): the layers learn the difference from the identity.

    Parameters
    ----------
    body : list or dict of layers
        A list's layers are named "body.0", ..., a dict's by its keys.
    shortcut : list or dict of layers
        Nothing is the identity; a 1x1 convolution where the body changes the shape.

    Notes
    -----
    Source: K. He, X. Zhang, S. Ren and J. Sun, Deep Residual Learning for Image Recognition, 2016.
    """

    def __init__(self, body: Any, shortcut: Any = ()) -> None:
        super().__init__(body, shortcut, names=("body", "shortcut"))

    @property
    def body(self) -> Any:
        return self.branches[0]

    @property
    def shortcut(self) -> Any:
        return self.branches[1]


class Concatenate(_Branches):
    """What the branches make of one input, one behind another along an axis.

    Parameters
    ----------
    *branches : layers, lists or dicts of layers
        An empty list or dict is the identity.
    axis : int
        1: along the channels.
    """

    kind_of_join = "concatenate"

    def __init__(self, *branches: Any, axis: int = 1) -> None:
        super().__init__(*branches)
        self.axis = axis
        self._ends: list[int] = []

    def join(self, *values: Array) -> Array:
        self._ends = list(np.cumsum([v.shape[self.axis] for v in values])[:-1])
        return np.concatenate(values, axis=self.axis)

    def split(self, dout: Array) -> tuple[Array, ...]:
        return tuple(np.split(dout, self._ends, axis=self.axis))


class ChannelScale(_Branches):
    """x · layers(x): every channel times a number that the layers make of the whole plane (squeeze and excitation).

    Parameters
    ----------
    *layers : layers, or one list or dict of layers
        x (N, C, H, W) -> (N, C, 1, 1).

    Notes
    -----
    Source: J. Hu, L. Shen and G. Sun, Squeeze-and-Excitation Networks, 2018.
    """

    kind_of_join = "product"
    x, scale = Kept(), Kept("factor")

    def __init__(self, *layers: Any) -> None:
        row = _one_row(layers)
        super().__init__({}, row if isinstance(row, Mapping) else dict(enumerate(row)))

    def join(self, x: Array, scale: Array) -> Array:
        ChannelScale.x.keep(self, x)
        ChannelScale.scale.keep(self, scale)
        return x * scale

    def split(self, dout: Array) -> tuple[Array, ...]:
        x, scale = ChannelScale.x.unchanged(self), ChannelScale.scale.unchanged(self)
        axes = tuple(i for i, n in enumerate(scale.shape) if n == 1 and x.shape[i] != 1)
        return dout * scale, (dout * x).sum(axis=axes, keepdims=True)
