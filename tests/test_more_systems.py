"""More worked examples, and what programs in the style of the book pass to its classes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose, assert_array_equal

import fastconv as fc
from fastconv import functions, layers, networks, optim

rng = np.random.default_rng(3)


@pytest.mark.system("F22")
def test_known_values():
    y = functions.softmax(np.array([3.99985815, 5.9997286]))
    assert_allclose(y, [0.11921653, 0.88078347], atol=1e-8)
    x, W = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    affine = layers.Affine(W, np.zeros(2))
    assert_array_equal(affine.forward(x), [[22, 28]])
    affine.backward(np.array([[1.0, 2.0]]))
    assert_array_equal(affine.dW, [[1, 2], [2, 4], [3, 6]])


@pytest.mark.system("F6", "F22")
def test_two_fruits():
    """Two apples at 100 and three oranges at 150, with a tax of 1.1."""
    apples, oranges, total, tax = layers.MulLayer(), layers.MulLayer(), layers.AddLayer(), layers.MulLayer()
    price = tax.forward(total.forward(apples.forward(100, 2), oranges.forward(150, 3)), 1.1)
    assert price == pytest.approx(715)
    dall, dtax = tax.backward(1)
    dapples, doranges = total.backward(dall)
    assert apples.backward(dapples) == pytest.approx((2.2, 110))
    assert oranges.backward(doranges) == pytest.approx((3.3, 165))
    assert dtax == pytest.approx(650)


@pytest.mark.system("F22")
def test_nll_without_log_softmax_is_nan():
    with np.errstate(invalid="ignore"):
        assert np.isnan(fc.log_softmax(np.array([[np.nan, 1.0]]))).all()
        assert np.isnan(np.log(np.array([-1.0])))


@pytest.mark.system("F20")
class TestBookStyle:
    def test_a_scalar_or_a_row_for_a_bias(self):
        x, w = rng.standard_normal((2, 3, 5, 5)), rng.standard_normal((4, 3, 3, 3))
        expected = fc.conv2d(x, w)
        assert_array_equal(layers.Convolution(w, 0).forward(x), expected)
        assert_allclose(layers.Convolution(w, np.full((1, 4), 2.0)).forward(x), expected + 2)
        W = rng.standard_normal((6, 3))
        rows = rng.standard_normal((2, 6))
        assert_allclose(layers.Affine(W, np.ones((1, 3))).forward(rows), rows @ W + 1)
        assert_allclose(layers.Affine(W, 0.5).forward(rows), rows @ W + 0.5)

    def test_scalar_scale_and_shift(self):
        x = rng.standard_normal((6, 3))
        y = layers.BatchNormalization(2.0, 1.0).forward(x, True)
        assert_allclose(y, 2 * (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6) + 1, rtol=1e-9)

    @pytest.mark.parametrize("name", ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "AdaDelta", "Adam"])
    def test_parameters_that_are_numbers(self, name):
        params, arrays = {"x": -7.0, "y": 2.0}, {"x": np.array([-7.0]), "y": np.array([2.0])}
        one, other = getattr(optim, name)(), getattr(optim, name)()
        for _ in range(3):
            one.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
            other.update(arrays, {"x": arrays["x"] / 10, "y": 2 * arrays["y"]})
        assert params == pytest.approx({"x": arrays["x"][0], "y": arrays["y"][0]}, rel=1e-12)

    def test_the_books_pickle(self, tmp_path):
        net = networks.TwoLayerNet(4, 3, 2, rng=0)
        net.save_params(tmp_path / "params.pkl")
        other = networks.TwoLayerNet(4, 3, 2, rng=1)
        other.load_params(tmp_path / "params.pkl")
        assert all((other.params[key] == net.params[key]).all() for key in net.params)
        import pickle

        with open(tmp_path / "params.pkl", "rb") as file:
            assert type(pickle.load(file)) is dict

    def test_the_books_attributes(self):
        x, w, b = rng.standard_normal((2, 3, 6, 6)), rng.standard_normal((4, 3, 3, 3)), np.zeros(4)
        conv, pool = layers.Convolution(w, b, 1, 1), layers.Pooling(2, 2, 2)
        y = conv.forward(x)
        assert_array_equal(conv.col, fc.im2col(x, 3, 3, 1, 1))
        assert_array_equal(conv.col_W, w.reshape(4, -1).T)
        assert conv.x is x
        pool.forward(y)
        windows = fc.im2col(y, 2, 2, 2, 0).reshape(-1, 4)
        assert_array_equal(pool.arg_max, windows.argmax(axis=1))
        assert pool.x.shape == y.shape


@pytest.mark.system("F23")
class TestOtherShapes:
    def test_convolution_of_sequences(self):
        """A 1-D convolution is a 2-D one of height 1."""
        x, w = rng.standard_normal((2, 3, 10)), rng.standard_normal((4, 3, 5))
        y = fc.conv2d(x[:, :, None], w[:, :, None], stride=(1, 2), padding=(0, 2))
        assert_allclose(y[:, :, 0], F.conv1d(torch.tensor(x), torch.tensor(w), stride=2, padding=2), rtol=1e-10)

    def test_convolution_of_volumes(self):
        """A 3-D convolution is a sum of 2-D ones over the filter's planes."""
        x, w = rng.standard_normal((2, 3, 6, 5, 5)), rng.standard_normal((4, 3, 2, 3, 3))
        N, C, D, H, W = x.shape
        planes = np.stack([x[:, :, d : d + 2] for d in range(D - 1)], axis=1)  # (N, D', C, 2, H, W)
        y = fc.conv2d(planes.reshape(N * (D - 1), C * 2, H, W), w.reshape(4, C * 2, 3, 3))
        y = y.reshape(N, D - 1, 4, 3, 3).transpose(0, 2, 1, 3, 4)
        assert_allclose(y, F.conv3d(torch.tensor(x), torch.tensor(w)), rtol=1e-9, atol=1e-12)

    def test_reshape(self):
        x = rng.standard_normal((2, 512, 1, 1))
        layer = layers.Reshape(-1, 512, keep_batch=False)
        assert layer.forward(x).shape == (2, 512) and layer.backward(np.ones((2, 512))).shape == x.shape
        layer = layers.Reshape(4, -1)
        assert layer.forward(x).shape == (2, 4, 128) and repr(layer) == "Reshape(4, -1)"
        with pytest.raises(ValueError, match="x: expected a shape that fits"):
            layers.Reshape(5, -1).forward(x)

    def test_dropout_of_features(self):
        x = np.ones((100, 20))
        y = layers.Dropout2d(0.25, rng=0).forward(x)
        assert_allclose(np.unique(y), [0, 1 / 0.75])

    def test_slices_and_shuffled_channels(self):
        x = rng.standard_normal((2, 6, 3, 3))
        shuffle = layers.ChannelShuffle(3)
        assert_array_equal(shuffle.forward(x), F.channel_shuffle(torch.tensor(x), 3))
        assert_array_equal(shuffle.backward(shuffle.forward(x)), x)
        part = layers.Slice(2, 5)
        assert_array_equal(part.forward(x), x[:, 2:5])
        assert_array_equal(part.backward(x[:, 2:5])[:, [0, 1, 5]], 0)

    def test_local_response_normalisation(self):
        x = rng.standard_normal((2, 7, 3, 3))
        layer = layers.LocalResponseNormalization(5, alpha=1e-2, beta=0.75, k=2.0)
        tensor = torch.tensor(x, requires_grad=True)
        expected = F.local_response_norm(tensor, 5, alpha=1e-2, beta=0.75, k=2.0)
        assert_allclose(layer.forward(x), expected.detach(), rtol=1e-10)
        dout = rng.standard_normal(x.shape)
        expected.backward(torch.tensor(dout))
        assert_allclose(layer.backward(dout), tensor.grad, rtol=1e-9, atol=1e-12)


