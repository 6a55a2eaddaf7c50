"""What is equal to fastconv's computes with fastconv: the book's own style, and defaults and habits of its editions."""

import copy
import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from texts_of_the_book import FUNCTIONS, LAYERS, OPTIMIZER, UTIL, changed

from fastconv import programs
from fastconv.programs import _finder, _layers

BOOK = {"common__functions": FUNCTIONS, "common__util": UTIL, "common__layers": LAYERS, "common__optimizer": OPTIMIZER}
OF_MODULES = "sigmoid relu softmax im2col col2im"
OF_LAYERS = "Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling"
OF_OPTIMIZER = "SGD Momentum Nesterov AdaGrad RMSprop Adam"
NAMES = [*OF_MODULES.split(), *OF_LAYERS.split(), *OF_OPTIMIZER.split()]
rng = np.random.default_rng(5)


def the(load, *changes):
    """common.layers with changes."""
    files = {key: BOOK[key] for key in ("common__functions", "common__util")}
    return load({**files, "common__layers": changed(LAYERS, *changes)})


def test_everything_of_the_books_is_replaced(load, states):
    load(BOOK)
    assert states() == dict.fromkeys(NAMES, ("replaced", ""))


def test_an_older_printings_pooling_keeps_its_default(load, states):
    layers = the(load, ("pool_w, stride=2", "pool_w, stride=1"))
    assert states()["Pooling"] == ("adopted", "stride=1")
    x = rng.random((2, 3, 6, 6))
    assert layers.Pooling(2, 2).forward(x).shape == (2, 3, 5, 5)
    assert isinstance(layers.Pooling, type) and layers.Pooling.__module__ == "common.layers"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("dout[self.mask] = 0\n        return dout", "return np.where(self.mask, 0, dout)"), id="relu copies"),
        pytest.param(("return dx / n", "return dx / n * dout"), id="the loss takes dout"),
        pytest.param(("np.sqrt(var + 1e-6)", "np.sqrt(var + 1e-7)"), id="epsilon"),
        pytest.param(("        self.original_x_shape = x.shape\n", ""), id="affine of rows"),
    ],
)  # fmt: skip
def test_habits_of_other_editions_are_equal_too(load, states, change):
    more = {
        "return dx / n": [("return (self.y - self.t) / n", "return (self.y - self.t) / n * dout")],
        "np.sqrt(var + 1e-6)": [("self.running_var + 1e-6", "self.running_var + 1e-7")],
        "        self.original_x_shape = x.shape\n": [
            (".reshape(self.original_x_shape)", ""),
            ("self.x = x.reshape(len(x), -1)\n        return self.x @", "self.x = x\n        return x @"),
        ],
    }.get(change[0], [])
    the(load, change, *more)
    left = {name: why for name, (state, why) in states().items() if state == "left"}
    assert not left


def test_a_util_that_keeps_float32(load, states):
    keeps = changed(
        UTIL,
        ("col = np.zeros((n, rows, columns, c, window_h, window_w))",
         "col = np.zeros((n, rows, columns, c, window_h, window_w), images.dtype)"),
        ("padded = np.zeros((n, c, h + 2 * pad, w + 2 * pad))",
         "padded = np.zeros((n, c, h + 2 * pad, w + 2 * pad), col.dtype)"),
    )  # fmt: skip
    layers = load({"common__functions": FUNCTIONS, "common__util": keeps, "common__layers": LAYERS})
    assert {state for state, _ in states().values()} == {"replaced"}
    single = rng.random((2, 1, 5, 5)).astype(np.float32)
    layer = layers.Convolution(single[:, :, :3, :3].copy(), np.zeros(2, np.float32))
    assert layer.forward(single).dtype == np.float32


def test_the_books_util_makes_float64_of_float32(load):
    layers = the(load)
    single = rng.random((2, 1, 5, 5)).astype(np.float32)
    layer = layers.Convolution(single[:, :, :3, :3].copy(), np.zeros(2, np.float32))
    y = layer.forward(single)
    assert y.dtype == np.float64
    assert layer.backward(np.ones_like(y)).dtype == layer.dW.dtype == np.float64


