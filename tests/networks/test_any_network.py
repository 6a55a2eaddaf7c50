"""Networks of any shape: shared layers and arrays, branches, names, frozen parts, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from fastconv import hooks, layers
from fastconv.layers import (
    Affine,
    BatchNorm2d,
    BatchNormalization,
    ChannelScale,
    Concatenate,
    Convolution,
    Dropout2d,
    Flatten,
    GlobalAveragePooling,
    IdentityWithLoss,
    LogSoftmax,
    MeanSquaredErrorLoss,
    NLLLoss,
    Pooling,
    Relu,
    Residual,
    Sequential,
    Sigmoid,
    SoftmaxWithLoss,
    Sum,
)
from fastconv.networks import Network, SimpleConvNet, TwoLayerNet
from fastconv.optim import SGD, Adam

rng = np.random.default_rng(0)


def conv(out, into, size=3, pad=1, stride=1, **more):
    return Convolution(rng.standard_normal((out, into, size, size)) * 0.3, rng.standard_normal(out) * 0.1, stride, pad,
                       **more)  # fmt: skip


def affine(into, out):
    return Affine(rng.standard_normal((into, out)) * 0.5 / into, np.zeros(out))


def slope(f, array, index, h=1e-6):
    """The central difference of f() along one number of an array; h is small, since a ReLU bends."""
    kept = array[index]
    array[index] = kept + h
    above = f()
    array[index] = kept - h
    below = f()
    array[index] = kept
    return (above - below) / (2 * h)


def check_gradients(net, x, t):
    """Every gradient against central differences, and what the network says about itself."""
    gradients = net.gradient(x, t)
    assert gradients.keys() == net.params.keys()
    with net._still():
        for key, p in net.params.items():
            expected = [slope(lambda: net.loss(x, t, train_flg=True), p, index) for index in np.ndindex(p.shape)]
            assert_allclose(gradients[key].ravel(), expected, rtol=1e-5, atol=1e-6, err_msg=key)
    assert_allclose(net.compile()(x), net.predict(x), rtol=1e-9, atol=1e-12)
    return gradients


X, T = rng.standard_normal((3, 2, 6, 6)), np.array([0, 2, 1])


def test_one_layer_in_several_places():
    """A ReLU, a batch normalisation and a convolution, each used more than once: gradients are summed."""
    relu, same, norm = Relu(), conv(4, 4), BatchNorm2d(np.full(4, 1.5), np.zeros(4))
    net = Network([conv(4, 2), relu, same, norm, relu, same, relu, same, norm, Pooling(2, 2), Flatten(), affine(36, 3)])
    assert list(net.params) == ["0.W", "0.b", "2.W", "2.b", "3.gamma", "3.beta", "11.W", "11.b"]
    for _ in range(2):
        norm.running_mean, norm.running_var = np.zeros(4), np.ones(4)
        check_gradients(net, X, T)


@pytest.mark.system("N4")
def test_one_convolution_three_times_against_torch():
    W, b = rng.standard_normal((4, 4, 3, 3)) * 0.3, rng.standard_normal(4) * 0.1
    first, shared = conv(4, 2), Convolution(W, b, 1, 1)
    last = affine(4 * 36, 3)
    net = Network([first, Relu(), shared, Relu(), shared, Relu(), shared, Relu(), Flatten(), last])
    gradients = net.gradient(X, T)
    theirs = nn.Conv2d(4, 4, 3, padding=1).double()
    theirs.weight, theirs.bias = nn.Parameter(torch.tensor(W)), nn.Parameter(torch.tensor(b))
    y = torch.tensor(first.forward(X)).relu()
    for _ in range(3):
        y = theirs(y).relu()
    loss = nn.functional.cross_entropy(y.flatten(1) @ torch.tensor(last.W), torch.tensor(T))
    loss.backward()
    assert_allclose(gradients["2.W"], theirs.weight.grad, rtol=1e-5, atol=1e-8)
    assert_allclose(gradients["2.b"], theirs.bias.grad, rtol=1e-5, atol=1e-8)


def test_two_layers_on_one_array_are_one_parameter(tmp_path):
    W = rng.standard_normal((5, 5)) * 0.5
    one, two, out = Affine(W, np.zeros(5)), Affine(W, np.zeros(5)), affine(5, 3)
    net = Network({"one": one, "relu": Relu(), "two": two, "sigmoid": Sigmoid(), "out": out}, weight_decay_lambda=0.1)
    assert list(net.params) == ["one.W", "one.b", "two.b", "out.W", "out.b"]
    x = rng.standard_normal((4, 5))
    check_gradients(net, x, np.array([0, 1, 2, 0]))
    assert_allclose(net.loss(x, [0, 1, 2, 0]) - 0.05 * (np.sum(W**2) + np.sum(out.W**2)),
                    SoftmaxWithLoss().forward(net.predict(x), np.array([0, 1, 2, 0])))  # fmt: skip
    net.save_params(tmp_path / "p.npz")
    net.load_params(tmp_path / "p.npz")
    assert one.W is two.W and one.W is net.params["one.W"]


def test_arrays_tied_or_untied_later_are_followed():
    one, two = affine(4, 4), affine(4, 4)
    net = Network({"one": one, "relu": Relu(), "two": two})
    two.W = one.W
    assert "two.W" not in net.params
    check_gradients(net, rng.standard_normal((3, 4)), T)
    two.W = one.W.copy()
    assert net.params["two.W"] is two.W


def test_parts_of_one_memory_are_refused():
    both = rng.standard_normal((4, 8))
    Network([Affine(both[:, :4], np.zeros(4)), Affine(both[:, 4:], np.zeros(4))])
    with pytest.raises(ValueError, match=r"1\.W.*share a part|0\.W.*share a part"):
        Network([Affine(both[:, :4], np.zeros(4)), Affine(both[:, 2:6], np.zeros(4))])


@pytest.mark.system("N10")
def test_every_normalisation_is_trained_and_saved(tmp_path):
    def make():
        return Network({
            "conv": conv(3, 2), "norm1": BatchNorm2d(np.ones(3), np.zeros(3)), "relu": Relu(),
            "norm2": BatchNorm2d(np.ones(3), np.zeros(3)), "flat": Flatten(), "fc": affine(108, 3),
        })  # fmt: skip

    net, other = make(), make()
    assert {"norm1.gamma", "norm1.beta", "norm2.gamma", "norm2.beta"} <= net.params.keys()
    optimizer = SGD(0.1)
    for _ in range(3):
        optimizer.update(net.params, net.gradient(X, T))
    assert (net.params["norm1.gamma"] != 1).all() and (net.params["norm2.gamma"] != 1).all()
    net.save_params(tmp_path / "p.safetensors")
    other.load_params(tmp_path / "p.safetensors")
    assert_array_equal(other.predict(X), net.predict(X))


class Scale(layers.Layer):
    """A layer of a user's own, without a W."""

    trainable = ("a",)

    def __init__(self, a):
        self.a = a

    def forward(self, x):
        self.x = x
        return self.a * x

    def backward(self, dout):
        self.da = np.array([np.sum(dout * self.x)])
        return self.a * dout


