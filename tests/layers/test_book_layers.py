"""The book's layers against the book's formulas, in float64, attribute by attribute."""

# ruff: noqa: NPY002 (the book's programs seed NumPy's global generator)

import numpy as np
import plain
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import layers

rng = np.random.default_rng(0)
TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def test_relu():
    x = rng.standard_normal((3, 4, 5, 6))
    x[0, 0, 0, :3] = 0.0, -0.0, np.nan
    layer = layers.Relu()
    assert layer.mask is None
    y = layer.forward(x)
    assert_array_equal(y, np.maximum(x, 0))
    assert_array_equal(layer.mask, x <= 0)
    dout = rng.standard_normal(x.shape)
    before = dout.copy()
    dx = layer.backward(dout)
    assert_array_equal(dx, np.where(x <= 0, 0, dout))
    assert_array_equal(dout, before)


def test_sigmoid():
    x, dout = rng.standard_normal((2, 3, 7)), rng.standard_normal((2, 3, 7))
    layer = layers.Sigmoid()
    y = plain.sigmoid(x)
    assert_allclose(layer.forward(x), y, **TIGHT)
    assert_allclose(layer.out, y, **TIGHT)
    assert_allclose(layer.backward(dout), dout * (1 - y) * y, **TIGHT)


@pytest.mark.system("F7")
@pytest.mark.parametrize("shape", [(5, 24), (5, 2, 3, 4)])
def test_affine(shape):
    x, W, b = rng.standard_normal(shape), rng.standard_normal((24, 7)), rng.standard_normal(7)
    dout = rng.standard_normal((5, 7))
    layer = layers.Affine(W, b)
    assert_allclose(layer.forward(x), plain.affine(x, W, b), **TIGHT)
    dx, dW, db = plain.affine_backward(dout, x, W)
    assert_allclose(layer.backward(dout), dx, **TIGHT)
    assert_allclose(layer.dW, dW, **TIGHT)
    assert_allclose(layer.db, db, **TIGHT)


def test_affine_takes_one_sample():
    x, W, b = rng.standard_normal(3), rng.standard_normal((3, 2)), rng.standard_normal(2)
    layer = layers.Affine(W, b)
    assert_allclose(layer.forward(x), x @ W + b, **TIGHT)
    assert_allclose(layer.backward(np.ones(2)), W.sum(axis=1), **TIGHT)
    assert_allclose(layer.dW, np.outer(x, np.ones(2)), **TIGHT)


@pytest.mark.system("F13")
@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (1, 1), (2, 1), (3, 2)])
def test_convolution(stride, pad):
    x, W, b = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((5, 3, 3, 3)), rng.standard_normal(5)
    layer = layers.Convolution(W, b, stride, pad)
    y = plain.convolution(x, W, b, stride, pad)
    assert_allclose(layer.forward(x), y, **TIGHT)
    assert layer.x is x
    dout = rng.standard_normal(y.shape)
    dx, dW, db = plain.convolution_backward(dout, x, W, stride, pad)
    assert_allclose(layer.backward(dout), dx, **TIGHT)
    assert_allclose(layer.dW, dW, **TIGHT)
    assert_allclose(layer.db, db, **TIGHT)


@pytest.mark.parametrize(("size", "stride", "pad"), [((2, 2), 2, 0), ((3, 3), 1, 1), ((3, 2), 2, 1)])
def test_pooling(size, stride, pad):
    x = rng.integers(-3, 3, (2, 3, 8, 7)).astype(float)  # many equal maxima
    layer = layers.Pooling(*size, stride, pad)
    y = plain.max_pooling(x, *size, stride, pad)
    assert_array_equal(layer.forward(x), y)
    dout = rng.standard_normal(y.shape)
    assert_allclose(layer.backward(dout), plain.max_pooling_backward(dout, x, *size, stride, pad), **TIGHT)


@pytest.mark.system("F14")
def test_pooling_known_value():
    x = np.array([[21, 8, 8, 12], [12, 19, 9, 7], [8, 10, 4, 3], [18, 12, 9, 10]], float)[None, None]
    assert_array_equal(layers.Pooling(2, 2).forward(x)[0, 0], [[21, 12], [18, 10]])


