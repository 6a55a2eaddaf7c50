"""Compiled prediction through branches: concatenations written in place, activations in the kernels before them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import _prepare, layers
from fastconv.layers import AveragePooling, BatchNorm2d, Concatenate, Convolution, Layer, Pooling, Relu, Residual
from fastconv.networks import Network

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4, 9, 9))


def conv(into, out, size=3, groups=1):
    W = rng.standard_normal((out, into // groups, size, size)) / size / np.sqrt(into / groups)
    return Convolution(W, rng.standard_normal(out), pad=size // 2, groups=groups)


def norm(C):
    vectors = (rng.uniform(0.5, 2, C) for _ in range(4))
    gamma, beta, mean, var = vectors
    return BatchNorm2d(gamma, beta, running_mean=mean, running_var=var)


class Doubled(Layer):
    """A layer that no kernel prepares."""

    def forward(self, x):
        return 2 * x

    def backward(self, dout):
        return 2 * dout


NETS = {
    "inception": lambda: [
        Concatenate([conv(4, 3), Relu()], conv(4, 2, 1), [Pooling(3, 3, 1, 1), conv(4, 5, 1)]),
        conv(10, 2),
    ],
    "dense": lambda: [
        Concatenate([], [norm(4), Relu(), conv(4, 3)]),
        Concatenate([], [norm(7), Relu(), conv(7, 3)]),
        Concatenate([], [norm(10), Relu(), conv(10, 3)]),
        norm(13),
        Relu(),
    ],
    "result": lambda: [conv(4, 6), Concatenate(conv(6, 2), conv(6, 3))],
    "input twice": lambda: [Concatenate([], [], conv(4, 2)), conv(10, 3)],
    "one value twice": lambda: [conv(4, 3), Concatenate([], []), conv(6, 3)],
    "own layer": lambda: [Concatenate([conv(4, 3), Doubled()], conv(4, 2)), conv(5, 2)],
    "last axis": lambda: [Concatenate(conv(4, 3), conv(4, 3), axis=2), conv(3, 2)],
    "in a sum": lambda: [Residual([Concatenate(conv(4, 2), conv(4, 2))]), Relu(), conv(4, 2)],
    "read by two": lambda: [conv(4, 3), Concatenate([], [conv(3, 2), Concatenate([], conv(2, 2))]), conv(7, 2)],
    "two dtypes": lambda: [Concatenate(conv(4, 3), [AveragePooling(3, 3, 1, 1), conv(4, 2)]), conv(5, 2)],
}


@pytest.mark.parametrize("N", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_concatenations(name, N):
    net = Network(NETS[name]())
    x = X[:N].copy()
    predict = net.compile()
    expected = net.predict(x)
    first = predict(x)
    assert_allclose(first, expected, rtol=1e-9, atol=1e-12)
    kept = first.copy()
    assert_allclose(predict(-x), net.predict(-x), rtol=1e-9, atol=1e-12)
    assert_array_equal(first, kept)  # a result is nobody's buffer
    assert_array_equal(predict(x), kept)
    assert_array_equal(x, X[:N])


def test_joins_of_one_image_copy_nothing():
    net = Network(NETS["dense"]())
    predict = net.compile()
    predict(X[:1])
    (plan,) = predict._plans._plans.values()
    joins = [part for part, _, _ in plan._parts if type(part).__name__ == "_Joined"]
    assert [len(join._copies) for join in joins] == [1, 0, 0]  # the image itself is copied once


ACTIVATIONS = ["Relu", "Relu6", "HardSwish", "HardSigmoid", "Silu", "Sigmoid", "Tanh", "LeakyRelu"]


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_row_of_layers_is_one_chain(name, dtype, size, groups):
    activation = getattr(layers, name)
    row = [conv(4, 4, size, groups), norm(4), activation(), norm(4), activation(), AveragePooling(2, 2)]
    net = Network(row)
    for layer in row:
        for attribute in (*layer.trainable, *layer.statistics):
            setattr(layer, attribute, getattr(layer, attribute).astype(dtype))
    x = (3 * X).astype(dtype)
    predict = net.compile()
    tolerance = {"rtol": 2e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    for _ in range(2):
        assert_allclose(predict(x), net.predict(x), **tolerance)
    (plan,) = predict._plans._plans.values()
    assert len(plan._parts) == 1


def test_a_fixed_prediction_does_not_look_at_numbers_again():
    net = Network([conv(4, 3), Relu()])
    followed, fixed = net.compile(), net.compile(fixed=True)
    before = fixed(X)
    assert_array_equal(followed(X), before)
    net.layers[0].W *= 2
    assert_array_equal(fixed(X), before)
    assert_allclose(followed(X), net.predict(X), rtol=1e-9, atol=1e-12)
    net.layers[0].W = net.layers[0].W.copy()  # replaced arrays are followed all the same
    assert_allclose(fixed(X), net.predict(X), rtol=1e-9, atol=1e-12)


def test_a_chain_refuses_an_array_that_it_cannot_write():
    chain_of = pytest.importorskip("fastconv.kernels.chain.cy").Chain
    x = X[0, 0].astype(np.float32)
    step, shape = _prepare.elementwise("relu", x.shape, x.dtype)
    chain = chain_of([step], x, shape)
    out = np.empty(shape, np.float32)
    assert chain(x, out) is out
    assert_array_equal(out, np.maximum(x, 0))
    read_only = np.empty(shape, np.float32)
    read_only.flags.writeable = False
    for wrong in (np.empty(shape), np.empty((9, 8), np.float32), np.empty((18, 9), np.float32)[::2], read_only):
        with pytest.raises(ValueError, match="out: expected a dense, writeable array"):
            chain(x, wrong)
