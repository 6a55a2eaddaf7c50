"""The networks layer by layer, and their gradients, against the same networks in PyTorch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from fastconv import layers
from fastconv.hooks import feature_maps
from fastconv.networks import DeepConvNet, MultiLayerNetExtend, SimpleConvNet

rng = np.random.default_rng(6)


class Flat(nn.Module):
    """PyTorch's linear layer behind the flattening of the book's Affine."""

    def __init__(self, W, b):
        super().__init__()
        self.W, self.b = nn.Parameter(torch.tensor(W)), nn.Parameter(torch.tensor(b))

    def forward(self, x):
        return x.flatten(1) @ self.W + self.b


class FeatureNorm(nn.Module):
    """The book's batch normalisation of features: PyTorch's with its eps."""

    def __init__(self, layer):
        super().__init__()
        self.norm = nn.BatchNorm1d(len(layer.gamma), eps=10e-7).double()

    def forward(self, x):
        return self.norm(x)


def in_torch(layer):
    match layer:
        case layers.Convolution():
            twin = nn.Conv2d(1, 1, 1, layer.stride, layer.pad)
            twin.weight, twin.bias = nn.Parameter(torch.tensor(layer.W)), nn.Parameter(torch.tensor(layer.b))
            return twin
        case layers.Affine():
            return Flat(layer.W, layer.b)
        case layers.BatchNormalization():
            return FeatureNorm(layer)
        case layers.BatchNorm2d():
            return (nn.BatchNorm2d if layer.gamma.size < 50 else nn.BatchNorm1d)(layer.gamma.size).double()
        case layers.Pooling():
            return nn.MaxPool2d((layer.pool_h, layer.pool_w), layer.stride)
        case layers.Relu():
            return nn.ReLU()
        case layers.Dropout():
            return nn.Identity()


def twin(net):
    """The same layers in PyTorch, and their parameters under fastconv's names."""
    modules = [in_torch(layer) for layer in net.every_layer()]
    parameters = [p for module in modules for p in module.parameters()]
    return modules, dict(zip(net.params, parameters, strict=True))


SECOND = {"filter_num": 12, "filter_size": 3, "pad": 1, "stride": 1}
CASES = {
    "SimpleConvNet": (lambda: SimpleConvNet(weight_init_std="he", rng=0), (1, 28, 28)),
    "SimpleConvNet with everything": (
        lambda: SimpleConvNet(weight_init_std="xavier", conv_param_2=SECOND, hidden_size=60, use_batchnorm=True, rng=0),
        (1, 28, 28),
    ),
    "DeepConvNet": (lambda: DeepConvNet(rng=0), (1, 28, 28)),
    "MultiLayerNetExtend": (lambda: MultiLayerNetExtend(784, [50, 100], 10, use_batchnorm=True, rng=0), (784,)),
}


@pytest.mark.system("N1", "N2", "N3")
@pytest.mark.parametrize("name", CASES)
def test_against_torch(name):
    make, shape = CASES[name]
    net = make()
    for layer in net.every_layer():
        if isinstance(layer, layers.Dropout):
            layer.dropout_ratio = 0.0
    modules, parameters = twin(net)
    x, t = rng.random((5, *shape)), rng.integers(0, 10, 5)

    # In training: the loss and every gradient. Running statistics are compared by what follows.
    y = torch.tensor(x)
    for module in modules:
        y = module.train()(y)
    loss = nn.functional.cross_entropy(y, torch.tensor(t))
    loss.backward()
    gradients = net.gradient(x, t)
    assert net.last_loss == pytest.approx(loss.item(), abs=1e-4)  # the book's 1e-7
    for key, parameter in parameters.items():
        assert_allclose(gradients[key], parameter.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=key)

    # At inference: what every layer gives.
    y = torch.tensor(x)
    for key, ours in feature_maps(net, x).items():
        module = modules[list(net.layers).index(key) if isinstance(key, str) else key].eval()
        if isinstance(module, FeatureNorm):  # the book's running variance is the biased one, from 0
            layer = net.layers[key]
            y = (y - torch.tensor(layer.running_mean)) / torch.sqrt(torch.tensor(layer.running_var) + 10e-7)
        else:
            y = module(y)
        assert_allclose(ours, y.detach().numpy(), rtol=1e-9, atol=1e-10, err_msg=str(key))
