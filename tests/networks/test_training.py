"""Networks trained on the bundled handwritten digits."""

import numpy as np
import pytest

from fastconv.datasets import load_digits
from fastconv.graph import blocks as graph_blocks
from fastconv.layers import Affine, Convolution, Dropout, IdentityWithLoss, Pooling, Relu
from fastconv.networks import (
    DeepConvNet,
    MultiLayerNetExtend,
    Network,
    SimpleConvNet,
    ThreeLayerNet,
    TwoLayerNet,
)
from fastconv.optim import SGD
from fastconv.trainer import Trainer

SMALL = {"filter_num": 8, "filter_size": 5, "pad": 0, "stride": 2}
NETS = {
    "TwoLayerNet": (lambda: TwoLayerNet(784, 50, 10, "he", np.float32, rng=0), 0.85),
    "ThreeLayerNet": (lambda: ThreeLayerNet(784, 50, 100, 10, "he", np.float32, rng=0), 0.85),
    "MultiLayerNetExtend": (
        lambda: MultiLayerNetExtend(784, [50, 100], 10, use_batchnorm=True, use_dropout=True, dropout_ration=0.1,
                                    weight_decay_lambda=1e-4, dtype=np.float32, rng=0),
        0.85,
    ),
    "SimpleConvNet": (lambda: SimpleConvNet((1, 28, 28), SMALL, weight_init_std="he", dtype=np.float32, rng=0), 0.85),
    "SimpleConvNet with BatchNorm": (
        lambda: SimpleConvNet((1, 28, 28), SMALL, use_batchnorm=True, weight_init_std="xavier", dtype=np.float32, rng=0),
        0.85,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    (x, t), test = load_digits(normalize=True, flatten=False)
    return x.astype(np.float32), t, *(a.astype(np.float32) if a.ndim > 1 else a for a in test)


def train(net, digits, epochs=3, lr=0.005):
    x, t, x_test, t_test = digits
    if net.params["W1"].ndim == 2:
        x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    trainer = Trainer(net, x, t, x_test, t_test, epochs, 50, "Adam", {"lr": lr}, 100, False, seed=0, shuffle=True)
    trainer.train()
    return trainer


@pytest.mark.system("N1", "N2")
@pytest.mark.parametrize("name", NETS)
def test_training(name, digits):
    make, accuracy = NETS[name]
    trainer = train(make(), digits)
    assert trainer.final_test_acc > accuracy
    assert np.mean(trainer.train_loss_list[-10:]) < 0.3 * trainer.train_loss_list[0]


@pytest.mark.system("N3")
def test_deep_conv_net_learns_a_few_digits(digits):
    x, t, *_ = digits
    few = x[:40], t[:40]
    narrow = [{"filter_num": n, "filter_size": 3, "pad": 1, "stride": 1} for n in (4, 4, 8, 8, 12, 12)]
    trainer = train(DeepConvNet((1, 28, 28), *narrow, dtype=np.float32, rng=0), (*few, *few), epochs=40)
    assert trainer.final_test_acc > 0.9


@pytest.mark.system("N11")
def test_two_layer_regression_by_layers():
    """64 samples, 1000 - 100 - 10, sum of squared errors: below 1e-3 of the first loss in 500 steps."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 1000)), rng.standard_normal((64, 10))
    params = {"W1": rng.standard_normal((1000, 100)), "W2": rng.standard_normal((100, 10))}
    first, relu, second = Affine(params["W1"]), Relu(), Affine(params["W2"])
    loss, optimizer, losses = IdentityWithLoss("sum"), SGD(1e-6), []
    for _ in range(500):
        losses.append(loss.forward(second.forward(relu.forward(first.forward(x))), y))
        first.backward(relu.backward(second.backward(loss.backward())), needs_dx=False)
        optimizer.update(params, {"W1": first.dW, "W2": second.dW})
    assert losses[-1] < 1e-3 * losses[0]


def layer_by_layer(net, x, t):
    """The gradients by the layers' own methods, none of them fused with another."""
    layers = net.layers if isinstance(net.layers, list) else list(net.layers.values())
    for layer in layers:
        x = layer.forward(x, True) if layer.takes_train_flg else layer.forward(x)
    loss = net.last_layer.forward(x, t)
    dout = net.last_layer.backward()
    for layer in reversed(layers):
        dout = layer.backward(dout)
    return loss, {key: owner.gradient for key, owner in net._owners.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("pool", [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
def test_gradients_through_a_pooled_relu_are_the_layers_own(pool, pad, dtype):
    """Bit for bit, also where NaN, zeros and equal maxima meet the ReLU, and windows overlap."""
    rng = np.random.default_rng(0)
    conv = Convolution(rng.standard_normal((5, 2, 3, 3)).astype(dtype), np.zeros(5, dtype), 1, pad)
    size, stride, pool_pad = pool
    out = (8 + 2 * pad + 2 * pool_pad - size) // stride + 1
    layers = {
        "c": conv, "r": Relu(), "p": Pooling(size, size, stride, pool_pad),
        "a": Affine(rng.standard_normal((5 * out * out, 3)).astype(dtype), np.zeros(3, dtype)),
    }  # fmt: skip
    net = Network(layers)
    x, t = rng.integers(-1, 2, (4, 2, 10, 10)).astype(dtype), np.array([0, 2, 1, 1])
    x[0, 0, 2:6, 2:6], conv.b[2] = 0, -2
    for worst in (0.0, np.nan):
        x[1, 1, 4, 4] += dtype(worst)
        with np.errstate(invalid="ignore"):
            gradients = net.gradient(x, t)
            loss, expected = layer_by_layer(net, x, t)
        np.testing.assert_equal(net.last_loss, loss)
        for key, gradient in gradients.items():
            np.testing.assert_array_equal(gradient, expected[key])


def test_a_replaced_backward_of_a_pooled_relu_is_called():
    net = SimpleConvNet(
        (1, 12, 12), {"filter_num": 3, "filter_size": 3, "pad": 0, "stride": 1}, 8, dtype=np.float32, rng=0
    )
    x, t = np.random.default_rng(0).standard_normal((4, 1, 12, 12)).astype(np.float32), np.arange(4)
    expected = net.gradient(x, t)
    relu, shapes = net.layers["Relu1"], []
    own = relu.backward
    relu.backward = lambda dout: (shapes.append(dout.shape), own(dout))[1]
    again = net.gradient(x, t)
    assert shapes == [(4, 3, 10, 10)]
    for key, gradient in again.items():
        np.testing.assert_array_equal(gradient, expected[key])


BLOCKS = {
    "SimpleConvNet": lambda dtype: SimpleConvNet((1, 14, 14), weight_init_std=0.3, hidden_size=9, dtype=dtype, rng=0),
    "DeepConvNet": lambda dtype: DeepConvNet((1, 28, 28), hidden_size=9, dtype=dtype, rng=0),
}


def blocks_of(net):
    return [step.block for step, _ in net._program()._steps if hasattr(step, "block")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_by_blocks_are_the_layers_own(name, dtype, monkeypatch):
    net = BLOCKS[name](dtype)
    for layer in net.every_layer():
        if isinstance(layer, Dropout):
            layer.dropout_ratio = 0.0
    size = 28 if name == "DeepConvNet" else 14
    x, t = np.random.default_rng(0).random((6, 1, size, size)).astype(dtype), np.arange(6)
    loss, expected = layer_by_layer(net, x, t)
    monkeypatch.setattr(graph_blocks, "PAYS_FROM", 0)
    blocks = blocks_of(net)
    assert len(blocks) == (3 if name == "DeepConvNet" else 1)
    for _ in range(2):
        gradients = net.gradient(x, t)
        np.testing.assert_allclose(net.last_loss, loss, rtol=1e-5 if dtype == np.float32 else 1e-12)
        for key, gradient in gradients.items():
            scale = np.abs(expected[key]).max()
            np.testing.assert_allclose(
                gradient, expected[key], rtol=0, atol=scale * (1e-4 if dtype == np.float32 else 1e-10)
            )
    for block in blocks:
        assert block.relus[-1].out is None and block.pool.out is not None
    loss, _ = layer_by_layer(net, x, t)  # and by their own methods afterwards


@pytest.mark.parametrize("name", ["forward", "backward"])
@pytest.mark.parametrize("kind", [Convolution, Relu, Pooling])
def test_layers_with_hooks_make_no_block(kind, name, monkeypatch):
    monkeypatch.setattr(graph_blocks, "PAYS_FROM", 0)
    net, calls = BLOCKS["SimpleConvNet"](np.float32), []
    x, t = np.random.default_rng(0).random((6, 1, 14, 14)).astype(np.float32), np.arange(6)
    expected = net.gradient(x, t)
    layer = next(layer for layer in net.every_layer() if type(layer) is kind)
    own = getattr(layer, name)
    setattr(layer, name, lambda *args, **options: (calls.append(args), own(*args, **options))[1])
    again = net.gradient(x, t)
    assert len(calls) == 1
    for key, gradient in again.items():
        np.testing.assert_allclose(gradient, expected[key], rtol=0, atol=1e-4 * np.abs(expected[key]).max())


def test_a_step_that_failed_leaves_no_block_that_has_run(monkeypatch):
    """Else it would hold its arrays, and a backward behind another forward would be its own."""
    monkeypatch.setattr(graph_blocks, "PAYS_FROM", 0)
    net = BLOCKS["SimpleConvNet"](np.float32)
    x = np.random.default_rng(0).random((6, 1, 14, 14)).astype(np.float32)
    with pytest.raises(ValueError):
        net.gradient(x, np.arange(3))
    assert not any(block.ran for block in blocks_of(net))
