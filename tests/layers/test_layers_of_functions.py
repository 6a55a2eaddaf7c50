"""Layers of functions, and the shuffle of channels, against PyTorch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from fastconv import layers

rng = np.random.default_rng(5)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_channel_shuffle_is_pytorchs(groups):
    x = rng.standard_normal((2, 6, 3, 4))
    layer = layers.ChannelShuffle(groups)
    y = layer.forward(x)
    assert_array_equal(y, torch.nn.ChannelShuffle(groups)(torch.tensor(x)).numpy())
    assert_array_equal(layer.backward(y), x)


@pytest.mark.parametrize(
    ("layer", "theirs"),
    [
        (layers.Relu6(), torch.nn.ReLU6()),
        (layers.HardSwish(), torch.nn.Hardswish()),
        (layers.Silu(), torch.nn.SiLU()),
        (layers.Gelu(), torch.nn.GELU()),
        (layers.Gelu("tanh"), torch.nn.GELU("tanh")),
        (layers.LocalResponseNormalization(5, 0.2, 0.6, 2.0), torch.nn.LocalResponseNorm(5, 0.2, 0.6, 2.0)),
    ],
    ids=repr,
)
def test_layers_of_functions(layer, theirs):
    x, dout = 4 * rng.standard_normal((2, 7, 3, 4)), rng.standard_normal((2, 7, 3, 4))
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    ty.backward(torch.tensor(dout))
    np.testing.assert_allclose(layer.forward(x), ty.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.backward(dout), tx.grad.numpy(), rtol=1e-10, atol=1e-12)
