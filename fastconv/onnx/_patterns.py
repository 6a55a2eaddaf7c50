"""Rows of nodes that spell out what has a name: x * sigmoid(x), x * clip(x + 3, 0, 6) / 6, identities, padding.

The types "Relu6", "HardSigmoid6" (slope 1/6), "Silu" and "ExactGelu" are this module's own.
"""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops
from ._graph import Attributes, Node
from .operators.activation import is_sixth
from .operators.convolution import conv
from .operators.shape import numbers

Array = npt.NDArray[Any]


class _Nodes:
    """The nodes of a model while they are replaced."""

    def __init__(self, nodes: list[Node], constants: dict[str, Array], outputs: Collection[str]) -> None:
        self.nodes, self.constants, self.outputs = nodes, constants, set(outputs)
        self.link()

    def link(self) -> None:
        self.maker = {value: node for node in self.nodes for value in node.outputs if value}
        self.reads: dict[str, int] = {}
        for node in self.nodes:
            for value in node.inputs:
                self.reads[value] = self.reads.get(value, 0) + 1

    def made_by(self, value: str, *types: str, alone: bool = True) -> Node | None:
        """The node of one of these types that makes a value, which, if `alone`, is read once and is no output."""
        node = self.maker.get(value)
        if node is None or node.domain or node.type not in types or node.outputs[0] != value:
            return None
        return None if alone and (self.reads.get(value) != 1 or value in self.outputs) else node

    def number(self, value: str) -> float | None:
        """The one number that a constant is, if it is one."""
        a = self.constants.get(value)
        return float(a.reshape(())) if a is not None and a.size == 1 and a.ndim <= 1 and a.dtype.kind == "f" else None

    def other(self, node: Node, constant: float) -> str | None:
        """The other one of a node's two inputs, where one is that number, to float32's precision."""
        for here, there in ((0, 1), (1, 0)):
            number = self.number(node.inputs[here])
            if number is not None and abs(number - constant) <= 1e-6 * abs(constant):
                return node.inputs[there]
        return None


def replaced(nodes: list[Node], constants: dict[str, Array], outputs: Collection[str]) -> list[Node]:
    """The nodes with rows of them replaced by one; those that nobody reads any more are gone."""
    nodes = _nested(_without_identities(nodes, outputs))
    for rules in (_FIRST, _SECOND):
        work = _Nodes(nodes, constants, outputs)
        for at, node in enumerate(work.nodes):
            for rule in rules.get(node.type, ()) if not node.domain else ():
                made = rule(work, node)
                if made is not None:
                    work.nodes[at] = made
                    work.maker[made.outputs[0]] = made
                    break
        nodes = _read(work.nodes, outputs)
    return nodes


def _read(nodes: list[Node], outputs: Collection[str]) -> list[Node]:
    used, kept = set(outputs), []
    for node in reversed(nodes):
        if any(value in used for value in node.outputs):
            kept.append(node)
            used.update(node.inputs)
    return kept[::-1]


def _without_identities(nodes: list[Node], outputs: Collection[str]) -> list[Node]:
    """Readers of an identity read its source. One that makes an output stays."""
    names: dict[str, str] = {}
    kept = []
    read = {value for node in nodes for value in node.inputs} | set(outputs)
    for node in nodes:
        node = replace(node, inputs=tuple(names.get(value, value) for value in node.inputs))
        passes = node.type == "Identity" or (node.type == "Dropout" and _is_inference(node, read))
        if passes and not node.domain and node.outputs[0] not in outputs:
            names[node.outputs[0]] = node.inputs[0]
        else:
            kept.append(node)
    return kept


def _nested(nodes: list[Node]) -> list[Node]:
    """A concatenation that begins as an earlier one does reads its result: then both can share memory."""
    known: dict[tuple[Any, ...], str] = {}
    result = []
    for node in nodes:
        if node.type == "Concat" and not node.domain:
            axis, given = node.attributes.get("axis"), node.inputs
            for k in range(len(given) - 1, 1, -1):
                if (axis, *given[:k]) in known:
                    node = replace(node, inputs=(known[(axis, *given[:k])], *given[k:]))
                    break
            known.setdefault((axis, *given), node.outputs[0])
        result.append(node)
    return result


def _is_inference(node: Node, read: Collection[str]) -> bool:
    """Whether a dropout neither has a flag of training nor gives its mask to anyone."""
    flag = len(node.inputs) > 2 and node.inputs[2] != ""
    return not flag and not any(value in read for value in node.outputs[1:])


def _named(name: str, node: Node, x: str, run: Any) -> Node:
    return Node(name, node.name, "", node.opset, (x,), node.outputs[:1], {}, run)


def _relu6(work: _Nodes, node: Node) -> Node | None:
    bounds = _bounds(work, node)
    return _named("Relu6", node, node.inputs[0], ops.relu6) if bounds == (0.0, 6.0) else None


def _bounds(work: _Nodes, node: Node) -> tuple[float | None, float | None]:
    if node.opset < 11:
        return node.attributes.get("min"), node.attributes.get("max")
    given = [work.number(value) if value else None for value in node.inputs[1:]] + [None, None]
    return given[0], given[1]


def _relu_by_clip(work: _Nodes, node: Node) -> Node | None:
    upper = len(node.inputs) > 2 and node.inputs[2] != ""
    if upper or _bounds(work, node) != (0.0, None):
        return None
    return _named("Relu", node, node.inputs[0], lambda x: np.maximum(x, x.dtype.type(0)))


