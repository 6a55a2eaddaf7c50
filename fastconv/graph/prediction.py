"""Prediction compiled: a graph as chains of prepared steps, for one shape of input.

A row of nodes, each the only reader of the one before, becomes a chain: its images are taken through several layers
while they are in cache. Joins, and layers without a prepared form, run as they are between the chains.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .._settings import settings
from .._threads import expect
from ._watch import Watch
from .fusions import find
from .links import Links, is_dense
from .nodes import JOINS, Graph, Node
from .placement import Placement

try:
    from ..kernels.chain.cy import Chain

    _PREPARES = True
except ImportError:  # a build without the compiled kernels: no layer has a prepared form
    _PREPARES = False

Array = npt.NDArray[Any]

_MOST_PLANS = 8  # shapes of input that a predictor keeps ready


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

    Parameters
    ----------
    network : Network
    fixed : bool
        The numbers in the parameters are promised not to change: they are not read again, which a network of 100 MB
        takes a tenth of its time for.
    """

    def __init__(self, network: Any, *, fixed: bool = False) -> None:
        self.network = network
        self._plans = Plans(network.graph, fixed=fixed)

    def __call__(self, x: Array) -> Array:
        """The scores of x, as `network.predict(x)`."""
        y = self._plans(x) if type(x) is np.ndarray else None
        return self.network.predict(x) if y is None else y

    def predict(self, x: Array) -> Array:
        """The same, for code that expects a network."""
        return self(x)


class Plans:
    """The plans of a graph, one for each shape and dtype of its input.

    Parameters
    ----------
    graph : callable
        The graph as it is now.
    fixed : bool
        As for `Predictor`.
    """

    def __init__(self, graph: Callable[[], Graph], *, fixed: bool = False) -> None:
        self._graph, self._fixed = graph, fixed
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def __call__(self, x: Array) -> Array | None:
        """The graph's result; None where nothing can be prepared."""
        key = x.shape, x.dtype, settings.float32_conv_precision, settings.backend
        plan = self._plans.get(key)
        if plan is not None:
            expect(plan.nanoseconds)
        y = plan(x) if plan is not None and plan.holds() else None
        return self._prepare(key, x) if y is None else y

    def _prepare(self, key: tuple[Any, ...], x: Array) -> Array | None:
        """Make a plan for arrays like x; its result."""
        if not _PREPARES or settings.backend is not None:
            return None
        if not is_dense(x):
            return self(np.require(x, requirements=("C", "A")))
        plan = _Plan(self._graph(), self._fixed)
        y = plan.prepare(x)
        self._plans.pop(key, None)
        self._plans[key] = plan
        if len(self._plans) > _MOST_PLANS:
            del self._plans[next(iter(self._plans))]
        return y


class _Plan:
    """Chains of prepared steps, and nodes that run as they are between them, for one shape and dtype of x."""

    def __init__(self, graph: Graph, fixed: bool) -> None:
        self._graph, self._fixed = graph, fixed
        self._fusions = find(graph, training=False)
        self._parts: list[tuple[Any, tuple[int, ...], int]] = []  # what runs, the values that it reads, its result
        self._dead: list[list[int]] = []  # behind every part, the values that no later one reads
        self.nanoseconds = 0.0  # of all chains, on one thread

    def holds(self) -> bool:
        """Whether the network is still the one that was prepared."""
        return self._watch.unchanged()

    def __call__(self, x: Array) -> Array | None:
        """The scores, or None when a layer that runs as it is gave another shape than before."""
        if len(self._parts) == 1:
            return self._parts[0][0](x)
        roots, place = self._place.roots(), self._place
        values: list[Any] = [None] * (len(self._graph.nodes) + 1)
        values[0] = x
        for (part, inputs, output), dead in zip(self._parts, self._dead, strict=True):
            given = [values[i] for i in inputs]
            y = part(*given, roots.part(output)) if output in place else part(*given)
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
        bindings, copied, in_place = [*self._graph.bindings], [], []
        shapes, at = {0: (x.shape, x.dtype)}, 0
        while at < len(nodes):
            node = nodes[at]
            given = [values[i] for i in node.inputs]
            links = Links(self._row(at), self._fusions, at, given[0])
            part: Any
            if links.steps:
                part, count = Chain(links.steps, given[0], links.shape), links.count
                self.nanoseconds += part.nanoseconds
            else:
                part = _AsItIs(node, nodes[at + 1] if self._activates(at + 1) else None)
                count = len(part.nodes)
            output = nodes[at + count - 1].output
            self._parts.append((part, node.inputs, output))
            bindings += links.bindings
            copied += links.copied
            in_place += links.in_place
            values[output] = y = part(*given)
            shapes[output] = y.shape, y.dtype
            at += count
        last = {value: i for i, (_, inputs, _) in enumerate(self._parts) for value in inputs}
        self._dead = [[v for v, i in last.items() if i == at] for at in range(len(self._parts))]
        self._watch = Watch(bindings, [] if self._fixed else copied, in_place, self._graph.holders)
        self._join_in_place(shapes)
        return values[self._graph.output]

    def _join_in_place(self, shapes: dict[int, Any]) -> None:
        """Have concatenations written by the parts that make their inputs."""
        chains = [output for part, _, output in self._parts if not isinstance(part, _AsItIs)]
        self._place = Placement(self._graph.nodes, self._graph.output, shapes, chains)
        for i, (part, inputs, output) in enumerate(self._parts):
            if output in self._place and isinstance(part, _AsItIs):
                self._parts[i] = _Joined(self._place.copies(part.nodes[0], shapes)), inputs, output

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
        self._layer = node.layer
        self._options = {} if relu is None else {"activation": relu.kind}
        self._joins = node.kind in JOINS
        self._flag = getattr(node.layer, "takes_train_flg", False)

    def __call__(self, *values: Array) -> Array:
        if self._joins:
            return self._layer.join(*values, **self._options)
        return self._layer.forward(*values, *((False,) if self._flag else ()), **self._options)


class _Joined:
    """A concatenation whose result is there when its inputs are, but for those that have to be copied."""

    def __init__(self, copies: list[tuple[int, int, int]]) -> None:
        self._copies = copies

    def __call__(self, *values: Array) -> Array:
        *inputs, out = values
        for i, first, last in self._copies:
            out[:, first:last] = inputs[i]
        return out