def test_every_system_has_a_test_that_proves_it():
    """And docs/systems.md is what tools/systems.py makes of the markers."""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, root / "tools" / "systems.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (root / "docs" / "systems.md").read_text().strip()


def test_fusions_stand_in_one_list_that_training_and_prediction_read(monkeypatch):
    """Without the list neither fuses anything; both give the same numbers then."""
    from fastconv.graph import fusions

    net = networks.FashionCNN(rng=0, dtype=np.float64)
    x, t = rng.standard_normal((2, 1, 28, 28)), np.array([1, 2])
    for layer in net.every_layer():
        if isinstance(layer, layers.Dropout):
            layer.dropout_ratio = 0.0
    steps = [len(net._program()._steps), len(_links(net, x))]
    scores, gradients = net.compile()(x), net.gradient(x, t)
    assert {fusion.name for fusion in fusions.find(net.graph(), training=True).values()} == {
        "activation",
        "pooled mask",
    }
    assert {fusion.name for fusion in fusions.find(net.graph(), training=False).values()} == {
        "activation", "normalisation", "scale",
    }  # fmt: skip
    monkeypatch.setattr(fusions, "FUSIONS", ())
    bare = networks.FashionCNN(rng=0, dtype=np.float64)
    for layer in bare.every_layer():
        if isinstance(layer, layers.Dropout):
            layer.dropout_ratio = 0.0
    assert len(bare._program()._steps) == len(bare.graph().nodes) > steps[0]
    assert len(_links(bare, x)) > steps[1]
    for key, expected in bare.gradient(x, t).items():
        assert_allclose(gradients[key], expected, rtol=1e-9, atol=1e-12, err_msg=key)
    fresh = networks.FashionCNN(rng=0, dtype=np.float64)
    assert_allclose(scores, fresh.predict(x), rtol=1e-9, atol=1e-12)


def _links(net, x):
    """The prepared steps of a compiled prediction, and what runs as it is between them."""
    predict = net.compile()
    predict(x)
    (plan,) = predict._plans._plans.values()
    return [step for part, _, _ in plan._parts for step in getattr(part, "steps", [part])]
