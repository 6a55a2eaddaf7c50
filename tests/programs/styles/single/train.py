"""A whole network in one file, with an im2col of its own kind, trained for some steps."""

import numpy as np


def im2col(x, k, stride, pad):
    """(C*k*k, N*OH*OW)."""
    n, c, h, w = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh, ow = (h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1
    cols = np.empty((c, k, k, n, oh, ow), dtype=x.dtype)
    for u in range(k):
        for v in range(k):
            cols[:, u, v] = x[:, :, u : u + stride * oh : stride, v : v + stride * ow : stride].transpose(1, 0, 2, 3)
    return cols.reshape(c * k * k, n * oh * ow)


def col2im(cols, x_shape, k, stride, pad):
    n, c, h, w = x_shape
    oh, ow = (h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1
    x = np.zeros((n, c, h + 2 * pad, w + 2 * pad), dtype=cols.dtype)
    cols = cols.reshape(c, k, k, n, oh, ow)
    for u in range(k):
        for v in range(k):
            x[:, :, u : u + stride * oh : stride, v : v + stride * ow : stride] += cols[:, u, v].transpose(1, 0, 2, 3)
    return x[:, :, pad : pad + h, pad : pad + w]


def maxpool(x, size=2):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // size, size, w // size, size).max(axis=(3, 5))


class Conv:
    def __init__(self, w, stride, pad):
        self.w, self.stride, self.pad = w, stride, pad

    def forward(self, x):
        f, _, k, _ = self.w.shape
        self.shape, self.cols = x.shape, im2col(x, k, self.stride, self.pad)
        size = (x.shape[2] + 2 * self.pad - k) // self.stride + 1
        return (self.w.reshape(f, -1) @ self.cols).reshape(f, len(x), size, -1).transpose(1, 0, 2, 3)

    def backward(self, dy):
        f, _, k, _ = self.w.shape
        flat = dy.transpose(1, 0, 2, 3).reshape(f, -1)
        self.dw = (flat @ self.cols.T).reshape(self.w.shape)
        return col2im(self.w.reshape(f, -1).T @ flat, self.shape, k, self.stride, self.pad)


if __name__ == "__main__":
    rng = np.random.RandomState(1)
    layers = [Conv(0.2 * rng.randn(6, 2, 3, 3), 1, 1), Conv(0.2 * rng.randn(4, 6, 3, 3), 2, 0)]
    x, target = rng.randn(5, 2, 9, 9), rng.randn(5, 4, 4, 4)
    for _ in range(6):
        h = np.maximum(layers[0].forward(x), 0)
        y = layers[1].forward(h)
        print(repr(float(((y - target) ** 2).mean())))
        layers[0].backward(layers[1].backward(2 * (y - target) / y.size) * (h > 0))
        for layer in layers:
            layer.w -= 0.5 * layer.dw
    print(repr(float(maxpool(y).sum())), maxpool.__doc__, im2col.__doc__)
    print(im2col(np.arange(32).reshape(2, 1, 4, 4), 3, 1, 0).dtype)
