"""Book-style programs with a plain NumPy ``common`` of their own, run as they are and by ``python -m fastconv``."""

import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import book

FUNCTIONS = """
import numpy as np

def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

def cross_entropy_error(y, t):
    return -np.log(y[np.arange(len(y)), t] + 1e-7).sum() / len(y)

def softplus(x):
    return np.log1p(np.exp(x))
"""

UTIL = """
import numpy as np

def im2col(x, fh, fw, stride=1, pad=0):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (fh, fw), axis=(2, 3))[:, :, ::stride, ::stride]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * fh * fw)

def col2im(col, shape, fh, fw, stride=1, pad=0):
    n, c, h, w = shape
    oh, ow = (h + 2 * pad - fh) // stride + 1, (w + 2 * pad - fw) // stride + 1
    image = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    col = col.reshape(n, oh, ow, c, fh, fw)
    for i in range(oh):
        for j in range(ow):
            image[:, :, i * stride : i * stride + fh, j * stride : j * stride + fw] += col[:, i, j]
    return image[:, :, pad : pad + h, pad : pad + w]
"""

LAYERS = """
import numpy as np
from common.functions import *
from common.util import im2col, col2im

class Relu:
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)
    def backward(self, dout):
        return np.where(self.mask, 0, dout)

class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b
    def forward(self, x):
        self.shape, self.x = x.shape, x.reshape(len(x), -1)
        return self.x @ self.W + self.b
    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.shape)

class SoftmaxWithLoss:
    def forward(self, x, t):
        self.t, self.y = t, softmax(x)
        return cross_entropy_error(self.y, t)
    def backward(self, dout=1):
        dx = self.y.copy()
        dx[np.arange(len(dx)), self.t] -= 1
        return dx / len(dx)

class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
    def forward(self, x):
        fn, c, fh, fw = self.W.shape
        self.shape, self.col = x.shape, im2col(x, fh, fw, self.stride, self.pad)
        oh = (x.shape[2] + 2 * self.pad - fh) // self.stride + 1
        return (self.col @ self.W.reshape(fn, -1).T + self.b).reshape(len(x), oh, -1, fn).transpose(0, 3, 1, 2)
    def backward(self, dout):
        fn, c, fh, fw = self.W.shape
        rows = dout.transpose(0, 2, 3, 1).reshape(-1, fn)
        self.dW, self.db = (rows.T @ self.col).reshape(self.W.shape), rows.sum(axis=0)
        return col2im(rows @ self.W.reshape(fn, -1), self.shape, fh, fw, self.stride, self.pad)

class Pooling:
    def __init__(self, pool_h, pool_w, stride=2, pad=0):
        self.pool_h, self.pool_w, self.stride = pool_h, pool_w, stride
    def forward(self, x):
        n, c, h, w = self.shape = x.shape
        col = im2col(x.reshape(n * c, 1, h, w), self.pool_h, self.pool_w, self.stride)
        self.at = col.argmax(axis=1)
        return col.max(axis=1).reshape(n, c, (h - self.pool_h) // self.stride + 1, -1)
    def backward(self, dout):
        n, c, h, w = self.shape
        col = np.zeros((dout.size, self.pool_h * self.pool_w))
        col[np.arange(dout.size), self.at] = dout.ravel()
        return col2im(col, (n * c, 1, h, w), self.pool_h, self.pool_w, self.stride).reshape(self.shape)

class Softplus:
    '''A layer that the book does not have, built on this tree's own function.'''
    def forward(self, x):
        self.x = x
        return softplus(x)
    def backward(self, dout):
        return dout / (1 + np.exp(-self.x))
"""

OPTIMIZER = """
import numpy as np

class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr
    def update(self, params, grads):
        for key in params:
            params[key] -= self.lr * grads[key]

class Adam:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        self.lr, self.beta1, self.beta2, self.iter, self.m = lr, beta1, beta2, 0, None
    def update(self, params, grads):
        if self.m is None:
            self.m = {key: np.zeros_like(p) for key, p in params.items()}
            self.v = {key: np.zeros_like(p) for key, p in params.items()}
        self.iter += 1
        lr = self.lr * np.sqrt(1 - self.beta2**self.iter) / (1 - self.beta1**self.iter)
        for key, g in grads.items():
            self.m[key] += (1 - self.beta1) * (g - self.m[key])
            self.v[key] += (1 - self.beta2) * (g * g - self.v[key])
            params[key] -= lr * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)
"""

GREETING = """
def greet():
    return "from this tree's own common"
"""

DATA = """
import numpy as np

def load_mnist(normalize=True, flatten=True, one_hot_label=False):
    rng = np.random.default_rng(0)
    x, t = rng.random((60, 1, 10, 10)), rng.integers(0, 4, 60)
    return (x[:40], t[:40]), (x[40:], t[40:])
"""

