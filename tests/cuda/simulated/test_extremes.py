"""Padding of any size, integers of any size and numbers of any size with backend "cuda" in the simulator."""

import numpy as np
import pytest
from test_operations import compare

import fastconv as fc

MOST = 2**31 - 1
X = np.random.default_rng(0).integers(-3, 4, (1, 2, 4, 5)).astype(np.float32)


@pytest.mark.parametrize(
    "window",
    [(2, 2, 3), (3, 2, ((5, 0), (1, 7))), ((2, 3), 2, 4), (2, 1, 2), (MOST, MOST, 2**30), ((3, 2), (1, 2), (4, 3))],
    ids=str,
)
def test_pooling_of_padding(window):
    y, indices = compare(fc.max_pool2d, X, *window, exact=True)
    assert (indices == -1).any() or window[0] == MOST
    compare(fc.max_pool2d_backward, np.ones_like(y), indices, X.shape, *window, exact=True)
    for options in ({}, {"count_include_pad": False}, {"divisor_override": -3}):
        y = compare(fc.avg_pool2d, X, *window, **options)
        compare(fc.avg_pool2d_backward, y, X.shape, *window, **options)
    _, indices = compare(fc.stochastic_pool2d, X, *window, rng=0, exact=True)
    compare(fc.stochastic_pool2d, X, *window, training=False)


def test_dilated_windows_of_padding_alone():
    x = np.ones((1, 1, 2, 2))
    y, indices = compare(fc.max_pool2d, x, 2, 1, 2, 4, exact=True)
    assert (y == -np.inf).all() and (indices == -1).all()
    assert not compare(fc.max_pool2d_backward, y, indices, x.shape, 2, 1, 2, 4, exact=True).any()
    assert compare(fc.max_pool2d, np.arange(4.0).reshape(1, 1, 2, 2), 3, 2, ceil_mode=True)[0].item() == 3


def test_taps_far_apart():
    w = np.random.default_rng(1).standard_normal((3, 2, 3, 3)).astype(np.float32)
    options = {"padding": 10_000, "dilation": 10_000}
    y = compare(fc.conv2d, X, w, **options)
    compare(fc.conv2d_backward, y, X, w, **options)


@pytest.mark.parametrize("spread, mean, eps", [(1e30, 0, 1e-5), (1e37, 0, 1e-5), (1e-30, 0, 0.0), (1e-2, 1e2, 1e-9)])
@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4, 5)], ids=str)
def test_batch_norm_of_numbers_of_any_size(shape, spread, mean, eps):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * spread + mean).astype(np.float32)
    gamma, beta, dout = (rng.standard_normal(s).astype(np.float32) for s in (3, 3, shape))
    results = []
    for name in ("cuda", "numpy"):
        with fc.backend(name):
            y, cache = fc.batch_norm(x, gamma, beta, None, None, True, eps=eps)
            results.append((y, *fc.batch_norm_backward(dout, cache)))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
        assert np.isfinite(got).all() and expected.any()
