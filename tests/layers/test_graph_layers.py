"""Nodes of a computational graph, and layers that join others."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import layers

rng = np.random.default_rng(1)


@pytest.mark.system("F6")
def test_buying_apples():
    price_of_all, taxed = layers.MulLayer(), layers.MulLayer()
    assert taxed.forward(price_of_all.forward(100, 2), 1.1) == pytest.approx(220)
    dprice_of_all, dtax = taxed.backward(1)
    dapple, dcount = price_of_all.backward(dprice_of_all)
    assert (dapple, dcount, dtax, dprice_of_all) == pytest.approx((2.2, 110, 200, 1.1))


@pytest.mark.system("F6")
def test_buying_apples_and_oranges():
    apples, oranges, total, taxed = layers.MulLayer(), layers.MulLayer(), layers.AddLayer(), layers.MulLayer()
    assert taxed.forward(total.forward(apples.forward(100, 2), oranges.forward(150, 3)), 1.1) == pytest.approx(715)
    dtotal, dtax = taxed.backward(1)
    dapples, doranges = total.backward(dtotal)
    assert apples.backward(dapples) == pytest.approx((2.2, 110))
    assert oranges.backward(doranges) == pytest.approx((3.3, 165))
    assert dtax == 650


def test_flatten():
    x = rng.standard_normal((2, 3, 4, 5))
    layer = layers.Flatten()
    y = layer.forward(x)
    assert_array_equal(y, x.reshape(2, 60))
    assert np.shares_memory(x, y)
    assert_array_equal(layer.backward(y), x)
    assert layer.forward(np.zeros((0, 3, 4))).shape == (0, 12)


def test_sequential_runs_in_order_and_passes_the_flag():
    W = rng.standard_normal((6, 4))
    row = layers.Sequential([layers.Flatten(), layers.Affine(W, np.zeros(4)), layers.Dropout(0.5), layers.Tanh()])
    x = rng.standard_normal((3, 2, 3))
    assert_allclose(row.forward(x, False), np.tanh(x.reshape(3, 6) @ W * 0.5))
    y = row.forward(x)
    mask = row.layers[2].mask
    assert_allclose(y, np.tanh(x.reshape(3, 6) @ W * mask))
    dx = row.backward(np.ones((3, 4)))
    assert_allclose(dx, (((1 - y**2) * mask) @ W.T).reshape(x.shape))


def test_residual_with_the_identity_as_shortcut():
    x, dout = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    W = rng.standard_normal((4, 4))
    block = layers.Residual([layers.Affine(W), layers.Relu()])
    y = np.maximum(x @ W, 0)
    assert_allclose(block.forward(x), y + x)
    assert_allclose(block.backward(dout), (dout * (y > 0)) @ W.T + dout)


def test_residual_with_a_projection_as_shortcut():
    x, dout = rng.standard_normal((3, 4)), rng.standard_normal((3, 2))
    W, P = rng.standard_normal((4, 2)), rng.standard_normal((4, 2))
    block = layers.Residual([layers.Affine(W)], [layers.Affine(P)])
    assert_allclose(block.forward(x), x @ (W + P))
    assert_allclose(block.backward(dout), dout @ (W + P).T)