NETWORK = """
import sys, os
sys.path.append(os.pardir)
from collections import OrderedDict
import numpy as np
from common.layers import *

class ConvNet:
    def __init__(self):
        randn = np.random.randn
        p = self.params = {
            "W1": 0.1 * randn(5, 1, 3, 3), "b1": np.zeros(5),
            "W2": 0.1 * randn(80, 12), "b2": np.zeros(12),
            "W3": 0.1 * randn(12, 4), "b3": np.zeros(4),
        }
        self.layers = OrderedDict()
        self.layers["Conv1"] = Convolution(p["W1"], p["b1"])
        self.layers["Relu1"] = Relu()
        self.layers["Pool1"] = Pooling(pool_h=2, pool_w=2, stride=2)
        self.layers["Affine1"] = Affine(p["W2"], p["b2"])
        self.layers["Softplus1"] = Softplus()
        self.layers["Affine2"] = Affine(p["W3"], p["b3"])
        self.last = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def gradient(self, x, t):
        loss, dout = self.last.forward(self.predict(x), t), self.last.backward(1)
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        at = {"1": "Conv1", "2": "Affine1", "3": "Affine2"}
        return loss, {key: getattr(self.layers[at[key[1]]], "d" + key[0]) for key in self.params}
"""

SCRIPT = """
import sys, os
sys.path.append(os.pardir)
import json
import numpy as np
from dataset.mnist import load_mnist
from network import ConvNet
from common.greeting import greet
from common.optimizer import Adam

np.random.seed(1)
(x, t), (x_test, t_test) = load_mnist(flatten=False)
net, optimizer, losses = ConvNet(), Adam(lr=0.01), []
for step in range(8):
    loss, grads = net.gradient(x, t)
    optimizer.update(net.params, grads)
    losses.append(float(loss))
print(json.dumps({
    "losses": losses,
    "prediction": net.predict(x_test).tolist(),
    "ours": [key for key, kind in {**{key: type(layer) for key, layer in net.layers.items()}, "Adam": Adam}.items()
             if hasattr(vars(kind).get("forward", vars(kind).get("update")), "__wrapped__")],
    "greeting": greet(),
    "name": __name__,
    "file": __file__,
    "argv": sys.argv,
    "path0": sys.path[0],
    "cwd": os.getcwd(),
    "main": sys.modules["__main__"].ConvNet is ConvNet,
}))
"""


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))


@pytest.fixture(params=["with __init__", "as a namespace"])
def tree(tmp_path, request):
    write(
        tmp_path,
        {
            "common/functions.py": FUNCTIONS,
            "common/util.py": UTIL,
            "common/layers.py": LAYERS,
            "common/optimizer.py": OPTIMIZER,
            "common/greeting.py": GREETING,
            "dataset/mnist.py": DATA,
            "ch07/network.py": NETWORK,
            "ch07/train.py": SCRIPT,
        },
    )
    if request.param == "with __init__":
        write(tmp_path, {"common/__init__.py": "", "dataset/__init__.py": ""})
    return tmp_path


