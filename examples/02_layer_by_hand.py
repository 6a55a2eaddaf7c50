"""
A layer by hand, and its gradient check
=======================================

A layer has two methods: ``forward(x)`` computes, ``backward(dout)`` turns the gradient of the loss with respect to the
result into the one with respect to the input. Here are two of our own, checked against numerical differentiation.
"""

import numpy as np

import fastconv as fc
from fastconv.gradient import numerical_gradient
from fastconv.layers import Affine, Layer
from fastconv.networks import Network

rng = np.random.default_rng(0)


# %%
# A convolution is a matrix product: `im2col` writes the window of each result into a row, `col2im` adds the windows up.
class HandConvolution(Layer):
    trainable = ("W", "b")  # the gradients are dW and db

    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        filters, _, height, width = self.W.shape
        self.x_shape, self.col = x.shape, fc.im2col(x, height, width)
        rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
        y = self.col @ self.W.reshape(filters, -1).T + self.b
        return y.reshape(len(x), rows, columns, filters).transpose(0, 3, 1, 2)

    def backward(self, dout):
        filters, _, height, width = self.W.shape
        dout = dout.transpose(0, 2, 3, 1).reshape(-1, filters)
        self.db = dout.sum(axis=0)
        self.dW = (dout.T @ self.col).reshape(self.W.shape)
        return fc.col2im(dout @ self.W.reshape(filters, -1), self.x_shape, height, width)


class Square(Layer):
    def forward(self, x):
        self.x = x
        return x**2

    def backward(self, dout):
        return 2 * self.x * dout


# %%
# The layers work in a network, beside those of fastconv. The numbers agree with the compiled convolution.
W, b = 0.2 * rng.standard_normal((4, 2, 3, 3)), 0.2 * rng.standard_normal(4)
net = Network({"conv": HandConvolution(W, b), "square": Square(), "head": Affine(0.1 * rng.standard_normal((64, 3)))})
x, t = rng.standard_normal((5, 2, 6, 6)), np.array([0, 1, 2, 0, 1])
print("largest difference from fc.conv2d:", np.abs(net.layer("conv").forward(x) - fc.conv2d(x, W, b)).max())

# %%
# The check: the gradient of each parameter, by back-propagation and by differences.
gradients = net.gradient(x, t)
for name, parameter in net.params.items():
    expected = numerical_gradient(lambda _: net.loss(x, t), parameter)
    difference = np.abs(gradients[name] - expected).max()
    print(f"{name:7} largest difference {difference:.1e}")
    assert difference < 1e-5
