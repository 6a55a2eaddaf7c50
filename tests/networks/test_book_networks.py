"""The book's networks against the book's formulas: initial weights bit for bit, scores, losses and gradients."""

# ruff: noqa: NPY002 (the book's programs seed NumPy's global generator)

import numpy as np
import plain
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import layers
from fastconv.networks import (
    DeepConvNet,
    MultiLayerNet,
    MultiLayerNetExtend,
    Network,
    SimpleConvNet,
    ThreeLayerNet,
    TwoLayerNet,
)

rng = np.random.default_rng(5)
TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def seeded(seed, make):
    np.random.seed(seed)
    return make()


def assert_same(gradients, expected):
    assert gradients.keys() == expected.keys()
    for key, gradient in expected.items():
        assert_allclose(gradients[key], gradient, **TIGHT, err_msg=key)


def simple_conv_net(p, x, t):
    """Scores, loss and gradients of SimpleConvNet, written out."""
    a1 = plain.convolution(x, p["W1"], p["b1"])
    z1 = plain.relu(a1)
    pooled = plain.max_pooling(z1, 2, 2, 2)
    a2 = plain.affine(pooled, p["W2"], p["b2"])
    z2 = plain.relu(a2)
    scores = plain.affine(z2, p["W3"], p["b3"])
    loss, dout = plain.softmax_with_loss(scores, t)
    g = {}
    dout, g["W3"], g["b3"] = plain.affine_backward(dout, z2, p["W3"])
    dout, g["W2"], g["b2"] = plain.affine_backward(plain.relu_backward(dout, a2), pooled, p["W2"])
    dout = plain.relu_backward(plain.max_pooling_backward(dout, z1, 2, 2, 2), a1)
    _, g["W1"], g["b1"] = plain.convolution_backward(dout, x, p["W1"])
    return scores, loss, g


@pytest.mark.system("N2")
def test_simple_conv_net():
    net = seeded(3, SimpleConvNet)
    np.random.seed(3)
    for key, shape in {"W1": (30, 1, 5, 5), "W2": (4320, 100), "W3": (100, 10)}.items():
        assert_array_equal(net.params[key], 0.01 * np.random.randn(*shape))
        assert_array_equal(net.params["b" + key[1]], np.zeros(shape[0] if key == "W1" else shape[1]))
    assert list(net.layers) == ["Conv1", "Relu1", "Pool1", "Affine1", "Relu2", "Affine2"]
    x, t = rng.random((4, 1, 28, 28)), rng.integers(0, 10, 4)
    scores, loss, gradients = simple_conv_net(net.params, x, t)
    assert_allclose(net.predict(x), scores, **TIGHT)
    assert_allclose(net.loss(x, t), loss, **TIGHT)
    assert_same(net.gradient(x, t), gradients)
    assert_allclose(net.last_loss, loss, **TIGHT)
    assert_same(net.gradient(x, plain.one_hot(t, 10)), gradients)


def test_simple_conv_net_takes_its_parameters_by_reference():
    net = SimpleConvNet((1, 8, 8), {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}, 5, 3)
    assert net.layers["Conv1"].W is net.params["W1"]
    assert net.layers["Affine2"].b is net.params["b3"]
    x = rng.random((2, 1, 8, 8))
    scores = net.predict(x)
    net.params["b3"] += 1
    assert_allclose(net.predict(x), scores + 1, **TIGHT)


CONVOLUTIONS = ((1, 16, 1), (16, 16, 1), (16, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 1))


def deep_conv_net(p, x, t, masks):
    """Loss and gradients of DeepConvNet in training, written out."""
    saved, z = [], x
    for i, (_, _, pad) in enumerate(CONVOLUTIONS, 1):
        a = plain.convolution(z, p[f"W{i}"], p[f"b{i}"], pad=pad)
        saved.append((z, a))
        z = plain.relu(a)
        if i % 2 == 0:
            z = plain.max_pooling(z, 2, 2, 2)
    a7 = plain.affine(z, p["W7"], p["b7"])
    z7 = plain.relu(a7) * masks[0]
    loss, dout = plain.softmax_with_loss(plain.affine(z7, p["W8"], p["b8"]) * masks[1], t)
    g = {}
    dout, g["W8"], g["b8"] = plain.affine_backward(dout * masks[1], z7, p["W8"])
    dout, g["W7"], g["b7"] = plain.affine_backward(plain.relu_backward(dout * masks[0], a7), z, p["W7"])
    for i, (_, _, pad) in reversed(list(enumerate(CONVOLUTIONS, 1))):
        z, a = saved[i - 1]
        if i % 2 == 0:
            dout = plain.max_pooling_backward(dout, plain.relu(a), 2, 2, 2)
        dout, g[f"W{i}"], g[f"b{i}"] = plain.convolution_backward(plain.relu_backward(dout, a), z, p[f"W{i}"], pad=pad)
    return loss, g


