"""What is not equal stays the program's own, and the report says the first difference in plain words."""

import sys

import numpy as np
import pytest
from texts_of_the_book import FUNCTIONS, LAYERS, OPTIMIZER, UTIL, changed

from fastconv import programs
from fastconv._random import source
from fastconv.programs._classes import Class
from fastconv.programs._proof import Attributes, NotTaken, Step, differ, first_difference
from fastconv.programs._purity import impure

# name: what the fork changes, and what the report says of it
OF_LAYERS = {
    "Dropout, inverted": (
        [
            ("return x * (1.0 - self.dropout_ratio)", "return x"),
            ("return x * self.mask", "return x * self.mask / (1 - self.dropout_ratio)"),
            ("return dout * self.mask\n", "return dout * self.mask / (1 - self.dropout_ratio)\n"),
        ],
        "inference scales by 1 - ratio in the book, yours does not",
    ),
    "Dropout of other numbers": (
        [("np.random.rand(*x.shape) > self.dropout_ratio", "np.random.rand(*x.shape) < 1 - self.dropout_ratio")],
        "training multiplies by np.random.rand(*x.shape) > ratio in the book, yours does not",
    ),
    "Dropout, its gradient": (
        [("return dout * self.mask\n", "return dout\n")],
        "backward(dout) gives dout * mask in the book, yours does not",
    ),
    "BatchNormalization per channel": (
        [
            (
                "return self._rows(x.reshape(len(x), -1), train_flg).reshape(self.input_shape)",
                "x = np.moveaxis(x, 1, -1)\n"
                "        y = self._rows(x.reshape(-1, x.shape[-1]), train_flg).reshape(x.shape)\n"
                "        return np.moveaxis(y, -1, 1)",
            )
        ],
        "forward(x) of images, feature by feature, of float64: yours raises ValueError: operands could not be ",
    ),
    "BatchNormalization with another momentum": (
        [("self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean",
          "self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean")],
        "its attribute running_mean: yours gives ",
    ),
    "BatchNormalization with another argument": (
        [("running_mean=None, running_var=None):", "running_mean=None, running_var=None, eps=1e-6):")],
        "its parameters are (gamma, beta, momentum=0.9, running_mean=None, running_var=None, eps=1e-06), expected ",
    ),
    "Convolution without its bias": (
        [("out = self.col @ self.col_W + self.b", "out = self.col @ self.col_W")],
        "forward(x) of float64: yours gives ",
    ),
    "Convolution with gradients of the mean": (
        [("rows.sum(axis=0), (self.col.T", "rows.mean(axis=0), (self.col.T")],
        "backward(dout) of float64: its attribute db: yours gives ",
    ),
    "Convolution that prints": (
        [("        fn, c, fh, fw = self.W.shape\n        n,", "        print(x.shape)\n        fn, c, fh, fw = self.W.shape\n        n,")],
        "its code calls 'print'",
    ),
    "Convolution that counts": (
        [("class Convolution:\n", "class Convolution:\n    calls = []\n"),
         ("        self.x, self.col = x,", "        Convolution.calls = [*Convolution.calls, 1]\n        self.x, self.col = x,")],
        "its code changes 'Convolution', which others see",
    ),
    "Convolution that writes to a list": (
        [("class Convolution:\n", "LOG = []\n\nclass Convolution:\n"),
         ("        self.x, self.col = x,", "        LOG.append(x.shape)\n        self.x, self.col = x,")],
        "its code uses the program's variable 'LOG'",
    ),
    "Convolution with slots": (
        [("class Convolution:\n", "class Convolution:\n    __slots__ = ('W', 'b', 'stride', 'pad', 'x', 'col', 'col_W', 'dW', 'db')\n")],
        "it defines __slots__",
    ),
    "Convolution of lists": (
        [("self.W, self.b, self.stride, self.pad = W, b, stride, pad\n        self.x =",
          "self.params, self.stride, self.pad = [W, b], stride, pad\n        self.x ="),
         ("        fn, c, fh, fw = self.W.shape\n        n,",
          "        W, b = self.params\n        fn, c, fh, fw = W.shape\n        n,"),
         ("self.col_W = self.W.reshape(fn, -1).T\n        out = self.col @ self.col_W + self.b",
          "self.col_W = W.reshape(fn, -1).T\n        out = self.col @ self.col_W + b")],
        "forward(x) of float64: it has no attribute W",
    ),
    "Pooling that takes the last maximum": (
        [("self.x, self.arg_max = x, col.argmax(axis=1)",
          "self.x, self.arg_max = x, col.shape[1] - 1 - col[:, ::-1].argmax(axis=1)")],
        "backward(dout) of float64: yours gives ",
    ),
    "Relu that leaks": (
        [("return np.where(self.mask, 0, x)", "return np.where(self.mask, 0.01 * x, x)")],
        "forward(x) of float64: yours gives ",
    ),
    "Sigmoid with another gradient": (
        [("return dout * self.out * (1.0 - self.out)", "return dout * self.out")],
        "backward(dout) of float64: yours gives ",
    ),
    "Affine that remembers more": (
        [("self.x = x.reshape(len(x), -1)", "self.x = x.reshape(len(x), -1)\n        self.calls = 1")],
        "",  # nobody uses it
    ),
    "SoftmaxWithLoss of sums": (
        [("return dx / n", "return dx")],
        "backward() of labels: yours gives ",
    ),
    "SoftmaxWithLoss whose one-hot targets are its own affair": (
        [("            return (self.y - self.t) / n", "            return self.y - self.t")],
        "",  # its own backward runs for them
    ),
    "Dropout whose inference changes nothing": (
        [("return x * (1.0 - self.dropout_ratio)", "return x")],
        "inference scales by 1 - ratio in the book, yours does not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_LAYERS)
def test_a_layer_stays(load, states, name):
    changes, why = OF_LAYERS[name]
    layers = load({"common__functions": FUNCTIONS, "common__util": UTIL, "common__layers": changed(LAYERS, *changes)})
    kind = name.split()[0].rstrip(",")
    state, said = states()[kind]
    assert (state, why in said) == (("left" if why else "replaced"), True), said
    if why:
        assert not hasattr(getattr(layers, kind).forward, "__wrapped__")
    others = {key: value for key, value in states().items() if key != kind}
    assert {value[0] for value in others.values()} == {"replaced"}, others


OF_OPTIMIZERS = {
    "Adam with other names": (
        [("beta1=0.9, beta2=0.999):\n        self.lr, self.beta1, self.beta2", "beta_1=0.9, beta_2=0.999):\n        self.lr, self.beta_1, self.beta_2"),
         ("= lr, beta1, beta2", "= lr, beta_1, beta_2"), ("self.beta1 ", "self.beta_1 "), ("self.beta2 ", "self.beta_2 "),
         ("self.beta1)", "self.beta_1)"), ("self.beta2)", "self.beta_2)")],
        "update(params, grads) of dicts of arrays: it has no attribute beta1",
    ),
    "Adam with its epsilon inside": (
        [("(np.sqrt(self.v[key]) + 1e-7)", "np.sqrt(self.v[key] + 1e-7)")],
        "the parameters behind 2 steps: ['W1']: yours gives ",
    ),
    "AdaGrad with another epsilon": (
        [("(np.sqrt(self.h[key]) + 1e-7)", "(np.sqrt(self.h[key]) + 1e-8)")],
        "the parameters behind 2 steps: ['",
    ),
    "Nesterov of the velocity's first": (
        [("            params[key] += self.momentum ** 2 * self.v[key]\n", ""),
         ("            params[key] -= (1 + self.momentum) * self.lr * grads[key]\n", ""),
         ("            self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]\n\nclass AdaGrad",
          "            self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]\n"
          "            params[key] += self.momentum * self.v[key] - self.lr * grads[key]\n\nclass AdaGrad")],
        "",  # another formula for the same
    ),
    "Momentum that damps": (
        [("self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]\n            params[key] += self.v[key]",
          "self.v[key] = self.momentum * self.v[key] - (1 - self.momentum) * self.lr * grads[key]\n            params[key] += self.v[key]")],
        "the parameters behind 2 steps: ['W1']: yours gives ",
    ),
    "SGD with a rate of no default": ([("class SGD:\n    def __init__(self, lr=0.01)", "class SGD:\n    def __init__(self, lr)")],
                                      "the constructor: yours raises TypeError"),
    "SGD with another argument": ([("lr=0.01):\n        self.lr = lr", "lr=0.01, decay=0.0):\n        self.lr = lr")],
                                  "its parameters are (lr=0.01, decay=0.0), expected (lr=0.01)"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_OPTIMIZERS)
def test_an_optimiser_stays(load, states, name):
    changes, why = OF_OPTIMIZERS[name]
    load({"common__optimizer": changed(OPTIMIZER, *changes)})
    state, said = states()[name.split()[0]]
    assert (state, why in said) == (("left" if why else "replaced"), True), said


def test_an_optimiser_of_lists_stays(load, states):
    """The second volume's."""
    load(
        {
            "common__optimizer": """
            class SGD:
                def __init__(self, lr=0.01):
                    self.lr = lr
                def update(self, params, grads):
                    for i in range(len(params)):
                        params[i] -= self.lr * grads[i]
            """
        }
    )
    assert states()["SGD"] == ("left", "update(params, grads) of dicts of arrays: yours raises KeyError: 0")


OF_FUNCTIONS = {
    "softmax of columns": (FUNCTIONS, "functions", [("axis=-1", "axis=0")], "shape (3, 5) of float64: yours gives "),
    "sigmoid of numbers": (
        FUNCTIONS, "functions", [("return 1 / (1 + np.exp(-x))", "return float(1 / (1 + np.exp(-x[0])))")],
        "shape (7,) of float64: yours is of type float, fastconv's ndarray",
    ),
    "relu with a slope": (
        FUNCTIONS, "functions", [("def relu(x):\n    return np.maximum(x, 0)", "def relu(x, slope=0.1):\n    return np.maximum(x, slope * x)")],
        "its parameters are (x, slope=0.1), expected (x)",
    ),
    "im2col of columns": (
        UTIL, "util", [("return col.reshape(n * rows * columns, -1)", "return col.reshape(n * rows * columns, -1).T")],
        "(2, 3, 1, 0) of float64: yours has shape (18, 32), fastconv's (32, 18)",
    ),
    "col2im without sums": (
        UTIL, "util", [("at[1]] += windows", "at[1]] = windows")], "(2, 3, 1, 0) of float64: yours gives ",
    ),
    "im2col that imports": (
        UTIL, "util", [("    n, c, h, w = images.shape\n", "    import time\n    n, c, h, w = images.shape\n")],
        "its code changes or imports 'time'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_a_function_stays(load, states, name):
    text, module, changes, why = OF_FUNCTIONS[name]
    loaded = load({f"common__{module}": changed(text, *changes)})
    state, said = states()[name.split()[0]]
    assert state == "left" and why in said, said
    assert getattr(loaded, name.split()[0]).__module__ == f"common.{module}"


def test_a_convolution_on_another_im2col_stays(load, states):
    """The same text, and yet not the book's: what it calls counts."""
    util = changed(
        UTIL, ("padded[:, :, at[0], at[1]]\n    return col.", "padded[:, :, at[0], at[1]] * 1.01\n    return col.")
    )
    load({"common__functions": FUNCTIONS, "common__util": util, "common__layers": LAYERS})
    assert [name for name, (state, _) in states().items() if state == "left"] == ["im2col", "Convolution", "Pooling"]


def test_an_attribute_that_others_use_and_fastconv_does_not_set(load, states):
    """One that only backward sets: what forward sets is computed when it is asked for."""
    counts = ("self.dW, self.db = self.x.T @ dout", "self.calls = 1\n        self.dW, self.db = self.x.T @ dout")
    modules = {"common__functions": FUNCTIONS, "common__util": UTIL, "common__layers": changed(LAYERS, counts)}
    load({"plot": "def draw(layer):\n    return layer.calls\n", **modules})
    assert states()["Affine"][0] == "left"
    assert "plot.py uses its attribute calls, which fastconv's does not have" in states()["Affine"][1]


def test_an_attribute_under_another_name(load, states):
    """What the book calls arg_max and x, kept as at and shape: found by the program's own forward when it is asked for."""
    layers = load({
        "common__functions": FUNCTIONS, "common__util": UTIL,
        "common__layers": changed(
            LAYERS,
            ("self.x, self.arg_max = x, col.argmax(axis=1)", "self.shape, self.at = x.shape, col.argmax(axis=1)"),
            ("windows[np.arange(dout.size), self.arg_max]", "windows[np.arange(dout.size), self.at]"),
            ("self.x.shape, self.pool_h, self.pool_w, self.stride)", "self.shape, self.pool_h, self.pool_w, self.stride)"),
            ("        self.x = self.arg_max = None\n", ""),
        ),
    })  # fmt: skip
    assert states()["Pooling"] == ("replaced", "")
    layer, x = layers.Pooling(2, 2), np.arange(16.0).reshape(1, 1, 4, 4)
    y = layer.forward(x)
    assert set(vars(layer)) == {"pool_h", "pool_w", "stride", "pad", "_fastconv", "_fastconv_input"}
    x[...] = 0  # too late
    assert layer.at.tolist() == [3, 3, 3, 3] and layer.shape == (1, 1, 4, 4)
    assert layer.backward(np.ones_like(y)).sum() == 4
    assert not hasattr(layer, "x")


def test_what_gives_no_speed_is_not_looked_at(load, states):
    load({
        "common__trainer": "class Trainer:\n    pass\n",
        "common__multi_layer_net": "class MultiLayerNet:\n    pass\n",
        "common__functions": "def cross_entropy_error(y, t):\n    return 0\n",
        "common__gradient": "def numerical_gradient(f, x):\n    return 0\n",
    })  # fmt: skip
    assert states() == {}


def test_a_trial_leaves_nothing_behind(load, capfd):
    generator = source()
    generator.seed(4)
    expected = generator.random()
    generator.seed(4)
    load(
        {"common__functions": FUNCTIONS, "common__util": UTIL, "common__layers": LAYERS, "common__optimizer": OPTIMIZER}
    )
    assert generator.random() == expected
    assert np.geterr()["divide"] == "warn"
    assert capfd.readouterr() == ("", "")


# --- how it is found out ----------------------------------------------------------------------------------------------


def trial(function):
    yield "its call"
    yield Step("the first", function(1.0))
    yield Step("the second", function(np.arange(3.0)), "the second is another one")


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (lambda x: x + 1, None),
        (lambda x: x + 1 + 1e-14, None),
        (lambda x: x + 2, "the first: yours gives 3, fastconv's 2"),
        (lambda x: np.float64(x + 1), "the first: yours is np.float64(2.0) (float64), fastconv's 2.0 (float)"),
        (lambda x: x + 1 if np.ndim(x) == 0 else x, "the second is another one"),
        (lambda x: [][1], "its call: yours raises IndexError: list index out of range"),
        (lambda x: print("!") or x + 1, "it prints"),
    ],
)
def test_the_first_difference(theirs, why):
    found = first_difference(trial, theirs, lambda x: x + 1)
    assert (found and found.why) == why


def test_what_fastconv_raises_is_a_difference_too():
    def ours(x):
        raise NotTaken("not for me")

    assert first_difference(trial, lambda x: x, ours).why == "its call: fastconv's raises NotTaken: not for me"


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (np.array([1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.inf]), ""),
        (np.array([1.0, np.nan]), np.array([1.0, 0.0]), "yours gives nan, fastconv's 0"),
        (np.array([1.0, np.inf]), np.array([1.0, -np.inf]), "yours gives inf, fastconv's -inf"),
        (np.zeros(2), np.zeros(3), "yours has shape (2,), fastconv's (3,)"),
        (np.zeros(2), np.zeros(2, np.float32), "yours is float64, fastconv's float32"),
        (np.zeros(2), None, "yours is of type ndarray, fastconv's NoneType"),
        (1.0, 1, "yours is 1.0 (float), fastconv's 1 (int)"),
        ({"a": 1}, {"b": 1}, "yours has the keys ['a'], fastconv's ['b']"),
        ((1, 2), (1,), "yours has 2 parts, fastconv's 1"),
        ([1, np.ones(1)], [1, np.zeros(1)], "[1]: yours gives 1, fastconv's 0"),
    ],
)
def test_how_values_differ(a, b, why):
    assert differ(a, b) == why


def test_float32_has_its_own_tolerance():
    a, b = np.array([1.0]), np.array([1.0 + 1e-6])
    assert differ(a, b) and not differ(a, b, single=True)
    assert not differ(a.astype(np.float32), b.astype(np.float32))


def test_attributes_of_objects():
    class Layer:
        pass

    a, b = Layer(), Layer()
    a.x, b.x, b.more = 1, 2, 3
    assert differ(Attributes(a), Attributes(b)) == "its attribute x: yours is 1, fastconv's 2"
    b.x = 1
    assert differ(Attributes(a), Attributes(b)) == ""


SECRET = {"calls": 0}


def _counts():
    SECRET["calls"] += 1


def _opens():
    return open


def _calls_one_that_counts():
    return _counts()


def _seeds():
    source().seed(0)


def _exits():
    sys.exit()


def _pure(x):
    return np.sqrt(x).sum() + len(x) + max(abs(v) for v in x)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_pure, ""),
        (_counts, "its code uses the program's variable 'SECRET'"),
        (_calls_one_that_counts, "its code uses the program's variable 'SECRET'"),
        (_opens, "its code calls 'open'"),
        (_seeds, "its code calls 'seed'"),
        (_exits, "its code uses the module 'sys'"),
    ],
)
def test_code_that_must_not_be_tried(function, why):
    assert impure(function) == why


def test_no_plain_class_or_function(load, states):
    load({
        "common__layers": """
        import abc, functools
        class Relu(metaclass=abc.ABCMeta):
            def forward(self, x): ...
            def backward(self, dout): ...
        class Base:
            def forward(self, x): ...
            def backward(self, dout): ...
        class Sigmoid(Base):
            pass
        softmax = functools.partial(max, 0)
        softmax.__module__ = "common.layers"
        """
    })  # fmt: skip
    assert states() == {
        "Relu": ("left", "it is no plain class"),
        "Sigmoid": ("left", "it has no method forward of its own"),
        "softmax": ("left", "it is no plain function"),
    }


def test_a_class_is_proven_by_what_every_method_does():
    """A substitute whose method never takes a call proves nothing."""
    from fastconv.programs._classes import Substitute

    class Theirs:
        def forward(self, x):
            return x

    def ours(self, x):
        raise NotTaken("never")

    def trial(kind):
        yield Step("forward", kind().forward(1))

    verdict = Class("", [Substitute({"forward": ours})], trial).prove(Theirs)
    assert verdict == ("left", "fastconv's forward takes none of its calls", -1)
    assert programs.report() == []
