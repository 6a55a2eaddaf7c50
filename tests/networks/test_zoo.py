"""The networks of the papers: torchvision's names and numbers, and PyTorch's for the small ones."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

import fastconv as fc
from fastconv import layers, networks, optim
from fastconv.networks._torch import _entries

STORED = json.loads((Path(__file__).parent / "torchvision.json").read_text())
rng = np.random.default_rng(5)


def make(name, **more):
    return getattr(networks, name.split()[0])(**zoo.ZOO[name][1], rng=0, **more)


def torch_shapes(net):
    """PyTorch's names and shapes, in the order of the layers."""
    shapes = {}
    for entry in _entries(net):
        shape = getattr(entry.layer, entry.attribute).shape
        shapes[entry.name] = shape[::-1] if entry.transposed else shape
    return shapes


def without_dropout(net):
    for layer in net.every_layer():
        if isinstance(layer, layers.Dropout):
            layer.dropout_ratio = 0.0
    return net


@pytest.mark.system("N9", "N10", "N12")
@pytest.mark.parametrize("name", zoo.ZOO)
def test_names_and_shapes_are_torchvisions(name):
    net = make(name)
    lines = "\n".join(f"{key} {list(shape)}" for key, shape in torch_shapes(net).items())
    assert hashlib.sha256(lines.encode()).hexdigest() == STORED[name]["names"]
    assert sum(p.size for p in net.params.values()) == STORED[name]["parameters"]


class ExactLoss(layers.SoftmaxWithLoss):
    """Without the book's 1e-7 in the logarithm."""

    def forward(self, x, t):
        self.loss, self.y = fc.softmax_cross_entropy(x, t)
        self.t = t
        return self.loss


@pytest.mark.system("N9", "N10", "N12")
@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.ZOO)
def test_scores_and_gradients_are_torchvisions(name):
    """In float64: scores at inference, then the loss, every gradient and every running statistic of a training step."""
    expected = STORED[name]
    if name.startswith(("VGG", "AlexNet")):
        net = make(name, dtype=np.float64)
        first = net.layers["classifier"][1 if name == "AlexNet" else 0]
        net.replace("classifier", [layers.Affine(np.zeros((len(first.W), zoo.CLASSES)), np.zeros(zoo.CLASSES))])
    else:
        net = make(name, classes=zoo.CLASSES, dtype=np.float64)
    without_dropout(net)
    assert net.load_torch(zoo.arrays(torch_shapes(net))) == ([], [])
    x, t = zoo.batch(zoo.ZOO[name][2])
    assert_allclose(net.predict(x)[:, :4], expected["scores"], rtol=1e-8, atol=1e-9)
    assert_allclose(net.compile()(x)[:, :4], expected["scores"], rtol=1e-8, atol=1e-9)
    net.last_layer = ExactLoss()
    gradients = net.gradient(x, t)
    assert net.last_loss == pytest.approx(expected["loss"], rel=1e-9)
    ours = [g.T if key.endswith(".W") and g.ndim == 2 else g for key, g in gradients.items()]
    assert_allclose(zoo.projection(ours), expected["gradients"], atol=1e-6 * expected["scale"])
    assert_allclose(zoo.projection(net.named_statistics().values()), expected["statistics"], rtol=1e-8, atol=1e-8)


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten(1)


