"""Dropout and stochastic pooling: distribution, seeds, masks."""

# ruff: noqa: NPY002 (the book's programs seed NumPy's global generator)

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import layers

rng = np.random.default_rng(4)


@pytest.mark.system("F9")
@pytest.mark.parametrize("source", [None, 5])
@pytest.mark.parametrize("inverted", [False, True])
def test_dropout_keeps_the_expectation(source, inverted):
    x = np.ones((400, 500))
    layer = layers.Dropout(0.3, inverted=inverted, rng=source)
    y = layer.forward(x, True)
    assert abs(layer.mask.mean() - 0.7) < 0.005
    assert set(np.unique(y)) == {0, 1 / 0.7 if inverted else 1}
    assert y.mean() == pytest.approx(layer.forward(x, False).mean(), rel=0.01)


@pytest.mark.system("F9")
@pytest.mark.parametrize("kind", [layers.Dropout, layers.Dropout2d])
def test_a_seed_gives_the_same_masks_again(kind):
    x = np.ones((20, 10, 2, 2))
    one, same, other = kind(0.5, rng=1), kind(0.5, rng=1), kind(0.5, rng=2)
    first, second = one.forward(x), one.forward(x)
    assert (first != second).any()
    assert_array_equal(same.forward(x), first)
    assert_array_equal(same.forward(x), second)
    assert (other.forward(x) != first).any()


@pytest.mark.system("F9")
@pytest.mark.parametrize("source", [None, 5])
def test_dropout2d_drops_whole_planes(source):
    x = rng.standard_normal((30, 20, 3, 4))
    layer = layers.Dropout2d(0.25, rng=source)
    y = layer.forward(x)
    assert layer.mask.shape == (30, 20, 1, 1)
    assert_allclose(y, x * layer.mask / 0.75)
    assert abs(layer.mask.mean() - 0.75) < 0.08
    assert_allclose(layer.backward(x), y)
    assert layer.forward(x, False) is x


@pytest.mark.system("F9")
@pytest.mark.parametrize("source", [None, 5])
def test_a_mask_is_reused_where_it_fits(source):
    layer = layers.Dropout(0.5, rng=source)
    layer.reuse_mask = True
    x = np.ones((10, 10))
    first = layer.forward(x)
    assert_array_equal(layer.forward(x), first)
    assert layer.forward(np.ones((5, 10))).shape == (5, 10)
    layer.reuse_mask = False
    assert (layer.forward(x) != first).any()


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_dropout_of_nothing_and_of_all(ratio):
    x = rng.standard_normal((4, 5))
    for layer in (layers.Dropout(ratio, rng=1), layers.Dropout(ratio, inverted=True)):
        assert_array_equal(layer.forward(x), x * (1 - ratio))


@pytest.mark.system("F14")
def test_stochastic_pooling_draws_in_proportion():
    x = np.tile([[1.0, 2.0], [3.0, 4.0]], (1, 1, 100, 100))
    layer = layers.StochasticPooling(2, 2, rng=3)
    y = layer.forward(x, True)
    values, counts = np.unique(y, return_counts=True)
    assert_array_equal(values, [1, 2, 3, 4])
    assert_allclose(counts / y.size, [0.1, 0.2, 0.3, 0.4], atol=0.02)
    dx = layer.backward(np.ones_like(y))
    assert_array_equal(dx.reshape(100, 2, 100, 2).sum(axis=(1, 3)), np.ones((100, 100)))
    assert_array_equal((dx * x).reshape(100, 2, 100, 2).sum(axis=(1, 3)), y[0, 0])


def test_stochastic_pooling_averages_by_probability_at_inference():
    x = np.array([[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 0.0, 5.0]])[None, None]
    assert_allclose(layers.StochasticPooling(2, 2).forward(x, False), [[[[(1 + 4 + 9 + 16) / 10, 5]]]])


def test_numpy_s_seed_governs_stochastic_pooling():
    x = rng.random((2, 3, 8, 8))

    def result():
        np.random.seed(11)
        return layers.StochasticPooling(2, 2).forward(x)

    assert_array_equal(result(), result())
