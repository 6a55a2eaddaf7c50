"""One array in two places of a call, and then a call of the same shapes with two arrays: neither may disturb the other.

A repeated call is answered from what an earlier one decided. Which argument is which must not be taken from a call in
which two arguments are one array, or views of one memory.
"""

import numpy as np
import pytest

import fastconv as fc
from fastconv._settings import forget

SQUARE, ROW = (4, 4), (1, 6)
IMAGE = (2, 3, 3, 3)  # also the shape of filters for three channels that give two


def _backward_of_batch_norm(dout, x):
    _, cache = fc.batch_norm(x, None, None, None, None, True)
    return fc.batch_norm_backward(dout, cache)


CALLS = {
    "affine": (fc.affine, SQUARE),
    "affine by name": (lambda x, W: fc.affine(x, W=W), SQUARE),
    "affine with bias": (lambda x, W: fc.affine(x[0], W, x[0]), SQUARE),
    "linear": (fc.linear, SQUARE),
    "affine_backward": (lambda dout, x: fc.affine_backward(dout, x, x + 1), SQUARE),
    "affine_backward W": (lambda dout, W: fc.affine_backward(dout, dout + 1, W), SQUARE),
    "linear_backward": (lambda dout, x: fc.linear_backward(dout, x, x + 1), SQUARE),
    "conv2d": (fc.conv2d, IMAGE),
    "conv2d_backward": (lambda x, w: fc.conv2d_backward(np.ones((2, 2, 1, 1)), x, w), IMAGE),
    "conv_transpose2d": (lambda x, w: fc.conv_transpose2d(x[:, :2], w), IMAGE),
    "conv_transpose2d_backward": (lambda x, w: fc.conv_transpose2d_backward(np.ones((2, 3, 5, 5)), x[:, :2], w), IMAGE),
    "relu_backward": (fc.relu_backward, SQUARE),
    "leaky_relu_backward": (fc.leaky_relu_backward, SQUARE),
    "sigmoid_backward": (fc.sigmoid_backward, SQUARE),
    "tanh_backward": (fc.tanh_backward, SQUARE),
    "softmax_backward": (fc.softmax_backward, SQUARE),
    "log_softmax_backward": (fc.log_softmax_backward, SQUARE),
    "softmax_cross_entropy": (fc.softmax_cross_entropy, SQUARE),
    "softmax_cross_entropy_backward": (fc.softmax_cross_entropy_backward, SQUARE),
    "mean_squared_error": (fc.mean_squared_error, SQUARE),
    "batch_norm_backward": (_backward_of_batch_norm, SQUARE),
    "batch_norm gamma, beta": (
        lambda gamma, beta: fc.batch_norm(np.eye(4) + 1, gamma[0], beta[0], None, None, True)[0],
        SQUARE,
    ),
}
BACKENDS = [None, "cython", pytest.param("numba", marks=pytest.mark.numba), "numpy"]


def _flat(result):
    arrays = result if isinstance(result, tuple) else (result,)
    return [np.array(a) for a in arrays if a is not None]


def _assert_equal(a, b):
    for left, right in zip(_flat(a), _flat(b), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_one_array_in_two_places(name, backend):
    call, shape = CALLS[name]
    rng = np.random.default_rng(0)
    A, B = rng.random(shape), rng.random(shape)
    with fc.backend(backend):
        forget()
        different = call(A, B)
        forget()
        same = call(A, A.copy())
        forget()
        _assert_equal(call(A, A), same)
        _assert_equal(call(A, B), different)
        _assert_equal(call(A, A), same)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_views_of_one_memory(backend):
    x, column = np.arange(6.0).reshape(ROW), np.ones((6, 1))
    with fc.backend(backend):
        forget()
        assert fc.affine(x, x.T) == 55
        assert fc.affine(x, column) == 15
        assert fc.affine(x, x.T) == 55


@pytest.mark.parametrize("backend", BACKENDS)
def test_statistics_that_are_the_scale_are_not_written_later(backend):
    X = np.random.default_rng(0).random((4, 2))
    one, zero = np.ones(2), np.zeros(2)
    with fc.backend(backend):
        forget()
        fc.batch_norm(X, one, zero.copy(), zero.copy(), one, True)
        gamma, beta, mean, var = np.full(2, 3.0), np.full(2, 4.0), np.full(2, 5.0), np.full(2, 6.0)
        y, _ = fc.batch_norm(X, gamma, beta, mean, var, True)
    np.testing.assert_array_equal(gamma, [3, 3])
    np.testing.assert_array_equal(beta, [4, 4])
    np.testing.assert_allclose(mean, 0.9 * 5 + 0.1 * X.mean(0))
    np.testing.assert_allclose(var, 0.9 * 6 + 0.1 * X.var(0, ddof=1))
    np.testing.assert_allclose(y, 3 * (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-5) + 4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("place", ["x's last row", "gamma", "beta and gamma"])
def test_statistics_in_the_memory_of_what_is_read(place, backend):
    X = np.random.default_rng(0).random((5, 3))
    gamma, beta, mean, var = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.0, 1.0]), np.full(3, 0.25), np.full(3, 0.75)
    if place == "x's last row":
        mean = X[4]
    elif place == "gamma":
        var = gamma
    else:
        mean, var = beta, gamma
    x, g, b, m, v = (a.copy() for a in (X, gamma, beta, mean, var))
    dout = np.random.default_rng(1).random((5, 3))
    x_hat = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    with fc.backend(backend):
        y, cache = fc.batch_norm(X, gamma, beta, mean, var, True)
        dx, dgamma, dbeta = fc.batch_norm_backward(dout, cache)
    np.testing.assert_allclose(y, g * x_hat + b, rtol=1e-12)
    np.testing.assert_allclose(mean, 0.9 * m + 0.1 * x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(var, 0.9 * v + 0.1 * x.var(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(dgamma, (dout * x_hat).sum(0), rtol=1e-10)
    np.testing.assert_allclose(dbeta, dout.sum(0), rtol=1e-12)
    expected = g / np.sqrt(x.var(0) + 1e-5) * (dout - dout.mean(0) - x_hat * (dout * x_hat).mean(0))
    np.testing.assert_allclose(dx, expected, rtol=1e-9, atol=1e-12)