@pytest.mark.system("N3")
def test_deep_conv_net():
    net = seeded(4, DeepConvNet)
    np.random.seed(4)
    shapes = [(out, inp, 3, 3) for inp, out, _ in CONVOLUTIONS] + [(64 * 4 * 4, 50), (50, 10)]
    fan_in = [9, 16 * 9, 16 * 9, 32 * 9, 32 * 9, 64 * 9, 64 * 4 * 4, 50]
    for i, (shape, n) in enumerate(zip(shapes, fan_in, strict=True), 1):
        assert_array_equal(net.params[f"W{i}"], np.sqrt(2.0 / n) * np.random.randn(*shape))
    assert isinstance(net.layers, list)
    assert [i for i, layer in enumerate(net.layers) if layer.trainable] == [0, 2, 5, 7, 10, 12, 15, 18]
    assert [i for i, layer in enumerate(net.layers) if isinstance(layer, layers.Dropout)] == [17, 19]

    x, t = rng.random((2, 1, 28, 28)), rng.integers(0, 10, 2)
    masks = seeded(9, lambda: [np.random.rand(2, n) > 0.5 for n in (50, 10)])
    loss, gradients = deep_conv_net(net.params, x, t, masks)
    assert_allclose(seeded(9, lambda: net.loss(x, t)), loss, **TIGHT)
    assert_same(seeded(9, lambda: net.gradient(x, t)), gradients)
    half = plain.softmax(net.predict(x))
    assert_allclose(half, plain.softmax(net.predict(x, train_flg=False)), **TIGHT)


def perceptron(p, x, t, sizes, decay=0.0, batchnorm=False, masks=None, activation="relu"):
    """Loss and gradients of a fully connected network in training, written out."""
    saved, z = [], x
    for i in range(1, sizes + 1):
        inp, norm = z, None
        z = plain.affine(z, p[f"W{i}"], p[f"b{i}"])
        if batchnorm:
            z, norm = plain.batch_normalization(z, p[f"gamma{i}"], p[f"beta{i}"])
        a = z
        z = plain.relu(a) if activation == "relu" else plain.sigmoid(a)
        if masks:
            z = z * masks[i - 1]
        saved.append((inp, norm, a))
    last = sizes + 1
    loss, dout = plain.softmax_with_loss(plain.affine(z, p[f"W{last}"], p[f"b{last}"]), t)
    g = {}
    dout, g[f"W{last}"], g[f"b{last}"] = plain.affine_backward(dout, z, p[f"W{last}"])
    for i in range(sizes, 0, -1):
        inp, norm, a = saved[i - 1]
        dout = dout * masks[i - 1] if masks else dout
        y = plain.sigmoid(a)
        dout = plain.relu_backward(dout, a) if activation == "relu" else dout * y * (1 - y)
        if batchnorm:
            dout, g[f"gamma{i}"], g[f"beta{i}"] = plain.batch_normalization_backward(dout, p[f"gamma{i}"], norm)
        dout, g[f"W{i}"], g[f"b{i}"] = plain.affine_backward(dout, inp, p[f"W{i}"])
    for i in range(1, last + 1):
        loss += 0.5 * decay * np.sum(p[f"W{i}"] ** 2)
        g[f"W{i}"] = g[f"W{i}"] + decay * p[f"W{i}"]
    return loss, g


