"""Prediction compiled: a graph as chains of prepared steps, for one shape of input.

A row of nodes, each the only reader of the one before, becomes a chain: its images are taken through several layers
while they are in cache. Joins, and layers without a prepared form, run as they are between the chains.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _prepare as prepare
from .._settings import settings
from .._threads import expect
from ._watch import Watch
from .fusions import WEIGHTS, Fusion, find
from .nodes import JOINS, Graph, Node

try:
    from ..kernels.chain.cy import Chain

    _PREPARES = True
except ImportError:  # a build without the compiled kernels: no layer has a prepared form
    _PREPARES = False

Array = npt.NDArray[Any]

_MOST_PLANS = 8  # shapes of input that a predictor keeps ready
_ELEMENTWISE = frozenset({"relu", "leaky_relu", "sigmoid", "tanh"})


class Predictor:
    """A network's `predict`, compiled: what `Network.compile` returns.

    Called with x, it gives what `network.predict(x)` gives, the same bits or, where batch normalisation was folded into
    the weights before it or a convolution is Winograd's, the same but for rounding. A call of a new shape or dtype of x
    prepares a plan for it; later ones run that plan.

    Parameters changed in place, replaced arrays and layers, changed strides, paddings, ratios and hooks are all noticed
    in the next call, which prepares anew: no result is computed from old parameters. Biases and the matrices of affine
    layers are read where they are. Of filters, and of what is folded with a batch normalisation, a plan keeps packed
    copies; the originals are read once a call and a fingerprint of theirs compared: one number changed is always seen,
    and that a change of several is not has a chance below 1 in 4 billion. Nothing may change *during* a call.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def __call__(self, x: Array) -> Array:
        """The scores of x, as `network.predict(x)`."""
        if type(x) is not np.ndarray:
            return self.network.predict(x)
        key = x.shape, x.dtype, settings.float32_conv_precision, settings.backend
        plan = self._plans.get(key)
        if plan is not None:
            expect(plan.nanoseconds)
        y = plan(x) if plan is not None and plan.holds() else None
        return self._prepare(key, x) if y is None else y

    def predict(self, x: Array) -> Array:
        """The same, for code that expects a network."""
        return self(x)

    def _prepare(self, key: tuple[Any, ...], x: Array) -> Array:
        """Make a plan for arrays like x; its scores."""
        if not _PREPARES or settings.backend is not None:
            return self.network.predict(x)
        if not _is_dense(x):
            return self(np.require(x, requirements=("C", "A")))
        plan = _Plan(self.network.graph())
        y = plan.prepare(x)
        self._plans.pop(key, None)
        self._plans[key] = plan
        if len(self._plans) > _MOST_PLANS:
            del self._plans[next(iter(self._plans))]
        return y