def test_layers_of_ones_own():
    twice = Scale(np.array([0.5]))
    net = Network([Scale(np.array([2.0])), affine(4, 3), twice, Relu(), twice, Scale(np.array([3.0]))])
    assert list(net.params) == ["0.a", "1.W", "1.b", "2.a", "5.a"]
    check_gradients(net, rng.standard_normal((3, 4)), T)
    assert repr(twice) == "Scale(a=(1,))"


BRANCHES = {
    "residual": lambda: Residual([conv(2, 2), Relu(), conv(2, 2)]),
    "residual with a shortcut": lambda: Residual({"conv1": conv(3, 2), "relu": Relu()}, {"down": conv(3, 2, 1, 0)}),
    "sum of three": lambda: Sum([], conv(2, 2), [conv(2, 2), Relu()]),
    "concatenation": lambda: Concatenate([], {"a": conv(3, 2), "r": Relu()}, conv(1, 2, 1, 0)),
    "concatenation of one": lambda: Concatenate([conv(2, 2)]),
    "nested": lambda: Concatenate([Residual([conv(2, 2), Relu()]), Relu()], [Sum([], [], conv(2, 2))]),
    "squeeze": lambda: ChannelScale(GlobalAveragePooling(), conv(2, 2, 1, 0), Sigmoid()),
    "opaque": lambda: Opaque([conv(2, 2), Relu(), Relu()]),
}


