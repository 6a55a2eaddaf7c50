"""Compiled prediction against the layers' own, and against every way in which parameters change."""

import itertools
import threading

import numpy as np
import pytest
import torch

import fastconv as fc
from fastconv.graph import prediction
from fastconv.hooks import on_forward
from fastconv.kernels.chain.cy import Watch
from fastconv.layers import (
    Affine,
    AveragePooling,
    BatchNorm2d,
    BatchNormalization,
    Convolution,
    Dropout,
    Flatten,
    LeakyRelu,
    Pooling,
    Relu,
    Residual,
    Sigmoid,
    Tanh,
)
from fastconv.networks import DeepConvNet, MultiLayerNet, MultiLayerNetExtend, Network, SimpleConvNet, TwoLayerNet
from fastconv.optim import SGD, Adam
from fastconv.testing import DTYPES, normal

ONE, IMAGES = (1, 28, 28), normal((7, 1, 28, 28), np.float32)
NETS = {
    "SimpleConvNet": lambda dtype: SimpleConvNet(ONE, weight_init_std="he", dtype=dtype, rng=0),
    "SimpleConvNet with BatchNorm": lambda dtype: SimpleConvNet(
        ONE, weight_init_std="he", dtype=dtype, rng=0, use_batchnorm=True,
        conv_param_2={"filter_num": 20, "filter_size": 3, "pad": 1, "stride": 1},
    ),
    "DeepConvNet": lambda dtype: DeepConvNet(dtype=dtype, rng=0),
}  # fmt: skip
ROWS = {
    "TwoLayerNet": lambda dtype: TwoLayerNet(30, 20, 10, "he", dtype, rng=0),
    "MultiLayerNet, sigmoid": lambda dtype: MultiLayerNet(30, [20, 25], 10, "sigmoid", "xavier", dtype=dtype, rng=0),
    "MultiLayerNetExtend": lambda dtype: MultiLayerNetExtend(
        30, [20, 25], 10, use_dropout=True, use_batchnorm=True, dtype=dtype, rng=0
    ),
}


def close(y, expected):
    assert y.dtype == expected.dtype and y.shape == expected.shape
    tol = 1e-11 if y.dtype == np.float64 else 2e-5
    np.testing.assert_allclose(y, expected, rtol=tol, atol=tol * np.abs(expected).max(initial=1))


