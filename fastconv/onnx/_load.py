"""From a file, bytes or a ModelProto to a Model: everything is checked before anything is computed."""

from typing import Any

from . import _branches, _check, _fold, _graph, _proto
from ._fuse import fused
from ._graph import Attributes, Node, Unsupported, Value
from ._kinds import Op
from ._plan import Program
from ._proto import ModelError
from .model import Model
from .operators import OPERATORS

OLDEST = 6


def load(source: Any, *, fuse: bool = True) -> Model:
    """A model in ONNX's format, ready to run.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        With a path, weights may lie in other files of its folder.
    fuse : bool
        Whether nodes may be merged: batch normalisation into convolutions, activations into what is before them. False
        runs the nodes one by one.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        When the file is damaged, its graph makes no sense, or nodes are not supported: the message lists them all.
    ModuleNotFoundError
        When the package onnx is not installed.
    """
    proto, name, folder = _proto.read(source)
    source = None  # the bytes of a large model are not needed any more
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{name}: is not an ONNX model: it has no graph, or no version of its operators")
    if proto.functions:
        proto = _proto.inlined(proto, name)
    graph = proto.graph
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in proto.opset_import}
    if not opsets.get("", 0) >= OLDEST:
        raise ModelError(f"{name}: has opset {opsets.get('', 0)}; {OLDEST} and newer ones are supported")
    if graph.sparse_initializer:
        raise ModelError(f"{name}: has sparse initializers, which are not supported")
    parameters = {t.name: _parameter(t, f"{name}: initializer {t.name!r}") for t in graph.initializer}
    if len(parameters) < len(graph.initializer):
        raise ModelError(f"{name}: two initializers have the same name")
    constants = {t.name: _proto.array(t, f"{name}: initializer {t.name!r}", folder) for t in graph.initializer}
    inputs = [_value(v, f"{name}: input {v.name!r}") for v in graph.input if v.name not in constants]
    output_names = [v.name for v in graph.output]
    given = {*constants, *(v.name for v in inputs)}
    nodes = _graph.nodes(graph, opsets, folder, name)
    _branches.resolve(nodes, opsets, folder, name)
    nodes = _graph.in_order(nodes, given, output_names, name)
    _support(nodes, name)
    shapes, results = _check.verify(proto, name, nodes, constants)
    outputs = [_value(v, f"{name}: output {v.name!r}") for v in results]
    _check.weights_fit(nodes, shapes, name)
    del proto, graph
    left = _fold.constants(_fold.read(nodes, output_names), constants, name)
    shapes.update((key, a.shape) for key, a in constants.items())
    if fuse:
        ops = fused(left, constants, shapes, output_names)
    else:
        ops = [Op("", node, node.inputs, node.outputs, node.run) for node in left]  # type: ignore[arg-type]
    return Model(name, inputs, outputs, nodes, parameters, Program(name, ops, constants, inputs, outputs))


def _parameter(tensor: Any, what: str) -> Value:
    return Value(tensor.name, tuple(tensor.dims), _proto.type_of(tensor.data_type, what))


def _value(proto: Any, what: str) -> Value:
    if not proto.type.HasField("tensor_type"):
        raise ModelError(f"{what}: is not a tensor, which is not supported")
    tensor = proto.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)
    return Value(proto.name, shape, _proto.type_of(tensor.elem_type, what))


def _support(nodes: list[Node], name: str) -> None:
    """Give every node its function, or list those that have none."""
    reasons = []
    everything = _branches.inside(nodes)
    for node in everything:
        try:
            node.run = _function(node)
        except Unsupported as reason:
            reasons.append(f"  {node}: {reason}")
    if reasons:
        raise ModelError(f"{name}: {len(reasons)} of {len(everything)} nodes are not supported:\n" + "\n".join(reasons))


def _function(node: Node) -> Any:
    operator = None if node.domain else OPERATORS.get(node.type)
    if operator is None:
        raise Unsupported("unknown operator")
    least, most = operator.inputs
    given = len(node.inputs)
    if not least <= given <= most or "" in node.inputs[:least]:
        raise Unsupported(f"takes {least} to {most} inputs, has {given}")
    if len(node.outputs) > operator.outputs:
        raise Unsupported(f"gives {operator.outputs} outputs, not {len(node.outputs)}")
    attributes = Attributes(node)
    run = operator.make(attributes)
    if attributes.leftover():
        raise Unsupported(f"attributes {', '.join(attributes.leftover())}")
    return run
