"""The trunk of a network whose first layers are frozen: nothing is propagated into it, so it runs as in prediction."""

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from .fusions import WEIGHTS
from .nodes import JOINS, Graph, Node
from .parameters import statistics_of, trainable_of
from .prediction import Plans


class Trunk(NamedTuple):
    """The first steps of a program, all frozen.

    Attributes
    ----------
    steps : int
        How many they are.
    value : int
        The one value of theirs that later steps read.
    plans : Plans
        What computes it.
    """

    steps: int
    value: int
    plans: Plans


def find(graph: Graph, steps: Sequence[Any], frozen: Container[int]) -> Trunk | None:
    """The longest trunk; None where there is no frozen layer with weights to gain from.

    Parameters
    ----------
    graph : Graph
    steps : sequence
        What a program runs, with their `nodes`, `inputs` and `output`.
    frozen : container of int
        The ids of the layers that are not trained.
    """
    found: tuple[int, int, int] | None = None
    nodes, weights, made = 0, False, {0}
    for i, step in enumerate(steps):
        if not all(_is_still(node, frozen) for node in step.nodes):
            break
        nodes += len(step.nodes)
        weights = weights or any(node.kind in WEIGHTS for node in step.nodes)
        made.add(step.output)
        read = {value for later in steps[i + 1 :] for value in later.inputs} & made
        if weights and read == {step.output} and graph.nodes[nodes - 1].output == step.output:
            found = i + 1, step.output, nodes
    if found is None:
        return None
    count, value, position = found
    part = graph.until(position, value)
    return Trunk(count, value, Plans(lambda: part))


def _is_still(node: Node, frozen: Container[int]) -> bool:
    """Whether a node computes in training what it computes in prediction, and has nothing to train."""
    layer = node.layer
    if node.kind in JOINS:
        return True
    is_frozen = id(layer) in frozen
    if hasattr(layer, "children") and not node.kind:  # a container that nobody looks into
        return False
    if getattr(layer, "takes_train_flg", False):
        return is_frozen and bool(statistics_of(layer))
    return is_frozen or not trainable_of(layer)
