"""Networks and layers written as ONNX files: what other programs compute from them is what the network computes."""

import math
import os
import sys
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from readers import checked, readers, reference  # noqa: E402

import fastconv  # noqa: E402
import fastconv.onnx  # noqa: E402
from fastconv import hooks, layers, networks, optim  # noqa: E402
from fastconv.networks import Network  # noqa: E402
from fastconv.networks._parts import Parts  # noqa: E402
from fastconv.onnx._export.rules import RULES  # noqa: E402

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = [13, 17, NEWEST]
DTYPES = [np.float32, np.float64]


def numbers(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def export(net, path, shape, **options):
    file = path / "net.onnx"
    fastconv.onnx.export(net, file, shape, **options)
    return file


def stirred(net):
    """The network with parameters and statistics that are neither zero nor one."""
    rng = np.random.default_rng(1)
    for layer in net.every_layer():
        for name in (*layer.trainable, *layer.statistics):
            a = getattr(layer, name)
            if name == "running_var":
                a[...] = rng.uniform(0.5, 1.5, a.shape)
            elif name == "gamma":
                a[...] = rng.uniform(0.8, 1.2, a.shape)
            elif isinstance(a, np.ndarray) and a.ndim == 1:
                a[...] = 0.1 * rng.standard_normal(a.shape)
    return net


def assert_same(read, net, x, exact=None):
    """`exact`: the largest error allowed, as a share of the largest number."""
    expected = net.predict(x)
    got = read(x)
    assert got.dtype == expected.dtype and got.shape == expected.shape
    exact = exact or {np.float16: 5e-3, np.float32: 1e-5, np.float64: 1e-7}[expected.dtype.type]
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    scale = max(1.0, np.abs(expected[finite]).max(initial=0))
    np.testing.assert_allclose(got[finite], expected[finite], rtol=0, atol=exact * scale)


def norm(cls, size, dtype, *more):
    rng = np.random.default_rng(3)
    arrays = (
        rng.uniform(0.5, 1.5, size),
        rng.standard_normal(size),
        rng.standard_normal(size),
        rng.uniform(0.5, 2, size),
    )
    gamma, beta, mean, var = (a.astype(dtype) for a in arrays)
    return cls(gamma, beta, *more, running_mean=mean, running_var=var)


def conv(dtype, *w, b=True, **options):
    return layers.Convolution(numbers(*w, dtype=dtype), numbers(w[0], dtype=dtype, seed=1) if b else None, **options)


IMAGES = (2, 4, 9, 8)

# A layer, and others before and behind it where that matters: a function of the dtype -> layers, and the input's shape.
CASES = {
    "affine": (lambda d: [layers.Affine(numbers(6, 5, dtype=d), numbers(5, dtype=d))], (3, 6)),
    "affine of images, no bias": (lambda d: [layers.Affine(numbers(288, 5, dtype=d))], IMAGES),
    "conv": (lambda d: [conv(d, 5, 4, 3, 2)], IMAGES),
    "conv, stride, pad, dilation": (lambda d: [conv(d, 6, 4, 3, 3, stride=(2, 1), pad=(3, 1), dilation=2, b=False)], IMAGES),
    "conv, groups, four pads": (lambda d: [conv(d, 6, 2, 3, 3, pad=((1, 2), (0, 3)), groups=2)], IMAGES),
    "conv, depthwise, same": (lambda d: [conv(d, 4, 1, 3, 3, pad="same", stride=2, groups=4)], IMAGES),
    "conv, valid": (lambda d: [conv(d, 3, 4, 2, 2, pad="valid")], IMAGES),
    "conv, padding wider than the filter": (lambda d: [conv(d, 3, 4, 2, 2, pad=4)], IMAGES),
    "conv, one number as bias": (lambda d: [layers.Convolution(numbers(3, 4, 2, 2, dtype=d), 0.5)], IMAGES),
    "conv, bias in the channels' place": (
        lambda d: [layers.Convolution(numbers(3, 4, 2, 2, dtype=d), numbers(1, 3, 1, 1, dtype=d))], IMAGES),
    "transposed conv": (lambda d: [layers.TransposedConvolution(numbers(4, 3, 3, 2, dtype=d), numbers(3, dtype=d))], IMAGES),
    "transposed conv, all options": (
        lambda d: [layers.TransposedConvolution(
            numbers(4, 3, 3, 3, dtype=d), stride=(2, 3), pad=((1, 0), (2, 1)), output_padding=(1, 2), dilation=(1, 2))], IMAGES),
    "max pooling": (lambda d: [layers.Pooling(2, 3)], IMAGES),
    "max pooling, pad, ceil": (lambda d: [layers.Pooling(3, 3, stride=2, pad=1, ceil_mode=True)], IMAGES),
    "max pooling, windows of padding alone": (lambda d: [layers.Pooling(2, 2, stride=1, pad=((3, 0), (1, 4)))], IMAGES),
    "max pooling, ceil and a dropped window": (lambda d: [layers.Pooling(2, 2, stride=2, pad=6, ceil_mode=True)], (1, 2, 4, 5)),
    "max pooling, window larger than the image": (lambda d: [layers.Pooling(5, 6, stride=2, ceil_mode=True)], (1, 2, 4, 5)),
    "min pooling": (lambda d: [layers.MinPooling(3, 2, stride=2, pad=1)], IMAGES),
    "average pooling": (lambda d: [layers.AveragePooling(2, 3, stride=1)], IMAGES),
    "average pooling, pad": (lambda d: [layers.AveragePooling(3, 3, stride=2, pad=1)], IMAGES),
    "average pooling, pad not counted": (lambda d: [layers.AveragePooling(3, 3, pad=(1, 2), count_include_pad=False)], IMAGES),
    "average pooling, ceil": (lambda d: [layers.AveragePooling(3, 2, stride=3, pad=1, ceil_mode=True)], IMAGES),
    "average pooling, ceil, pad not counted": (
        lambda d: [layers.AveragePooling(4, 3, stride=3, pad=1, ceil_mode=True, count_include_pad=False)], IMAGES),
    "average pooling, windows of padding alone": (lambda d: [layers.AveragePooling(2, 2, stride=1, pad=3)], IMAGES),
    "average pooling, padding alone not counted": (
        lambda d: [layers.AveragePooling(2, 2, stride=1, pad=3, count_include_pad=False)], IMAGES),
    "stochastic pooling": (lambda d: [layers.StochasticPooling(2, 2)], IMAGES),
    "stochastic pooling, pad": (lambda d: [layers.StochasticPooling(2, 2, stride=1, pad=((2, 1), (0, 1)))], IMAGES),
    "stochastic pooling of negative numbers": (lambda d: [layers.MinPooling(4, 4, stride=1), layers.StochasticPooling(2, 2)], IMAGES),
    "adaptive pooling, even": (lambda d: [layers.AdaptiveAveragePooling((3, 2))], IMAGES),
    "adaptive pooling, uneven": (lambda d: [layers.AdaptiveAveragePooling((4, 3))], IMAGES),
    "adaptive pooling, larger": (lambda d: [layers.AdaptiveAveragePooling(11)], IMAGES),
    "adaptive pooling, as it is": (lambda d: [layers.Relu(), layers.AdaptiveAveragePooling((9, 8))], IMAGES),
    "adaptive pooling, one": (lambda d: [layers.AdaptiveAveragePooling(1)], IMAGES),
    "global pooling": (lambda d: [layers.GlobalAveragePooling()], IMAGES),
    "batch norm": (lambda d: [norm(layers.BatchNorm2d, 4, d)], IMAGES),
    "batch norm of rows": (lambda d: [norm(layers.BatchNorm1d, 6, d)], (3, 6)),
    "batch norm without scale, and without statistics yet": (lambda d: [layers.BatchNorm2d(None, dtype=d)], IMAGES),
    "batch norm of a size": (lambda d: [conv(d, 4, 4, 3, 3), layers.BatchNorm2d(4)], IMAGES),
    "the book's batch norm": (lambda d: [norm(layers.BatchNormalization, 288, d)], IMAGES),
    "the book's batch norm of rows, by numbers": (lambda d: [layers.BatchNormalization(1.5, -0.5)], (3, 6)),
    "relu": (lambda d: [layers.Relu()], IMAGES),
    "sigmoid": (lambda d: [layers.Sigmoid()], IMAGES),
    "tanh": (lambda d: [layers.Tanh()], IMAGES),
    "leaky relu": (lambda d: [layers.LeakyRelu(0.3)], IMAGES),
    "softmax": (lambda d: [layers.Softmax()], (3, 6)),
    "softmax of channels": (lambda d: [layers.Softmax(axis=1)], IMAGES),
    "log softmax": (lambda d: [layers.LogSoftmax(axis=-2)], IMAGES),
    "relu6": (lambda d: [layers.Affine(4 * numbers(6, 5, dtype=d)), layers.Relu6()], (3, 6)),
    "hard sigmoid": (lambda d: [layers.Affine(2 * numbers(6, 5, dtype=d)), layers.HardSigmoid()], (3, 6)),
    "hard swish": (lambda d: [layers.Affine(2 * numbers(6, 5, dtype=d)), layers.HardSwish()], (3, 6)),
    "silu": (lambda d: [layers.Silu()], IMAGES),
    "gelu": (lambda d: [layers.Gelu()], IMAGES),
    "gelu by tanh": (lambda d: [layers.Gelu("tanh")], IMAGES),
    "the book's dropout": (lambda d: [layers.Dropout(0.3)], IMAGES),
    "dropout": (lambda d: [layers.Relu(), layers.Dropout(0.3, inverted=True)], IMAGES),
    "dropout of everything": (lambda d: [layers.Dropout(1.0)], IMAGES),
    "dropout of channels": (lambda d: [layers.Dropout2d(0.3), layers.Relu()], IMAGES),
    "local response": (lambda d: [layers.LocalResponseNormalization(3, 0.5, 0.6, 2.0)], IMAGES),
    "local response, even": (lambda d: [layers.LocalResponseNormalization(2, 0.5)], IMAGES),
    "local response of rows": (lambda d: [layers.LocalResponseNormalization(5, 0.5)], (3, 6)),
    "flatten": (lambda d: [layers.Flatten()], IMAGES),
    "reshape": (lambda d: [layers.Reshape(3, -1)], IMAGES),
    "reshape of everything": (lambda d: [layers.Reshape(-1, 288, keep_batch=False)], IMAGES),
    "reshape across the batch": (lambda d: [layers.Reshape(-1, 4, keep_batch=False)], IMAGES),
    "slice": (lambda d: [layers.Slice(1, -1)], IMAGES),
    "slice from the start": (lambda d: [layers.Slice(stop=2)], IMAGES),
    "channel shuffle": (lambda d: [layers.ChannelShuffle(2)], IMAGES),
    "channel shuffle of rows": (lambda d: [layers.ChannelShuffle(3)], (3, 6)),
    "sum": (lambda d: [layers.Sum([layers.Relu()], [], [layers.Sigmoid(), layers.Tanh()])], IMAGES),
    "sum of one": (lambda d: [layers.Sum([layers.Relu()])], IMAGES),
    "residual": (lambda d: [layers.Residual([conv(d, 4, 4, 3, 3, pad=1)]), layers.Relu()], IMAGES),
    "concatenate": (lambda d: [layers.Concatenate([layers.Relu()], [], [conv(d, 5, 4, 1, 1)])], IMAGES),
    "concatenate the same": (lambda d: [layers.Concatenate([], [], axis=-1)], IMAGES),
    "concatenate batches": (lambda d: [layers.Concatenate([layers.Relu()], [], axis=0)], IMAGES),
    "channel scale": (lambda d: [layers.ChannelScale([
        layers.GlobalAveragePooling(), conv(d, 4, 4, 1, 1), layers.HardSigmoid()])], IMAGES),
    "nothing": (lambda d: [], IMAGES),
    "branches in branches": (lambda d: [layers.Concatenate(
        {"a": layers.Residual({"r": layers.Relu(), "n": [layers.ChannelScale([layers.AdaptiveAveragePooling(1)]), [[layers.Tanh()]]]})},
        {"b": [layers.Sum([layers.Slice(0, 4)], [layers.Silu()])]}), layers.Sequential()], IMAGES),
}  # fmt: skip


def is_wrong_in_the_reference(case, opset, dtype):
    """ONNX's evaluator normalises the first N channels of N images, and by the batch in old operator sets."""
    return (case == "local response" and dtype == np.float32) or ("batch norm" in case and opset < 14)


def fineness(case, dtype, reader):
    """An epsilon is kept in float32, and so is erf in ONNX's evaluator."""
    if dtype == np.float32:
        return 1e-5
    return 1e-7 if "batch norm" in case or ("gelu" in case and reader is reference) else 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("case", CASES)
def test_every_layer(case, opset, dtype, tmp_path):
    make, shape = CASES[case]
    net = Network(make(dtype))
    file = export(net, tmp_path, shape, opset=opset, dtype=dtype)
    assert checked(file).opset_import[0].version == opset
    for reader in readers(dtype):
        if reader is not reference or not is_wrong_in_the_reference(case, opset, dtype):
            read = reader(file)
            for N in (shape[0], 5):
                x = 2 * numbers(N, *shape[1:], dtype=dtype, seed=N)
                assert_same(read, net, x, exact=fineness(case, dtype, reader))


def test_the_cases_name_every_layer_with_a_rule():
    used = {type(layer) for make, _ in CASES.values() for layer in Network(make(np.float32)).every_layer()}
    assert RULES.keys() <= used | {layers.Sum}


def small(name, dtype):
    """A network of fastconv.networks, with a small head where the paper's has a hundred million weights."""
    options = {"rng": 0, "dtype": dtype}
    if name in ("TwoLayerNet", "ThreeLayerNet"):
        return getattr(networks, name)(20, *([7] * (1 + name.startswith("Three"))), 4, **options), (2, 20)
    if name.startswith("MultiLayer"):
        more = {"use_dropout": True, "use_batchnorm": True, "activation": "tanh"} if name.endswith("Extend") else {}
        return getattr(networks, name)(20, [9, 7], 4, **more, **options), (2, 20)
    if name == "RegressionNet":
        return networks.RegressionNet(30, 8, 3, **options), (2, 30)
    net = getattr(networks, name)(**options)
    if name in ("VGG11", "VGG13", "VGG16", "VGG19", "AlexNet"):
        first = net.layers["classifier"][1 if name == "AlexNet" else 0]
        net.replace("classifier", [layers.Affine(numbers(len(first.W), 10, dtype=dtype) / 100)])
    sizes = {"AlexNet": 67, "InceptionV3": 75, "LeNet": 32}
    channels, size = (3, sizes.get(name, 32))
    if name in ("SimpleConvNet", "DeepConvNet", "ConvNet1", "FashionDNN", "FashionCNN", "MnistConvNet"):
        channels, size = 1, 28
    return net, (1, channels, size, size)


@pytest.fixture
def lazy_heads(monkeypatch):
    """No random numbers for the hundred million weights that `small` drops again."""
    drawn = Parts._normal
    large = 10_000_000
    monkeypatch.setattr(
        Parts, "_normal",
        lambda self, shape, std: np.zeros(shape, self.dtype) if math.prod(shape) > large else drawn(self, shape, std),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in networks.__all__ if n != "Network"])
