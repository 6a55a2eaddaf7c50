"""Programs of the book's kind, as texts: its modules in the words of these tests, and what people make of them.

What a fork of the book changes is a replacement in these texts (`changed`), so that each test shows its difference alone.
"""

FUNCTIONS = """
import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def relu(x):
    return np.maximum(x, 0)

def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

def cross_entropy_error(y, t):
    if y.ndim == 1:
        y, t = y[np.newaxis], t.reshape(1, -1)
    labels = t.argmax(axis=1) if t.size == y.size else t
    chosen = y[np.arange(len(y)), labels]
    return -np.sum(np.log(chosen + 1e-7)) / len(y)
"""

UTIL = """
import numpy as np

def im2col(images, window_h, window_w, stride=1, pad=0):
    n, c, h, w = images.shape
    rows = (h + 2 * pad - window_h) // stride + 1
    columns = (w + 2 * pad - window_w) // stride + 1
    padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    col = np.zeros((n, rows, columns, c, window_h, window_w))
    for i in range(rows):
        for j in range(columns):
            at = np.s_[i * stride : i * stride + window_h, j * stride : j * stride + window_w]
            col[:, i, j] = padded[:, :, at[0], at[1]]
    return col.reshape(n * rows * columns, -1)

def col2im(col, shape, window_h, window_w, stride=1, pad=0):
    n, c, h, w = shape
    rows = (h + 2 * pad - window_h) // stride + 1
    columns = (w + 2 * pad - window_w) // stride + 1
    windows = col.reshape(n, rows, columns, c, window_h, window_w)
    padded = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    for i in range(rows):
        for j in range(columns):
            at = np.s_[i * stride : i * stride + window_h, j * stride : j * stride + window_w]
            padded[:, :, at[0], at[1]] += windows[:, i, j]
    return padded[:, :, pad : pad + h, pad : pad + w]
"""

LAYERS = """
import numpy as np
from common.functions import *
from common.util import im2col, col2im

class Relu:
    def __init__(self):
        self.mask = None
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)
    def backward(self, dout):
        dout[self.mask] = 0
        return dout

class Sigmoid:
    def __init__(self):
        self.out = None
    def forward(self, x):
        self.out = sigmoid(x)
        return self.out
    def backward(self, dout):
        return dout * self.out * (1.0 - self.out)

class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b
        self.x = self.original_x_shape = self.dW = self.db = None
    def forward(self, x):
        self.original_x_shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.W + self.b
    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.original_x_shape)

class SoftmaxWithLoss:
    def __init__(self):
        self.loss = self.y = self.t = None
    def forward(self, x, t):
        self.t, self.y = t, softmax(x)
        self.loss = cross_entropy_error(self.y, t)
        return self.loss
    def backward(self, dout=1):
        n = len(self.t)
        if self.t.size == self.y.size:
            return (self.y - self.t) / n
        dx = self.y.copy()
        dx[np.arange(n), self.t] -= 1
        return dx / n

class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.dropout_ratio, self.mask = dropout_ratio, None
    def forward(self, x, train_flg=True):
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.mask = np.random.rand(*x.shape) > self.dropout_ratio
        return x * self.mask
    def backward(self, dout):
        return dout * self.mask

class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var
        self.input_shape = self.batch_size = self.xc = self.std = self.dgamma = self.dbeta = None
    def forward(self, x, train_flg=True):
        self.input_shape = x.shape
        return self._rows(x.reshape(len(x), -1), train_flg).reshape(self.input_shape)
    def _rows(self, x, train_flg):
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        if not train_flg:
            return self.gamma * ((x - self.running_mean) / np.sqrt(self.running_var + 1e-6)) + self.beta
        mean = x.mean(axis=0)
        self.xc = x - mean
        var = np.mean(self.xc ** 2, axis=0)
        self.std = np.sqrt(var + 1e-6)
        self.xn = self.xc / self.std
        self.batch_size = len(x)
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        return self.gamma * self.xn + self.beta
    def backward(self, dout):
        rows = dout.reshape(len(dout), -1)
        self.dbeta, self.dgamma = rows.sum(axis=0), np.sum(self.xn * rows, axis=0)
        dxn = self.gamma * rows
        dx = (dxn - dxn.mean(axis=0) - self.xn * np.mean(dxn * self.xn, axis=0)) / self.std
        return dx.reshape(self.input_shape)

class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.x = self.col = self.col_W = self.dW = self.db = None
    def forward(self, x):
        fn, c, fh, fw = self.W.shape
        n, c, h, w = x.shape
        rows = 1 + int((h + 2 * self.pad - fh) / self.stride)
        columns = 1 + int((w + 2 * self.pad - fw) / self.stride)
        self.x, self.col = x, im2col(x, fh, fw, self.stride, self.pad)
        self.col_W = self.W.reshape(fn, -1).T
        out = self.col @ self.col_W + self.b
        return out.reshape(n, rows, columns, -1).transpose(0, 3, 1, 2)
    def backward(self, dout):
        fn, c, fh, fw = self.W.shape
        rows = dout.transpose(0, 2, 3, 1).reshape(-1, fn)
        self.db, self.dW = rows.sum(axis=0), (self.col.T @ rows).T.reshape(self.W.shape)
        return col2im(rows @ self.col_W.T, self.x.shape, fh, fw, self.stride, self.pad)

class Pooling:
    def __init__(self, pool_h, pool_w, stride=2, pad=0):
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad
        self.x = self.arg_max = None
    def forward(self, x):
        n, c, h, w = x.shape
        rows, columns = int(1 + (h - self.pool_h) / self.stride), int(1 + (w - self.pool_w) / self.stride)
        col = im2col(x, self.pool_h, self.pool_w, self.stride, self.pad).reshape(-1, self.pool_h * self.pool_w)
        self.x, self.arg_max = x, col.argmax(axis=1)
        return col.max(axis=1).reshape(n, rows, columns, c).transpose(0, 3, 1, 2)
    def backward(self, dout):
        dout = dout.transpose(0, 2, 3, 1)
        windows = np.zeros((dout.size, self.pool_h * self.pool_w))
        windows[np.arange(dout.size), self.arg_max] = dout.ravel()
        n, rows, columns = dout.shape[:3]
        return col2im(windows.reshape(n * rows * columns, -1), self.x.shape, self.pool_h, self.pool_w, self.stride)
"""