@pytest.mark.parametrize("one_hot", [False, True])
def test_softmax_with_loss(one_hot):
    x, t = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    loss, dx = plain.softmax_with_loss(x, t)
    given = plain.one_hot(t, 4) if one_hot else t
    layer = layers.SoftmaxWithLoss()
    assert_allclose(layer.forward(x, given), loss, **TIGHT)
    assert layer.loss == layer.forward(x, given)
    assert layer.t is given
    assert_allclose(layer.y, plain.softmax(x), **TIGHT)
    assert_allclose(layer.backward(), dx, **TIGHT)
    assert_allclose(layer.backward(3.0), 3 * dx, **TIGHT)


@pytest.mark.system("F8")
@pytest.mark.parametrize("shape", [(6, 12), (6, 2, 3, 2)])
@pytest.mark.parametrize("arrays", [True, False])
def test_batch_normalization(shape, arrays):
    D = 12
    gamma = rng.standard_normal(D) if arrays else 1.5
    beta = rng.standard_normal(D) if arrays else -0.5
    layer = layers.BatchNormalization(gamma, beta)
    running_mean, running_var = np.zeros(D), np.zeros(D)
    for _ in range(3):
        x, dout = 2 + 3 * rng.standard_normal(shape), rng.standard_normal(shape)
        rows = x.reshape(6, D)
        y, saved = plain.batch_normalization(rows, gamma, beta)
        assert_allclose(layer.forward(x, True), y.reshape(shape), **TIGHT)
        running_mean = 0.9 * running_mean + 0.1 * saved[0]
        running_var = 0.9 * running_var + 0.1 * saved[1]
        assert_allclose(layer.running_mean, running_mean, **TIGHT)
        assert_allclose(layer.running_var, running_var, **TIGHT)
        dx, dgamma, dbeta = plain.batch_normalization_backward(dout.reshape(6, D), gamma, saved)
        assert_allclose(layer.backward(dout), dx.reshape(shape), **TIGHT)
        assert_allclose(layer.dgamma, dgamma, **TIGHT)
        assert_allclose(layer.dbeta, dbeta, **TIGHT)
    expected = gamma * (rows - running_mean) / np.sqrt(running_var + 10e-7) + beta
    assert_allclose(layer.forward(x, False), expected.reshape(shape), **TIGHT)


def test_batch_normalization_of_one_sample():
    x, gamma, beta = rng.standard_normal((1, 4)), rng.standard_normal(4), rng.standard_normal(4)
    layer = layers.BatchNormalization(gamma, beta, momentum=0.5)
    y, saved = plain.batch_normalization(x, gamma, beta)
    assert_allclose(layer.forward(x), y, **TIGHT)
    assert_allclose(layer.running_mean, 0.5 * x[0], **TIGHT)
    dout = rng.standard_normal((1, 4))
    dx, dgamma, dbeta = plain.batch_normalization_backward(dout, gamma, saved)
    assert_allclose(layer.backward(dout), dx, **TIGHT)
    assert_allclose(layer.dgamma, dgamma, **TIGHT)
    assert_allclose(layer.dbeta, dbeta, **TIGHT)


def test_batch_normalization_keeps_given_statistics():
    mean, var = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    layer = layers.BatchNormalization(np.ones(2), np.zeros(2), running_mean=mean, running_var=var)
    x = rng.standard_normal((5, 2))
    assert_allclose(layer.forward(x, False), (x - [1, 2]) / np.sqrt(np.array([3, 4]) + 10e-7), **TIGHT)
    layer.forward(x, True)
    assert_array_equal(mean, [1, 2])
    assert_array_equal(var, [3, 4])
    assert_allclose(layer.running_mean, 0.9 * mean + 0.1 * x.mean(axis=0), **TIGHT)


def test_batch_normalization_of_no_samples():
    layer = layers.BatchNormalization(np.ones(3), np.zeros(3))
    assert layer.forward(np.zeros((0, 3))).shape == (0, 3)
    assert_array_equal(layer.running_mean, np.zeros(3))