def _hard_sigmoid(work: _Nodes, node: Node) -> Node | None:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if not is_sixth(alpha) or beta != 0.5:
        return None
    return _named("HardSigmoid6", node, node.inputs[0], ops.hard_sigmoid)


def _six_times_hard_sigmoid(work: _Nodes, value: str) -> str | None:
    """x, where the value is clip(x + 3, 0, 6)."""
    clip = work.made_by(value, "Relu6")
    plus = clip and work.made_by(clip.inputs[0], "Add")
    return work.other(plus, 3.0) if plus else None


def _sixth_of(work: _Nodes, node: Node) -> str | None:
    """What is divided by 6, or multiplied by a sixth."""
    if node.type == "Div":
        number = work.number(node.inputs[1])
        return node.inputs[0] if number == 6.0 else None
    return work.other(node, 1 / 6)


def _spelled_hard_sigmoid(work: _Nodes, node: Node) -> Node | None:
    value = _sixth_of(work, node)
    x = value and _six_times_hard_sigmoid(work, value)
    return _named("HardSigmoid6", node, x, ops.hard_sigmoid) if x else None


def _spelled_hard_swish(work: _Nodes, node: Node) -> Node | None:
    """x * clip(x + 3, 0, 6) / 6."""
    value = _sixth_of(work, node)
    product = value and work.made_by(value, "Mul")
    for x, factor in _orders(product) if product else ():
        if _six_times_hard_sigmoid(work, factor) == x:
            return _named("HardSwish", node, x, ops.hard_swish)
    return None


def _orders(node: Node) -> tuple[tuple[str, str], tuple[str, str]]:
    a, b = node.inputs
    return (a, b), (b, a)


def _times_itself(work: _Nodes, node: Node) -> Node | None:
    """x * sigmoid(x), x * hard_sigmoid(x)."""
    for x, factor in _orders(node):
        gate = work.made_by(factor, "Sigmoid", "HardSigmoid6")
        if gate is not None and gate.inputs[0] == x:
            silu = gate.type == "Sigmoid"
            return _named("Silu" if silu else "HardSwish", node, x, ops.silu if silu else ops.hard_swish)
    return None


def _spelled_gelu(work: _Nodes, node: Node) -> Node | None:
    """x * (1 + erf(x / sqrt 2)) / 2, multiplied in any order."""
    factors = _factors(work, node.outputs[0], 3)
    halves = [v for v in factors if work.number(v) == 0.5]
    for plus_value in factors:
        plus = work.made_by(plus_value, "Add")
        value = work.other(plus, 1.0) if plus else None
        erf = work.made_by(value, "Erf") if value else None
        scaled = work.maker.get(erf.inputs[0]) if erf else None
        if scaled is None or work.reads.get(scaled.outputs[0]) != 1:
            continue
        if scaled.type == "Div":
            divisor = work.number(scaled.inputs[1])
            x = scaled.inputs[0] if divisor is not None and abs(divisor - math.sqrt(2)) < 1e-6 else None
        else:
            x = work.other(scaled, math.sqrt(0.5)) if scaled.type == "Mul" else None
        if x is not None and len(factors) == 3 and len(halves) == 1 and x in factors:
            return _named("ExactGelu", node, x, ops.gelu)
    return None


def _factors(work: _Nodes, value: str, most: int) -> list[str]:
    """What is multiplied to a value."""
    node = work.maker.get(value)
    if node is None or node.type != "Mul" or most < 2:
        return [value]
    a, b = node.inputs
    inner = work.made_by(a, "Mul"), work.made_by(b, "Mul")
    if inner[0] is not None:
        return [*inner[0].inputs, b]
    return [a, *inner[1].inputs] if inner[1] is not None else [a, b]


def _padded_conv(work: _Nodes, node: Node) -> Node | None:
    """A convolution of an image framed by zeros."""
    pad = work.made_by(node.inputs[0], "Pad")
    if pad is None or node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    if pad.attributes.get("mode", "constant") != "constant" or len(pad.inputs) > 3:
        return None
    if pad.opset < 11:
        pads, fill = pad.attributes.get("pads"), pad.attributes.get("value", 0.0)
    else:
        given = work.constants.get(pad.inputs[1])
        fill = 0.0 if len(pad.inputs) < 3 or not pad.inputs[2] else work.number(pad.inputs[2])
        pads = None if given is None else numbers(given)
    if pads is None or len(pads) != 8 or fill != 0 or min(pads) < 0 or any(pads[i] for i in (0, 1, 4, 5)):
        return None
    own = node.attributes.get("pads", (0, 0, 0, 0)) if node.attributes.get("auto_pad") != "VALID" else (0, 0, 0, 0)
    attributes = {k: v for k, v in node.attributes.items() if k != "auto_pad"}
    attributes["pads"] = tuple(a + b for a, b in zip(own, (pads[2], pads[3], pads[6], pads[7]), strict=True))
    made = replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes=attributes)
    made.run = conv(Attributes(made))
    return made


_FIRST: dict[str, Any] = {
    "Clip": (_relu6, _relu_by_clip),
    "HardSigmoid": (_hard_sigmoid,),
    "Conv": (_padded_conv,),
    "Mul": (_spelled_hard_sigmoid, _spelled_hard_swish, _spelled_gelu),
    "Div": (_spelled_hard_sigmoid, _spelled_hard_swish),
}
_SECOND: dict[str, Any] = {"Mul": (_times_itself,)}