OPTIMIZER = """
import numpy as np

def _zeros(params):
    return {key: np.zeros_like(p) for key, p in params.items()}

class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr
    def update(self, params, grads):
        for key in params:
            params[key] -= self.lr * grads[key]

class Momentum:
    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum, self.v = lr, momentum, None
    def update(self, params, grads):
        if self.v is None:
            self.v = _zeros(params)
        for key in params:
            self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]
            params[key] += self.v[key]

class Nesterov:
    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum, self.v = lr, momentum, None
    def update(self, params, grads):
        if self.v is None:
            self.v = _zeros(params)
        for key in params:
            params[key] += self.momentum ** 2 * self.v[key]
            params[key] -= (1 + self.momentum) * self.lr * grads[key]
            self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]

class AdaGrad:
    def __init__(self, lr=0.01):
        self.lr, self.h = lr, None
    def update(self, params, grads):
        if self.h is None:
            self.h = _zeros(params)
        for key in params:
            self.h[key] += grads[key] ** 2
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)

class RMSprop:
    def __init__(self, lr=0.01, decay_rate=0.99):
        self.lr, self.decay_rate, self.h = lr, decay_rate, None
    def update(self, params, grads):
        if self.h is None:
            self.h = _zeros(params)
        for key in params:
            self.h[key] = self.decay_rate * self.h[key] + (1 - self.decay_rate) * grads[key] ** 2
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)

class Adam:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        self.lr, self.beta1, self.beta2 = lr, beta1, beta2
        self.iter, self.m, self.v = 0, None, None
    def update(self, params, grads):
        if self.m is None:
            self.m, self.v = _zeros(params), _zeros(params)
        self.iter += 1
        rate = self.lr * np.sqrt(1.0 - self.beta2 ** self.iter) / (1.0 - self.beta1 ** self.iter)
        for key in params:
            self.m[key] += (1 - self.beta1) * (grads[key] - self.m[key])
            self.v[key] += (1 - self.beta2) * (grads[key] ** 2 - self.v[key])
            params[key] -= rate * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)
"""