@pytest.mark.system("F9")
def test_dropout():
    x, dout = rng.standard_normal((50, 20)), rng.standard_normal((50, 20))
    layer = layers.Dropout(0.3)
    np.random.seed(7)
    y = layer.forward(x, True)
    np.random.seed(7)
    mask = np.random.rand(50, 20) > 0.3
    assert_array_equal(layer.mask, mask)
    assert_array_equal(y, x * mask)
    assert_array_equal(layer.backward(dout), dout * mask)
    assert_array_equal(layer.forward(x, False), x * 0.7)


@pytest.mark.parametrize("kind", [layers.Dropout, layers.Dropout2d])
@pytest.mark.parametrize("ratio", [1.5, -0.1, np.nan, np.inf, "half", None, True])
def test_a_ratio_that_is_none_is_refused_when_it_is_given(kind, ratio):
    with pytest.raises((ValueError, TypeError), match="dropout_ratio: expected a number"):
        kind(ratio)
    layer = kind(0.25)
    with pytest.raises((ValueError, TypeError), match="dropout_ratio: expected a number"):
        layer.dropout_ratio = ratio
    x = rng.standard_normal((2, 3, 4, 4))
    assert_array_equal(layer.forward(x, False), x if layer.inverted else x * 0.75)


@pytest.mark.parametrize("ratio", [0, 1, np.float32(0.5)])
def test_the_limits_of_a_ratio(ratio):
    x = np.ones((40, 50))
    layer = layers.Dropout(ratio, rng=3)
    assert abs(layer.forward(x, True).mean() - (1 - ratio)) < 0.05
    assert_array_equal(layer.forward(x, False), x * (1 - float(ratio)))


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (layers.Affine(rng.standard_normal((4, 3)), np.zeros(3)), rng.standard_normal((2, 4))),
        (layers.Convolution(rng.standard_normal((2, 1, 3, 3)), np.zeros(2)), rng.standard_normal((2, 1, 5, 5))),
    ],
    ids=["Affine", "Convolution"],
)
def test_parameters_are_used_by_reference(layer, x):
    first = layer.forward(x)
    layer.W *= 2
    assert_allclose(layer.forward(x), 2 * first, **TIGHT)
    layer.b += 1
    assert_allclose(layer.forward(x), 2 * first + 1, **TIGHT)
    layer.W = layer.W / 4
    assert_allclose(layer.forward(x), first / 2 + 1, **TIGHT)
    given = layer.W
    layer.backward(np.ones_like(first))
    assert layer.W is given


def test_normalization_parameters_are_used_by_reference():
    gamma, beta = np.ones(3), np.zeros(3)
    x = rng.standard_normal((8, 3))
    for kind in (layers.BatchNormalization, layers.BatchNorm1d):
        layer = kind(gamma, beta)
        first = layer.forward(x)
        gamma *= 2
        beta += 1
        assert_allclose(layer.forward(x), 2 * first + 1, **TIGHT)
        gamma /= 2
        beta -= 1


def test_dtypes_follow_numpy():
    x = rng.standard_normal((2, 1, 6, 6)).astype(np.float32)
    for dtype in (np.float32, np.float64):
        layer = layers.Convolution(np.ones((2, 1, 3, 3), dtype), np.zeros(2, dtype))
        assert layer.forward(x).dtype == dtype
        layer.backward(np.ones((2, 2, 4, 4), dtype))
        assert layer.dW.dtype == dtype
    normal = layers.BatchNormalization(np.ones(36, np.float32), np.zeros(36, np.float32))
    assert normal.forward(x).dtype == np.float32
    assert normal.forward(x[:1]).dtype == np.float32


def test_inputs_are_not_changed():
    x = rng.standard_normal((4, 2, 6, 6))
    x.flags.writeable = False
    dout = {}
    for layer in (
        layers.Relu(), layers.Sigmoid(), layers.Pooling(2, 2), layers.Dropout(0.5), layers.Flatten(),
        layers.Convolution(np.ones((3, 2, 3, 3)), np.zeros(3)), layers.Affine(np.ones((72, 3)), np.zeros(3)),
        layers.BatchNormalization(np.ones(72), np.zeros(72)),
    ):  # fmt: skip
        dout = np.ones(layer.forward(x).shape)
        dout.flags.writeable = False
        assert layer.backward(dout).shape == x.shape