def in_torch(name):
    """The same row of layers in PyTorch, by PyTorch's names."""
    C, B, R, P, A = nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Linear
    rows = {
        "LeNet": {
            "conv1": C(3, 6, 5), "r1": R(), "p1": P(2), "conv2": C(6, 16, 5), "r2": R(), "p2": P(2), "f": Flat(),
            "fc1": A(400, 120), "r3": R(), "fc2": A(120, 84), "r4": R(), "fc3": A(84, 10),
        },
        "ConvNet1": {
            "conv1": C(1, 30, 5), "bn1": B(30), "r": R(), "p": P(2), "f": Flat(), "fc": A(4320, 10),
        },
        "FashionDNN": {
            "f": Flat(), "fc1": A(784, 256), "r": R(), "fc2": A(256, 128), "r2": R(), "fc3": A(128, 10),
        },
        "FashionCNN": {
            "layer1": nn.Sequential(C(1, 32, 3, padding=1), B(32), R(), P(2)),
            "layer2": nn.Sequential(C(32, 64, 3), B(64), R(), P(2)),
            "f": Flat(), "fc1": A(2304, 600), "fc2": A(600, 120), "fc3": A(120, 10),
        },
        "MnistConvNet": {
            "conv1": C(1, 10, 5), "p1": P(2), "r1": R(), "conv2": C(10, 20, 5), "p2": P(2), "r2": R(), "f": Flat(),
            "fc1": A(320, 50), "r3": R(), "fc2": A(50, 10), "l": nn.LogSoftmax(1),
        },
    }  # fmt: skip
    module = nn.Sequential()
    for key, part in rows[name].items():
        module.add_module(key, part)
    return module.double()


SMALL = {"LeNet": (3, 32), "ConvNet1": (1, 28), "FashionDNN": (1, 28), "FashionCNN": (1, 28), "MnistConvNet": (1, 28)}


@pytest.mark.system("N4", "N5", "N6", "N7")
@pytest.mark.parametrize("name", SMALL)
def test_small_networks_against_torch(name, tmp_path):
    channels, size = SMALL[name]
    twin, net = in_torch(name), without_dropout(getattr(networks, name)(dtype=np.float64, rng=0))
    assert net.load_torch(twin.state_dict()) == ([], [])
    x, t = rng.standard_normal((6, channels, size, size)), rng.integers(0, 10, 6)
    assert_allclose(net(x), twin.eval()(torch.tensor(x)).detach(), rtol=1e-9, atol=1e-11)
    loss = nn.functional.nll_loss if name == "MnistConvNet" else nn.functional.cross_entropy
    loss(twin.train()(torch.tensor(x)), torch.tensor(t)).backward()
    gradients = net.gradient(x, t)
    for key, parameter in twin.named_parameters():
        owner, _, attribute = key.rpartition(".")
        layer = net.layer(owner)
        names = ("gamma", "beta") if isinstance(layer, layers.BatchNorm2d) else ("W", "b")
        ours = gradients[f"{owner}.{names[attribute == 'bias']}"]
        ours = ours.T if isinstance(layer, layers.Affine) and ours.ndim == 2 else ours
        assert_allclose(ours, parameter.grad, rtol=1e-5, atol=1e-7, err_msg=key)
    # and back to PyTorch, through a file
    net.save_torch(tmp_path / "net.safetensors")
    from safetensors.torch import load_file

    twin.load_state_dict(load_file(tmp_path / "net.safetensors"))
    assert_allclose(net(x), twin.eval()(torch.tensor(x)).detach(), rtol=1e-9, atol=1e-11)
    fresh = getattr(networks, name)(dtype=np.float64, rng=1)
    fresh.load_torch(tmp_path / "net.safetensors")
    assert_array_equal(fresh(x), net(x))


