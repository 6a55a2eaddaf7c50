"""THE table: class of a layer -> the rule that writes its nodes. A rule returns the name of the result.

ONNX keeps attributes in float32: where the numbers are finer, a formula with constants of their dtype stands for an
operator with attributes.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ... import layers
from . import windows
from .draft import Refusal, Site

Rule = Callable[[Site], str]

_COMPUTE = "forward", "join", "_f", "_pool"
"""Methods that say what a layer computes: a rule holds for a class that inherits them unchanged."""

GELU = 20  # the first operator set that has it
HARD_SWISH = 14


def _named(type: str, site: Site) -> str:
    """An operator without attributes."""
    return site.node(type, site.value())


def _along_axis(type: str, site: Site) -> str:
    return site.node(type, site.value(), axis=site.layer.axis)


def _leaky_relu(site: Site) -> str:
    slope = site.layer.negative_slope
    if site.exact:
        return site.node("LeakyRelu", site.value(), alpha=float(slope))
    return site.node("PRelu", site.value(), site.number("slope", slope))


def _relu6(site: Site) -> str:
    return _clipped_to_6(site, site.value())


def _clipped_to_6(site: Site, value: str) -> str:
    return site.node("Clip", value, site.number("low", 0.0), site.number("high", 6.0))


def _hard_sigmoid(site: Site) -> str:
    if site.exact:
        return site.node("HardSigmoid", site.value(), alpha=1 / 6, beta=0.5)
    return _exact_hard_sigmoid(site, site.value())


def _exact_hard_sigmoid(site: Site, x: str) -> str:
    shifted = site.node("Add", x, site.number("three", 3.0))
    return site.node("Div", _clipped_to_6(site, shifted), site.number("six", 6.0))


def _hard_swish(site: Site) -> str:
    x = site.value()
    if not site.exact:
        return site.node("Mul", x, _exact_hard_sigmoid(site, x))
    if site.draft.opset >= HARD_SWISH:
        return site.node("HardSwish", x)
    return site.node("Mul", x, site.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _silu(site: Site) -> str:
    x = site.value()
    return site.node("Mul", x, site.node("Sigmoid", x))


def _gelu(site: Site) -> str:
    x, approximate = site.value(), site.layer.approximate
    if site.draft.opset >= GELU:
        return site.node("Gelu", x, approximate=approximate)
    if approximate == "tanh":
        cube = site.node("Mul", site.node("Mul", x, x), site.node("Mul", x, site.number("cubic", 0.044715)))
        inner = site.node("Mul", site.node("Add", x, cube), site.number("scale", math.sqrt(2 / math.pi)))
        share = site.node("Tanh", inner)
    else:
        share = site.node("Erf", site.node("Mul", x, site.number("scale", math.sqrt(0.5))))
    half = site.node("Mul", x, site.number("half", 0.5))
    return site.node("Mul", half, site.node("Add", share, site.number("one", 1.0)))


def _affine(site: Site) -> str:
    if site.x.ndim == 1:
        raise Refusal("it reads an array of one axis; ONNX's operator needs (N, in)")
    x = site.value() if site.x.ndim == 2 else site.node("Flatten", site.value(), axis=1)
    inputs = [x, site.parameter("W")]
    if site.layer.b is not None:
        inputs.append(site.parameter("b", _vector(site.layer.b, site.layer.W.shape[1])))
    return site.node("Gemm", *inputs)


def _vector(v: Any, size: int) -> Any:
    return np.broadcast_to(np.reshape(v, -1), (size,))


def _normalised(site: Site, x: str, size: int, momentum: float) -> str:
    layer = site.layer
    scale, shift = (default if v is None else v for v, default in ((layer.gamma, 1.0), (layer.beta, 0.0)))
    vectors = {
        "gamma": scale, "beta": shift, "running_mean": layer.running_mean, "running_var": layer.running_var
    }  # fmt: skip
    inputs = [site.parameter(name, _vector(v, size)) for name, v in vectors.items()]
    return site.node("BatchNormalization", x, *inputs, epsilon=float(layer.eps), momentum=float(momentum))


def _channel_norm(site: Site) -> str:
    """PyTorch's momentum is the weight of the batch, ONNX's that of the past."""
    return _normalised(site, site.value(), site.x.shape[1], 1 - site.layer.momentum)


def _feature_norm(site: Site) -> str:
    """The book's: every number of a sample is a feature."""
    features = math.prod(site.x.shape[1:])
    if site.x.ndim == 2:
        return _normalised(site, site.value(), features, site.layer.momentum)
    y = _normalised(site, site.node("Flatten", site.value(), axis=1), features, site.layer.momentum)
    return site.reshape(y, 0, *site.x.shape[1:])


def _dropout(site: Site) -> str:
    """Nothing at inference; the book's multiplies by what it keeps."""
    if site.layer.inverted or site.layer.dropout_ratio == 0:
        return site.value()
    return site.node("Mul", site.value(), site.number("kept", 1.0 - site.layer.dropout_ratio))