@pytest.mark.usefixtures("lazy_heads")
def test_every_network(name, dtype, tmp_path):
    net, shape = small(name, dtype)
    stirred(net)
    file = export(net, tmp_path, shape)
    checked(file)
    x = numbers(3, *shape[1:], dtype=dtype)
    assert np.abs(net.predict(x)).max() > 1e-6
    for reader in readers(dtype, slow=name in ("TwoLayerNet", "MultiLayerNetExtend", "ConvNet1", "LeNet")):
        # Rounding adds up along a hundred layers whose statistics were drawn at random.
        assert_same(reader(file), net, x, exact=3e-5 if dtype == np.float32 else 1e-7)


def test_trained_parameters_and_their_names(tmp_path):
    x, t = numbers(8, 1, 28, 28), np.arange(8)
    net = networks.SimpleConvNet(use_batchnorm=True, dtype=np.float32, rng=0)
    optimizer = optim.Adam()
    for _ in range(3):
        optimizer.update(net.params, net.gradient(x, t))
    file = export(net, tmp_path, (1, 1, 28, 28))
    model = checked(file)
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in model.graph.initializer}
    assert set(arrays) == {
        "Conv1.W", "Conv1.b", "BatchNorm1.gamma", "BatchNorm1.beta", "BatchNorm1.running_mean",
        "BatchNorm1.running_var", "Affine1.W", "Affine1.b", "BatchNorm2.gamma", "BatchNorm2.beta",
        "BatchNorm2.running_mean", "BatchNorm2.running_var", "Affine2.W", "Affine2.b",
    }  # fmt: skip
    for name, a in net.named_parameters().items():
        np.testing.assert_array_equal(arrays[name], a)
    np.testing.assert_array_equal(arrays["BatchNorm1.running_var"], net.layers["BatchNorm1"].running_var)
    for reader in readers(np.float32):
        assert_same(reader(file), net, x)