@pytest.mark.system("N1")
@pytest.mark.parametrize(
    ("make", "hidden"),
    [(lambda: TwoLayerNet(784, 50, 10), 1), (lambda: ThreeLayerNet(784, 50, 100, 10, 0.05), 2)],
    ids=["TwoLayerNet", "ThreeLayerNet"],
)
def test_two_and_three_layers(make, hidden):
    net = seeded(1, make)
    x, t = rng.random((10, 784)), rng.integers(0, 10, 10)
    loss, gradients = perceptron(net.params, x, t, hidden)
    assert_allclose(net.loss(x, t), loss, **TIGHT)
    assert_same(net.gradient(x, t), gradients)


def test_two_layer_net_has_the_names_of_the_book():
    net = seeded(1, lambda: TwoLayerNet(6, 5, 4, weight_init_std=0.1))
    np.random.seed(1)
    assert_array_equal(net.params["W1"], 0.1 * np.random.randn(6, 5))
    assert list(net.layers) == ["Affine1", "Relu1", "Affine2"]
    assert net.lastLayer is net.last_layer


@pytest.mark.system("N1")
@pytest.mark.parametrize("options", [
    {},
    {"activation": "sigmoid", "weight_init_std": "sigmoid"},
    {"weight_decay_lambda": 0.1, "weight_init_std": 0.01},
    {"use_batchnorm": True},
    {"use_dropout": True, "dropout_ration": 0.3},
    {"use_batchnorm": True, "use_dropout": True, "weight_decay_lambda": 0.01, "weight_init_std": "xavier"},
], ids=str)  # fmt: skip
def test_multi_layer_net_extend(options):
    net = seeded(2, lambda: MultiLayerNetExtend(20, [15, 12], 4, **options))
    x, t = rng.standard_normal((9, 20)), rng.integers(0, 4, 9)
    ratio = options.get("dropout_ration", 0.5)
    masks = seeded(8, lambda: [np.random.rand(9, n) > ratio for n in (15, 12)])
    loss, gradients = perceptron(
        net.params, x, t, 2, options.get("weight_decay_lambda", 0), options.get("use_batchnorm", False),
        masks if options.get("use_dropout") else None, options.get("activation", "relu"),
    )  # fmt: skip
    assert_allclose(seeded(8, lambda: net.loss(x, t, train_flg=True)), loss, **TIGHT)
    assert_same(seeded(8, lambda: net.gradient(x, t)), gradients)
    names = list(net.layers)
    assert names[0] == "Affine1" and "Activation_function2" in names and names[-1] == "Affine3"


def test_multi_layer_net():
    net = seeded(2, lambda: MultiLayerNet(20, [15, 12], 4, weight_decay_lambda=0.1))
    np.random.seed(2)
    for key, n, m in (("W1", 20, 15), ("W2", 15, 12), ("W3", 12, 4)):
        assert_array_equal(net.params[key], np.sqrt(2.0 / n) * np.random.randn(n, m))
    x, t = rng.standard_normal((9, 20)), rng.integers(0, 4, 9)
    loss, gradients = perceptron(net.params, x, t, 2, 0.1)
    assert_allclose(net.loss(x, t), loss, **TIGHT)
    assert_same(net.gradient(x, t), gradients)


def test_accuracy_counts_every_sample():
    net = TwoLayerNet(6, 5, 4, 1.0, rng=0)
    x = rng.standard_normal((25, 6))
    right = net.predict(x).argmax(axis=1)
    t = right.copy()
    t[[3, 24]] = (t[[3, 24]] + 1) % 4
    assert net.accuracy(x, t, batch_size=10) == 23 / 25
    assert net.accuracy(x, plain.one_hot(t, 4)) == 23 / 25


TINY = {"filter_num": 2, "filter_size": 3, "pad": 1, "stride": 1}
EXTENDED = {"use_dropout": True, "use_batchnorm": True}
NUMERICAL = {
    "SimpleConvNet": (
        lambda: SimpleConvNet((1, 6, 6), TINY, 5, 3, "he", conv_param_2=TINY, use_batchnorm=True, rng=1),
        (1, 6, 6),
    ),
    "DeepConvNet": (lambda: DeepConvNet((1, 4, 4), *[{**TINY, "pad": 2}] * 6, 4, 3, rng=1), (1, 4, 4)),
    "MultiLayerNetExtend": (lambda: MultiLayerNetExtend(7, [6], 3, "tanh", use_dropout=True), (7,)),
    "MultiLayerNetExtend with everything": (
        lambda: MultiLayerNetExtend(7, [6], 3, "sigmoid", 0.5, 0.1, **EXTENDED, rng=1),
        (7,),
    ),
}