class _Plan:
    """Chains of prepared steps, and nodes that run as they are between them, for one shape and dtype of x."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._fusions = find(graph, training=False)
        self._parts: list[tuple[Any, tuple[int, ...], int]] = []  # what runs, the values that it reads, its result
        self._dead: list[list[int]] = []  # behind every part, the values that no later one reads
        self._bindings: list[tuple[dict[str, Any], str]] = []
        self._copied: list[Array] = []
        self._in_place: list[Array] = []
        self.nanoseconds = 0.0  # of all chains, on one thread

    def holds(self) -> bool:
        """Whether the network is still the one that was prepared."""
        return self._watch.unchanged()

    def __call__(self, x: Array) -> Array | None:
        """The scores, or None when a layer that runs as it is gave another shape than before."""
        if len(self._parts) == 1:
            return self._parts[0][0](x)
        values: list[Any] = [None] * (len(self._graph.nodes) + 1)
        values[0] = x
        for (part, inputs, output), dead in zip(self._parts, self._dead, strict=True):
            y = part(values[inputs[0]]) if len(inputs) == 1 else part(*[values[i] for i in inputs])
            if y is None:
                return None
            values[output] = y
            for value in dead:
                values[value] = None
        return values[self._graph.output]

    def prepare(self, x: Array) -> Array:
        """Prepare for arrays like x; its scores."""
        nodes = self._graph.nodes
        values: list[Any] = [None] * (len(nodes) + 1)
        values[0] = x
        at = 0
        while at < len(nodes):
            node = nodes[at]
            given = [values[i] for i in node.inputs]
            links = _Links(self._row(at), self._fusions, at, given[0])
            part: Any
            if links.steps:
                part, count = Chain(links.steps, given[0], links.shape), links.count
                self.nanoseconds += part.nanoseconds
            else:
                part = _AsItIs(node, nodes[at + 1] if self._activates(at + 1) else None)
                count = len(part.nodes)
            output = nodes[at + count - 1].output
            self._parts.append((part, node.inputs, output))
            self._bindings += links.bindings
            self._copied += links.copied
            self._in_place += links.in_place
            values[output] = part(*given)
            at += count
        last = {value: i for i, (_, inputs, _) in enumerate(self._parts) for value in inputs}
        self._dead = [[v for v, i in last.items() if i == at] for at in range(len(self._parts))]
        self._watch = Watch([*self._graph.bindings, *self._bindings], self._copied, self._in_place, self._graph.holders)
        return values[self._graph.output]

    def _row(self, at: int) -> list[Node]:
        """The nodes from one on, each the only reader of the one before."""
        nodes = self._graph.nodes
        end = at + 1
        if nodes[at].kind in JOINS:
            return []
        while self._graph.only_reader(nodes[end - 1]) == end and nodes[end].kind not in JOINS:
            end += 1
        return nodes[at:end]

    def _activates(self, at: int) -> bool:
        return at in self._fusions and self._fusions[at].name == "activation"


class _AsItIs:
    """A node in prediction; with the ReLU behind it where the two are fused."""

    def __init__(self, node: Node, relu: Node | None) -> None:
        self.nodes = [node] if relu is None else [node, relu]
        self._layer, self._relu = node.layer, None if relu is None else relu.layer
        self._joins = node.kind in JOINS
        self._flag = getattr(node.layer, "takes_train_flg", False)

    def __call__(self, *values: Array) -> Array:
        if self._joins:
            return self._layer.join(*values, **({} if self._relu is None else {"activation": "relu"}))
        options = {} if self._relu is None else {"activation": "relu"}
        return self._layer.forward(*values, *((False,) if self._flag else ()), **options)


class _Links:
    """The steps of as many nodes of a row as can be prepared, for an input like x.

    Attributes
    ----------
    steps : list of Step
    count : int
        How many nodes they are.
    shape : tuple of int
        Of the result.
    bindings : list of (dict, name)
        The attributes that the steps depend on.
    copied : list of ndarray
        Arrays of which they keep copies.
    in_place : list of ndarray
        The weights, most of which they read where they are.
    """

    def __init__(self, row: list[Node], fusions: dict[int, Fusion], at: int, x: Array) -> None:
        self.steps: list[Any] = []
        self.bindings: list[tuple[dict[str, Any], str]] = []
        self.copied: list[Array] = []
        self.in_place: list[Array] = []
        self.count, self.shape, self.dtype = 0, x.shape, x.dtype
        self._row = row
        self._fusions = ["", *(fusions[i].name if i in fusions else "" for i in range(at + 1, at + len(row))), ""]
        able = _is_dense(x) and x.ndim in (2, 4) and len(x) > 0 and x.dtype in (np.float32, np.float64)
        while able and self.count < len(row):
            taken = self._take()
            if not taken:
                break
            for node in row[self.count : self.count + taken]:
                self.bindings += [(vars(node.layer), name) for name in node.layer.reads]
            self.count += taken

    def _take(self) -> int:
        """Prepare the next node, with those behind it that its step does too; how many they are, 0 for none."""
        kind, layer = self._row[self.count].kind, self._row[self.count].layer
        if kind in WEIGHTS:
            return self._take_weights(kind, layer)
        if kind == "max_pool2d":
            window = (layer.pool_h, layer.pool_w), layer.stride, layer.pad, layer.ceil_mode
            return self._add(prepare.max_pool2d(self.shape, self.dtype, *window)) if len(self.shape) == 4 else 0
        if kind in _ELEMENTWISE:
            slope = layer.negative_slope if kind == "leaky_relu" else 0.0
            return self._add(prepare.elementwise(kind, self.shape, self.dtype, slope))
        if kind == "flatten" and self.steps:
            self.shape = self.shape[0], int(np.prod(self.shape[1:]))
            return 1
        return int(kind == "dropout" and layer.inverted and bool(self.steps))

    def _take_weights(self, kind: str, layer: Any) -> int:
        """A layer with weights, and the normalisation, the ReLU and the dropout that are fused with it."""
        W, b, at = layer.W, layer.b, self.count + 1
        if any(type(a) is not np.ndarray or a.dtype != self.dtype for a in (W, b) if a is not None):
            return 0
        read = [W]
        if self._fusions[at] == "normalisation":
            norm = self._row[at].layer
            scale_and_shift = _normalization(self._row[at].kind, norm, kind, W, self.dtype)
            if scale_and_shift:
                read += [a for a in (b, norm.gamma, norm.beta, norm.running_mean, norm.running_var) if a is not None]
                W, b = _folded(kind, W, b, *scale_and_shift)
                at += 1
        relu = self._fusions[at] == "activation"
        at += relu
        activation = "relu" if relu else None
        if kind == "conv2d":
            if len(self.shape) != 4:
                return 0
            geometry = layer.stride, layer.pad, layer.dilation, layer.groups
            made = prepare.conv2d(self.shape, W, b, *geometry, activation)
        else:
            factor = 1.0
            while self._fusions[at] == "scale":
                dropout = self._row[at].layer
                factor *= 1.0 if dropout.inverted else 1.0 - dropout.dropout_ratio
                at += 1
            made = prepare.affine(self.shape, W, b, activation, factor)
        if not self._add(made):
            return 0
        self.in_place += [a for a in (layer.W, layer.b) if a is not None]
        self.copied += read if W is not layer.W or self.steps[-1].copies else []
        return at - self.count

    def _add(self, made: tuple[Any, tuple[int, ...]]) -> int:
        """Append a step, if there is one, and keep the shape of its result."""
        step, shape = made
        if step is None:
            return 0
        self.steps.append(step)
        self.shape = shape
        return 1


def _is_dense(x: Array) -> bool:
    return x.flags.c_contiguous and x.flags.aligned


def _normalization(kind: str, norm: Any, before: str, W: Array, dtype: np.dtype) -> tuple[Array, Array] | None:
    """The scale and the shift of each output of W by a batch normalisation; None if that has others."""
    outputs = len(W) if before == "conv2d" else W.shape[1]
    per_output = kind == "batch_norm" or before == "affine"
    if not per_output or norm.running_mean is None or norm.running_var is None:
        return None
    vectors = norm.gamma, norm.beta, norm.running_mean, norm.running_var
    if any(a is not None and not _is_vector(a, outputs, dtype) for a in vectors):
        return None
    gamma, beta, mean, var = (None if a is None else a.astype(np.float64) for a in vectors)
    scale = (1.0 if gamma is None else gamma) / np.sqrt(var + norm.eps)
    return scale, (0.0 if beta is None else beta) - mean * scale


def _is_vector(a: Any, size: int, dtype: np.dtype) -> bool:
    return type(a) is np.ndarray and a.shape == (size,) and a.dtype == dtype and _is_dense(a)


def _folded(kind: str, W: Array, b: Array | None, scale: Array, shift: Array) -> tuple[Array, Array]:
    """The weights and the bias of a layer with each of its outputs scaled and shifted."""
    per_output = (-1, 1, 1, 1) if kind == "conv2d" else (1, -1)
    folded = np.ascontiguousarray(W * scale.reshape(per_output), dtype=W.dtype)
    return folded, (shift if b is None else b * scale + shift).astype(W.dtype)