@pytest.mark.parametrize("cls, kept", [(layers.BatchNormalization, 0.7), (layers.BatchNorm2d, 0.3)])
def test_momentum_is_the_weight_of_the_past_in_onnx(cls, kept, tmp_path):
    net = Network([norm(cls, 6, np.float32, 0.7)])
    node = checked(export(net, tmp_path, (3, 6))).graph.node[0]
    attributes = {a.name: a.f for a in node.attribute}
    assert attributes["momentum"] == pytest.approx(kept)
    assert attributes["epsilon"] == pytest.approx(net.layers[0].eps)


def test_a_layer_in_several_places_has_one_set_of_arrays(tmp_path):
    shared = conv(np.float32, 4, 4, 3, 3, pad=1)
    tied = layers.Convolution(shared.W, None, pad=1)
    net = Network({"a": shared, "relu": layers.Relu(), "again": shared, "tied": tied, "row": [shared, layers.Relu()]})
    file = export(net, tmp_path, IMAGES)
    graph = checked(file).graph
    assert [a.name for a in graph.initializer] == ["a.W", "a.b"]
    assert [n.name for n in graph.node][:3] == ["a/Conv", "relu/Relu", "again/Conv"]
    for reader in readers(np.float32):
        assert_same(reader(file), net, numbers(*IMAGES))