def test_other_names_of_parameters_are_taken(load, states):
    """im2col(images, window_h, ...) where the book has input_data, filter_h, ..."""
    util = load({"common__util": UTIL})
    x = rng.random((2, 1, 5, 5))
    assert_array_equal(util.im2col(images=x, window_h=2, window_w=3), util.im2col(x, 2, 3, 1, 0))
    with pytest.raises(TypeError, match="unexpected keyword argument 'input_data'"):
        util.im2col(input_data=x, filter_h=2, filter_w=3)


# --- the objects stay the program's own -------------------------------------------------------------------------------


def test_attributes_are_those_of_the_book(load):
    """Those that fastconv does not need are computed when they are asked for."""
    layers = the(load)
    own = _plain(layers)
    x, W, b = rng.random((2, 3, 6, 6)), rng.random((4, 3, 3, 3)), rng.random(4)
    for name, arguments in (("Convolution", (W, b, 1, 1)), ("Pooling", (2, 2)), ("Relu", ())):
        ours, theirs = getattr(layers, name)(*arguments), own[name](*arguments)
        y = ours.forward(x)
        assert_allclose(y, theirs.forward(x), rtol=1e-12)
        assert "_fastconv" in vars(ours)
        for attribute, value in vars(theirs).items():
            if isinstance(value, np.ndarray):
                assert_allclose(getattr(ours, attribute), value, rtol=1e-12)


def _plain(layers):
    """The same classes without fastconv."""
    namespace = {"__name__": "plain"}
    exec(compile(LAYERS, "plain.py", "exec"), namespace)
    return namespace


def test_an_attribute_that_was_changed_counts(load):
    layers = the(load)
    W, b, x = rng.random((4, 3, 3, 3)), rng.random(4), rng.random((2, 3, 5, 5))
    ours, theirs = layers.Convolution(W, b), _plain(layers)["Convolution"](W, b)
    for layer in (ours, theirs):
        layer.forward(x)
        layer.col *= 0.5
        layer.backward(np.ones((2, 4, 3, 3)))
    assert_allclose(ours.dW, theirs.dW, rtol=1e-12)


def test_an_input_that_was_changed_since_does_not_count(load):
    layers = the(load)
    W, b, x = rng.random((4, 3, 3, 3)), rng.random(4), rng.random((2, 3, 5, 5))
    ours, theirs = layers.Convolution(W, b), _plain(layers)["Convolution"](W, b)
    for layer in (ours, theirs):
        given = x.copy()
        layer.forward(given)
        given[...] = 0
        layer.backward(np.ones((2, 4, 3, 3)))
    assert_allclose(ours.dW, theirs.dW, rtol=1e-12)


def test_relu_writes_into_the_gradient_as_the_books_does(load):
    layer = the(load).Relu()
    layer.forward(np.array([[1.0, -1.0, 2.0]]))
    dout = np.ones((1, 3))
    assert layer.backward(dout) is dout
    assert dout.tolist() == [[1, 0, 1]]


def test_pickles_are_those_of_plain_python(load):
    layers = the(load)
    layer = layers.Convolution(rng.random((2, 1, 3, 3)), rng.random(2))
    y = layer.forward(rng.random((2, 1, 5, 5)))
    content = pickle.dumps(layer)
    assert b"fastconv" not in content and b"common.layers" in content
    plain = _plain(layers)["Convolution"](layer.W, layer.b)
    plain.forward(layer.x)
    assert vars(pickle.loads(content)).keys() == vars(plain).keys()
    for again in (pickle.loads(content), copy.deepcopy(layer)):
        assert_allclose(again.backward(np.ones_like(y)), layer.backward(np.ones_like(y)), rtol=1e-12)


