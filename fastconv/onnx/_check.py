"""Whether a graph makes sense: the package onnx's checker and its inference of shapes, and what they leave out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ._graph import Node
from ._proto import ModelError, onnx

Array = npt.NDArray[Any]
Shapes = dict[str, tuple[int | str | None, ...]]

_LARGE = 4096  # numbers of a tensor that no shape is computed from


def verify(proto: Any, name: str, nodes: list[Node], constants: dict[str, Array]) -> tuple[Shapes, Any]:
    """The shapes of the values, as far as they are known before the inputs are, and the outputs with their types.

    Raises
    ------
    ModelError
        If the model breaks a rule of ONNX, or shapes do not fit each other.
    """
    light = _without_weights(proto, nodes, constants)
    try:
        for value in light.graph.output:  # the checker wants to see a shape, whichever
            value.type.tensor_type.shape.SetInParent()
        onnx("onnx.checker").check_model(light)
        for value in light.graph.output:  # what is written there may be of another batch; it is not needed
            value.type.tensor_type.ClearField("shape")
        inferred = onnx("onnx.shape_inference").infer_shapes(light, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # ValidationError, InferenceError, or one of protobuf's
        raise ModelError(f"{name}: {_first_lines(error)}") from None
    shapes: Shapes = {key: tuple(a.shape) for key, a in constants.items()}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes.setdefault(
                value.name,
                tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim),
            )
    return shapes, inferred.graph.output


def _without_weights(proto: Any, nodes: list[Node], constants: dict[str, Array]) -> Any:
    """The model with its nodes in order, and inputs in the place of its large tensors, which need not be copied."""
    light = type(proto)()
    light.ir_version = max(proto.ir_version, 4)  # from then on an initializer need not be an input
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    graph, source = light.graph, proto.graph
    graph.name = source.name or "graph"
    graph.node.extend(source.node[node.place] for node in nodes)
    graph.output.extend(source.output)
    graph.input.extend(v for v in source.input if v.name not in constants)
    for tensor in source.initializer:
        if constants[tensor.name].size <= _LARGE and tensor.data_location != onnx().TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        else:
            value = graph.input.add()
            value.name = tensor.name
            value.type.tensor_type.elem_type = tensor.data_type
            for n in tensor.dims:
                value.type.tensor_type.shape.dim.add().dim_value = n
    return light


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def weights_fit(nodes: list[Node], shapes: Shapes, name: str) -> None:
    """Compare constant weights with the channels that they meet, which the inference of shapes does not.

    Raises
    ------
    ModelError
        For the first node whose weights do not fit.
    """
    for node in nodes:
        given = [shapes.get(value) for value in node.inputs]
        problem = _PROBLEMS[node.type](node, given) if node.type in _PROBLEMS and not node.domain else ""
        if problem:
            raise ModelError(f"{name}: node {node}: {problem}")


def _differ(a: Any, b: Any) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a != b


def _convolution(node: Node, given: list[Any]) -> str:
    x, w, *b = given
    if x is None or w is None:
        return ""
    groups = node.attributes.get("group", 1)
    if len(x) != len(w) or len(w) < 3:
        return f"filters of shape {w} do not fit images of shape {x}"
    transposed = node.type == "ConvTranspose"
    into = w[0] if transposed else w[1] * groups if isinstance(w[1], int) else None
    if _differ(x[1], into) or (isinstance(w[0], int) and w[0] % max(groups, 1)):
        return f"filters of shape {w} in {groups} groups do not fit images of shape {x}"
    kernel = node.attributes.get("kernel_shape")
    if kernel is not None and any(_differ(n, k) for n, k in zip(w[2:], kernel, strict=False)):
        return f"filters of shape {w} are not of kernel_shape {list(kernel)}"
    out = w[1] * groups if transposed and isinstance(w[1], int) else w[0]
    if b and b[0] is not None and (len(b[0]) != 1 or _differ(b[0][0], out)):
        return f"a bias of shape {b[0]} does not fit filters of shape {w}"
    return ""


def _channels(node: Node, given: list[Any]) -> str:
    x = given[0]
    if x is None or len(x) < 2:
        return ""
    bad = next((v for v in given[1:] if v is not None and (len(v) != 1 or _differ(v[0], x[1]))), None)
    return "" if bad is None else f"a vector of shape {bad} does not fit the channels of shape {x}"


_PROBLEMS = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "BatchNormalization": _channels,
    "InstanceNormalization": _channels,
}


def is_channelwise(a: Any, channels: Any, rank: int) -> bool:
    """Whether an array broadcasts over images (N, C, ...) as one number for each channel, or one for all."""
    if not isinstance(a, np.ndarray) or not isinstance(channels, int) or a.ndim > rank:
        return False
    full = (1,) * (rank - a.ndim) + a.shape
    return all(n == 1 for i, n in enumerate(full) if i != 1) and full[1] in (1, channels)