class Opaque(Sequential):
    """A subclass that does something of its own: the graph must not look inside."""

    def forward(self, x, train_flg=True):
        return 2 * super().forward(x, train_flg)

    def backward(self, dout):
        return super().backward(2 * dout)


@pytest.mark.parametrize("behind", [[], [Relu()], [Relu(), Pooling(2, 2)], [BatchNorm2d(None)]], ids=str)
@pytest.mark.parametrize("name", BRANCHES)
def test_branches(name, behind):
    branch = BRANCHES[name]()
    behind = copy.deepcopy(behind)
    shape = Sequential([branch, *behind]).forward(X).shape
    net = Network({"first": conv(2, 2), "branch": branch, "behind": behind,
                   "end": [Flatten(), affine(int(np.prod(shape[1:])), 3)]})  # fmt: skip
    check_gradients(net, X, T)
    # a container alone does what it does inside of a network
    alone = BRANCHES[name]()
    y = alone.forward(X)
    dout = rng.standard_normal(y.shape)
    dx, h = alone.backward(dout), 1e-6
    direction = rng.standard_normal(X.shape)
    slope = np.sum(dout * (alone.forward(X + h * direction) - alone.forward(X - h * direction))) / (2 * h)
    assert_allclose(np.sum(dx * direction), slope, rtol=1e-6, atol=1e-7)


def test_names():
    net = Network({
        "stem": [conv(2, 2), Relu()],
        "block": Residual({"conv1": conv(2, 2), "bn1": BatchNorm2d(np.ones(2), np.zeros(2))}, {"down": [conv(2, 2)]}),
        "mix": Concatenate([conv(1, 2)], conv(1, 2)),
        "fc": affine(72, 3),
    })  # fmt: skip
    assert [key for key in net.params if key.endswith("W")] == [
        "stem.0.W", "block.conv1.W", "block.down.0.W", "mix.0.0.W", "mix.1.W", "fc.W",
    ]  # fmt: skip
    assert net.named_parameters() == net.params
    assert net.layer("block.down.0").W is net.params["block.down.0.W"]
    with pytest.raises(KeyError, match=r"stem\.7"):
        net.layer("stem.7")
    with pytest.raises(ValueError, match="conv in several"):
        Concatenate({"conv": conv(1, 2)}, {"conv": conv(1, 2)})
    table = net.summary((5, 2, 6, 6))
    assert "block.down.0" in table and "(5, 72)" not in table
    assert f"{sum(p.size for p in net.params.values()):,} parameters" in table
    assert "conv1: Convolution(W=(2, 2, 3, 3), b=(2,), pad=1)" in repr(net)
    maps = hooks.feature_maps(net, X, ["block.bn1", "stem"])
    assert_array_equal(maps["stem"], net.layers["stem"].forward(X))
    assert maps["block.bn1"].shape == (3, 2, 6, 6)


def test_the_books_names_and_the_dotted_ones():
    net = SimpleConvNet((1, 12, 12), use_batchnorm=True, rng=0)
    assert list(net.params) == ["W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2", "W3", "b3"]
    named = net.named_parameters()
    assert list(named)[:4] == ["Conv1.W", "Conv1.b", "BatchNorm1.gamma", "BatchNorm1.beta"]
    assert all(a is b for a, b in zip(net.params.values(), named.values(), strict=True))


