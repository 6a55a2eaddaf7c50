"""Nodes merged: the graph's own list of fusions, applied to a model.

First the nodes get the kinds of that list, and rows of nodes that spell an activation become it. Then `find` says which
neighbours may be merged, as often as it finds any.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph.fusions import find
from . import _patterns
from ._check import Shapes
from ._graph import Node
from ._kinds import Activation, Affine, Convolution, Op, Sum
from ._named import kinds_of

Array = npt.NDArray[Any]


def fused(nodes: list[Node], constants: dict[str, Array], shapes: Shapes, outputs: Collection[str]) -> list[Op]:
    """The operations of a model, merged where that gives the same result."""
    ops = kinds_of(_patterns.replaced(nodes, constants, outputs), constants, shapes)
    read = {value for op in ops for value in op.inputs} | set(outputs)
    for value in [value for value in constants if value not in read]:
        del constants[value]  # those that layers have; merging makes others of them
    while True:
        linked = _Linked(ops, outputs)
        merged = _merged(linked, constants)
        if len(merged) == len(ops):
            return ops
        ops = merged


class _Linked:
    """Operations as `find` reads a graph."""

    def __init__(self, ops: list[Op], outputs: Collection[str]) -> None:
        self.nodes, self.outputs = ops, set(outputs)
        self.readers: dict[str, list[int]] = {}
        for at, op in enumerate(ops):
            for value in set(op.inputs):
                self.readers.setdefault(value, []).append(at)

    def only_reader(self, op: Op) -> int | None:
        readers = self.readers.get(op.output, [])
        return readers[0] if len(readers) == 1 and op.output not in self.outputs else None


def _merged(linked: _Linked, constants: dict[str, Array]) -> list[Op]:
    """The operations with those merged that `find` found, one link of every row or more."""
    ops: list[Any] = list(linked.nodes)
    place = {op.output: at for at, op in enumerate(linked.nodes) if op.kind}
    for at, fusion in sorted(find(linked, training=False).items()):  # type: ignore[arg-type]
        second: Any = ops[at]
        before = [place[v] for v in dict.fromkeys(second.inputs) if v in place]
        before = [
            i for i in before if ops[i] is not None and linked.nodes[i].kind in fusion.first and _only(linked, ops[i])
        ]
        for first in sorted(before, reverse=True):
            made = _MERGES[fusion.name](ops[first], second) if fusion.name in _MERGES else None
            if made is not None:
                ops[first], ops[at] = None, made
                place[made.output] = at
                break
    return [op for op in ops if op is not None]


def _only(linked: _Linked, op: Any) -> bool:
    return linked.only_reader(op) is not None


def _activation(first: Op, second: Op) -> Op | None:
    if getattr(first.layer, "activation", second) is not None or not isinstance(second.layer, Activation):
        return None
    first.layer.activation = second.layer
    kind = "sum" if isinstance(first.layer, Sum) else ""  # a convolution can still take all of it
    return Op(kind, second.node, first.inputs, second.outputs, first.run, first.layer)


def _normalisation(first: Op, second: Op) -> Op | None:
    """The weights with the scale and the shift of what is behind them; two normalisations as one."""
    layer, norm = first.layer, second.layer
    if layer is None or layer.activation is not None or getattr(layer, "residual", False):
        return None
    scale, shift = norm.scale_and_shift()
    if isinstance(layer, Convolution | Affine):
        outputs = len(layer.W) if isinstance(layer, Convolution) else layer.outputs
        if len(scale) != outputs or layer.W.dtype != norm.dtype:
            return None
        affine = (-1, 1) if getattr(layer, "transposed", False) else (1, -1)
        per_output = (-1, 1, 1, 1) if isinstance(layer, Convolution) else affine
        dtype = layer.W.dtype
        layer.W = np.multiply(layer.W, scale.reshape(per_output).astype(dtype))
        b = shift if layer.b is None else layer.b.astype(np.float64) * scale + shift
        layer.b, layer.activation = b.astype(dtype), norm.activation
    elif len(layer.gamma) == len(scale):
        first.layer = layer = layer.then(norm)
    else:
        return None
    kind = "" if layer.activation else first.kind
    return Op(kind, second.node, first.inputs, second.outputs, layer.run, layer)


def _residual(first: Op, second: Op) -> Op | None:
    """A convolution that adds the other summand to its result."""
    layer, total = first.layer, second.layer
    if not isinstance(layer, Convolution) or not isinstance(total, Sum):
        return None
    others = [v for v in second.inputs if v != first.output]
    if layer.activation is not None or layer.residual or len(others) != 1:
        return None
    layer.residual, layer.activation = True, total.activation
    kind = "" if layer.activation else "sum"
    return Op(kind, second.node, (*first.inputs, others[0]), second.outputs, layer.run, layer)


_MERGES = {
    "activation": _activation,
    "second pass": _activation,
    "normalisation": _normalisation,
    "residual": _residual,
}
