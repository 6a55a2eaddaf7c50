"""Nodes with the kinds of the graph's fusions, where these know them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ._check import Shapes, is_channelwise
from ._graph import Node
from ._kinds import Activation, Affine, AveragePool, Convolution, Flat, Gate, MaxPool, Norm, Op, Sum

Array = npt.NDArray[Any]
_FLOATS = (np.float32, np.float64)


def kinds_of(nodes: list[Node], constants: dict[str, Array], shapes: Shapes) -> list[Op]:
    """An operation for every node."""
    made = []
    for node in nodes:
        rule = _RULES.get(node.type) if not node.domain else None
        op = rule(node, constants, shapes) if rule else None
        made.append(op or Op("", node, node.inputs, node.outputs, node.run or _missing))
    return made


def _missing(*arrays: Array) -> Array:
    raise ValueError("has no function")


def _op(kind: str, node: Node, layer: Any, inputs: tuple[str, ...]) -> Op:
    return Op(kind, node, inputs, node.outputs[:1], layer.run, layer)


def _conv(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    w = constants.get(node.inputs[1])
    b = constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if w is None or w.ndim != 4 or w.dtype not in _FLOATS or (len(node.inputs) > 2 and node.inputs[2] and b is None):
        return None
    if b is not None and (b.shape != (len(w),) or b.dtype != w.dtype):
        return None
    run: Any = node.run
    if run.window.kernel not in (None, w.shape[2:]):
        return None
    layer = Convolution(None, np.ascontiguousarray(w), b, run.window, run.groups)
    return _op("conv2d", node, layer, node.inputs[:1])


def _gemm(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    run: Any = node.run
    w = constants.get(node.inputs[1])
    c = constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    given = len(node.inputs) > 2 and node.inputs[2] != ""
    if w is None or w.ndim != 2 or w.dtype not in _FLOATS or run.turned or (given and c is None):
        return None
    W, outputs = np.ascontiguousarray(_scaled(w, run.alpha)), w.shape[0 if run.w_turned else 1]
    b = None
    if c is not None:
        if c.dtype != w.dtype or c.shape not in ((), (1,), (1, 1), (outputs,), (1, outputs)):
            return None
        b = np.ascontiguousarray(np.broadcast_to(_scaled(c.reshape(-1), run.beta), (outputs,)))
    return _op("affine", node, Affine(None, W, b, run.w_turned, rows_only=True), node.inputs[:1])


def _scaled(a: Array, factor: float) -> Array:
    return a if factor == 1 else a * a.dtype.type(factor)


def _matmul(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    w, rank = constants.get(node.inputs[1]), len(shapes.get(node.inputs[0]) or ())
    if w is None or w.ndim != 2 or w.dtype not in _FLOATS or rank < 2:
        return None
    return _op("affine", node, Affine(None, np.ascontiguousarray(w)), node.inputs[:1])


def _batch_normalization(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    run: Any = node.run
    vectors = [constants.get(value) for value in node.inputs[1:]]
    if run.eps is None or any(v is None or v.dtype not in _FLOATS or v.ndim != 1 for v in vectors):
        return None
    dtypes: set[Any] = {v.dtype for v in vectors}  # type: ignore[union-attr]
    if len(dtypes) > 1 or len(shapes.get(node.inputs[0]) or ()) < 2:
        return None
    gamma, beta, mean, var = (v.astype(np.float64) for v in vectors)  # type: ignore[union-attr]
    return _op("batch_norm", node, Norm(None, gamma, beta, mean, var, run.eps, dtypes.pop()), node.inputs[:1])


def _per_channel(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    """Products, sums and differences of images, or rows, with one number for each channel."""
    first, second = node.inputs
    x, c = (first, second) if second in constants else (second, first)
    shape, number = shapes.get(x) or (), constants.get(c)
    if len(shape) not in (2, 4) or x in constants or number is None or number.dtype not in _FLOATS:
        return None
    if not is_channelwise(number, shape[1], len(shape)) or (node.type in ("Sub", "Div") and x != first):
        return None
    channels: Any = shape[1]
    value = np.broadcast_to(number.reshape(-1).astype(np.float64), (channels,))
    ones, zeros = np.ones(channels), np.zeros(channels)
    scale, shift = {
        "Add": (ones, value), "Sub": (ones, -value), "Mul": (value, zeros), "Div": (ones, zeros),
    }[node.type]  # fmt: skip
    if node.type == "Div":
        with np.errstate(all="ignore"):
            scale = 1 / value
    if not np.isfinite(scale).all():
        return None
    return _op("batch_norm", node, Norm(None, scale, shift, zeros, ones, 0.0, number.dtype), (x,))


def _sum(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    if len(node.inputs) != 2 or any(value in constants for value in node.inputs):
        return _per_channel(node, constants, shapes) if node.type == "Add" and node.opset >= 7 else None
    a, b = (shapes.get(value) for value in node.inputs)
    if a is None or a != b or (node.opset < 7 and node.attributes):
        return None
    return _op("sum", node, Sum(None), node.inputs)


def _product(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    if node.opset < 7:
        return None
    if node.type == "Mul" and not any(value in constants for value in node.inputs):
        return _gate(node, shapes)
    return _per_channel(node, constants, shapes)


def _gate(node: Node, shapes: Shapes) -> Op | None:
    a, b = (shapes.get(value) or () for value in node.inputs)
    if len(a) != 4 or len(b) != 4:
        return None
    if b[2:] == (1, 1) != a[2:]:
        return _op("", node, Gate(None), node.inputs)
    return _op("", node, Gate(None), node.inputs[::-1]) if a[2:] == (1, 1) != b[2:] else None


def _named(name: str) -> Callable[..., Op]:
    return lambda node, constants, shapes: _op(name, node, Activation(name), node.inputs[:1])


def _relu(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op:
    """Alone it takes integers, too."""
    return Op("relu", node, node.inputs, node.outputs, node.run or _missing, Activation("relu"))


def _leaky_relu(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op:
    run: Any = node.run
    return _op("leaky_relu", node, Activation("leaky_relu", run.slope), node.inputs)


def _max_pool(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    run: Any = node.run
    if any(node.outputs[1:]) or len(shapes.get(node.inputs[0]) or ()) != 4:
        return None
    return _op("max_pool2d", node, MaxPool(run.window, run.ceil_mode, run), node.inputs)


def _average_pool(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    run: Any = node.run
    if len(shapes.get(node.inputs[0]) or ()) != 4:
        return None
    return _op("avg_pool2d", node, AveragePool(run.window, run.ceil_mode, run.include_pad, run), node.inputs)


def _flatten(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    run: Any = node.run
    if run.axis != 1 or len(shapes.get(node.inputs[0]) or ()) < 2:
        return None
    return _op("flatten", node, Flat(run), node.inputs)


def _reshape(node: Node, constants: dict[str, Array], shapes: Shapes) -> Op | None:
    """(N, C, H, W) -> (N, -1) and (0, -1), and sizes that say the same."""
    to, x, y = constants.get(node.inputs[1]), shapes.get(node.inputs[0]) or (), shapes.get(node.outputs[0]) or ()
    if to is None or to.size != 2 or len(x) < 2 or len(y) != 2:
        return None
    sizes: list[int] = [n for n in x[1:] if isinstance(n, int)]
    rows = math.prod(sizes) if len(sizes) == len(x) - 1 else None
    keeps = to[0] == 0 or (x[0] is not None and x[0] == y[0]) or (rows is not None and to[1] == rows)
    run: Any = node.run
    return _op("flatten", node, Flat(lambda a: run(a, to)), node.inputs[:1]) if keeps else None


_RULES: dict[str, Callable[[Node, dict[str, Array], Shapes], Op | None]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_normalization,
    "Add": _sum,
    "Sum": _sum,
    "Sub": _product,
    "Mul": _product,
    "Div": _product,
    "Relu": _relu,
    "Relu6": _named("relu6"),
    "Sigmoid": _named("sigmoid"),
    "Tanh": _named("tanh"),
    "HardSigmoid6": _named("hard_sigmoid"),
    "HardSwish": _named("hard_swish"),
    "Silu": _named("silu"),
    "ExactGelu": _named("gelu"),
    "LeakyRelu": _leaky_relu,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "Flatten": _flatten,
    "Reshape": _reshape,
}