@pytest.mark.system("N9")
def test_replaced_layers_and_arrays_are_followed():
    net = Network({"a": affine(4, 5), "relu": Relu(), "fc": affine(5, 3)})
    x, before = rng.standard_normal((3, 4)), net.params["fc.W"]
    net.layers["fc"] = affine(5, 3)
    assert net.params["fc.W"] is net.layers["fc"].W is not before
    check_gradients(net, x, T)
    net.params["a.W"] = new = rng.standard_normal((4, 5))
    assert net.layers["a"].W is new
    net.layers["a"].W = newer = rng.standard_normal((4, 5))
    assert net.params["a.W"] is newer
    check_gradients(net, x, T)
    SGD(0.1).update(net.params, net.gradient(x, T))
    net.replace("fc", [affine(5, 6), Relu(), affine(6, 3)])
    assert "fc.2.W" in net.params
    check_gradients(net, x, T)
    with pytest.raises(ValueError, match=r"params\['a.W'\]: expected an array of shape \(4, 5\)"):
        net.params["a.W"] = np.zeros((5, 4))
    with pytest.raises(KeyError, match="no parameter 'W1'"):
        net.params["W1"] = np.zeros(2)
    with pytest.raises(TypeError, match="belongs to a layer"):
        del net.params["a.W"]


@pytest.mark.system("N9")
@pytest.mark.parametrize("holder", ["network", "sequential"])
def test_a_replaced_list_of_layers_is_followed(holder):
    inner = Sequential(affine(4, 5), Relu())
    net = Network([inner, affine(5, 3)])
    x = rng.standard_normal((3, 4))
    net.gradient(x, T)
    predict = net.compile()
    predict(x)
    if holder == "network":
        net.layers = [affine(4, 6), Relu(), affine(6, 3)]
        assert list(net.params) == ["0.W", "0.b", "2.W", "2.b"]
    else:
        inner.layers = [affine(4, 5)]
        assert net.params["0.0.W"] is inner.layers[0].W
    check_gradients(net, x, T)
    assert_allclose(predict(x), net.predict(x), rtol=1e-12)


def test_parameters_may_be_replaced_in_a_loop_over_them():
    net = SimpleConvNet(rng=0)
    new = {name: array + 1 for name, array in net.params.items()}
    seen = []
    for name in net.params:
        net.params[name] = new[name]
        seen.append(name)
    assert seen == list(new)
    assert all(net.params[name] is array for name, array in new.items())


def test_a_parameter_that_is_a_property_is_followed():
    class Scale(layers.Layer):
        trainable = ("a",)

        def __init__(self):
            self.held = {"a": np.array([2.0])}

        @property
        def a(self):
            return self.held["a"]

        @a.setter
        def a(self, value):
            self.held["a"] = value

        def forward(self, x):
            self.x = x
            return self.a * x

        def backward(self, dout):
            self.da = np.sum(dout * self.x, keepdims=True).reshape(1)
            return self.a * dout

    net = Network({"fc": affine(4, 3), "scale": Scale()})
    x = rng.standard_normal((3, 4))
    check_gradients(net, x, T)
    net.layers["scale"].held["a"] = other = np.array([3.0])
    assert net.params["scale.a"] is other
    check_gradients(net, x, T)


@pytest.mark.system("N9")
def test_frozen_parts_keep_everything():
    norm = BatchNorm2d(np.ones(3), np.zeros(3), running_mean=np.full(3, 0.2), running_var=np.full(3, 2.0))
    net = Network({"trunk": [conv(3, 2), norm, Relu()], "head": [Flatten(), affine(108, 3)]})
    whole = net.gradient(X, T)
    net.freeze("trunk")
    statistics = norm.running_mean.copy()
    gradients = net.gradient(X, T)
    assert list(gradients) == ["head.1.W", "head.1.b"]
    assert_array_equal(norm.running_mean, statistics)
    flat = net.layers["trunk"].forward(X, False)
    twin = Network([Flatten(), Affine(net.params["head.1.W"], net.params["head.1.b"])])
    for key, expected in twin.gradient(flat, T).items():
        assert_allclose(gradients[f"head.{key}"], expected, rtol=1e-11, atol=1e-14)  # the trunk ran as in prediction
    before = {key: p.copy() for key, p in net.params.items()}
    optimizer = Adam(0.1)
    optimizer.update(net.params, gradients)
    assert all((net.params[key] == before[key]).all() == key.startswith("trunk") for key in before)
    net.unfreeze()
    assert net.gradient(X, T).keys() == whole.keys()
    optimizer.update(net.params, net.gradient(X, T))
    with pytest.raises(KeyError, match="'tail'"):
        net.freeze("tail")