def test_networks_in_networks_and_names_taken_twice(tmp_path):
    inner = Network({"x": layers.Relu(), "y": conv(np.float32, 4, 4, 1, 1)})
    net = Network({"x": inner, "y": layers.Tanh(), "y/Tanh": {"": layers.Relu()}})
    file = export(net, tmp_path, IMAGES)
    graph = checked(file).graph
    assert [v.name for v in (*graph.input, *graph.output)] == ["x", "y"]
    for reader in readers(np.float32):
        assert_same(reader(file), net, numbers(*IMAGES))


def test_dtypes_that_mix_are_promoted_as_numpy_does(tmp_path):
    net = Network([conv(np.float32, 4, 4, 3, 3), layers.BatchNormalization(np.ones(168), np.zeros(168)), layers.Relu()])
    file = export(net, tmp_path, IMAGES)
    checked(file)
    x = numbers(*IMAGES)
    assert net.predict(x).dtype == np.float64
    for reader in readers(np.float64):
        assert_same(reader(file), net, x, exact=1e-4)


def test_float16(tmp_path):
    net = Network(
        [
            conv(np.float16, 5, 4, 3, 3),
            layers.Relu(),
            layers.Pooling(2, 2),
            layers.Affine(numbers(45, 3, dtype=np.float16)),
        ]
    )
    file = export(net, tmp_path, IMAGES)
    assert {a.data_type for a in checked(file).graph.initializer} == {onnx.TensorProto.FLOAT16}
    x = numbers(*IMAGES, dtype=np.float16)
    for reader in readers(np.float16):
        assert_same(reader(file), net, x)


