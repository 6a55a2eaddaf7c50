"""The list of fusions: where one layer's work is done by its neighbour's kernel. Training and prediction read it.

A fusion joins two neighbouring nodes: the first one's result is read by the second alone. Pairs make rows: a
convolution takes the batch normalisation behind it, and the ReLU behind that.
"""

from dataclasses import dataclass

from .nodes import Graph

WEIGHTS = frozenset({"conv2d", "affine"})
NORMS = frozenset({"batch_norm", "feature_norm"})


@dataclass(frozen=True, slots=True)
class Fusion:
    """Neighbours that become one.

    Attributes
    ----------
    name : str
    first, second : set of str
        Kinds of the two nodes.
    training, prediction : bool
        Where it holds.
    """

    name: str
    first: frozenset[str]
    second: frozenset[str]
    training: bool = False
    prediction: bool = False


RELUS = frozenset({"relu", "relu6"})  # whose gradient can be taken from their result
GATES = frozenset({"sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu"})

FUSIONS = (
    # The second layer is applied to the first one's result before it leaves the registers or the cache.
    Fusion("activation", WEIGHTS | NORMS | {"sum"}, RELUS, training=True, prediction=True),
    Fusion("activation", WEIGHTS | {"batch_norm", "sum"}, GATES, prediction=True),
    # What no kernel applies: a second pass, while the result is in cache.
    Fusion("second pass", WEIGHTS | NORMS | {"sum"}, frozenset({"leaky_relu", "gelu"}), prediction=True),
    # At inference gamma*(y - mean)/std + beta is a scale and a shift of the weights.
    Fusion("normalisation", WEIGHTS | NORMS, NORMS, prediction=True),
    # A residual is added to a convolution's result by its kernel, or in a second pass in place.
    Fusion("residual", frozenset({"conv2d"}), frozenset({"sum"}), prediction=True),
    # The book's dropout multiplies by 1 - ratio at inference: a factor of the matrix product before it, and its ReLU.
    Fusion(
        "scale",
        frozenset({"affine", "feature_norm", "batch_norm", "relu", "dropout"}),
        frozenset({"dropout"}),
        prediction=True,
    ),
    # A maximum is positive where its ReLU let it pass: the pooled gradient is masked, not the larger one before it.
    Fusion("pooled mask", frozenset({"relu"}), frozenset({"max_pool2d"}), training=True),
)


def find(graph: Graph, *, training: bool) -> dict[int, Fusion]:
    """The fusions of a graph: the position of a node -> how it joins the node that it reads.

    Parameters
    ----------
    graph : Graph
    training : bool
        The fusions of training; else those of prediction.
    """
    found = {}
    for node in graph.nodes:
        reader = graph.only_reader(node)
        if reader is None or not node.kind:
            continue
        kind = graph.nodes[reader].kind
        for fusion in FUSIONS:
            holds = fusion.training if training else fusion.prediction
            if holds and node.kind in fusion.first and kind in fusion.second:
                found[reader] = fusion
    return found