@pytest.mark.system("N4", "N6", "N9", "N10")
@pytest.mark.parametrize("name", ["LeNet", "FashionCNN", "ResNet18", "DenseNet121"])
def test_training_in_float32_follows_pytorch(name):
    """Twenty steps of SGD with momentum from the same weights: the losses stay together."""
    if name in SMALL:
        twin, (channels, size) = in_torch(name).float(), SMALL[name]
        net = without_dropout(getattr(networks, name)(rng=0))
        net.load_torch(twin.state_dict())
        x, t = rng.standard_normal((8, channels, size, size)).astype(np.float32), rng.integers(0, 10, 8)
        theirs = torch.optim.SGD(twin.parameters(), 0.01, 0.9)
        expected = []
        for _ in range(20):
            loss = nn.functional.cross_entropy(twin.train()(torch.tensor(x)), torch.tensor(t))
            theirs.zero_grad()
            loss.backward()
            theirs.step()
            expected.append(loss.item())
    else:  # the same network in float64, whose gradients are torchvision's
        net, twin = (getattr(networks, name)(classes=4, dtype=kind, rng=0) for kind in (np.float32, np.float64))
        x, t = rng.standard_normal((4, 3, 64, 64)).astype(np.float32), np.arange(4)
        for key, p in net.params.items():
            p[...] = twin.params[key]
        expected, optimizer = [], optim.Momentum(0.0002)
        for _ in range(20):
            optimizer.update(twin.params, twin.gradient(x.astype(np.float64), t))
            expected.append(twin.last_loss)
    ours, optimizer = [], optim.Momentum(0.01 if name in SMALL else 0.0002)
    for _ in range(20):
        optimizer.update(net.params, net.gradient(x, t))
        ours.append(net.last_loss)
    assert ours[-1] < ours[0]
    assert_allclose(ours, expected, rtol=0.02, atol=2e-3)


@pytest.mark.system("N8")
def test_vgg_for_small_images():
    net = networks.VGGLike13(rng=0)
    assert sum(isinstance(layer, layers.Convolution) for layer in net.every_layer()) == 13
    for size in (32, 100):
        assert_allclose(np.exp(net(rng.random((1, 3, size, size), np.float32))).sum(axis=1), 1, rtol=1e-5)
    gradients = net.gradient(rng.random((2, 3, 32, 32), np.float32), np.array([1, 2]))
    assert gradients.keys() == net.params.keys()


@pytest.mark.system("N11")
def test_regression():
    net = networks.RegressionNet(rng=0, dtype=np.float64)
    x, t = rng.standard_normal((64, 1000)), rng.standard_normal((64, 10))
    first, optimizer = net.loss(x, t), optim.SGD(1e-6)
    for _ in range(500):
        optimizer.update(net.params, net.gradient(x, t))
    assert list(net.params) == ["fc1.W", "fc2.W"] and net.loss(x, t) < 1e-3 * first


class TestLoading:
    def test_by_name_only_what_fits(self):
        net, other = networks.LeNet(rng=0), networks.LeNet(rng=1)
        given = {e.name: getattr(e.layer, e.attribute) for e in _entries(other)}
        given = {name: a.T if name.startswith("fc") and a.ndim == 2 else a for name, a in given.items()}
        part = {name: a for name, a in given.items() if not name.startswith("fc3")} | {"aux.weight": np.zeros(3)}
        before = {key: p.copy() for key, p in net.params.items()}
        with pytest.raises(ValueError, match=r"missing \['fc3.bias', 'fc3.weight'\], unknown \['aux.weight'\]"):
            net.load_torch(part)
        assert all((net.params[key] == p).all() for key, p in before.items())
        assert net.load_torch(part, strict=False) == (["fc3.bias", "fc3.weight"], ["aux.weight"])
        assert (net.params["conv1.W"] == other.params["conv1.W"]).all()
        assert (net.params["fc3.W"] == before["fc3.W"]).all()

    def test_a_wrong_shape_changes_nothing(self):
        net = networks.LeNet(rng=0)
        shapes = torch_shapes(net)
        given = zoo.arrays({**shapes, "fc3.bias": (11,)})
        before = {key: p.copy() for key, p in net.params.items()}
        with pytest.raises(ValueError, match=r"fc3.bias of shape \(10,\).*got \(11,\)"):
            net.load_torch(given)
        assert all((net.params[key] == p).all() for key, p in before.items())

    @pytest.mark.parametrize("name", ["weights.pt", "weights.npz"])
    def test_other_files_are_refused(self, name):
        with pytest.raises(ValueError, match=r"expected a \.safetensors file or a mapping"):
            networks.LeNet(rng=0).load_torch(name)