def test_arrays_of_any_layout(tmp_path):
    W = numbers(3, 3, 4, 5).transpose(3, 2, 1, 0)
    big_endian = numbers(5).astype(">f4")
    big_endian.flags.writeable = False
    net = Network([layers.Convolution(W, big_endian)])
    file = export(net, tmp_path, IMAGES)
    for reader in readers(np.float32):
        assert_same(reader(file), net, numbers(*IMAGES))


def dims(value):
    return [d.dim_param or d.dim_value or None for d in value.type.tensor_type.shape.dim]


def test_dynamic_and_fixed_batches(tmp_path):
    net = Network([conv(np.float32, 5, 4, 3, 3), layers.Flatten()])
    graph = checked(export(net, tmp_path, IMAGES)).graph
    assert (dims(graph.input[0]), dims(graph.output[0])) == (["N", 4, 9, 8], ["N", 210])
    graph = checked(export(net, tmp_path, IMAGES, dynamic_batch=False)).graph
    assert (dims(graph.input[0]), dims(graph.output[0])) == ([2, 4, 9, 8], [2, 210])


@pytest.mark.parametrize(
    "layer, expected",
    [(layers.Reshape(-1, 288, keep_batch=False), ["N", 288]), (layers.Reshape(-1, 2, keep_batch=False), [None, 2]),
     (layers.Reshape(4, -1, keep_batch=False), [4, None]), (layers.Concatenate([], [], axis=0), [None, 4, 9, 8])],
)  # fmt: skip
def test_sizes_that_do_not_follow_the_batch(layer, expected, tmp_path):
    graph = checked(export(Network([layer]), tmp_path, IMAGES)).graph
    assert dims(graph.output[0]) == expected


