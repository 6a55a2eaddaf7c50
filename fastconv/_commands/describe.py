"""``fastconv info MODEL``: operators, parameters and arithmetic of an ONNX file."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import onnx as fastconv_onnx
from .._extras import require
from ..onnx import Value, _proto
from . import shapes

Shape = tuple[int, ...]

_SMALL = 1000  # numbers of an array that may be a shape, which the inference of shapes has to see


@dataclass(frozen=True, slots=True)
class Row:
    """A node of the file.

    Attributes
    ----------
    shape : tuple of int, or None where it is not known
        Of its first result.
    parameters : int
        Numbers of the arrays that no node before has read.
    multiply_adds : int, or None where sizes are not known
    """

    type: str
    name: str
    shape: Shape | None
    parameters: int
    multiply_adds: int | None


def show(
    path: Path, batch: int | None, size: tuple[int, int] | None, nodes: bool, print_: Callable[[str], None]
) -> None:
    """Print what a file holds, and whether fastconv can run it."""
    proto, *_ = _proto.read(path)
    if not proto.HasField("graph"):
        raise ValueError(f"{path}: is not an ONNX model")
    known = {t.name for t in proto.graph.initializer}
    inputs = [_value(v) for v in proto.graph.input if v.name not in known]
    outputs = [_value(v) for v in proto.graph.output]
    opsets = ", ".join(f"{o.domain or 'ONNX'} {o.version}" for o in proto.opset_import)
    maker = f"{proto.producer_name} {proto.producer_version}".strip() or "unknown"
    print_(f"{'model':12} {path}, {path.stat().st_size / 1e6:,.1f} MB, operators of {opsets}, made by {maker}")
    for what, values in (("input", inputs), ("output", outputs)):
        for value in values:
            print_(f"{what:12} {value.name} {_shown(value.shape)} {value.dtype}")
    wanted, why = _wanted(inputs, batch, size)
    rows = table(proto, wanted)
    print_(f"{'parameters':12} {sum(row.parameters for row in rows):,}")
    total = sum(row.multiply_adds or 0 for row in rows)
    if wanted:
        given = ", ".join(f"{name} {shape}" for name, shape in wanted.items())
        unknown = sum(row.multiply_adds is None for row in rows)
        more = f", without {unknown} nodes of unknown size" if unknown else ""
        print_(f"{'arithmetic':12} {total:,} multiply-adds for {given}{more}")
    else:
        print_(f"{'arithmetic':12} unknown: {why}")
    print_(f"{'fastconv':12} {_support(path)}")
    print_("")
    for line in _by_operator(rows, total):
        print_(line)
    if nodes:
        print_("")
        for line in _by_node(rows):
            print_(line)


def _value(proto: Any) -> Value:
    tensor = proto.type.tensor_type
    dims = tensor.shape.dim if tensor.HasField("shape") else None
    shape = (
        None if dims is None else tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims)
    )
    return Value(proto.name, shape, _proto.type_of(tensor.elem_type, proto.name))


def _wanted(inputs: list[Value], batch: int | None, size: tuple[int, int] | None) -> tuple[dict[str, Shape], str]:
    """The shapes to count for; or why there are none, unless the user named some."""
    fixed = shapes.batch_of(inputs)
    if batch is not None and fixed not in (None, batch):
        raise ValueError(f"--batch: this model takes {fixed} samples at once, got {batch}")
    try:
        found = shapes.fixed(inputs, batch or 1, size)
    except ValueError as error:
        if size is not None:
            raise
        return {}, str(error)
    return dict(zip((value.name for value in inputs), found, strict=True)), ""


def _support(path: Path) -> str:
    try:
        fastconv_onnx.load(path)
    except ValueError as error:
        return "cannot run it: " + " ".join(str(error).removeprefix(f"{path}: ").split())
    return "can run it"


def table(proto: Any, wanted: Mapping[str, Shape]) -> list[Row]:
    """A row for every node, for inputs of these shapes (empty: what the file tells)."""
    known = _known_shapes(proto, wanted)
    floats = {t.name: math.prod(t.dims) for t in proto.graph.initializer if _is_float(t.data_type)}
    rows = []
    for node in proto.graph.node:
        parameters = sum(floats.pop(name, 0) for name in node.input) + _constants(node)
        output = known.get(node.output[0]) if node.output else None
        rows.append(Row(node.op_type, node.name, output, parameters, _multiply_adds(node, known)))
    return rows


def _is_float(element_type: int) -> bool:
    helper = require("onnx", "onnx", "an ONNX file").helper
    return np.dtype(helper.tensor_dtype_to_np_dtype(element_type)).kind not in "iubSUO"


def _constants(node: Any) -> int:
    """Numbers of a node that is a constant."""
    if node.op_type != "Constant":
        return 0
    return sum(math.prod(a.t.dims) for a in node.attribute if a.HasField("t") and _is_float(a.t.data_type))


def _known_shapes(proto: Any, wanted: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shape of every value that ONNX can infer, without copies of the large arrays."""
    onnx = require("onnx", "onnx", "an ONNX file")
    small = onnx.ModelProto()
    small.CopyFrom(_without_arrays(onnx, proto))
    del small.graph.value_info[:]
    for value in small.graph.input:
        for at, n in enumerate(wanted.get(value.name, ())):
            value.type.tensor_type.shape.dim[at].dim_value = n
    for value in small.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(small, data_prop=True).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    known = {t.name: tuple(t.dims) for t in inferred.initializer}
    return known | {v.name: shape for v in values if (shape := _shape(v)) is not None}