def test_a_pickle_of_plain_python_goes_on(load):
    files = {"common__functions": FUNCTIONS, "common__util": UTIL, "common__layers": LAYERS}
    layers = load(files, look=False)
    x = rng.random((2, 1, 5, 5))
    layer = layers.Convolution(rng.random((2, 1, 3, 3)), rng.random(2))
    y, content = layer.forward(x), pickle.dumps(layer)
    programs.recognise(layers)
    again = pickle.loads(content)
    assert_allclose(again.backward(np.ones_like(y)), layer.backward(np.ones_like(y)), rtol=1e-12)
    assert_allclose(again.forward(x), y, rtol=1e-12)


def test_a_subclass_uses_the_replaced_methods(load, monkeypatch):
    layers = the(load)
    calls = []
    monkeypatch.setattr(_layers.ops, "conv2d", _counting(_layers.ops.conv2d, calls))

    class Scaled(layers.Convolution):
        def __init__(self, W, b, groups):
            super().__init__(W, b, pad=1)
            self.groups = groups  # a name that fastconv's own layer has too

        def forward(self, x):
            return self.groups * super().forward(x)

    W, b, x = rng.random((4, 3, 3, 3)), rng.random(4), rng.random((2, 3, 5, 5))
    layer = Scaled(W, b, 3)
    assert_allclose(layer.forward(x), 3 * _plain(layers)["Convolution"](W, b, 1, 1).forward(x), rtol=1e-12)
    assert calls and isinstance(layer, layers.Convolution)


def test_a_subclass_that_overrides_what_the_methods_ask_for(load, monkeypatch):
    layers = the(load)

    class Halved(layers.BatchNormalization):
        def _rows(self, x, train_flg):
            return 0.5 * super()._rows(x, train_flg)

    x, one, zero = rng.random((5, 4)), np.ones(4), np.zeros(4)
    ours, whole = Halved(one, zero).forward(x), layers.BatchNormalization(one, zero).forward(x)
    assert_allclose(ours, 0.5 * whole, rtol=1e-12)


