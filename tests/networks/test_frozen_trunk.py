"""Frozen first layers, which a training step runs as a compiled prediction does."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import hooks
from fastconv.layers import Affine, BatchNorm2d, Convolution, Dropout, Flatten, Pooling, Relu, Residual
from fastconv.networks import Network
from fastconv.optim import SGD

rng = np.random.default_rng(0)
X, T = rng.standard_normal((4, 3, 8, 8)), np.array([0, 2, 1, 0])


def conv(into, out):
    return Convolution(0.3 * rng.standard_normal((out, into, 3, 3)), rng.standard_normal(out), pad=1)


def norm(C):
    return BatchNorm2d(
        rng.uniform(0.5, 2, C), rng.standard_normal(C), running_mean=np.full(C, 0.2), running_var=np.full(C, 2.0)
    )


def network(*, dropout=False):
    trunk = {
        "stem": [conv(3, 4), norm(4), Relu()],
        "body": Residual([conv(4, 4), norm(4)]),
        "relu": Relu(),
        "drop": Dropout(0.5) if dropout else Relu(),
        "last": [conv(4, 5), Pooling(2, 2)],
    }
    head = [Flatten(), Affine(0.1 * rng.standard_normal((80, 3)), np.zeros(3))]
    return Network({"trunk": trunk, "head": head})


def trunk_of(net):
    return net._program()._trunk


def test_gradients_of_the_head_are_those_of_the_layers():
    net = network()
    net.freeze("trunk")
    statistics = {name: a.copy() for name, a in net.named_statistics().items()}
    assert trunk_of(net).steps == len(net._program()._steps) - 1  # all but the affine layer
    fast, loss = net.gradient(X, T), net.last_loss
    assert list(fast) == ["head.1.W", "head.1.b"]
    net.loss(X, T, train_flg=True)  # layer by layer
    net.backward(net.last_layer.backward())
    assert loss == pytest.approx(net.loss(X, T, train_flg=True), rel=1e-12)
    for name in fast:
        layer, attribute = net.layers["head"].layers[1], name[-1]
        assert_allclose(fast[name], getattr(layer, f"d{attribute}"), rtol=1e-10, atol=1e-13)
    for name, a in net.named_statistics().items():
        assert_array_equal(a, statistics[name])


def test_the_gradient_with_respect_to_the_input_goes_through_a_frozen_trunk():
    net = network()
    whole = net.predict(X, True), net.backward(np.ones((4, 3)))
    for a in net.named_statistics().values():
        a[...] = 0.5
    net.freeze("trunk")
    net.gradient(X, T)
    net.predict(X, True)
    dx = net.backward(np.ones((4, 3)))
    assert dx.shape == X.shape
    assert np.abs(dx).max() > 0
    assert whole[1].shape == dx.shape


def test_what_changes_in_the_trunk_is_noticed():
    net = network()
    net.freeze("trunk")
    net.gradient(X, T)

    def check():
        fast = net.gradient(X, T)
        net.loss(X, T, train_flg=True)
        net.backward(net.last_layer.backward())
        assert_allclose(fast["head.1.W"], net.layers["head"].layers[1].dW, rtol=1e-10, atol=1e-13)

    net.layer("trunk.stem.0").W *= 1.5  # in place
    check()
    net.layer("trunk.last.0").W = net.layer("trunk.last.0").W * 2  # replaced
    check()
    net.layer("trunk.stem.1").running_mean += 1
    check()
    net.replace("trunk.relu", [Relu(), conv(4, 4)])
    net.freeze("trunk")
    check()
    seen = []
    with hooks.on_forward(net.layer("trunk.body"), lambda layer, inputs, y: seen.append(y.shape)):
        check()
    assert len(seen) >= 2
    net.unfreeze("trunk.last")
    assert "trunk.last.0.W" in net.gradient(X, T)
    check()


def test_dropout_in_the_trunk_goes_on_dropping():
    net = network(dropout=True)
    net.freeze("trunk")
    steps = [step.nodes[0].path for step, _ in net._program()._steps]
    assert trunk_of(net).steps == steps.index("trunk.drop")
    first = net.gradient(X, T)["head.1.W"]
    assert np.abs(first - net.gradient(X, T)["head.1.W"]).max() > 0


def test_a_network_with_nothing_frozen_has_no_trunk():
    net = network()
    assert trunk_of(net) is None
    net.freeze("head")
    assert trunk_of(net) is None


def test_a_trained_head_is_followed():
    net, optimiser = network(), SGD(0.1)
    net.freeze("trunk")
    losses = []
    for _ in range(20):
        optimiser.update(net.params, net.gradient(X, T))
        losses.append(float(net.last_loss))
    assert losses[-1] < losses[0] / 2
