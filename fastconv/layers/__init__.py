"""Layers with `forward` and `backward`: the book's classes with its behaviour, and PyTorch's where they say so."""

from ._layer import Layer
from .activation import LeakyRelu, LogSoftmax, Relu, Sigmoid, Softmax, Tanh
from .affine import Affine
from .arithmetic import AddLayer, MulLayer
from .containers import ChannelScale, Concatenate, Residual, Sequential, Sum
from .convolution import Convolution, TransposedConvolution
from .dropout import Dropout, Dropout2d
from .gated import Gelu, HardSigmoid, HardSwish, Relu6, Silu
from .loss import IdentityWithLoss, MeanSquaredErrorLoss, NLLLoss, SoftmaxWithLoss
from .normalization import BatchNorm1d, BatchNorm2d, BatchNormalization
from .pooling import (
    AdaptiveAveragePooling,
    AveragePooling,
    GlobalAveragePooling,
    MinPooling,
    Pooling,
    StochasticPooling,
)
from .recurrent import RecurrentStep
from .response import LocalResponseNormalization
from .structure import ChannelShuffle, Flatten, Reshape, Slice

__all__ = [
    "AdaptiveAveragePooling",
    "AddLayer",
    "Affine",
    "AveragePooling",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNormalization",
    "ChannelScale",
    "ChannelShuffle",
    "Concatenate",
    "Convolution",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Gelu",
    "GlobalAveragePooling",
    "HardSigmoid",
    "HardSwish",
    "IdentityWithLoss",
    "Layer",
    "LeakyRelu",
    "LocalResponseNormalization",
    "LogSoftmax",
    "MeanSquaredErrorLoss",
    "MinPooling",
    "MulLayer",
    "NLLLoss",
    "Pooling",
    "RecurrentStep",
    "Relu",
    "Relu6",
    "Reshape",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Silu",
    "Slice",
    "Softmax",
    "SoftmaxWithLoss",
    "StochasticPooling",
    "Sum",
    "Tanh",
    "TransposedConvolution",
]