def _counting(function, calls):
    def counting(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return counting


@pytest.mark.parametrize(
    "bias",
    [0, 0.5, np.float64(0.5), np.array([[0.5, 1, 2]]), np.array([0.5])],
    ids=["0", "0.5", "float64", "(1, n)", "(1,)"],
)
def test_a_bias_of_another_shape(load, bias):
    layers = the(load)
    x, W = rng.random((2, 1, 5, 5)), rng.random((3, 1, 2, 2))
    ours, theirs = layers.Convolution(W, bias), _plain(layers)["Convolution"](W, bias)
    y = ours.forward(x)
    assert_allclose(y, theirs.forward(x), rtol=1e-12)
    assert_allclose(ours.backward(np.ones_like(y)), theirs.backward(np.ones_like(y)), rtol=1e-12)
    assert_allclose(ours.db, theirs.db, rtol=1e-12)
    assert ours.db.shape == theirs.db.shape


def test_parameters_that_are_numbers(load):
    optimizer = load({"common__optimizer": OPTIMIZER})
    namespace = {}
    exec(OPTIMIZER, namespace)
    for name in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"):
        ends = []
        for kind in (getattr(optimizer, name), namespace[name]):
            params, step = {"x": -7.0, "y": np.float64(2.0)}, kind(lr=0.1)
            for _ in range(3):
                step.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
            ends.append(params)
        assert ends[0] == ends[1] and ends[0]["x"] != -7


def test_one_array_under_two_names_and_views_of_one(load):
    optimizer = load({"common__optimizer": OPTIMIZER})
    shared, grad = np.ones(4), np.ones(4)
    params = {"a": shared, "b": shared, "c": shared[1:3]}
    step = optimizer.Momentum(lr=0.1)
    for _ in range(2):
        step.update(params, {"a": grad, "b": grad, "c": grad[1:3]})
    namespace = {}
    exec(OPTIMIZER, namespace)
    other = np.ones(4)
    expected = {"a": other, "b": other, "c": other[1:3]}
    step = namespace["Momentum"](lr=0.1)
    for _ in range(2):
        step.update(expected, {"a": grad, "b": grad, "c": grad[1:3]})
    assert_allclose(shared, other, rtol=1e-12)


@pytest.mark.parametrize("x", [np.ones((2, 3), complex), np.ones((2, 3), int), np.ones((2, 3), np.float16)], ids=str)
def test_other_types_are_the_programs_own_business(load, x):
    layers = the(load)
    own = _plain(layers)
    for name in ("Relu", "Sigmoid"):
        if np.iscomplexobj(x) and name == "Relu":
            continue
        ours, theirs = getattr(layers, name)().forward(x), own[name]().forward(x)
        assert ours.dtype == theirs.dtype
        assert_allclose(ours, theirs)


def test_errors_are_those_of_plain_python(load):
    layers = the(load)
    affine = layers.Affine(np.ones((3, 2)), np.ones(2))
    with pytest.raises(ValueError, match="matmul"):
        affine.forward(np.ones((2, 4)))
    with pytest.raises(AttributeError):
        layers.Convolution(np.ones((1, 1, 2, 2)), 0).backward(np.ones((1, 1, 2, 2)))
    with pytest.raises(IndexError):
        layers.SoftmaxWithLoss().forward(np.ones((2, 3)), np.array([0, 3]))


def test_a_batch_norm_between_training_and_inference(load):
    """Inference behind a training step leaves the step's backward as it is."""
    layers = the(load)
    one, zero, x, other = np.ones(4), np.zeros(4), rng.random((5, 4)), rng.random((3, 4))
    ours, theirs = (kind(one, zero) for kind in (layers.BatchNormalization, _plain(layers)["BatchNormalization"]))
    for layer in (ours, theirs):
        layer.forward(x)
        layer.forward(other, False)
        layer.input_shape = (5, 4)
    dout = rng.random((5, 4))
    assert_allclose(ours.backward(dout), theirs.backward(dout), rtol=1e-10)


def test_a_parameter_that_is_another_array_since_forward(load):
    """load_params binds layer.W anew: backward takes the filters of forward, as the book's col_W is."""
    layers = the(load)
    x, W = rng.random((2, 1, 5, 5)), rng.random((3, 1, 2, 2))
    ours, theirs = layers.Convolution(W, 0), _plain(layers)["Convolution"](W, 0)
    for layer in (ours, theirs):
        layer.forward(x)
        layer.W = 2 * W
    dout = rng.random((2, 3, 4, 4))
    assert_allclose(ours.backward(dout), theirs.backward(dout), rtol=1e-12)


def test_uninstall_gives_the_programs_own_back(load):
    files = {"common__functions": FUNCTIONS, "common__util": UTIL, "common__layers": LAYERS}
    layers = load(files, look=False)
    before = {name: dict(vars(getattr(layers, name))) for name in ("Relu", "Convolution")}
    im2col = sys.modules["common.util"].im2col
    for name in ("util", "layers"):
        programs.recognise(sys.modules[f"common.{name}"])
    layer = layers.Relu()
    layer.forward(np.array([1.0, -1.0]))
    while _finder._UNDO:
        _finder._UNDO.pop()()
    assert sys.modules["common.util"].im2col is im2col
    for name, members in before.items():
        assert {key: vars(getattr(layers, name))[key] for key in ("forward", "backward")}.items() <= members.items()
    assert layer.backward(np.ones(2)).tolist() == [1, 0]
    assert layer.forward(np.array([-1.0, 1.0])).tolist() == [0, 1]
    assert layer.mask.tolist() == [True, False]


def test_a_method_under_an_alias(load, states):
    """`forward` may be another function's name in the program."""
    alias = (
        "    def forward(self, x):\n        self.out = sigmoid(x)",
        "    def run(self, x):\n        self.out = sigmoid(x)",
    )
    layers = the(
        load,
        alias,
        ("        return self.out\n    def backward", "        return self.out\n    forward = run\n    def backward"),
    )
    assert states()["Sigmoid"] == ("replaced", "")
    assert layers.Sigmoid().forward(np.zeros((1, 2))).tolist() == [[0.5, 0.5]]
