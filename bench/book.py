"""The book's formulas, as its readers run them: im2col, np.dot and col2im in plain NumPy, forward and backward.

K. Saito, "Deep Learning from Scratch" (O'Reilly Japan, 2016), chapters 5 to 7. Arrays keep their dtype, where the book's own
im2col and Pooling go back to float64: in float32 this is the faster of the two.
"""

from typing import Any

import numpy as np

Array = Any


def im2col(x: Array, FH: int, FW: int, stride: int = 1, pad: int = 0) -> Array:
    N, C, H, W = x.shape
    OH, OW = (H + 2 * pad - FH) // stride + 1, (W + 2 * pad - FW) // stride + 1
    image = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)], "constant")
    col = np.zeros((N, C, FH, FW, OH, OW), x.dtype)
    for u in range(FH):
        for v in range(FW):
            col[:, :, u, v] = image[:, :, u : u + stride * OH : stride, v : v + stride * OW : stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * OH * OW, -1)


def col2im(col: Array, shape: tuple[int, ...], FH: int, FW: int, stride: int = 1, pad: int = 0) -> Array:
    N, C, H, W = shape
    OH, OW = (H + 2 * pad - FH) // stride + 1, (W + 2 * pad - FW) // stride + 1
    col = col.reshape(N, OH, OW, C, FH, FW).transpose(0, 3, 4, 5, 1, 2)
    image = np.zeros((N, C, H + 2 * pad + stride - 1, W + 2 * pad + stride - 1), col.dtype)
    for u in range(FH):
        for v in range(FW):
            image[:, :, u : u + stride * OH : stride, v : v + stride * OW : stride] += col[:, :, u, v]
    return image[:, :, pad : H + pad, pad : W + pad]


def convolution(x: Array, W: Array, b: Array, stride: int = 1, pad: int = 0) -> Array:
    return Convolution(W, b, stride, pad).forward(x)


class Convolution:
    def __init__(self, W: Array, b: Array, stride: int = 1, pad: int = 0) -> None:
        self.W, self.b, self.stride, self.pad = W, b, stride, pad

    def forward(self, x: Array) -> Array:
        FN, C, FH, FW = self.W.shape
        N, _, H, W = x.shape
        OH, OW = (H + 2 * self.pad - FH) // self.stride + 1, (W + 2 * self.pad - FW) // self.stride + 1
        self.x_shape, self.col = x.shape, im2col(x, FH, FW, self.stride, self.pad)
        self.col_W = self.W.reshape(FN, -1).T
        return (np.dot(self.col, self.col_W) + self.b).reshape(N, OH, OW, -1).transpose(0, 3, 1, 2)

    def backward(self, dout: Array) -> Array:
        FN, C, FH, FW = self.W.shape
        dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        self.db = np.sum(dout, axis=0)
        self.dW = np.dot(self.col.T, dout).T.reshape(FN, C, FH, FW)
        return col2im(np.dot(dout, self.col_W.T), self.x_shape, FH, FW, self.stride, self.pad)


class Pooling:
    def __init__(self, size: int, stride: int) -> None:
        self.size, self.stride = size, stride

    def forward(self, x: Array) -> Array:
        N, C, H, W = x.shape
        OH, OW = (H - self.size) // self.stride + 1, (W - self.size) // self.stride + 1
        col = im2col(x, self.size, self.size, self.stride).reshape(-1, self.size**2)
        self.x_shape, self.argmax = x.shape, np.argmax(col, axis=1)
        return np.max(col, axis=1).reshape(N, OH, OW, C).transpose(0, 3, 1, 2)

    def backward(self, dout: Array) -> Array:
        dout = dout.transpose(0, 2, 3, 1)
        N, OH, OW, C = dout.shape
        dmax = np.zeros((dout.size, self.size**2), dout.dtype)
        dmax[np.arange(dout.size), self.argmax] = dout.flatten()
        return col2im(dmax.reshape(N * OH * OW, -1), self.x_shape, self.size, self.size, self.stride)


class Affine:
    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b

    def forward(self, x: Array) -> Array:
        self.x_shape, self.x = x.shape, x.reshape(x.shape[0], -1)
        return np.dot(self.x, self.W) + self.b

    def backward(self, dout: Array) -> Array:
        self.dW, self.db = np.dot(self.x.T, dout), np.sum(dout, axis=0)
        return np.dot(dout, self.W.T).reshape(self.x_shape)


class Relu:
    def forward(self, x: Array) -> Array:
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout: Array) -> Array:
        dout[self.mask] = 0
        return dout


class Dropout:
    def __init__(self, ratio: float = 0.5) -> None:
        self.ratio = ratio

    def forward(self, x: Array) -> Array:
        self.mask = np.random.rand(*x.shape) > self.ratio  # noqa: NPY002 - as the book has it
        return x * self.mask

    def backward(self, dout: Array) -> Array:
        return dout * self.mask


class SoftmaxWithLoss:
    def forward(self, x: Array, t: Array) -> float:
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        self.t, self.y = t, e / np.sum(e, axis=1, keepdims=True)
        return -np.sum(np.log(self.y[np.arange(len(t)), t] + 1e-7)) / len(t)

    def backward(self) -> Array:
        dx = self.y.copy()
        dx[np.arange(len(dx)), self.t] -= 1
        return dx / len(dx)


class Network:
    """Layers in a row, with the book's loss and SGD."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers, self.last = layers, SoftmaxWithLoss()

    def gradient(self, x: Array, t: Array) -> None:
        """Leaves dW and db in the layers."""
        for layer in self.layers:
            x = layer.forward(x)
        self.last.forward(x, t)
        dout = self.last.backward()
        for layer in reversed(self.layers):
            dout = layer.backward(dout)

    def step(self, x: Array, t: Array, lr: float = 0.01) -> None:
        self.gradient(x, t)
        for layer in self.layers:
            if hasattr(layer, "W"):
                layer.W -= lr * layer.dW
                layer.b -= lr * layer.db
