"""Every kind of network at a tiny size: what it predicts, its loss, gradients and a training step, as on the CPU."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers as L
from fastconv import optim
from fastconv.kernels._cuda.arrays import DeviceArray
from fastconv.networks import DeepConvNet, MultiLayerNet, MultiLayerNetExtend, Network, SimpleConvNet, ThreeLayerNet
from fastconv.testing import normal

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

CONV = {"filter_num": 2, "filter_size": 3, "pad": 1, "stride": 1}
LAST = {"filter_num": 2, "filter_size": 3, "pad": 2, "stride": 1}


class Row(Network):
    """Layers in a row, with a loss of any kind."""

    def __init__(self, *row, loss=L.SoftmaxWithLoss):
        super().__init__({str(i): layer for i, layer in enumerate(row)})
        self.last_layer = loss()


def weights(*shape):
    return normal(shape, np.float32, sum(shape)) * np.float32(0.4)


def conv(FN, C, size=3, bias=True, **geometry):
    return L.Convolution(weights(FN, C, size, size), weights(FN) if bias else None, **geometry)


def affine(K, M):
    return L.Affine(weights(K, M), weights(M))


def norm(C):
    return L.BatchNorm2d(
        np.ones(C, np.float32), weights(C), running_mean=weights(C), running_var=np.ones(C, np.float32)
    )


def block(C, FN, stride):
    """ResNet's basic block, with a projection where the shape changes."""
    body = [
        conv(FN, C, bias=False, stride=stride, pad=1),
        norm(FN),
        L.Relu(),
        conv(FN, FN, bias=False, pad=1),
        norm(FN),
    ]
    return L.Residual(body, [conv(FN, C, 1, False, stride=stride), norm(FN)] if stride > 1 else [])


def bottleneck(C, FN):
    body = [conv(FN, C, 1, False), norm(FN), L.Relu(), conv(FN, FN, 3, False, pad=1), L.Relu(), conv(C, FN, 1, False)]
    return L.Residual(body)


def mlp(**options):
    return lambda: MultiLayerNetExtend(8, [4, 3], 3, dtype=np.float32, rng=0, **options)


NETWORKS = {
    "three layers": (lambda: ThreeLayerNet(8, 4, 5, 3, "he", np.float32, rng=0), (8,)),
    "MultiLayerNet, weight decay": (lambda: MultiLayerNet(8, [4], 3, "tanh", 0.1, 0.3, np.float32, rng=0), (8,)),
    "perceptron, batch norm": (mlp(use_batchnorm=True), (8,)),
    "perceptron, everything": (mlp(use_batchnorm=True, use_dropout=True, weight_decay_lambda=0.2), (8,)),
    "SimpleConvNet": (
        lambda: SimpleConvNet((1, 8, 8), CONV, 4, 3, "he", np.float32, conv_param_2=CONV, use_batchnorm=True, rng=0),
        (1, 8, 8),
    ),
    "DeepConvNet": (
        lambda: DeepConvNet((1, 8, 8), CONV, CONV, CONV, LAST, CONV, CONV, 4, 3, np.float32, rng=0),
        (1, 8, 8),
    ),
    "LeNet": (
        lambda: Row(
            conv(2, 3, 5),
            L.Relu(),
            L.Pooling(2, 2),
            conv(3, 2),
            L.Relu(),
            L.Flatten(),
            affine(12, 4),
            L.Relu(),
            affine(4, 3),
        ),
        (3, 12, 12),
    ),
    "book's batch norm of images": (
        lambda: Row(conv(2, 1), L.BatchNormalization(weights(32) + 1, weights(32)), L.Relu(), affine(32, 3)),
        (1, 6, 6),
    ),
    "book's batch norm of one scale": (
        lambda: Row(conv(2, 1), L.BatchNormalization(1.0, 0.0), affine(32, 3)),
        (1, 6, 6),
    ),
    "FashionCNN": (
        lambda: Row(
            conv(3, 1, pad=1), norm(3), L.Relu(), L.Pooling(2, 2), L.Dropout2d(0.25, rng=0), affine(27, 4), affine(4, 3)
        ),
        (1, 6, 6),
    ),
    "log-softmax": (
        lambda: Row(conv(2, 1), L.Pooling(2, 2), L.Relu(), affine(8, 3), L.LogSoftmax(), loss=L.NLLLoss),
        (1, 6, 6),
    ),
    "VGG": (
        lambda: Row(
            *(conv(2, 1, pad=1), norm(2), L.Relu(), conv(3, 2, pad=1), norm(3), L.Relu(), L.Pooling(2, 2)),
            *(L.Dropout(0.5, inverted=True, rng=0), affine(12, 3), L.LogSoftmax()),
            loss=L.NLLLoss,
        ),
        (1, 4, 4),
    ),
    "ResNet": (
        lambda: Row(
            *(conv(2, 1, 7, False, stride=2, pad=3), norm(2), L.Relu(), L.Pooling(3, 3, 2, 1)),
            *(block(2, 2, 1), block(2, 3, 2), bottleneck(3, 2), L.GlobalAveragePooling(), affine(3, 3)),
        ),
        (1, 12, 12),
    ),
    "residual": (lambda: Row(L.Residual([affine(8, 8), L.Relu()]), affine(8, 3)), (8,)),
    "regression": (
        lambda: Row(affine(8, 4), L.Sequential([L.Sigmoid(), affine(4, 2)]), loss=lambda: L.IdentityWithLoss("mean")),
        (8,),
    ),
}


