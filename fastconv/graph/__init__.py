"""A network as a graph of operations, described once and read by everything that runs it.

    nodes.py        Node and Graph: which layer reads which value, traced from a tree of layers
    fusions.py      THE list of fusions, for training and prediction alike
    training.py     forward and backward through a graph
    blocks.py       convolutions with their ReLUs and the pooling behind them, some images at a time
    trunk.py        the frozen first layers of a network in training
    prediction.py   a graph prepared for one shape of input: chains of steps, and what runs between them
    links.py        a row of nodes as prepared steps: packed weights, folded normalisation
    placement.py    concatenations written by the parts that make their inputs
    _watch.py       what was replaced since a graph was traced, or prepared
    parameters.py   the arrays of a tree of layers under their names

Layers stand above: they tell what they are (`kind`, `children`, `connect`), and nothing here imports one.
"""

from ._watch import Watch
from .nodes import Graph, Node
from .parameters import Parameter, Parameters
from .prediction import Predictor
from .training import Training

__all__ = ["Graph", "Node", "Parameter", "Parameters", "Predictor", "Training", "Watch"]