@pytest.mark.parametrize("kind", [BatchNormalization, BatchNorm2d])
def test_a_frozen_normalisation_between_trained_layers(kind):
    """Its gradient is that of inference, whatever it was trained on before."""
    first, norm, last = affine(4, 5), kind(np.full(5, 1.5), np.zeros(5)), affine(5, 3)
    net = Network([first, norm, Relu(), last])
    x = rng.standard_normal((3, 4))
    for _ in range(3):
        net.gradient(x + 1, T)
    net.freeze("1")
    gradients = net.gradient(x, T)
    assert list(gradients) == ["0.W", "0.b", "3.W", "3.b"]
    for key, p in (("0.W", first.W), ("3.W", last.W)):
        expected = [slope(lambda: net.loss(x, T, train_flg=True), p, index) for index in np.ndindex(p.shape)]
        assert_allclose(gradients[key].ravel(), expected, rtol=1e-5, atol=1e-6, err_msg=key)


def test_the_lowest_frozen_layers_are_not_propagated_to():
    calls = []
    net = Network([conv(3, 2), Relu(), conv(3, 3), Flatten(), affine(108, 3)])
    for layer in net.layers:
        own = layer.backward
        layer.backward = lambda dout, own=own, layer=layer, **kw: (calls.append(layer), own(dout, **kw))[1]
    net.freeze("0", "2")
    net.gradient(X, T)
    assert calls == [net.layers[4]]
    net.unfreeze("2")
    net.gradient(X, T)
    assert calls == [net.layers[4], *[net.layers[i] for i in (4, 3, 2)]]


def test_backward_of_a_network_gives_the_gradient_of_its_input():
    net = Network([conv(3, 2), Relu(), Flatten(), affine(108, 3)])
    y = net(X)
    dout, direction, h = rng.standard_normal(y.shape), rng.standard_normal(X.shape), 1e-6
    dx = net.backward(dout)
    slope = np.sum(dout * (net(X + h * direction) - net(X - h * direction))) / (2 * h)
    assert_allclose(np.sum(dx * direction), slope, rtol=1e-6)


def test_a_network_inside_of_a_network():
    trunk = Network({"conv": conv(3, 2), "relu": Relu()})
    net = Network({"trunk": trunk, "fc": affine(108, 3)})
    assert list(net.params) == ["trunk.conv.W", "trunk.conv.b", "fc.W", "fc.b"]
    check_gradients(net, X, T)


def test_losses():
    scores = [affine(4, 5), LogSoftmax()]
    x = rng.standard_normal((3, 4))
    check_gradients(Network(scores, loss=NLLLoss()), x, T)
    regression = Network([affine(4, 2)], loss=MeanSquaredErrorLoss())
    t = rng.standard_normal((3, 2))
    check_gradients(regression, x, t)
    assert regression.loss(x, t) == pytest.approx(np.mean((regression.predict(x) - t) ** 2))
    with pytest.raises(TypeError, match="accuracy: expected a network of classes"):
        regression.accuracy(x, t)
    for wrong in ("avg", None):
        with pytest.raises(ValueError, match="reduction: expected"):
            IdentityWithLoss(wrong)


def test_soft_targets():
    x, t = rng.standard_normal((4, 3)), rng.dirichlet(np.ones(3), 4)
    expected = nn.functional.cross_entropy(torch.tensor(x), torch.tensor(t)).item()
    assert SoftmaxWithLoss().forward(x, t) == pytest.approx(expected, abs=2e-5)  # the book adds 1e-7 to each share
    net = Network([affine(3, 3)])
    check_gradients(net, x, t)