def targets(net, N):
    return normal((N, 2), np.float32, 9) if isinstance(net.last_layer, L.IdentityWithLoss) else np.arange(N) % 3


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_on_the_device(name):
    make, shape = NETWORKS[name]
    here, there, x = make(), make().to("cuda"), normal((4, *shape), np.float32)
    t, optimisers = targets(here, 4), (optim.SGD(0.1), optim.SGD(0.1))
    scores = there.predict(x)
    assert isinstance(scores, DeviceArray)
    with fc.backend("numpy"):
        np.testing.assert_allclose(fc.to_host(scores), here.predict(x), rtol=1e-3, atol=1e-4)
        gradients = here.gradient(x, t)
    got = there.gradient(x, t)
    assert isinstance(there.last_loss, DeviceArray) and got.keys() == gradients.keys()
    np.testing.assert_allclose(float(there.last_loss), here.last_loss, rtol=1e-4)
    for key, gradient in gradients.items():
        assert isinstance(got[key], DeviceArray)
        np.testing.assert_allclose(fc.to_host(got[key]), gradient, rtol=2e-3, atol=1e-4, err_msg=key)
    if not any(
        isinstance(layer, L.BatchNormalization) and isinstance(layer.gamma, float) for layer in there.every_layer()
    ):
        optimisers[0].update(here.params, gradients)
        optimisers[1].update(there.params, got)
    back = there.to("cpu")
    for a, b in zip(back.arrays(), here.arrays(), strict=True):
        assert isinstance(a, np.ndarray | float)
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["perceptron, everything", "book's batch norm of images", "residual", "regression"])
def test_its_captured_steps(name):
    make, shape = NETWORKS[name]
    nets, x = [make().to("cuda") for _ in range(2)], normal((4, *shape), np.float32)
    t, optimisers = targets(nets[0], 4), (optim.Momentum(0.1), optim.Momentum(0.1))
    step = nets[0].capture(x, t, optimisers[0])
    for _ in range(3):
        step(x, t)
        optimisers[1].update(nets[1].params, nets[1].gradient(x, t))
    assert step.captured
    for a, b in zip(nets[0].arrays(), nets[1].arrays(), strict=True):
        np.testing.assert_array_equal(fc.to_host(a), fc.to_host(b))


def test_a_batch_of_one_in_the_books_batch_norm():
    x, dout, results = normal((1, 4), np.float32), normal((1, 4), np.float32, 1), []
    for move in (np.copy, fc.to_device):
        layer = L.BatchNormalization(move(weights(4)), move(weights(4)), 0.9, move(weights(4)), move(weights(4)))
        y, dx = layer.forward(move(x)), layer.backward(move(dout))
        results.append((y, dx, layer.dgamma, layer.dbeta, layer.running_mean, layer.running_var))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(fc.to_host(b), a, rtol=1e-6)


def test_a_recurrent_step():
    x, h, dh, results = normal((3, 4), np.float32), weights(3, 5), weights(3, 5), []
    for move in (np.copy, fc.to_device):
        layer = L.RecurrentStep(move(weights(5, 4)), move(weights(5, 5)), move(weights(5)))
        y = layer.forward(move(x), move(h))
        results.append((y, *layer.backward(move(dh)), layer.dWx, layer.dWh, layer.db))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(fc.to_host(b), a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reduction", ["half_sum", "sum", "mean"])
def test_squared_errors(reduction):
    for shape in ((3, 5), (1,), (40, 20)):
        y, t = normal(shape, np.float32), normal(shape, np.float32, 1)
        loss = fc.mean_squared_error(fc.to_device(y), fc.to_device(t), reduction)
        np.testing.assert_allclose(float(loss), fc.mean_squared_error(y, t, reduction), rtol=1e-5)
        dx = fc.mean_squared_error_backward(fc.to_device(y), fc.to_device(t), reduction)
        np.testing.assert_allclose(fc.to_host(dx), fc.mean_squared_error_backward(y, t, reduction), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_likelihood_of_labels(dtype):
    log_y, t = normal((20, 3), dtype), np.arange(20) % 3
    there = fc.to_device(log_y)
    np.testing.assert_allclose(float(fc.nll_loss(there, t)), fc.nll_loss(log_y, t), rtol=1e-6)
    dx = fc.nll_loss_backward(there, fc.to_device(t))
    np.testing.assert_allclose(fc.to_host(dx), fc.nll_loss_backward(log_y, t), rtol=1e-6)
    with pytest.raises(TypeError, match="one device"):
        fc.nll_loss(log_y, fc.to_device(t))
