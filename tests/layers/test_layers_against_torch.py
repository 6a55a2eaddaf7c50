"""Every deterministic layer against PyTorch: result, gradient of the input, gradients of the parameters."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from fastconv import layers

rng = np.random.default_rng(2)


def normal(*shape):
    return rng.standard_normal(shape)


def apart(*shape):
    """Different numbers only, so that no maximum is tied."""
    return rng.permutation(np.prod(shape)).reshape(shape) / 7.0 - 3


w_conv, b3, w_grouped, w_affine = normal(3, 2, 3, 3), normal(3), normal(4, 1, 3, 2), normal(12, 3)
gamma, beta = normal(2), normal(2)

# name -> (layer, the same in PyTorch as a function of x and the parameters, x)
CASES = {
    "Relu": (layers.Relu(), torch.relu, normal(3, 4)),
    "LeakyRelu": (layers.LeakyRelu(0.2), lambda x: F.leaky_relu(x, 0.2), normal(3, 4)),
    "Sigmoid": (layers.Sigmoid(), torch.sigmoid, normal(2, 3, 4)),
    "Tanh": (layers.Tanh(), torch.tanh, normal(2, 3, 4)),
    "Softmax": (layers.Softmax(), lambda x: x.softmax(-1), normal(3, 4)),
    "Softmax, axis 1": (layers.Softmax(axis=1), lambda x: x.softmax(1), normal(2, 3, 4)),
    "LogSoftmax": (layers.LogSoftmax(), lambda x: x.log_softmax(-1), 50 * normal(3, 4)),
    "Flatten": (layers.Flatten(), lambda x: x.flatten(1), normal(2, 3, 4)),
    "Affine": (layers.Affine(w_affine, b3), lambda x, W, b: x.flatten(1) @ W + b, normal(4, 3, 2, 2)),
    "Affine without bias": (layers.Affine(w_affine), lambda x, W: x @ W, normal(4, 12)),
    "Convolution": (
        layers.Convolution(w_conv, b3, stride=2, pad=1),
        lambda x, W, b: F.conv2d(x, W, b, 2, 1),
        normal(2, 2, 7, 6),
    ),
    "Convolution without bias": (layers.Convolution(w_conv), F.conv2d, normal(2, 2, 7, 6)),
    "Convolution, dilated and grouped": (
        layers.Convolution(w_grouped, None, (2, 1), (1, 2), dilation=(1, 2), groups=2),
        lambda x, W: F.conv2d(x, W, None, (2, 1), (1, 2), (1, 2), 2),
        normal(2, 2, 8, 7),
    ),
    "Convolution, same": (
        layers.Convolution(w_conv, b3, pad="same"),
        lambda x, W, b: F.conv2d(x, W, b, padding="same"),
        normal(2, 2, 5, 6),
    ),
    "TransposedConvolution": (
        layers.TransposedConvolution(w_conv, normal(2), stride=2, pad=1, output_padding=1),
        lambda x, W, b: F.conv_transpose2d(x, W, b, 2, 1, 1),
        normal(2, 3, 4, 5),
    ),
    "Pooling": (layers.Pooling(2, 2), lambda x: F.max_pool2d(x, 2), apart(2, 3, 6, 7)),
    "Pooling, padded, ceil": (
        layers.Pooling(3, 2, 2, 1, ceil_mode=True),
        lambda x: F.max_pool2d(x, (3, 2), 2, 1, ceil_mode=True),
        apart(2, 3, 6, 7),
    ),
    "MinPooling": (layers.MinPooling(2, 3, 2, 1), lambda x: -F.max_pool2d(-x, (2, 3), 2, 1), apart(2, 3, 6, 7)),
    "AveragePooling": (layers.AveragePooling(3, 2, 2, 1), lambda x: F.avg_pool2d(x, (3, 2), 2, 1), normal(2, 3, 6, 7)),
    "AveragePooling, ceil, inside only": (
        layers.AveragePooling(3, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        normal(2, 3, 6, 7),
    ),
    "AdaptiveAveragePooling": (
        layers.AdaptiveAveragePooling((3, 2)),
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        normal(2, 3, 7, 5),
    ),
    "GlobalAveragePooling": (layers.GlobalAveragePooling(), lambda x: x.mean((2, 3), keepdim=True), normal(2, 3, 4, 5)),
    "BatchNorm2d": (
        layers.BatchNorm2d(gamma, beta),
        lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True),
        normal(4, 2, 3, 5),
    ),
    "BatchNorm1d": (
        layers.BatchNorm1d(gamma, beta, eps=1e-3),
        lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True, eps=1e-3),
        normal(5, 2),
    ),
    "Residual": (
        layers.Residual(
            [layers.Convolution(w_conv, b3, 2, 1), layers.Relu()], [layers.Convolution(w_conv[:, :, :1, :1], None, 2)]
        ),
        lambda x: (
            F.conv2d(x, *map(torch.tensor, (w_conv, b3)), 2, 1).relu()
            + F.conv2d(x, torch.tensor(w_conv[:, :, :1, :1]), None, 2)
        ),
        normal(2, 2, 7, 6),
    ),
}


@pytest.mark.system("F7", "F8", "F13", "F14")
@pytest.mark.parametrize("name", CASES)
def test_against_torch(name):
    layer, same, x = CASES[name]
    parameters = [a for a in layer.trainable if getattr(layer, a) is not None]
    y = layer.forward(x)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, *(getattr(layer, a) for a in parameters))]
    expected = same(*tensors)
    assert_allclose(y, expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    dout = normal(*y.shape)
    expected.backward(torch.tensor(dout))
    dx = layer.backward(dout)
    gradients = [dx, *(getattr(layer, f"d{a}") for a in parameters)]
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["Affine", "Convolution", "TransposedConvolution"])
def test_the_first_layer_of_a_network_needs_no_dx(name):
    layer, _, x = CASES[name]
    dout = normal(*layer.forward(x).shape)
    layer.backward(dout)
    dW = layer.dW
    layer.dW = layer.db = None
    assert layer.backward(dout, needs_dx=False) is None
    assert_allclose(layer.dW, dW, rtol=1e-12)
    assert layer.db.shape == layer.b.shape


@pytest.mark.system("F8")
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 2)])
def test_batch_norm_statistics_against_torch(shape):
    layer = layers.BatchNorm2d(3)
    torch_layer = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(3).double()
    for _ in range(3):
        x = 1 + 2 * normal(*shape)
        assert_allclose(layer.forward(x, True), torch_layer(torch.tensor(x)).detach().numpy(), rtol=1e-10, atol=1e-10)
        assert_allclose(layer.running_mean, torch_layer.running_mean.numpy(), rtol=1e-10)
        assert_allclose(layer.running_var, torch_layer.running_var.numpy(), rtol=1e-10)
    torch_layer.eval()
    x, dout = normal(*shape), normal(*shape)
    tensor = torch.tensor(x, requires_grad=True)
    expected = torch_layer(tensor)
    assert_allclose(layer.forward(x, False), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    expected.backward(torch.tensor(dout))
    assert_allclose(layer.backward(dout), tensor.grad.numpy(), rtol=1e-10, atol=1e-10)
    assert_allclose(layer.dgamma, torch_layer.weight.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_batch_norm_updates_given_statistics_in_place():
    mean, var = np.zeros(2), np.ones(2)
    x = 5 + normal(4, 2, 3, 3)
    layers.BatchNorm2d(None, None, momentum=0.5, running_mean=mean, running_var=var).forward(x)
    assert_allclose(mean, 0.5 * x.mean(axis=(0, 2, 3)), rtol=1e-10)
    assert_allclose(var, 0.5 + 0.5 * x.var(axis=(0, 2, 3), ddof=1), rtol=1e-10)


@pytest.mark.system("F19")
@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_step(bias):
    x, h, Wx, Wh, b = normal(3, 4), normal(3, 5), normal(5, 4), normal(5, 5), normal(5)
    layer = layers.RecurrentStep(Wx, Wh, b if bias else None)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, h, Wx, Wh, b)]
    tx, th, tWx, tWh, tb = tensors
    expected = torch.tanh(tWx @ tx.T + tWh @ th.T + (tb[:, None] if bias else 0)).T
    assert_allclose(layer.forward(x, h), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    dout = normal(3, 5)
    expected.backward(torch.tensor(dout))
    gradients = *layer.backward(dout), layer.dWx, layer.dWh, layer.db
    for gradient, tensor in zip(gradients, tensors, strict=True):
        if tensor.grad is None:
            assert gradient is None
        else:
            assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-10)


LOSSES = {
    "IdentityWithLoss": (
        layers.IdentityWithLoss(),
        lambda x, t: 0.5 * ((x - t) ** 2).sum(),
        normal(4, 3),
        normal(4, 3),
    ),
    "IdentityWithLoss, sum": (
        layers.IdentityWithLoss("sum"),
        lambda x, t: F.mse_loss(x, t, reduction="sum"),
        normal(4, 3),
        normal(4, 3),
    ),
    "IdentityWithLoss, mean": (layers.IdentityWithLoss("mean"), F.mse_loss, normal(4, 3), normal(4, 3)),
    "NLLLoss": (layers.NLLLoss(), F.nll_loss, normal(4, 3), rng.integers(0, 3, 4)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1, 2.5])
def test_losses_against_torch(name, scale):
    layer, same, x, t = LOSSES[name]
    tensor = torch.tensor(x, requires_grad=True)
    expected = same(tensor, torch.tensor(t))
    assert layer.forward(x, t) == pytest.approx(expected.item(), rel=1e-10)
    assert layer.loss == pytest.approx(expected.item(), rel=1e-10)
    (scale * expected).backward()
    assert_allclose(layer.backward(scale), tensor.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.system("F7")
def test_softmax_with_loss_against_torch():
    """The book's 1e-7 in the logarithm shifts the loss by less than 1e-7 / y; the gradient has none."""
    x, t = normal(5, 4), rng.integers(0, 4, 5)
    tensor = torch.tensor(x, requires_grad=True)
    expected = F.cross_entropy(tensor, torch.tensor(t))
    expected.backward()
    layer = layers.SoftmaxWithLoss()
    loss = layer.forward(x, t)
    assert 0 < expected.item() - loss < 1e-7 / layer.y.min()
    assert_allclose(layer.backward(), tensor.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.system("F19")
def test_a_recurrent_step_over_a_sequence():
    """Gradients of all steps summed, in every sequence anew."""
    Wx, Wh, b = rng.standard_normal((5, 3)), rng.standard_normal((5, 5)) * 0.3, rng.standard_normal(5)
    step, xs = layers.RecurrentStep(Wx, Wh, b), rng.standard_normal((4, 2, 3))
    cell = torch.nn.RNNCell(3, 5).double()
    for theirs, ours in ((cell.weight_ih, Wx), (cell.weight_hh, Wh), (cell.bias_ih, b), (cell.bias_hh, 0 * b)):
        theirs.data = torch.tensor(ours)
    step.forward(xs[0], np.ones((2, 5)))  # without a backward: another sequence
    for _ in range(2):
        h, theirs = np.zeros((2, 5)), torch.zeros(2, 5).double()
        for x in xs:
            h, theirs = step.forward(x, h), cell(torch.tensor(x), theirs)
        cell.zero_grad()
        (theirs**2).sum().backward()
        dout = 2 * h
        for _ in xs:
            _, dout = step.backward(dout)
        for ours, parameter in ((step.dWx, cell.weight_ih), (step.dWh, cell.weight_hh), (step.db, cell.bias_ih)):
            assert_allclose(ours, parameter.grad, rtol=1e-9, atol=1e-12)
    with pytest.raises(RuntimeError, match="one call for each forward"):
        step.backward(dout)
