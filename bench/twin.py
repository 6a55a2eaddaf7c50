"""A network of fastconv's as a PyTorch module: the same graph of layers with the same weights."""

from typing import Any

import torch
from torch import nn

from fastconv import layers as ours
from fastconv.graph.nodes import Node


class Twin(nn.Module):
    """The nodes of a network's graph, each as PyTorch's module."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        graph = network.graph()
        self._links = [(node.inputs, node.output) for node in graph.nodes]  # the layers themselves would stay in memory
        self._output = graph.output
        made: dict[int, nn.Module] = {}
        for node in graph.nodes:
            if id(node.layer) not in made:
                made[id(node.layer)] = module(node)
        self.parts = nn.ModuleList([made[id(node.layer)] for node in graph.nodes])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: list[Any] = [None] * (len(self._links) + 1)
        values[0] = x
        for (inputs, output), part in zip(self._links, self.parts, strict=True):
            values[output] = part(*[values[i] for i in inputs])
        return values[self._output]


def module(node: Node) -> nn.Module:
    """What PyTorch has for one node."""
    layer = node.layer
    match layer:
        case ours.Convolution():
            FN, CG, FH, FW = layer.W.shape
            made: Any = nn.Conv2d(
                CG * layer.groups,
                FN,
                (FH, FW),
                layer.stride,
                layer.pad,
                layer.dilation,
                layer.groups,
                layer.b is not None,
            )
            return _with(made, weight=layer.W, bias=layer.b)
        case ours.Affine():
            made = nn.Linear(*layer.W.shape, bias=layer.b is not None)
            return _with(made, weight=layer.W.T, bias=layer.b)
        case ours.BatchNorm2d():
            kind = nn.BatchNorm1d if node.path.startswith("classifier") else nn.BatchNorm2d
            made = kind(len(layer.gamma), layer.eps, layer.momentum)
            statistics = {"running_mean": layer.running_mean, "running_var": layer.running_var}
            return _with(made, weight=layer.gamma, bias=layer.beta, **statistics)
        case ours.Pooling():
            return nn.MaxPool2d((layer.pool_h, layer.pool_w), layer.stride, layer.pad, ceil_mode=layer.ceil_mode)
        case ours.AveragePooling():
            return nn.AvgPool2d((layer.pool_h, layer.pool_w), layer.stride, layer.pad, layer.ceil_mode)
        case ours.AdaptiveAveragePooling():
            return nn.AdaptiveAvgPool2d(layer.output_size)
        case ours.GlobalAveragePooling():
            return nn.AdaptiveAvgPool2d(1)
        case ours.Dropout2d():
            return nn.Dropout2d(layer.dropout_ratio)
        case ours.Dropout():
            return nn.Dropout(layer.dropout_ratio)
        case ours.LogSoftmax():
            return nn.LogSoftmax(layer.axis)
        case ours.ChannelShuffle():
            return nn.ChannelShuffle(layer.groups)
        case ours.Slice():
            start, stop = layer.start, layer.stop
            return _Function(lambda x: x[:, start:stop])
        case ours.Concatenate():
            return _Function(lambda *values: torch.cat(values, 1))
        case ours.Sum():
            return _Function(lambda *values: sum(values[1:], values[0]))
        case ours.ChannelScale():
            return _Function(torch.mul)
    plain = {
        ours.Relu: nn.ReLU, ours.Relu6: nn.ReLU6, ours.HardSwish: nn.Hardswish, ours.HardSigmoid: nn.Hardsigmoid,
        ours.Flatten: nn.Flatten,
    }  # fmt: skip
    return plain[type(layer)]()


def _with(made: Any, **arrays: Any) -> nn.Module:
    with torch.no_grad():
        for name, array in arrays.items():
            if array is not None:
                getattr(made, name).copy_(torch.from_numpy(array.copy()))
    return made


class _Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        return self.function(*values)
