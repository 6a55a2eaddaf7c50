"""Numbers as they lie in memory: float16 added up in float32, 16 bytes at a time and one by one."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.kernels._cuda import kernels
from fastconv.kernels._cuda.elements import elements
from fastconv.ops.activations import relu_masked, relu_masked_backward
from fastconv.testing import normal

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

HALF = np.float16
EPS = float(np.finfo(HALF).eps)


def half(shape, seed=0):
    return normal(shape, HALF, seed)


X, W, B, DOUT = half((2, 3, 6, 5)), half((4, 3, 3, 3), 1), half(4, 2), half((2, 4, 6, 5), 3)
DEPTHWISE = half((3, 1, 3, 3), 4)
ROWS, WEIGHT, BIAS = half((9, 40)), half((40, 5), 1), half(5, 2)
SCORES = half((3, 7), 5)
PROBABILITIES = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]], HALF)
TALL = half((2, 3, 10, 9))
Y, INDICES = fc.max_pool2d(X, 2)

CALLS = {
    "im2col": (fc.im2col, X, 3, 2),
    "conv2d": (fc.conv2d, X, W, B, 1, 1),
    "conv2d_backward": (fc.conv2d_backward, DOUT, X, W, 1, 1),
    "long sums over pixels": (fc.conv2d_backward, half((9, 2, 8, 8)), half((9, 3, 8, 8)), half((2, 3, 1, 1))),
    "conv_transpose2d": (fc.conv_transpose2d, DOUT, W, half(3), 1, 1),
    "depthwise": (fc.conv2d, X, DEPTHWISE, None, 1, 1, 1, 3),
    "depthwise_backward": (fc.conv2d_backward, X, X, DEPTHWISE, 1, 1, 1, 3),
    "max_pool2d": (fc.max_pool2d, X, 2),
    "max_pool2d_backward": (fc.max_pool2d_backward, Y, INDICES, X.shape, 2),
    "avg_pool2d": (fc.avg_pool2d, X, 3, 2, 1),
    "avg_pool2d_backward": (fc.avg_pool2d_backward, Y, X.shape, 2),
    "global_avg_pool2d": (fc.global_avg_pool2d, X),
    "adaptive_avg_pool2d": (fc.adaptive_avg_pool2d, X, (2, 3)),
    "stochastic_pool2d": (lambda x: fc.stochastic_pool2d(x, 2, rng=1), X),
    "affine": (fc.affine, ROWS, WEIGHT, BIAS),
    "affine_backward": (fc.affine_backward, half((9, 5)), ROWS, WEIGHT),
    "softmax": (fc.softmax, SCORES),
    "softmax_backward": (fc.softmax_backward, SCORES, SCORES),
    "log_softmax": (fc.log_softmax, SCORES),
    "softmax_cross_entropy": (fc.softmax_cross_entropy, SCORES, np.array([1, 4, 0])),
    "softmax_cross_entropy, soft": (fc.softmax_cross_entropy, PROBABILITIES, PROBABILITIES),
    "softmax_cross_entropy_backward": (fc.softmax_cross_entropy_backward, PROBABILITIES, np.array([1, 2])),
    "dropout": (lambda x: fc.dropout(x, 0.4, 3), TALL),
    "dropout_backward": (fc.dropout_backward, TALL, TALL > 0, 0.4),
    **{name: (getattr(fc, name), TALL) for name in ("relu", "leaky_relu", "sigmoid", "tanh")},
    "sigmoid_backward": (fc.sigmoid_backward, TALL, TALL),
    "relu_backward": (fc.relu_backward, TALL, TALL),
    "relu_masked": (relu_masked, TALL),
    "relu_masked_backward": (relu_masked_backward, TALL, np.arange(-(-TALL.size // 8), dtype=np.uint8), TALL.shape),
}


def everything(result):
    return [r for r in (result if isinstance(result, tuple) else (result,)) if r is not None]


@pytest.mark.parametrize("name", CALLS)
def test_float16_is_read_and_written_by_the_kernels(name, monkeypatch):
    """No array is converted on the way: results differ by one rounding from those of float32."""
    monkeypatch.setattr("fastconv.kernels._cuda.arrays._cast", lambda *_: pytest.fail("an array was converted"))
    call, *args = CALLS[name]
    with fc.backend("numpy"):
        expected = everything(call(*args))
    got = everything(call(*(fc.to_device(a) if isinstance(a, np.ndarray) else a for a in args)))
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == np.asarray(b).dtype
        np.testing.assert_allclose(fc.to_host(a).astype(float), np.asarray(b, float), rtol=EPS, atol=EPS / 8)


def test_batch_norm_of_float16_keeps_statistics_in_float32():
    x, dout, gamma, beta = half((7, 3, 5, 5)) + HALF(20), half((7, 3, 5, 5), 1), half(3, 2), half(3, 3)
    results = []
    for move in (lambda a: a.copy(), fc.to_device):
        running = move(np.zeros(3, np.float32)), move(np.ones(3, np.float32))
        y, cache = fc.batch_norm(move(x), move(gamma), move(beta), *running, training=True)
        assert y.dtype == HALF and cache.mean.dtype == running[0].dtype == np.float32
        gradients = fc.batch_norm_backward(move(dout), cache)
        later, _ = fc.batch_norm(move(x), move(gamma), move(beta), *running)
        results.append([fc.to_host(a) for a in (y, *gradients, *running, later)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=2 * EPS, atol=4 * EPS)
    np.testing.assert_allclose(results[1][4], results[0][4], rtol=1e-5)


def test_updates_of_float16_are_rounded_once():
    lists = [[half((3, 4), 1)], [half((3, 4), 2)], [np.abs(half((3, 4), 3))]]
    there = [[fc.to_device(a) for a in group] for group in lists]
    for group in (lists, there):
        fc.momentum_update(*group, lr=0.1, momentum=0.9)
    for group, moved in zip(lists, there, strict=True):
        np.testing.assert_allclose(fc.to_host(moved[0]), group[0], rtol=EPS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sixteen_bytes_at_a_time_and_what_is_left(dtype):
    """Whole blocks, the rest of the last one, and arrays that begin between multiples of 16 bytes."""
    block = kernels.GROUPS * kernels.WIDTH * elements(dtype).L
    for first in (0, 1):
        x = normal((2 * block + 6,), dtype)
        a = fc.to_device(x)[first:]
        x = x[first:]
        np.testing.assert_array_equal(fc.to_host(fc.relu(a)), np.maximum(x, 0))
        np.testing.assert_array_equal(fc.to_host(fc.relu_backward(a, a)), np.maximum(x, 0))
        np.testing.assert_array_equal(fc.to_host(2 * a + a), 2 * x + x)


@pytest.mark.parametrize(("C", "P"), [(3, 7), (5, 1), (2, 64)])
def test_vectors_over_channels_of_any_size(C, P):
    """A group of 16 bytes lies in one channel, in two, or in as many as it has numbers."""
    count = kernels.GROUPS * kernels.WIDTH * 4
    N = count // (C * P) + 2
    x = normal((N, C, P, 1), np.float32)
    mean, var, gamma, beta = (np.abs(normal(C, np.float32, seed)) + 1 for seed in range(4))
    args = x, gamma, beta, mean, var
    with fc.backend("numpy"):
        expected, _ = fc.batch_norm(*args)
    got, _ = fc.batch_norm(*map(fc.to_device, args))
    np.testing.assert_allclose(fc.to_host(got), expected, rtol=1e-5, atol=1e-5)
