"""A small network of functions, trained for some steps."""

import sys

import numpy as np
from zero import Function, Parameter, Variable
from zero.core import Config
from zero.functions_conv import AveragePooling, Conv2d, Deconv2d, Pooling, col2im_array, im2col_array

dtype = np.dtype(sys.argv[1] if len(sys.argv) > 1 else "float64")


class SquareSum(Function):
    def forward(self, x):
        return (x**2).sum()

    def backward(self, gy):
        return Variable(2 * gy.data * self.inputs[0].data)


rng = np.random.RandomState(0)
x = Variable(rng.randn(4, 2, 9, 8).astype(dtype))
filters = [Parameter(0.3 * rng.randn(5, 2, 3, 3).astype(dtype)), Parameter(0.3 * rng.randn(3, 5, 2, 3).astype(dtype))]
bias = Parameter(np.zeros(5, dtype))
for _ in range(6):
    y = Conv2d(1, (1, 0))(x, filters[0], bias)
    y = Pooling((2, 2), 2)(y)
    y = Conv2d(2, 1)(y, filters[1], None)
    loss = SquareSum()(y)
    print(y.dtype, repr(float(loss.data)))
    for p in (*filters, bias):
        p.grad = None
    loss.backward()
    for p in (*filters, bias):
        p.data = p.data - 1e-3 * p.grad.data
big = Deconv2d(2, 0)(y, Variable(filters[1].data), np.ones(5, dtype))
print(big.shape, repr(float(big.data.std())), repr(float(AveragePooling(2, 2)(x).data.std())))
print(repr(float(Pooling(3, 2, 1)(x).data.sum())), Config.calls)
col = im2col_array(x.data, 3, 1, 1)
print(col.shape, repr(float(col2im_array(col, x.shape, 3, 1, 1).std())))