def test_the_loss_is_left_out_or_a_softmax(tmp_path):
    net = networks.TwoLayerNet(6, 5, 3, weight_init_std=1, dtype=np.float32, rng=0)
    x = numbers(4, 6)
    file = export(net, tmp_path, (1, 6), softmax=True)
    for reader in readers(np.float32):
        np.testing.assert_allclose(reader(file)(x), fastconv.softmax(net.predict(x)), atol=1e-6)
    logarithms = networks.MnistConvNet(rng=0)
    file = export(logarithms, tmp_path, (1, 1, 28, 28), softmax=True)
    x = numbers(4, 1, 28, 28)
    for reader in readers(np.float32):
        np.testing.assert_allclose(reader(file)(x), np.exp(logarithms.predict(x)), atol=1e-6)
    with pytest.raises(ValueError, match=r"softmax: IdentityWithLoss, the loss of this network, is not of classes"):
        export(networks.RegressionNet(6, 5, 3), tmp_path, (1, 6), softmax=True)


class Own(layers.Layer):
    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


class Doubled(layers.Relu):
    def forward(self, x):
        return 2 * super().forward(x)


class Renamed(layers.Relu):
    """Changes nothing."""


class OwnSum(layers.Sum):
    def join(self, *values, activation=None):
        return 2 * super().join(*values)


def test_layers_without_a_form_are_listed_together_and_nothing_is_written(tmp_path):
    hooked, fine = layers.Relu(), Renamed()
    net = Network({"a": Own(), "b": [Doubled(), {"c": hooked}], "d": fine, "e": OwnSum([], [layers.Relu()])})
    file = tmp_path / "net.onnx"
    file.write_bytes(b"before")
    with hooks.on_forward(hooked, lambda *_: None), pytest.raises(ValueError) as error:
        fastconv.onnx.export(net, file, IMAGES)
    assert str(error.value).splitlines() == [
        "net: these layers cannot be written as ONNX:",
        "  a (Own): this class has no form in ONNX",
        "  b.0 (Doubled): its class changes what Relu computes",
        "  b.1.c (Relu): its forward was replaced on the object, as a hook does",
        "  e (OwnSum): its class changes what Sum computes",
    ]
    assert file.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["net.onnx"]
    checked(export(Network([fine]), tmp_path, IMAGES))


