"""Forward and backward through a graph of layers.

A layer keeps what its `backward` needs in its attributes. Where one layer is used in several places of a network, what
it keeps is put aside behind every `forward`, and given back before the matching `backward`; the gradients of all places
are added up. A value is dropped as soon as the last node has read it.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ops.activations import add_activation
from . import blocks, trunk
from .fusions import find
from .nodes import JOINS, Graph, Node, walk
from .parameters import statistics_of, trainable_of

Array = npt.NDArray[Any]
Values = list[Any]
Observer = Callable[[Node, Array], Any]

_TAKES_NEEDS = frozenset({"conv2d", "affine"})  # `backward` takes needs_dx and needs_dW
_MAKES_DX = frozenset({"conv2d", "affine", "batch_norm", "relu", "relu6", "max_pool2d"})
"""Kinds whose `backward` returns a new array that nobody else keeps: another gradient may be added into it."""


class Training:
    """A graph that runs forward, and then backward.

    Parameters
    ----------
    graph : Graph
    frozen : container of int
        The ids of layers that are not trained: they get no gradients, and batch normalisations among them run as at
        inference.

    Attributes
    ----------
    after_backward : callable, optional
        Called with each step behind its `backward`: the gradients of the step's layers are complete then, but for those
        of layers that are used in several places, which are complete at the end.
    """

    def __init__(self, graph: Graph, frozen: Container[int] = ()) -> None:
        self.graph, self.frozen = graph, frozen
        self.after_backward: Callable[[Any], Any] | None = None
        self.is_own: bool | None = None  # what a network has found out about the layers, see layers._kept.are_own
        self.sums: dict[tuple[int, str], Any] = {}  # gradients of layers that are used in several places
        steps = _steps(graph, self)
        self._steps = list(zip(steps, self._last_readers(steps), strict=True))
        self._backwards = steps[::-1]
        self._forgetful = [step for step in steps if step.keeps]
        self._needs = {needs_dx: self._reach(needs_dx) for needs_dx in (False, True)}
        self._trunk = trunk.find(graph, steps, frozen)

    @property
    def backward_steps(self) -> list[Any]:
        """In the order of `backward`; each has the `nodes` that it runs."""
        return self._backwards

    def trains(self, node: Node) -> bool:
        """Whether the gradients of the parameters of a node's layer are wanted, or of layers hidden in it."""
        if node.kind in JOINS:  # the layers of its branches have nodes of their own
            return False
        inside = (layer for _, layer, _ in walk(node.layer)) if hasattr(node.layer, "children") else ()
        return any(trainable_of(layer) and id(layer) not in self.frozen for layer in (node.layer, *inside))

    def _reach(self, needs_dx: bool) -> list[bool]:
        """For every value, whether its gradient is wanted: there is something to train before it."""
        needs = [needs_dx] + [False] * len(self.graph.nodes)
        for node in self.graph.nodes:
            needs[node.output] = self.trains(node) or any(needs[i] for i in node.inputs)
        return needs

    def _last_readers(self, steps: list[Any]) -> list[list[int]]:
        """For every step, the values that no later one reads."""
        last = {value: i for i, step in enumerate(steps) for value in step.inputs}
        return [[v for v, at in last.items() if at == i and v != self.graph.output] for i in range(len(steps))]

    def forward(
        self, x: Array, train_flg: bool, observe: Observer | None = None, *, for_parameters: bool = False
    ) -> Array:
        """The network's result.

        Parameters
        ----------
        x : ndarray
        train_flg : bool
        observe : callable, optional
            `observe(node, y)` is called with what every node makes.
        for_parameters : bool
            The `backward` that follows needs no gradient with respect to x, so layers below the lowest trained one may
            run as in a compiled prediction.
        """
        self.forget()
        values: Values = [None] * (len(self.graph.nodes) + 1)
        values[0] = x
        steps = self._steps
        if for_parameters and self._trunk is not None and type(x) is np.ndarray:
            y = self._trunk.plans(x)
            if y is not None:
                values[0], values[self._trunk.value] = None, y
                steps = steps[self._trunk.steps :]
        for step, read_last in steps:
            step.forward(values, train_flg, observe)
            for value in read_last:
                values[value] = None
        return values[self.graph.output]

    def forget(self) -> None:
        """Forget what the steps, not the layers, keep of the last `forward`."""
        for step in self._forgetful:
            step.forget()

    def backward(self, dout: Array, needs_dx: bool) -> Array | None:
        """The gradient with respect to the network's input, or None if it is not needed. The layers get theirs."""
        gradients, needs = Gradients(len(self.graph.nodes) + 1), self._needs[needs_dx]
        gradients.arrays[self.graph.output] = dout
        self.sums.clear()
        steps, call = self._backwards, self.after_backward
        for step in steps if call is None else _followed(steps, call):
            step.backward(gradients, needs)
        for (_, attribute), (layer, total) in self.sums.items():
            setattr(layer, f"d{attribute}", total)
        self.sums.clear()
        return gradients.arrays[0] if needs_dx else None