def test_accuracy_of_labels_in_a_column():
    net = Network([Affine(np.eye(3), np.zeros(3))])
    x, t = np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 1])
    assert net.accuracy(x, t) == net.accuracy(x, t[:, None]) == net.accuracy(x, np.eye(3)[t]) == 0.75
    for wrong in ((x[:0], t[:0]), (x, t[:3])):
        with pytest.raises(ValueError, match="t: expected a target for each"):
            net.accuracy(*wrong)


def test_a_normalisation_takes_the_dtype_of_its_input():
    W = rng.standard_normal((4, 2, 3, 3)).astype(np.float32)
    net = Network([Convolution(W, np.zeros(4, np.float32)), BatchNorm2d(4), Relu(), Flatten(),
                   Affine(rng.standard_normal((64, 3)).astype(np.float32))])  # fmt: skip
    gradients = net.gradient(X.astype(np.float32), T)
    assert {g.dtype for g in gradients.values()} == {np.dtype(np.float32)}
    assert {p.dtype for p in net.params.values()} == {np.dtype(np.float32)}
    assert BatchNorm2d(4, dtype=np.float64).forward(X[:, :1].repeat(4, 1).astype(np.float32)).dtype == np.float64


def test_save_before_the_first_call_and_load_into_a_fresh_network(tmp_path):
    def make():
        return Network([affine(4, 5), BatchNormalization(np.ones(5), np.zeros(5)), Relu(), affine(5, 3)])

    fresh, trained, x = make(), make(), rng.standard_normal((6, 4))
    fresh.save_params(tmp_path / "fresh.npz")
    make().load_params(tmp_path / "fresh.npz")
    for _ in range(3):
        trained.gradient(x, [0, 1, 2, 0, 1, 2])
    trained.save_params(tmp_path / "trained.npz")
    other = make()
    other.load_params(tmp_path / "trained.npz")
    assert_array_equal(other.predict(x), trained.predict(x))


def test_scalar_scale_and_shift_are_constants():
    net = Network([affine(4, 5), BatchNormalization(1.0, 0.0), Relu(), affine(5, 3)])
    assert list(net.params) == ["0.W", "0.b", "3.W", "3.b"]
    check_gradients(net, rng.standard_normal((3, 4)), T)


def test_a_message_about_many_names_is_short(tmp_path):
    many = Network([affine(2, 2) for _ in range(200)])
    TwoLayerNet(4, 3, 2).save_params(tmp_path / "p.npz")
    with pytest.raises(ValueError, match=r"missing .* and 392 more") as error:
        many.load_params(tmp_path / "p.npz")
    assert len(str(error.value)) < 600


def test_dropout_of_feature_maps_takes_features():
    layer = Dropout2d(0.5, rng=0)
    x = np.ones((200, 30))
    y = layer.forward(x)
    assert set(np.unique(y)) == {0.0, 2.0} and abs(y.mean() - 1) < 0.1
    assert_array_equal(layer.backward(x), y)
    assert_array_equal(layer.forward(x, False), x)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: Network([Relu]), TypeError, "expected layers"),
    (lambda: Network([3]), TypeError, "expected layers"),
    (lambda: Convolution(3, 6, 5), TypeError, "W: expected an array"),
    (lambda: Affine(3), TypeError, "W: expected an array"),
    (lambda: Sum(), ValueError, "at least one"),
    (lambda: Residual([conv(3, 2)]).forward(X), ValueError, "results of one shape"),
])  # fmt: skip
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_copies_and_pickles():
    net = Network({"a": [affine(4, 5), Relu()], "b": affine(5, 3)})
    net.freeze("a")
    x = rng.standard_normal((3, 4))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_array_equal(twin.predict(x), net.predict(x))
        twin.params["b.W"] += 1
        assert (twin.predict(x) != net.predict(x)).any()
        assert list(twin.gradient(x, T)) == ["b.W", "b.b"]
    assert type(pickle.loads(pickle.dumps(net.params))) is dict