TRAINER = '''
import numpy as np
from common.optimizer import *

class Trainer:
    """A fork's own: it keeps a validation set, and prints its own line."""
    def __init__(self, network, x, t, valid, steps=10, optimizer="Adam", **options):
        self.network, self.x, self.t, self.valid, self.steps = network, x, t, valid, steps
        self.optimizer = globals()[optimizer](**options)
        self.losses = []
    def train(self):
        for step in range(self.steps):
            at = np.random.choice(len(self.x), 20)
            grads = self.network.gradient(self.x[at], self.t[at])
            self.optimizer.update(self.network.params, grads)
            self.losses.append(float(self.network.last.loss))
        print(f"valid: {self.network.accuracy(*self.valid):.2f}")
'''

NETWORK = '''
import numpy as np
from collections import OrderedDict
from common.layers import *

class Net:
    """conv - batch norm - relu - pool - affine - sigmoid - dropout - affine - softmax."""
    def __init__(self, dtype=np.float64):
        def randn(*shape):
            return (0.3 * np.random.randn(*shape)).astype(dtype)
        p = self.params = {
            "W1": randn(4, 1, 3, 3), "b1": randn(4), "gamma": np.ones(400, dtype), "beta": randn(400),
            "W2": randn(100, 12), "b2": randn(12), "W3": randn(12, 4), "b3": randn(4),
        }
        self.layers = OrderedDict(
            Conv=Convolution(p["W1"], p["b1"], stride=1, pad=1),
            Norm=BatchNormalization(p["gamma"], p["beta"]),
            Relu=Relu(),
            Pool=Pooling(2, 2, 2),
            Affine1=Affine(p["W2"], p["b2"]),
            Sigmoid=Sigmoid(),
            Dropout=Dropout(0.2),
            Affine2=Affine(p["W3"], p["b3"]),
        )
        self.last = SoftmaxWithLoss()
    def predict(self, x, train_flg=False):
        for name, layer in self.layers.items():
            x = layer.forward(x, train_flg) if name in ("Norm", "Dropout") else layer.forward(x)
        return x
    def gradient(self, x, t):
        self.last.forward(self.predict(x, True), t)
        dout = self.last.backward(1)
        for layer in reversed(list(self.layers.values())):
            dout = layer.backward(dout)
        l = self.layers
        return {
            "W1": l["Conv"].dW, "b1": l["Conv"].db, "gamma": l["Norm"].dgamma, "beta": l["Norm"].dbeta,
            "W2": l["Affine1"].dW, "b2": l["Affine1"].db, "W3": l["Affine2"].dW, "b3": l["Affine2"].db,
        }
    def accuracy(self, x, t):
        return np.mean(self.predict(x).argmax(axis=1) == t)
'''

SCRIPT = """
import json
import numpy as np
from network import Net
from common.trainer import Trainer

np.random.seed(3)
x, t = np.random.rand(60, 1, 10, 10){cast}, np.random.randint(0, 4, 60)
net = Net({dtype})
trainer = Trainer(net, x[:40], t[:40], (x[40:], t[40:]), optimizer="{optimizer}"{options})
trainer.train()
print(json.dumps({{
    "losses": trainer.losses,
    "params": {{key: np.sum(p * p).tolist() for key, p in net.params.items()}},
    "prediction": net.predict(x[40:]).tolist(),
    "types": [str(p.dtype) for p in net.params.values()] + [type(net.last.loss).__name__],
    "drawn": np.random.rand(),
}}))
"""


def script(optimizer="Adam", options=", lr=0.01", cast="", dtype=""):
    """The training script."""
    return SCRIPT.format(optimizer=optimizer, options=options, cast=cast, dtype=dtype)


def book(**others):
    """All modules of a program of the book's kind, some of them another text."""
    return {
        "common__functions": FUNCTIONS,
        "common__util": UTIL,
        "common__layers": LAYERS,
        "common__optimizer": OPTIMIZER,
        "common__trainer": TRAINER,
        "network": NETWORK,
        "train": script(),
        **others,
    }


def changed(text, *pairs):
    """The text with replacements, each of which it must have."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text
