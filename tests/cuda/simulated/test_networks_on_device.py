"""Networks and training on device arrays, against the same on the CPU."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers, optim
from fastconv.kernels._cuda import pool
from fastconv.kernels._cuda.arrays import DeviceArray
from fastconv.layers import BatchNorm2d
from fastconv.layers._layer import Layer
from fastconv.networks import Network, SimpleConvNet, TwoLayerNet
from fastconv.testing import normal
from fastconv.trainer import Trainer

CONV = {"filter_num": 2, "filter_size": 3, "pad": 1, "stride": 1}
X, T = normal((5, 1, 6, 6), np.float32), np.array([0, 2, 1, 2, 0])


def network(**options):
    return SimpleConvNet((1, 6, 6), CONV, 4, 3, "he", np.float32, rng=0, **options)


@pytest.mark.parametrize("use_batchnorm", [False, True])
def test_gradients_are_those_of_the_cpu(use_batchnorm):
    here, there = network(use_batchnorm=use_batchnorm), network(use_batchnorm=use_batchnorm).to("cuda")
    with fc.backend("numpy"):
        expected, loss = here.gradient(X, T), here.last_loss
    got = there.gradient(X, T)
    assert there.device == "cuda" and isinstance(there.last_loss, DeviceArray)
    np.testing.assert_allclose(float(there.last_loss), loss, rtol=1e-5)
    for key, grad in expected.items():
        assert isinstance(got[key], DeviceArray) and isinstance(there.params[key], DeviceArray)
        np.testing.assert_allclose(fc.to_host(got[key]), grad, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(float(there.loss(X, np.eye(3)[T], train_flg=True)), loss, rtol=1e-5)


def test_steps_are_those_of_the_cpu_and_allocate_nothing_once_warm(monkeypatch):
    here, there = network(), network().to("cuda")
    steps = optim.Momentum(lr=0.1), optim.Momentum(lr=0.1)
    x, t = fc.to_device(X), fc.to_device(T)
    for step in range(4):
        if step == 2:
            monkeypatch.setattr(pool, "_allocated", lambda nbytes: pytest.fail(f"{nbytes} bytes allocated"))
        there_grads = there.gradient(x, t)
        steps[1].update(there.params, there_grads)
        with fc.backend("numpy"):
            steps[0].update(here.params, here.gradient(X, T))
    for key, p in here.params.items():
        np.testing.assert_allclose(fc.to_host(there.params[key]), p, rtol=1e-3, atol=1e-5)


def test_trainer_on_a_device(capsys):
    net = network()
    rng = np.random.default_rng(0)
    trainer = Trainer(net, X, T, X, T, 2, 2, "adam", {"lr": 0.01}, verbose=False, seed=rng, shuffle=True, device="cuda")
    trainer.train()
    assert len(trainer.train_loss_list) == trainer.max_iter and all(type(v) is float for v in trainer.train_loss_list)
    assert 0 <= trainer.final_test_acc <= 1 and net.device == "cuda"


def test_parameters_go_to_files_and_back(tmp_path):
    net = network(use_batchnorm=True).to("cuda")
    net.save_params(tmp_path / "net.npz")
    other = SimpleConvNet((1, 6, 6), CONV, 4, 3, "he", np.float32, rng=1, use_batchnorm=True).to("cuda")
    other.load_params(tmp_path / "net.npz")
    back = other.to("cpu")
    for key, p in net.params.items():
        assert isinstance(back.params[key], np.ndarray)
        np.testing.assert_array_equal(fc.to_host(p), back.params[key])


def test_statistics_begin_where_the_images_are():
    layer = BatchNorm2d(None)
    y = layer.forward(fc.to_device(normal((2, 3, 4, 4), np.float32)))
    assert isinstance(y, DeviceArray) and isinstance(layer.running_var, DeviceArray)


class Stubborn(Layer):
    """Stays on the CPU."""

    forward = backward = staticmethod(np.negative)


def test_what_cannot_be_moved_says_so():
    with pytest.raises(ValueError, match="device: expected 'cpu' or 'cuda'"):
        network().to("gpu")
    with pytest.raises(ValueError, match="Stubborn of this network cannot run"):
        Network({"1": layers.Sequential([Stubborn()])}).to("cuda")
    net = TwoLayerNet(4, 3, 2).to("cuda")
    with pytest.raises(RuntimeError, match=r"net\.to"):
        net.numerical_gradient(np.ones((1, 4)), np.array([0]))
    with pytest.raises(TypeError, match="on the CPU"):
        net.compile()
