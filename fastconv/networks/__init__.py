"""Networks built of `fastconv.layers`: the book's, with its constructors, parameter names and methods."""

from ._network import Network
from .convnet import DeepConvNet, SimpleConvNet
from .perceptron import MultiLayerNet, MultiLayerNetExtend, ThreeLayerNet, TwoLayerNet

__all__ = [
    "DeepConvNet",
    "MultiLayerNet",
    "MultiLayerNetExtend",
    "Network",
    "SimpleConvNet",
    "ThreeLayerNet",
    "TwoLayerNet",
]