def test_layers_whose_input_has_no_form_are_listed_together(tmp_path):
    unbatched = [layers.Reshape(4, 9, 8, keep_batch=False), layers.Pooling(2, 2), conv(np.float32, 3, 4, 1, 1)]
    with pytest.raises(
        ValueError, match=r"1 \(Pooling\): it reads an array of shape \(4, 9, 8\).*\n  2 \(Convolution\)"
    ):
        export(Network(unbatched), tmp_path, (1, 4, 9, 8))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "error, message, change",
    [(ValueError, r"input_shape: 0 \(Convolution\) cannot run on \(2, 3, 9, 8\): w: expected", {"input_shape": (2, 3, 9, 8)}),
     (ValueError, r"input_shape: expected positive sizes with the batch, .* got \(4,\)", {"input_shape": (4,)}),
     (ValueError, r"input_shape: expected positive sizes .* got \(0, 4, 9, 8\)", {"input_shape": (0, 4, 9, 8)}),
     (TypeError, "input_shape: expected sizes .* got 3", {"input_shape": 3}),
     (TypeError, "input_shape: expected sizes .* got 'abc'", {"input_shape": "abc"}),
     (TypeError, r"input_shape: expected sizes .* got \(2, 4, 9.5, 8\)", {"input_shape": (2, 4, 9.5, 8)}),
     (ValueError, "opset: expected a whole number from 13 to .*, got 12", {"opset": 12}),
     (ValueError, "opset: expected a whole number from 13 to .*, got True", {"opset": True}),
     (ValueError, f"opset: expected a whole number from 13 to {NEWEST}, got {NEWEST + 1}", {"opset": NEWEST + 1}),
     (TypeError, "dtype: expected float16, float32 or float64, got int32", {"dtype": np.int32}),
     (TypeError, "net: expected a Network, got Convolution", {"net": conv(np.float32, 5, 4, 3, 3)}),
     (FileNotFoundError, "missing", {"path": "missing/net.onnx"})],
)  # fmt: skip
def test_bad_arguments(error, message, change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"net": Network([conv(np.float32, 5, 4, 3, 3)]), "path": "net.onnx", "input_shape": IMAGES, **change}
    with pytest.raises(error, match=message):
        fastconv.onnx.export(**given)
    assert not os.listdir(tmp_path)


def test_without_the_package_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"an ONNX file needs onnx, .*: pip install 'fastconv\[onnx\]'"):
        export(Network([layers.Relu()]), tmp_path, IMAGES)
    assert not os.listdir(tmp_path)


class Plain:
    """A layer without attributes of its own, and without the base class."""

    __slots__ = ()

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


def test_a_layer_without_attributes_is_refused_like_others(tmp_path):
    with pytest.raises(ValueError, match=r"0 \(Plain\): this class has no form in ONNX"):
        export(Network([Plain()]), tmp_path, IMAGES)


def test_a_predict_of_the_users_own_is_refused(tmp_path):
    class Mine(Network):
        def predict(self, x, train_flg=False):
            return 2 * super().predict(x, train_flg)

    with pytest.raises(TypeError, match="only Network's own predict"):
        export(Mine([layers.Relu()]), tmp_path, IMAGES)


def test_what_layers_keep_for_backward_is_untouched(tmp_path):
    def make():
        return Network(
            [conv(np.float32, 4, 4, 3, 3), norm(layers.BatchNorm2d, 4, np.float32), layers.Relu(), layers.Pooling(2, 2)]
        )

    x, first, second = numbers(*IMAGES), make(), make()
    dout = np.ones_like(first.predict(x, True))
    second.predict(x, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(second, tmp_path, IMAGES)
    np.testing.assert_array_equal(first.backward(dout), second.backward(dout))
    np.testing.assert_array_equal(first.layers[1].running_mean, second.layers[1].running_mean)


def test_files_above_two_gigabytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fastconv.onnx._export.write._MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"its arrays have .* GB, and an ONNX file holds 2 GB"):
        export(Network([conv(np.float64, 16, 4, 3, 3)]), tmp_path, IMAGES)
    assert not os.listdir(tmp_path)