def trained_a_little(net, shape, dtype):
    """Running statistics and biases that are not their initial ones."""
    x, t = normal((12, *shape), dtype, 7), np.arange(12) % 10
    optimiser = Adam(0.01)
    for _ in range(3):
        optimiser.update(net.params, net.gradient(x, t))
    return net


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_convolutional_networks(name, dtype):
    net = trained_a_little(NETS[name](dtype), ONE, dtype)
    predict = net.compile()
    for N in (1, 2, 5, 33):
        x = normal((N, *ONE), dtype, N)
        for _ in range(2):  # the first call prepares
            close(predict(x), net.predict(x))
            np.testing.assert_array_equal(predict.predict(x), predict(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_fully_connected_networks(name, dtype):
    net = trained_a_little(ROWS[name](dtype), (30,), dtype)
    predict = net.compile()
    for N in (1, 3, 40):
        x = normal((N, 30), dtype, N)
        for _ in range(2):
            close(predict(x), net.predict(x))


def row_of(dtype, *layers):
    return Network({f"{i}": layer for i, layer in enumerate(layers)})


def conv(FN, C, size=3, dtype=np.float32, bias=True, **more):
    w = normal((FN, C // more.get("groups", 1), size, size), dtype, FN) / np.sqrt(dtype(C * size * size))
    return Convolution(w, normal(FN, dtype, 5) if bias else None, **more)


def affine(K, M, dtype=np.float32):
    return Affine(normal((K, M), dtype, K) / np.sqrt(dtype(K)), normal(M, dtype, 6))


def norm(C, dtype=np.float32, cls=BatchNorm2d):
    return cls(normal(C, dtype, 1), normal(C, dtype, 2), running_mean=normal(C, dtype, 3),
               running_var=normal(C, dtype, 4) ** 2 + dtype(0.5))  # fmt: skip


OTHERS = {
    "residual": lambda d: [conv(8, 3, pad=1), Relu(), Residual([conv(8, 8, pad=1), Relu()]), Pooling(2, 2), affine(512, 5)],
    "depthwise": lambda d: [conv(6, 3, pad=1), Relu(), conv(6, 6, pad=1, groups=6), norm(6), Relu(), affine(1536, 5)],
    "depthwise and ReLU": lambda d: [conv(3, 3, groups=3), Relu(), conv(3, 3, groups=3), Relu(), affine(432, 5)],
    "groups and strides": lambda d: [conv(8, 3, 5, stride=2, pad=2), Tanh(), conv(8, 8, groups=2, bias=False), Flatten(),
                                     affine(288, 5), Sigmoid()],
    "poolings": lambda d: [Pooling(3, 3, 2, 1), conv(4, 3), LeakyRelu(0.2), AveragePooling(2, 2), Pooling(2, 3, 1),
                           affine(8, 4)],
    "lone normalisation": lambda d: [norm(3), Relu(), conv(5, 3, 1, bias=False), norm(5), Pooling(2, 2), Dropout(0.3),
                                     affine(320, 4), Relu(), Dropout(0.3), norm(4, cls=BatchNormalization)],
    "few filters": lambda d: [conv(2, 3, 5), Relu(), conv(1, 2, 3, pad=1), Relu(), Pooling(2, 2)],
    "odd planes": lambda d: [conv(5, 3, 2), Relu(), Pooling(2, 2), conv(32, 5, 3, pad=1), Relu(), conv(33, 32, 3, pad=1),
                             Pooling(3, 3, 3)],
    "starting flat": lambda d: [Flatten(), affine(768, 9), Dropout(0.5, inverted=True), affine(9, 4)],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers(name):
    net = row_of(np.float32, *OTHERS[name](np.float32))
    predict = net.compile()
    for N in (1, 3, 20):
        x = normal((N, 3, 16, 16), np.float32, N)
        for _ in range(3):
            close(predict(x), net.predict(x))


def test_against_torch():
    c, n, a = conv(32, 3, pad=1), norm(32), affine(32 * 64, 10)
    net = row_of(np.float32, c, n, Relu(), Pooling(2, 2), a)
    C, B, A = torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.Linear(2048, 10)
    model = torch.nn.Sequential(C, B, torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), A).eval()
    pairs = {C.weight: c.W, C.bias: c.b, B.weight: n.gamma, B.bias: n.beta, B.running_mean: n.running_mean,
             B.running_var: n.running_var, A.weight: a.W.T, A.bias: a.b}  # fmt: skip
    with torch.no_grad():
        for theirs, ours in pairs.items():
            theirs.copy_(torch.tensor(np.ascontiguousarray(ours)))
        x = normal((9, 3, 16, 16), np.float32)
        close(net.compile()(x), model(torch.tensor(x)).numpy())


def changed(make=NETS["SimpleConvNet with BatchNorm"]):
    net = trained_a_little(make(np.float32), ONE, np.float32)
    predict = net.compile()
    before = predict(IMAGES), predict(IMAGES)
    np.testing.assert_array_equal(*before)
    yield net
    after = net.predict(IMAGES)
    assert not np.array_equal(after, before[0])
    close(predict(IMAGES), after)
    close(predict(IMAGES), after)


def change(net, key, how):
    if how == "scaled":
        net.params[key] *= np.float32(2)
    elif how == "negated":
        np.negative(net.params[key], out=net.params[key])
    elif how == "one number":
        net.params[key].reshape(-1)[-1] += np.float32(1)
    elif how == "two swapped":
        flat = net.params[key].reshape(-1)
        assert flat[0] != flat[-1]
        flat[[0, -1]] = flat[[-1, 0]]


@pytest.mark.parametrize("how", ["scaled", "negated", "one number", "two swapped"])
@pytest.mark.parametrize("key", ["W1", "b1", "gamma1", "beta2", "W2", "W3", "b3", "gamma3", "W4", "b4"])
def test_a_parameter_changed_in_place_is_noticed(key, how):
    steps = changed()
    net = next(steps)
    change(net, key, how)
    next(steps, None)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("optimiser", [SGD, Adam])
def test_training_is_noticed(name, optimiser):
    steps = changed(NETS[name])
    net = next(steps)
    optimiser(0.1).update(net.params, net.gradient(IMAGES, np.arange(7)))
    next(steps, None)


def test_running_statistics_are_noticed():
    steps = changed()
    net = next(steps)
    net.predict(IMAGES + 1, train_flg=True)
    next(steps, None)


def test_loaded_parameters_are_noticed(tmp_path):
    trained_a_little(NETS["DeepConvNet"](np.float32), ONE, np.float32).save_params(tmp_path / "p.npz")
    steps = changed(lambda dtype: DeepConvNet(dtype=dtype, rng=1))
    next(steps).load_params(tmp_path / "p.npz")
    next(steps, None)


@pytest.mark.parametrize("attribute", ["W", "b"])
@pytest.mark.parametrize("name", ["Conv1", "Affine1", "Affine2"])
def test_a_replaced_array_is_noticed(name, attribute):
    steps = changed()
    layer = next(steps).layers[name]
    setattr(layer, attribute, getattr(layer, attribute) * 3)
    next(steps, None)


def test_changed_settings_of_layers_are_noticed():
    net = row_of(np.float32, conv(4, 1), Relu(), Pooling(2, 2, 2), Dropout(0.5), conv(3, 4), Relu(), Dropout(0.5))
    predict = net.compile()
    close(predict(IMAGES), net.predict(IMAGES))
    changes = [(0, "pad", 2), (0, "stride", 2), (2, "pool_h", 3), (2, "stride", 1), (3, "dropout_ratio", 0.1),
               (6, "inverted", True), (1, "forward", lambda x: x - 1)]  # fmt: skip
    for at, attribute, value in changes:
        setattr(net.layers[f"{at}"], attribute, value)
        close(predict(IMAGES), net.predict(IMAGES))


def test_changed_layers_are_noticed():
    net = DeepConvNet(dtype=np.float32, rng=0)
    predict = net.compile()
    close(predict(IMAGES), net.predict(IMAGES))
    net.layers[1] = Sigmoid()
    close(predict(IMAGES), net.predict(IMAGES))
    del net.layers[-1]
    close(predict(IMAGES), net.predict(IMAGES))


@pytest.mark.parametrize("name", ["Conv1", "BatchNorm1", "Relu1", "Pool1", "Affine1", "Relu3"])
def test_hooks_see_their_layers(name):
    net = NETS["SimpleConvNet with BatchNorm"](np.float32)
    predict = net.compile()
    close(predict(IMAGES), net.predict(IMAGES))
    seen = []
    with on_forward(net.layers[name], lambda layer, inputs, output: seen.append(output.copy())):
        close(predict(IMAGES), net.predict(IMAGES))
        predict(IMAGES)
    assert len(seen) == 3
    close(seen[0], seen[1])
    close(predict(IMAGES), net.predict(IMAGES))
    assert len(seen) == 3


def test_inputs_unlike_the_parameters():
    net = SimpleConvNet(ONE, weight_init_std="he", dtype=np.float32, rng=0)
    predict = net.compile()
    wide = normal((3, 1, 28, 56), np.float32)
    for x in (IMAGES.astype(np.float64), IMAGES.astype(np.float16), IMAGES[::-1], wide[..., ::2], IMAGES[:0],
              IMAGES.astype(">f4"), np.arange(784).reshape(1, 1, 28, 28)):  # fmt: skip
        for _ in range(2):
            close(predict(x), net.predict(x))
    with pytest.raises(ValueError, match=r"w|W|x"):
        predict(normal((3, 2, 28, 28), np.float32))


def test_a_result_is_the_callers_and_the_input_untouched():
    net = NETS["SimpleConvNet"](np.float32)
    predict, x = net.compile(), IMAGES.copy()
    x.flags.writeable = False
    first = predict(x)
    kept = first.copy()
    assert first.flags.writeable and first.flags.owndata
    predict(IMAGES + 1)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, IMAGES)


def test_nan_and_infinity_pass():
    net = row_of(np.float32, conv(4, 3, 5), Relu(), Pooling(2, 2), Pooling(3, 3, 1))
    x = normal((2, 3, 16, 16), np.float32)
    x[0, 1, 5, 5], x[1, 2, 9, 3] = np.nan, np.inf
    predict = net.compile()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(predict(x), net.predict(x))


def test_precision_and_backend_are_followed():
    net = DeepConvNet(dtype=np.float32, rng=0)
    predict = net.compile()
    high = predict(IMAGES)
    try:
        fc.set_float32_conv_precision("highest")
        highest = predict(IMAGES)
        np.testing.assert_array_equal(highest, net.predict(IMAGES))
    finally:
        fc.set_float32_conv_precision("high")
    np.testing.assert_array_equal(predict(IMAGES), high)
    assert not np.array_equal(high, highest)
    with fc.backend("numpy"):
        np.testing.assert_array_equal(predict(IMAGES), net.predict(IMAGES))


def test_threads_do_not_change_the_bits_and_may_call_together():
    net = DeepConvNet(dtype=np.float32, rng=0)
    predict, x = net.compile(), normal((40, *ONE), np.float32)
    threads = fc.get_num_threads()
    try:
        fc.set_num_threads(1)
        expected = predict(x)
        fc.set_num_threads(2)
        close(predict(x), expected)
        results = [None] * 4

        def work(i):
            results[i] = [predict(x) for _ in range(5)]

        workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        [w.start() for w in workers]
        [w.join() for w in workers]
    finally:
        fc.set_num_threads(threads)
    for result in itertools.chain(*results):
        close(result, expected)


def test_a_network_with_a_predict_of_its_own_is_refused():
    class Centred(SimpleConvNet):
        def predict(self, x, train_flg=False):
            return super().predict(x - x.mean(), train_flg)

    with pytest.raises(TypeError, match="predict"):
        Centred(ONE).compile()


def test_prepared_layers_are_chained():
    """One chain for the whole network, also for read-only and strided input, which leaves the plan in place."""
    net = NETS["SimpleConvNet with BatchNorm"](np.float32)
    predict = net.compile()
    frozen, strided = IMAGES.copy(), np.repeat(IMAGES, 2, axis=0)[::2]
    frozen.flags.writeable = False
    for x in (frozen, strided, IMAGES):
        close(predict(x), net.predict(x))
    (plan,) = predict._plans._plans.values()
    assert [type(part).__name__ for part, _, _ in plan._parts] == ["Chain"]


def test_arrays_that_move_are_noticed():
    where, numbers, place = {"a": 1}, np.arange(8.0), np.arange(4.0)
    watch = Watch([(where, "a"), (where, "missing")], [numbers], [place])
    assert watch.unchanged()
    place[2] = 7  # read in place: no matter
    assert watch.unchanged()
    place.resize(4000, refcheck=False)
    assert not watch.unchanged()
    watch = Watch([(where, "a"), (where, "missing")], [numbers], [])
    numbers[3] += 1
    assert not watch.unchanged()
    numbers[3] -= 1
    assert watch.unchanged()
    where["missing"] = None
    assert not watch.unchanged()


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_counts_in_a_fingerprint(size, dtype):
    numbers = normal(size, dtype)
    watch = Watch([], [numbers], [])
    for i in range(size):
        before = numbers[i]
        for value in (-before, np.nextafter(before, dtype(9)), dtype(0)):
            numbers[i] = value
            assert not watch.unchanged()
        numbers[i] = before
        assert watch.unchanged()


def test_many_shapes():
    net = row_of(np.float32, conv(4, 1), Relu(), Pooling(2, 2))
    predict = net.compile()
    for H in [*range(8, 20), *range(8, 20)]:
        x = normal((2, 1, H, H), np.float32, H)
        np.testing.assert_array_equal(predict(x), net.predict(x))


def test_a_warmed_call_takes_its_memory_from_the_pool():
    net = DeepConvNet(dtype=np.float32, rng=0)
    predict, x = net.compile(), normal((20, *ONE), np.float32)
    for _ in range(3):
        predict(x)
    before = fc.memory_stats()
    for _ in range(5):
        predict(x)
    after = fc.memory_stats()
    assert after["misses"] == before["misses"]
    assert after["used_bytes"] == before["used_bytes"]


def test_a_prepared_prediction_announces_its_work(monkeypatch):
    announced = []
    monkeypatch.setattr(prediction, "expect", announced.append)
    predict = NETS["SimpleConvNet"](np.float32).compile()
    for images in (IMAGES, IMAGES, IMAGES[:1], IMAGES, IMAGES[:1]):
        predict(images)
    seven, again, one = announced
    assert seven == again > one > 1e3  # nanoseconds