def _local_response(site: Site) -> str:
    """Windows of an even size reach further down here and further up in ONNX; runtimes refuse them."""
    layer, x = site.layer, site.value()
    (C, *plane), size = site.x.shape[1:], layer.size
    if site.exact and size % 2 and len(plane) == 2:
        return site.node("LRN", x, size=size, alpha=float(layer.alpha), beta=float(layer.beta), bias=float(layer.k))
    rows = site.reshape(site.node("Mul", x, x), 0, 1, C, math.prod(plane))
    pads = [size // 2, 0, (size - 1) // 2, 0]
    means = site.node("AveragePool", rows, kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    scaled = site.node("Mul", site.reshape(means, 0, C, *plane), site.number("alpha", layer.alpha))
    base = site.node("Add", scaled, site.number("k", layer.k))
    return site.node("Div", x, site.node("Pow", base, site.number("beta", layer.beta)))


def _flatten(site: Site) -> str:
    return site.node("Flatten", site.value(), axis=1)


def _reshape(site: Site) -> str:
    shape = site.layer.shape
    if site.layer.keep_batch:
        return site.reshape(site.value(), 0, *shape)
    sizes = [None if n == -1 else n for n in shape]
    batch = site.sizes[0]
    if shape[0] == -1 and math.prod(shape[1:]) == math.prod(site.x.shape[1:]):
        sizes[0] = batch
    site.sizes = tuple(sizes) if isinstance(batch, str) or batch is None else site.y.shape
    return site.reshape(site.value(), *shape)


def _slice(site: Site) -> str:
    start, stop, _ = slice(site.layer.start, site.layer.stop).indices(site.x.shape[1])
    bounds = {"starts": start, "ends": stop, "axes": 1}
    return site.node("Slice", site.value(), *(site.integers(name, n) for name, n in bounds.items()))


def _channel_shuffle(site: Site) -> str:
    groups, (C, *plane) = site.layer.groups, site.x.shape[1:]
    x = site.reshape(site.value(), 0, groups, C // groups, *plane)
    turned = site.node("Transpose", x, perm=[0, 2, 1, *range(3, 3 + len(plane))])
    return site.reshape(turned, 0, C, *plane)


def _sum(site: Site) -> str:
    total = site.value(0)
    for i in range(1, len(site.values)):
        total = site.node("Add", total, site.value(i))
    return total


def _concatenate(site: Site) -> str:
    axis = site.layer.axis % site.y.ndim
    if axis == 0 and not isinstance(site.sizes[0], int):
        site.sizes = None, *site.sizes[1:]
    values = [site.value(i) for i in range(len(site.values))]
    return site.node("Concat", *values, axis=axis)


def _product(site: Site) -> str:
    return site.node("Mul", site.value(0), site.value(1))


RULES: dict[type, Rule] = {
    layers.AdaptiveAveragePooling: windows.adaptive_average_pooling,
    layers.Affine: _affine,
    layers.AveragePooling: windows.average_pooling,
    layers.BatchNorm2d: _channel_norm,
    layers.BatchNormalization: _feature_norm,
    layers.ChannelScale: _product,
    layers.ChannelShuffle: _channel_shuffle,
    layers.Concatenate: _concatenate,
    layers.Convolution: windows.convolution,
    layers.Dropout: _dropout,
    layers.Flatten: _flatten,
    layers.Gelu: _gelu,
    layers.GlobalAveragePooling: windows.global_average_pooling,
    layers.HardSigmoid: _hard_sigmoid,
    layers.HardSwish: _hard_swish,
    layers.LeakyRelu: _leaky_relu,
    layers.LocalResponseNormalization: _local_response,
    layers.LogSoftmax: partial(_along_axis, "LogSoftmax"),
    layers.MinPooling: windows.min_pooling,
    layers.Pooling: windows.max_pooling,
    layers.Relu: partial(_named, "Relu"),
    layers.Relu6: _relu6,
    layers.Reshape: _reshape,
    layers.Sigmoid: partial(_named, "Sigmoid"),
    layers.Silu: _silu,
    layers.Slice: _slice,
    layers.Softmax: partial(_along_axis, "Softmax"),
    layers.StochasticPooling: windows.stochastic_pooling,
    layers.Sum: _sum,
    layers.Tanh: partial(_named, "Tanh"),
    layers.TransposedConvolution: windows.transposed_convolution,
}


def rule_of(layer: Any) -> Rule:
    """The rule of a layer.

    Raises
    ------
    Refusal
        If there is none: a layer of the user's own, or one whose class or hooks change what it computes.
    """
    cls: Any = type(layer)
    if {"forward", "join"} & getattr(layer, "__dict__", {}).keys():
        raise Refusal("its forward was replaced on the object, as a hook does")
    owner: Any = next((c for c in cls.__mro__ if c in RULES), None)
    if owner is None:
        raise Refusal("this class has no form in ONNX")
    if any(getattr(cls, name, None) is not getattr(owner, name, None) for name in _COMPUTE):
        raise Refusal(f"its class changes what {owner.__name__} computes")
    return RULES[owner]