def _followed(steps: Iterable[Any], call: Callable[[Any], Any]) -> Iterator[Any]:
    """The steps, with a call behind the work of each."""
    for step in steps:
        yield step
        call(step)


class Gradients:
    """The gradients of values, added up where several nodes read one.

    Parameters
    ----------
    values : int
        How many values there are.
    """

    def __init__(self, values: int) -> None:
        self.arrays: list[Any] = [None] * values
        self._own: set[int] = set()

    def pop(self, value: int) -> Any:
        self._own.discard(value)
        gradient, self.arrays[value] = self.arrays[value], None
        return gradient

    def add(self, value: int, gradient: Any, own: bool) -> None:
        """Add a gradient; `own` if nobody else keeps the array, so that it may be written."""
        before = self.arrays[value]
        if before is None:
            total = gradient
        elif value in self._own and _fits(before, gradient):
            total, own = add_activation(before, gradient, into=before), True
        elif own and _fits(gradient, before):
            total = add_activation(before, gradient, into=gradient)
        else:
            total, own = add_activation(before, gradient), True
        self.arrays[value] = total
        if own:
            self._own.add(value)


def _fits(out: Any, other: Any) -> bool:
    return type(out) is np.ndarray and out.flags.carray and out.shape == other.shape and out.dtype == other.dtype


def _steps(graph: Graph, training: Training) -> list[Any]:
    """The steps of a graph, in order."""
    # What a fusion keeps of its result must stay as it is, and who gets the graph's result may change it.
    fusions = {i: f for i, f in find(graph, training=True).items() if graph.nodes[i].output != graph.output}
    rows = {i: row[-1] for i, row in blocks.find(graph, fusions).items()}
    ids = [id(node.layer) for node in graph.nodes]
    shared = {each for each in ids if ids.count(each) > 1} if len(set(ids)) < len(ids) else set()
    masked = {i - 1 for i, fusion in fusions.items() if fusion.name == "pooled mask"}  # ReLUs, by the pooling behind
    steps: list[Any] = []
    first = last = -1  # of the block in progress
    row: list[_Step] = []
    for i, node in enumerate(graph.nodes):
        if i in rows and _is_trained_whole(graph.nodes[i : rows[i] + 1], training, shared):
            first, last, row = i, rows[i], []
        follower = fusions.get(i + 1)
        relu = graph.nodes[i + 1] if follower and follower.name == "activation" else None
        if not (i in fusions and fusions[i].name == "activation"):  # else it is part of the step before
            is_plain = len(node.inputs) == 1 and node.kind not in JOINS and not shared
            step = (_PlainStep if is_plain else _Step)(
                node, relu, training, shared, takes_mask=i - 1 in masked, gives_mask={i, i + 1} & masked
            )
            (row if first <= i <= last else steps).append(step)
        if i == last:
            steps.append(_Block(blocks.Block(graph.nodes[first : last + 1]), row))
    return steps


def _is_trained_whole(nodes: list[Node], training: Training, shared: set[int]) -> bool:
    """Whether a block, which computes all gradients and runs each layer once, may stand for these nodes."""
    return not any(id(node.layer) in shared or id(node.layer) in training.frozen for node in nodes)


