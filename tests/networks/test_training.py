"""Networks trained on the bundled handwritten digits."""

import numpy as np
import pytest

from fastconv.datasets import load_digits
from fastconv.layers import Affine, IdentityWithLoss, Relu
from fastconv.networks import DeepConvNet, MultiLayerNetExtend, SimpleConvNet, ThreeLayerNet, TwoLayerNet
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


@pytest.mark.parametrize("name", NETS)
def test_training(name, digits):
    make, accuracy = NETS[name]
    trainer = train(make(), digits)
    assert trainer.final_test_acc > accuracy
    assert np.mean(trainer.train_loss_list[-10:]) < 0.3 * trainer.train_loss_list[0]


def test_deep_conv_net_learns_a_few_digits(digits):
    x, t, *_ = digits
    few = x[:40], t[:40]
    narrow = [{"filter_num": n, "filter_size": 3, "pad": 1, "stride": 1} for n in (4, 4, 8, 8, 12, 12)]
    trainer = train(DeepConvNet((1, 28, 28), *narrow, dtype=np.float32, rng=0), (*few, *few), epochs=40)
    assert trainer.final_test_acc > 0.9


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