def run(*arguments, cwd, check=True):
    """A Python process in `cwd`, with this fastconv importable."""
    paths = [str(Path(fastconv.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def test_a_book_style_program_gives_the_same_results_on_fastconv(tree):
    plain = json.loads(run("train.py", "--x", cwd=tree / "ch07").stdout)
    ours = json.loads(run("-m", "fastconv", "train.py", "--x", cwd=tree / "ch07").stdout)
    np.testing.assert_allclose(ours["losses"], plain["losses"], rtol=1e-9)
    np.testing.assert_allclose(ours["prediction"], plain["prediction"], rtol=1e-7)
    assert plain["losses"][-1] < plain["losses"][0]
    for key in ("greeting", "name", "file", "argv", "path0", "cwd", "main"):
        assert ours[key] == plain[key], key
    assert ours["ours"] == ["Conv1", "Relu1", "Pool1", "Affine1", "Affine2", "Adam"]
    assert plain["ours"] == []


def test_a_script_may_be_named_from_another_folder(tmp_path):
    write(
        tmp_path,
        {
            "deep/helper.py": "from common.layers import Relu",
            "deep/script.py": "import os, sys, helper; print(sys.argv, sys.path[0], os.getcwd(), helper.Relu)",
        },
    )
    done = run("-m", "fastconv", "deep/script.py", "1", cwd=tmp_path)
    assert done.stdout.split()[:4] == ["['deep/script.py',", "'1']", str(tmp_path / "deep"), str(tmp_path)]
    assert "fastconv.layers" in done.stdout


def test_a_program_without_a_common_gets_one(tmp_path):
    write(
        tmp_path,
        {
            "script.py": """
            from common.layers import *
            from common.optimizer import SGD
            import common.util, common.trainer
            W, b = np.ones((3, 2)), np.zeros(2)
            print(Affine(W, b).forward(np.ones((1, 3))), softmax(np.zeros(2)), SGD.__module__)
            print(common.util.im2col(np.ones((1, 1, 3, 3)), 2, 2).shape, common.trainer.Trainer.__module__)
            import common.missing
            """
        },
    )
    done = run("-m", "fastconv", "script.py", cwd=tmp_path, check=False)
    assert done.stdout.splitlines() == [
        "[[3. 3.]] [0.5 0.5] fastconv.optim",
        "(4, 4) fastconv.trainer",
    ]
    assert "No module named 'common.missing'" in done.stderr


def test_a_traceback_is_the_scripts_own(tmp_path):
    write(tmp_path, {"script.py": "def fail():\n    raise KeyError('lost')\nfail()\n"})
    plain = run(str(tmp_path / "script.py"), cwd=tmp_path, check=False)
    ours = run("-m", "fastconv", str(tmp_path / "script.py"), cwd=tmp_path, check=False)
    assert ours.stderr == plain.stderr
    assert "KeyError: 'lost'" in ours.stderr
    assert ours.returncode == plain.returncode == 1


@pytest.mark.parametrize("script", ["def (:\n", "import sys; sys.exit(3)\n", "raise SystemExit('enough')\n"])
def test_a_script_ends_as_it_does_alone(tmp_path, script):
    write(tmp_path, {"script.py": script})
    plain = run(str(tmp_path / "script.py"), cwd=tmp_path, check=False)
    ours = run("-m", "fastconv", str(tmp_path / "script.py"), cwd=tmp_path, check=False)
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)
    assert ours.returncode != 0


def test_an_interrupt_ends_a_script_as_it_does_alone(tmp_path):
    write(tmp_path, {"script.py": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"})
    ours = run("-m", "fastconv", str(tmp_path / "script.py"), cwd=tmp_path, check=False)
    assert ours.returncode == -signal.SIGINT
    assert ours.stderr.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize(
    ("arguments", "returncode", "message"),
    [
        ([], 2, "no script given"),
        (["nowhere.py"], 2, "no such script: nowhere.py"),
        (["dance"], 2, "{train,predict,info,bench}"),
        (["train", "--epochs", "0"], 2, "fastconv train: error: argument --epochs"),
    ],
)
def test_wrong_use_is_explained(tmp_path, arguments, returncode, message):
    done = run("-m", "fastconv", *arguments, cwd=tmp_path, check=False)
    assert done.returncode == returncode
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help(tmp_path):
    done = run("-m", "fastconv", "--help", cwd=tmp_path)
    assert done.stdout.startswith("usage: python -m fastconv [--float32] SCRIPT")


@pytest.fixture
def uninstalled():
    yield
    book.uninstall()


BOOK = {
    "functions": "identity_function step_function sigmoid sigmoid_grad relu relu_grad softmax sum_squared_error "
    "mean_squared_error cross_entropy_error softmax_loss np",
    "util": "smooth_curve shuffle_dataset conv_output_size im2col col2im np",
    "layers": "Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling im2col col2im "
    "softmax cross_entropy_error np",
    "gradient": "_numerical_gradient_1d numerical_gradient_2d numerical_gradient np",
    "optimizer": "SGD Momentum Nesterov AdaGrad RMSprop Adam np",
    "trainer": "Trainer SGD Adam np",
    "multi_layer_net": "MultiLayerNet Affine Relu numerical_gradient np",
    "multi_layer_net_extend": "MultiLayerNetExtend BatchNormalization Dropout numerical_gradient np",
}


@pytest.mark.parametrize("module", BOOK)
def test_every_name_of_the_books_module_is_there(module, uninstalled):
    book.install()
    found = vars(importlib.import_module(f"common.{module}"))
    missing = [name for name in BOOK[module].split() if name not in found]
    assert not missing
    provided = book.names(module)
    assert all(found[name] is provided[name] for name in provided)
    foreign = [v for v in provided.values() if callable(v) and not v.__module__.startswith("fastconv.")]
    assert not foreign


def test_install_twice_uninstall_once(uninstalled):
    finders = list(sys.meta_path)
    book.install()
    book.install()
    assert len(sys.meta_path) == len(finders) + 1
    book.uninstall()
    assert sys.meta_path == finders
    book.uninstall()
    assert sys.meta_path == finders


def test_uninstall_forgets_what_it_provided(uninstalled):
    book.install()
    importlib.import_module("common.layers")
    book.uninstall()
    assert not [name for name in sys.modules if name == "common" or name.startswith("common.")]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("common.layers")


def test_install_and_uninstall_within_a_program(tree):
    write(
        tree,
        {
            "ch07/switch.py": """
            import sys, os
            sys.path.append(os.pardir)
            import fastconv.book
            from common.layers import Convolution
            def provider():
                from common import layers
                assert layers.Convolution is Convolution and Convolution.__module__ == "common.layers"
                return "fastconv" if Convolution.forward.__code__.co_filename.startswith(home) else "program"
            home = os.path.dirname(fastconv.__file__)
            print(provider())
            fastconv.book.install()
            print(provider(), hasattr(Convolution.forward, "__wrapped__"))
            fastconv.book.uninstall()
            layer = Convolution(fastconv.book.np.ones((1, 1, 2, 2)), 0)
            layer.forward(fastconv.book.np.ones((1, 1, 3, 3)))
            print("_fastconv" in vars(layer))
            """
        },
    )
    done = run("switch.py", cwd=tree / "ch07")
    assert done.stdout.split() == ["program", "fastconv", "True", "False"]
