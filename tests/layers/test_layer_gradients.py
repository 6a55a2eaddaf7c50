"""The gradients of every layer against central differences, in float64."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastconv import layers
from fastconv.gradient import numerical_gradient

rng = np.random.default_rng(3)


def normal(*shape):
    return rng.standard_normal(shape)


def apart(*shape):
    """Numbers at least 0.1 apart and away from 0, so that a small step changes no maximum and no sign."""
    return (rng.permutation(np.prod(shape)).reshape(shape) - np.prod(shape) // 2 + 0.5) / 10


def masked(layer, x):
    layer.forward(x)
    layer.reuse_mask = True
    return layer


x4 = apart(2, 3, 5, 4)
CASES = {
    "Relu": (layers.Relu(), x4),
    "LeakyRelu": (layers.LeakyRelu(), x4),
    "Sigmoid": (layers.Sigmoid(), x4),
    "Tanh": (layers.Tanh(), x4),
    "Relu6": (layers.Relu6(), 2 * x4),
    "HardSigmoid": (layers.HardSigmoid(), x4),
    "HardSwish": (layers.HardSwish(), x4),
    "Silu": (layers.Silu(), x4),
    "Gelu": (layers.Gelu(), x4),
    "Gelu by tanh": (layers.Gelu("tanh"), x4),
    "LocalResponseNormalization": (layers.LocalResponseNormalization(3, 0.5), x4),
    "Reshape": (layers.Reshape(5, -1), x4),
    "Reshape of all": (layers.Reshape(-1, 4, keep_batch=False), x4),
    "ChannelShuffle": (layers.ChannelShuffle(2), apart(2, 6, 2, 2)),
    "Softmax": (layers.Softmax(1), x4),
    "LogSoftmax": (layers.LogSoftmax(), x4),
    "Affine": (layers.Affine(normal(60, 4), normal(4)), x4),
    "Convolution": (layers.Convolution(normal(4, 3, 3, 2), normal(4), 2, 1), x4),
    "TransposedConvolution": (layers.TransposedConvolution(normal(3, 2, 3, 2), normal(2), 2, 1), x4),
    "Pooling": (layers.Pooling(2, 3, 2, 1), x4),
    "MinPooling": (layers.MinPooling(2, 3, 2, 1), x4),
    "AveragePooling": (layers.AveragePooling(2, 3, 2, 1), x4),
    "AdaptiveAveragePooling": (layers.AdaptiveAveragePooling(2), x4),
    "GlobalAveragePooling": (layers.GlobalAveragePooling(), x4),
    "BatchNormalization": (layers.BatchNormalization(normal(6), normal(6)), normal(5, 6)),
    "BatchNormalization of images": (layers.BatchNormalization(normal(12), normal(12)), normal(3, 3, 2, 2)),
    "BatchNorm2d": (layers.BatchNorm2d(normal(3), normal(3)), normal(2, 3, 2, 2)),
    "Dropout": (masked(layers.Dropout(0.4, rng=1), x4), x4),
    "Dropout, inverted": (masked(layers.Dropout(0.4, inverted=True), x4), x4),
    "Dropout2d": (masked(layers.Dropout2d(0.4, rng=1), x4), x4),
    "Residual": (
        layers.Residual(
            [layers.Convolution(normal(3, 3, 3, 3), normal(3), 1, 1), layers.BatchNorm2d(3), layers.Tanh()]
        ),
        x4,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    layer, x = CASES[name]
    x = x.copy()
    weight = normal(*layer.forward(x).shape)

    def loss(_):
        return np.sum(layer.forward(x) * weight)

    parameters = [a for a in layer.trainable if getattr(layer, a) is not None]
    expected = [numerical_gradient(loss, a) for a in (x, *(getattr(layer, a) for a in parameters))]
    layer.forward(x)
    gradients = [layer.backward(weight), *(getattr(layer, f"d{a}") for a in parameters)]
    for gradient, difference in zip(gradients, expected, strict=True):
        assert_allclose(gradient, difference, rtol=1e-6, atol=1e-6)