class _Step:
    """One node, with the ReLU behind it where the node's kernel applies that."""

    def __init__(
        self, node: Node, relu: Node | None, training: Training, shared: set[int], *, takes_mask: bool, gives_mask: Any
    ) -> None:
        self.nodes = [node] if relu is None else [node, relu]
        self.inputs, self.output = node.inputs, self.nodes[-1].output
        self._node, self._layer = node, node.layer
        self._relu: Any = None if relu is None else relu.layer
        self._activation = "" if relu is None else relu.kind
        self._training, self._trains = training, training.trains(node)
        self._takes_mask, self._is_masked = takes_mask, bool(gives_mask)
        self._masks = relu is not None and not self._is_masked
        self._takes_needs, self._makes_dx = node.kind in _TAKES_NEEDS, node.kind in _MAKES_DX
        self._passes = node.kind == "relu" and self._is_masked  # the pooling behind has masked the gradient
        self._shared = [n.layer for n in self.nodes if id(n.layer) in shared]
        self._kept: list[dict[str, Any]] = []
        self._flag = getattr(self._layer, "takes_train_flg", False)
        self._stays = bool(statistics_of(self._layer)) and id(node.layer) in training.frozen

    @property
    def keeps(self) -> bool:
        """Whether the step itself, not its layers, keeps something of the last `forward`."""
        return bool(self._shared)

    def forget(self) -> None:
        self._kept = []

    def forward(self, values: Values, train_flg: bool, observe: Observer | None) -> None:
        if self._node.kind in JOINS:
            given = [values[i] for i in self.inputs]
            if self._relu is None:
                y = self._layer.join(*given)
            else:
                y = self._relu.out = self._layer.join(*given, activation=self._activation)
        else:
            y = self._apply(values[self.inputs[0]], train_flg)
        values[self.output] = y
        self._kept = [_kept_by(each) for each in self._shared]
        if observe:
            for node in self.nodes:
                observe(node, y)

    def _apply(self, x: Any, train_flg: bool) -> Any:
        """The layer's result, and the ReLU's."""
        flag = (train_flg and not self._stays,) if self._flag else ()
        if self._relu is None:
            return self._layer.forward(x, *flag)
        y = self._relu.out = self._layer.forward(x, *flag, activation=self._activation)
        return y

    def backward(self, gradients: Gradients, needs: list[bool]) -> None:
        dout = gradients.pop(self.output)
        wanted = [needs[i] for i in self.inputs]
        if dout is None or not (self._trains or any(wanted)):
            return
        for layer, kept in zip(self._shared, self._kept, strict=False):
            vars(layer).update(kept)
        if self._masks:
            dout = self._relu.backward(dout)
        for value, wants, dx in zip(self.inputs, wanted, self._gradients(dout, wanted), strict=True):
            if wants:
                gradients.add(value, dx, self._makes_dx)
        if self._shared and self._trains:
            self._sum_up()

    def _gradients(self, dout: Any, wanted: list[bool]) -> tuple[Any, ...]:
        return self._layer.split(dout) if self._node.kind in JOINS else (self._gradient(dout, wanted[0]),)

    def _gradient(self, dout: Any, wants: bool) -> Any:
        if self._takes_needs:
            return self._layer.backward(dout, needs_dx=wants, needs_dW=self._trains)
        if self._takes_mask:
            return self._layer.backward(dout, through_relu=True)
        if self._passes:
            return dout
        return self._layer.backward(dout)

    def _sum_up(self) -> None:
        """Add the gradients that a layer has now to those of its other places."""
        sums = self._training.sums
        for attribute in trainable_of(self._layer):
            gradient = getattr(self._layer, f"d{attribute}", None)
            if gradient is not None:
                key = id(self._layer), attribute
                sums[key] = self._layer, (sums[key][1] + gradient if key in sums else gradient)


class _PlainStep(_Step):
    """The usual step, in half of the time: it reads one value, and its layers stand at no other place."""

    def __init__(self, node: Node, *others: Any, **options: Any) -> None:
        super().__init__(node, *others, **options)
        (self._value,) = node.inputs
        graph = self._training.graph
        self._reads_alone = len(graph.readers[self._value]) == 1 and self._value != graph.output

    def forward(self, values: Values, train_flg: bool, observe: Observer | None) -> None:
        if self._flag:
            y = self._apply(values[self._value], train_flg)
        elif self._relu is None:
            y = self._layer.forward(values[self._value])
        else:
            y = self._relu.out = self._layer.forward(values[self._value], activation=self._activation)
        values[self.output] = y
        if observe:
            for node in self.nodes:
                observe(node, y)

    def backward(self, gradients: Gradients, needs: list[bool]) -> None:
        arrays, wants = gradients.arrays, needs[self._value]
        dout = arrays[self.output]
        arrays[self.output] = None
        if dout is None or not (wants or self._trains):
            return
        if self._masks:
            dout = self._relu.backward(dout)
        dx = self._gradient(dout, wants)
        if wants:
            if self._reads_alone:
                arrays[self._value] = dx
            else:
                gradients.add(self._value, dx, self._makes_dx)


def _kept_by(layer: Any) -> dict[str, Any]:
    """What a layer keeps between forward and backward: all but its parameters, their gradients and its statistics."""
    names = {*trainable_of(layer), *statistics_of(layer), *(f"d{a}" for a in trainable_of(layer))}
    return {name: value for name, value in vars(layer).items() if name not in names}


class _Block:
    """Steps that run as a block where that pays."""

    def __init__(self, block: blocks.Block, steps: list[_Step]) -> None:
        self.block = block
        self._steps = steps
        self.nodes = [node for step in steps for node in step.nodes]
        self.inputs, self.output = steps[0].inputs, steps[-1].output

    keeps = True

    def forget(self) -> None:
        self.block.forget()

    def forward(self, values: Values, train_flg: bool, observe: Observer | None) -> None:
        y = self.block.forward(values[self.inputs[0]]) if train_flg and not observe else None
        if y is not None:
            values[self.output] = y
            return
        for step in self._steps:
            step.forward(values, train_flg, observe)

    def backward(self, gradients: Gradients, needs: list[bool]) -> None:
        if not self.block.ran:
            for step in reversed(self._steps):
                step.backward(gradients, needs)
            return
        needs_dx = needs[self.inputs[0]]
        dx = self.block.backward(gradients.pop(self.output), needs_dx)
        if needs_dx:
            gradients.add(self.inputs[0], dx, own=True)
