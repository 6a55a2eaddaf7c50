"""A network of three layers with the fast layers, trained for some steps; gradients checked by differences."""

import sys

import numpy as np
from cs231n.fast_layers import (
    conv_backward_fast,
    conv_forward_fast,
    conv_forward_im2col,
    max_pool_backward_fast,
    max_pool_forward_fast,
)
from cs231n.im2col import im2col_indices

dtype = np.dtype(sys.argv[1] if len(sys.argv) > 1 else "float64")
CONV, POOL = {"stride": 1, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}


def loss_and_gradients(params, x, y):
    a, conv_cache = conv_forward_fast(x, params["W1"], params["b1"], CONV)
    h = np.maximum(a, 0)
    p, pool_cache = max_pool_forward_fast(h, POOL)
    scores = p.reshape(len(x), -1).dot(params["W2"]) + params["b2"]
    scores -= scores.max(axis=1, keepdims=True)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(y)), y]).mean()
    probabilities[np.arange(len(y)), y] -= 1
    d = probabilities / len(y)
    grads = {"W2": p.reshape(len(x), -1).T.dot(d), "b2": d.sum(axis=0)}
    dh = max_pool_backward_fast(d.dot(params["W2"].T).reshape(p.shape), pool_cache)
    _, grads["W1"], grads["b1"] = conv_backward_fast(dh * (a > 0), conv_cache)
    return loss, grads


rng = np.random.RandomState(3)
x = rng.randn(6, 3, 8, 8).astype(dtype)
y = rng.randint(0, 4, 6)
params = {
    "W1": 0.3 * rng.randn(5, 3, 3, 3),
    "b1": np.zeros(5),
    "W2": 0.3 * rng.randn(5 * 16, 4),
    "b2": np.zeros(4),
}
params = {name: value.astype(dtype) for name, value in params.items()}
for _ in range(8):
    loss, grads = loss_and_gradients(params, x, y)
    print(loss.dtype, repr(float(loss)))
    for name in params:
        params[name] -= 0.05 * grads[name]
if dtype == np.float64:
    for name in ("W1", "b1"):
        index = (0,) * params[name].ndim
        params[name][index] += 1e-5
        above = loss_and_gradients(params, x, y)[0]
        params[name][index] -= 2e-5
        below = loss_and_gradients(params, x, y)[0]
        params[name][index] += 1e-5
        assert abs((above - below) / 2e-5 - loss_and_gradients(params, x, y)[1][name][index]) < 1e-7
out, cache = max_pool_forward_fast(x[:, :, :7, :7], {"pool_height": 3, "pool_width": 3, "stride": 2})
print(repr(float(out.sum())), repr(float(np.abs(max_pool_backward_fast(out, cache)).sum())))
out, cache = conv_forward_im2col(x, params["W1"], params["b1"], {"stride": 1, "pad": 0})
print(repr(float(out.sum())), repr(float(np.asarray(cache[4]).std())))
print(repr(float(im2col_indices(x, 3, 3).std())))
try:
    conv_forward_fast(x, params["W1"], params["b1"], {"stride": 2, "pad": 0})
except AssertionError as error:
    print("refused:", error)
