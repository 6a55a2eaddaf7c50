"""
A regression
============

Two affine layers learn 64 targets by heart: the example with which many meet gradient descent. By hand first, in NumPy;
then the same with layers, whose numbers must agree.
"""

import sys

import numpy as np

from fastconv import optim
from fastconv.networks import RegressionNet

steps = 50 if "--quick" in sys.argv else 500
rng = np.random.default_rng(0)
x, t = rng.standard_normal((64, 1000)), rng.standard_normal((64, 10))
net = RegressionNet(1000, 100, 10, dtype=np.float64, rng=0)
w1, w2 = (array.copy() for array in net.params.values())

# %%
# By hand.
by_hand = []
for _ in range(steps):
    h = x @ w1
    relu = np.maximum(h, 0)
    error = relu @ w2 - t
    by_hand.append(np.sum(error**2))
    d_relu = 2 * error @ w2.T
    d_relu[h < 0] = 0
    w1, w2 = w1 - 1e-6 * x.T @ d_relu, w2 - 1e-6 * relu.T @ (2 * error)

# %%
# By layers: the network has its loss behind it, here the sum of the squared errors.
optimizer, by_layers = optim.SGD(1e-6), []
for _ in range(steps):
    gradients = net.gradient(x, t)
    by_layers.append(net.last_loss)
    optimizer.update(net.params, gradients)
print(f"loss: {by_layers[0]:.1f} -> {by_layers[-1]:.2e}")
print("largest relative difference:", np.abs(np.array(by_layers) / by_hand - 1).max())
assert np.allclose(by_layers, by_hand)
