"""Whole short trainings, in plain Python and under ``python -m fastconv``: the same numbers, in every style."""

import pytest
from conftest import results, table, write
from numpy.testing import assert_allclose
from texts_of_the_book import FUNCTIONS, LAYERS, NETWORK, OPTIMIZER, UTIL, book, changed, script

REPORT = {"FASTCONV_REPORT": "1"}


def same(folder, rtol=1e-8):
    """Train both ways, compare, and give the report."""
    from conftest import run

    plain, lines = results(folder, "train.py")
    done = run(folder, "-m", "fastconv", "train.py", **REPORT)
    ours, other_lines = results(folder, "-m", "fastconv", "train.py")
    assert lines == other_lines
    assert plain.keys() == ours.keys()
    for key in ("losses", "prediction", "drawn"):
        assert_allclose(ours[key], plain[key], rtol=rtol, atol=rtol)
    for key, value in plain["params"].items():
        assert_allclose(ours["params"][key], value, rtol=rtol, err_msg=key)
    assert plain["types"] == ours["types"]
    assert plain["losses"][0] != plain["losses"][-1]
    return table(done.stderr)


def left(report):
    return {name.rpartition(".")[2] for name, (state, _) in report.items() if state == "left"}


@pytest.mark.parametrize("optimizer", ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"])
def test_the_books_style(tmp_path, optimizer):
    write(tmp_path, book(train=script(optimizer)))
    report = same(tmp_path)
    assert {state for state, _ in report.values()} == {"replaced"}
    assert len(report) == 19 and "common.trainer.Trainer" not in report


def test_images_of_float32_as_data_sets_have_them(tmp_path):
    write(tmp_path, book(train=script(cast=".astype(np.float32)")))
    assert not left(same(tmp_path))


def test_everything_in_float32(tmp_path):
    """The book's im2col makes float64 of it, and so does fastconv."""
    write(tmp_path, book(train=script(cast=".astype(np.float32)", dtype="np.float32")))
    assert not left(same(tmp_path, rtol=1e-3))


def test_an_older_printings_pooling(tmp_path):
    layers = changed(LAYERS, ("pool_w, stride=2", "pool_w, stride=1"))
    network = changed(NETWORK, ("Pool=Pooling(2, 2, 2)", "Pool=Pooling(2, 2)"), ("randn(100, 12)", "randn(324, 12)"))
    write(tmp_path, book(common__layers=layers, network=network))
    assert same(tmp_path)["common.layers.Pooling"] == ("adopted", "stride=1")


def test_layers_of_ones_own(tmp_path):
    """An inverted Dropout, Adam under other names, BatchNormalization per channel, beside the book's others."""
    layers = changed(
        LAYERS,
        ("return x * (1.0 - self.dropout_ratio)", "return x"),
        ("return x * self.mask", "return x * self.mask / (1 - self.dropout_ratio)"),
        ("return dout * self.mask\n", "return dout * self.mask / (1 - self.dropout_ratio)\n"),
        (
            "return self._rows(x.reshape(len(x), -1), train_flg).reshape(self.input_shape)",
            "x = np.moveaxis(x, 1, -1)\n"
            "        y = self._rows(x.reshape(-1, x.shape[-1]), train_flg).reshape(x.shape)\n"
            "        return np.moveaxis(y, -1, 1)",
        ),
        (
            "        rows = dout.reshape(len(dout), -1)\n        self.dbeta",
            "        moved = np.moveaxis(dout, 1, -1)\n        rows = moved.reshape(-1, moved.shape[-1])\n        self.dbeta",
        ),
        ("return dx.reshape(self.input_shape)", "return np.moveaxis(dx.reshape(moved.shape), -1, 1)"),
    )
    optimizer = changed(OPTIMIZER, ("beta1", "decay1"), ("beta2", "decay2"))
    network = changed(NETWORK, ("np.ones(400, dtype)", "np.ones(4, dtype)"), ("randn(400)", "randn(4)"))
    files = book(common__layers=layers, common__optimizer=optimizer, network=network)
    write(tmp_path, {**files, "train": script("Adam", ", lr=0.01, decay1=0.8")})
    assert left(same(tmp_path)) == {"Dropout", "BatchNormalization", "Adam"}


def test_a_network_with_an_argument_of_its_own(tmp_path):
    """MultiLayerNetExtend(dropout_ratio=...), which the book spells dropout_ration: it stays, on replaced layers."""
    write(
        tmp_path,
        {
            **book(),
            "common__multi_layer_net_extend": """
            import numpy as np
            from common.layers import *

            class MultiLayerNetExtend:
                def __init__(self, sizes, dropout_ratio=0.1):
                    self.params, self.layers = {}, []
                    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
                        self.params[f"W{i}"], self.params[f"b{i}"] = 0.3 * np.random.randn(a, b), np.zeros(b)
                        self.layers += [Affine(self.params[f"W{i}"], self.params[f"b{i}"]), Dropout(dropout_ratio), Relu()]
                    self.last = SoftmaxWithLoss()
                def predict(self, x, train_flg=False):
                    for layer in self.layers:
                        x = layer.forward(x, train_flg) if isinstance(layer, Dropout) else layer.forward(x)
                    return x
                def gradient(self, x, t):
                    self.last.forward(self.predict(x, True), t)
                    dout = self.last.backward()
                    for layer in self.layers[::-1]:
                        dout = layer.backward(dout)
                    affines = [layer for layer in self.layers if isinstance(layer, Affine)]
                    return {f"{k}{i}": getattr(a, f"d{k}") for i, a in enumerate(affines) for k in "Wb"}
                def accuracy(self, x, t):
                    return np.mean(self.predict(x).argmax(axis=1) == t)
            """,
            "network": """
            from common.multi_layer_net_extend import MultiLayerNetExtend

            def Net():
                return MultiLayerNetExtend([100, 20, 4], dropout_ratio=0.2)
            """,
        },
    )
    assert not left(same(tmp_path))


def test_a_subclass(tmp_path):
    """Of a replaced layer, with methods and attributes of its own."""
    network = changed(
        NETWORK,
        (
            "class Net:",
            "class Leaky(Relu):\n"
            "    def __init__(self, out):\n"
            "        super().__init__()\n"
            "        self.out = out\n"
            "    def forward(self, x):\n"
            "        return super().forward(x) + self.out * np.minimum(x, 0)\n"
            "    def backward(self, dout):\n"
            "        leaked = self.out * dout * self.mask\n"
            "        return super().backward(dout) + leaked\n\n"
            "class Padded(Convolution):\n"
            "    stride = 1\n"
            "    def backward(self, dout):\n"
            "        self.groups = 7\n"
            "        dx = super().backward(dout)\n"
            "        self.dW += 0.01 * self.W\n"
            "        return dx\n\n"
            "class Net:",
        ),
        ("Relu=Relu()", "Relu=Leaky(0.1)"),
        ("Conv=Convolution(", "Conv=Padded("),
    )
    write(tmp_path, book(network=network))
    assert not left(same(tmp_path))


def test_the_second_volumes_style(tmp_path):
    """Layers with lists of parameters, optimisers of lists, a Trainer of a model: all of it stays where it differs."""
    layers = """
    import numpy as np
    from common.functions import *

    class Affine:
        def __init__(self, W, b):
            self.params, self.grads, self.x = [W, b], [np.zeros_like(W), np.zeros_like(b)], None
        def forward(self, x):
            W, b = self.params
            self.x = x
            return x @ W + b
        def backward(self, dout):
            W, b = self.params
            self.grads[0][...] = self.x.T @ dout
            self.grads[1][...] = dout.sum(axis=0)
            return dout @ W.T

    class Sigmoid:
        def __init__(self):
            self.params, self.grads, self.out = [], [], None
        def forward(self, x):
            self.out = 1 / (1 + np.exp(-x))
            return self.out
        def backward(self, dout):
            return dout * (1.0 - self.out) * self.out

    class SoftmaxWithLoss:
        def __init__(self):
            self.params, self.grads, self.y, self.t = [], [], None, None
        def forward(self, x, t):
            self.y = softmax(x)
            self.t = t.argmax(axis=1) if t.size == self.y.size else t
            return cross_entropy_error(self.y, self.t)
        def backward(self, dout=1):
            n = len(self.t)
            dx = self.y.copy()
            dx[np.arange(n), self.t] -= 1
            return dx * dout / n
    """
    optimizer = """
    import numpy as np

    class Adam:
        def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
            self.lr, self.beta1, self.beta2, self.iter, self.m, self.v = lr, beta1, beta2, 0, None, None
        def update(self, params, grads):
            if self.m is None:
                self.m, self.v = ([np.zeros_like(p) for p in params] for _ in range(2))
            self.iter += 1
            rate = self.lr * np.sqrt(1.0 - self.beta2 ** self.iter) / (1.0 - self.beta1 ** self.iter)
            for i in range(len(params)):
                self.m[i] += (1 - self.beta1) * (grads[i] - self.m[i])
                self.v[i] += (1 - self.beta2) * (grads[i] ** 2 - self.v[i])
                params[i] -= rate * self.m[i] / (np.sqrt(self.v[i]) + 1e-7)
    """
    write(
        tmp_path,
        {
            "common__functions": FUNCTIONS,
            "common__layers": layers,
            "common__optimizer": optimizer,
            "common__trainer": """
            import numpy as np

            class Trainer:
                def __init__(self, model, optimizer):
                    self.model, self.optimizer, self.losses = model, optimizer, []
                def fit(self, x, t, max_epoch=10, batch_size=32, max_grad=None):
                    for epoch in range(max_epoch):
                        at = np.random.permutation(len(x))[:batch_size]
                        self.losses.append(float(self.model.forward(x[at], t[at])))
                        self.model.backward()
                        self.optimizer.update(self.model.params, self.model.grads)
            """,
            "train": """
            import json
            import numpy as np
            from common.layers import Affine, Sigmoid, SoftmaxWithLoss
            from common.optimizer import Adam
            from common.trainer import Trainer

            class Model:
                def __init__(self):
                    randn = np.random.randn
                    self.layers = [Affine(randn(6, 8), np.zeros(8)), Sigmoid(), Affine(randn(8, 3), np.zeros(3))]
                    self.last = SoftmaxWithLoss()
                    self.params = [p for layer in self.layers for p in layer.params]
                    self.grads = [g for layer in self.layers for g in layer.grads]
                def predict(self, x):
                    for layer in self.layers:
                        x = layer.forward(x)
                    return x
                def forward(self, x, t):
                    return self.last.forward(self.predict(x), t)
                def backward(self, dout=1):
                    dout = self.last.backward(dout)
                    for layer in self.layers[::-1]:
                        dout = layer.backward(dout)

            np.random.seed(1)
            x, t = np.random.rand(60, 6), np.random.randint(0, 3, 60)
            model = Model()
            trainer = Trainer(model, Adam(lr=0.02))
            trainer.fit(x, t)
            print(json.dumps({
                "losses": trainer.losses,
                "params": {str(i): np.sum(p * p).tolist() for i, p in enumerate(model.params)},
                "prediction": model.predict(x).tolist(),
                "types": [str(p.dtype) for p in model.params],
                "drawn": np.random.rand(),
            }))
            """,
        },
    )
    report = same(tmp_path)
    assert left(report) == {"Affine", "Adam"}  # the loss is equal for labels, and its own for one-hot targets
    assert report["common.layers.Affine"][1] == "forward(x) of float64: it has no attribute W"
    assert report["common.optimizer.Adam"][1] == "update(params, grads) of dicts of arrays: yours raises KeyError: 0"


def test_scalars_and_biases_of_other_shapes(tmp_path):
    write(
        tmp_path,
        {
            "common__functions": FUNCTIONS,
            "common__util": UTIL,
            "common__layers": LAYERS,
            "common__optimizer": OPTIMIZER,
            "train": """
            import json
            import numpy as np
            from common.layers import Affine, BatchNormalization, Convolution
            from common.optimizer import AdaGrad, Adam, Momentum, SGD

            np.random.seed(1)
            rand = np.random.rand
            found = [Convolution(rand(2, 1, 3, 3), 0).forward(rand(1, 1, 8, 8))]
            affine = Affine(rand(30, 40), rand(1, 40))
            found += [affine.forward(rand(50, 30)), affine.backward(rand(50, 40)), affine.db]
            norm = BatchNormalization(1.0, 0.0)
            found += [norm.forward(rand(20, 7)), norm.backward(rand(20, 7)), norm.dgamma]
            courses = []
            for optimizer in (SGD(0.95), Momentum(0.1), AdaGrad(1.5), Adam(0.3)):
                params, grads = {"x": -7.0, "y": 2.0}, {"x": 0.0, "y": 0.0}
                for _ in range(5):
                    grads["x"], grads["y"] = params["x"] / 10.0, 2.0 * params["y"]
                    optimizer.update(params, grads)
                    courses += [float(params["x"]), float(params["y"])]
            print(json.dumps({
                "losses": courses, "params": {str(i): a.tolist() for i, a in enumerate(found)}, "prediction": 0,
                "types": [str(a.dtype) for a in found], "drawn": rand(),
            }))
            """,
        },
    )
    assert not left(same(tmp_path, rtol=1e-10))


def test_a_program_on_objects_that_are_no_arrays(tmp_path):
    """What is no plain array goes through the program's own code: masked arrays, subclasses, lists."""
    write(
        tmp_path,
        {
            "common__functions": FUNCTIONS,
            "train": """
            import json
            import numpy as np
            from common.functions import sigmoid, softmax

            class Named(np.ndarray):
                pass

            x = np.linspace(-1, 1, 6).reshape(2, 3)
            kinds = [type(f(a)).__name__ for f in (sigmoid, softmax) for a in (x, x.view(Named))]
            kinds += [type(sigmoid(a)).__name__ for a in (0.5, np.float64(0.5), np.ma.masked_less(x, 0), np.arange(3))]
            print(json.dumps({
                "losses": [float(sigmoid(0.5)), float(sigmoid(1))], "params": {}, "prediction": 0, "types": kinds, "drawn": 0
            }))
            """,
        },
    )
    report = same(tmp_path)
    assert set(report) == {"common.functions.sigmoid", "common.functions.relu", "common.functions.softmax"}