def _without_arrays(onnx: Any, proto: Any) -> Any:
    """The model with its large arrays, and those in other files, as inputs."""
    light = onnx.ModelProto(
        ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import, functions=proto.functions
    )
    graph = light.graph
    graph.name = proto.graph.name or "graph"
    graph.node.extend(proto.graph.node)
    graph.output.extend(proto.graph.output)
    held = {t.name for t in proto.graph.initializer}
    graph.input.extend(v for v in proto.graph.input if v.name not in held)
    for t in proto.graph.initializer:
        if math.prod(t.dims) <= _SMALL and not t.external_data:
            graph.initializer.append(t)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)))
    return light


def _shape(value: Any) -> Shape | None:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    dims = tensor.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _multiply_adds(node: Any, known: Mapping[str, Shape]) -> int | None:
    """Products that are summed; None where a size is not known."""
    count = _COUNTS.get(node.op_type) if not node.domain else None
    if count is None:
        return 0
    read, made = [known.get(name) for name in node.input], known.get(node.output[0])
    if made is None or read[0] is None or read[1] is None:
        return None
    return count(node, read[0], read[1], made)


def _of_gemm(node: Any, x: Shape, w: Shape, y: Shape) -> int:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(y) * x[0 if transposed else 1]


_COUNTS: dict[str, Callable[[Any, Shape, Shape, Shape], int]] = {
    "Conv": lambda node, x, w, y: math.prod(y) * math.prod(w[1:]),
    "ConvTranspose": lambda node, x, w, y: math.prod(x) * math.prod(w[1:]),
    "Gemm": _of_gemm,
    "MatMul": lambda node, x, w, y: math.prod(y) * x[-1],
}


def _by_operator(rows: list[Row], total: int) -> list[str]:
    """Operators with their counts, the most work first."""
    sums: dict[str, list[int]] = {}
    for row in rows:
        entry = sums.setdefault(row.type, [0, 0, 0])
        for i, n in enumerate((1, row.parameters, row.multiply_adds or 0)):
            entry[i] += n
    ordered = sorted(sums.items(), key=lambda item: (-item[1][2], -item[1][0], item[0]))
    lines = [f"{'operator':24}{'count':>8}{'parameters':>15}{'multiply-adds':>18}{'share':>8}"]
    for type, (count, parameters, work) in ordered:
        share = f"{100 * work / total:7.1f}%" if total and work else ""
        lines.append(f"{type:24}{count:8,}{_number(parameters):>15}{_number(work):>18}{share:>8}".rstrip())
    return lines


def _by_node(rows: list[Row]) -> list[str]:
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{'operator':24}{'name':{width}}  {'result':22}{'parameters':>15}{'multiply-adds':>18}"]
    for row in rows:
        numbers = f"{_number(row.parameters):>15}{_number(row.multiply_adds):>18}"
        lines.append(f"{row.type:24}{row.name:{width}}  {_shown(row.shape):22}{numbers}".rstrip())
    return lines


def _number(n: Any) -> str:
    return f"{n:,}" if n else ""


def _shown(shape: Any) -> str:
    return "(any shape)" if shape is None else f"({', '.join('?' if n is None else str(n) for n in shape)})"