@pytest.mark.system("N1", "N2", "N3")
@pytest.mark.parametrize("name", NUMERICAL)
def test_numerical_gradient_agrees(name):
    make, shape = NUMERICAL[name]
    net, rng = make(), np.random.default_rng(0)
    for key, p in net.params.items():
        if key[0] == "b":
            p += rng.standard_normal(p.shape)  # away from the corner of the ReLU
    dropouts = [layer for layer in net.every_layer() if isinstance(layer, layers.Dropout)]
    x, t = rng.standard_normal((4, *shape)), rng.integers(0, 3, 4)
    statistics = net._copied_statistics()
    expected = net.numerical_gradient(x, t)
    assert all(np.array_equal(statistics[key], a) for key, a in net._copied_statistics().items())
    assert not any(layer.reuse_mask for layer in dropouts)
    for layer in dropouts:
        layer.reuse_mask = True  # the masks that the differences were taken with
    assert_same_roughly(net.gradient(x, t), expected)


def assert_same_roughly(gradients, expected):
    assert gradients.keys() == expected.keys()
    for key, difference in expected.items():
        assert_allclose(gradients[key], difference, rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_network_of_the_users_own_layers():
    W, b = rng.standard_normal((12, 3)), np.zeros(3)
    row = {"Flatten1": layers.Flatten(), "Affine1": layers.Affine(W, b), "Tanh1": layers.Tanh()}
    net = Network(row, weight_decay_lambda=0.5)
    assert net.params["Affine1.W"] is W and list(net.params) == ["Affine1.W", "Affine1.b"]
    x, t = rng.standard_normal((4, 2, 3, 2)), np.array([0, 1, 2, 0])
    loss, _ = plain.softmax_with_loss(np.tanh(x.reshape(4, 12) @ W), t)
    assert_allclose(net.loss(x, t), loss + 0.25 * np.sum(W**2), **TIGHT)
    assert_same_roughly(net.gradient(x, t), net.numerical_gradient(x, t))


def test_shapes_follow_the_input():
    net = SimpleConvNet((3, 11, 9), {"filter_num": 4, "filter_size": 3, "pad": 1, "stride": 2}, 6, 5)
    assert net.params["W1"].shape == (4, 3, 3, 3)
    assert net.params["W2"].shape == (4 * 3 * 2, 6)
    assert net.predict(rng.random((2, 3, 11, 9))).shape == (2, 5)
    assert DeepConvNet((1, 8, 8)).predict(rng.random((2, 1, 8, 8))).shape == (2, 10)


def test_float32_stays_float32():
    net = SimpleConvNet((1, 12, 12), dtype=np.float32, use_batchnorm=True)
    assert {p.dtype for p in net.params.values()} == {np.dtype(np.float32)}
    x = rng.random((3, 1, 12, 12), dtype=np.float32)
    assert net.predict(x).dtype == np.float32
    assert {g.dtype for g in net.gradient(x, np.array([0, 1, 2])).values()} == {np.dtype(np.float32)}


def test_a_seed_of_its_own_leaves_numpys_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    one, two = DeepConvNet((1, 8, 8), rng=3), DeepConvNet((1, 8, 8), rng=3)
    x, t = rng.random((5, 1, 8, 8)), rng.integers(0, 10, 5)
    assert_same(one.gradient(x, t), two.gradient(x, t))
    assert_array_equal(np.random.get_state()[1], before)
    assert (one.params["W7"].ravel()[:50] != one.params["W8"].ravel()[:50]).all()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: MultiLayerNet(4, [3], 2, activation="softsign"), "activation: expected one of relu"),
    (lambda: MultiLayerNet(4, [3], 2, weight_init_std="glorot"), "weight_init_std: expected a number or one of"),
    (lambda: SimpleConvNet((1, 3, 3)), "input_dim: too small"),
])  # fmt: skip
def test_wrong_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()
