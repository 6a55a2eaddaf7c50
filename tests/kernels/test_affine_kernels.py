"""Compiled matrix products against the reference: every road of gemm.h, every remainder, exactly on whole numbers."""

import itertools

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import DTYPES, assert_close, normal, tolerance, whole

AROUND_VECTORS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 28, 29, 31, 32, 33, 49, 65)


def sizes():
    """(N, K, M): all roads (a few rows, a few terms, blocks), then blocks of K, strides that share cache sets, splits."""
    rng = np.random.default_rng(0)
    for first, second in itertools.product(AROUND_VECTORS, (0, 1, 2)):
        others = rng.choice(AROUND_VECTORS, 2)
        yield tuple(np.insert(others, second, first).tolist())
    yield from ((0, 3, 4), (3, 0, 4), (3, 4, 0), (20, 0, 33))
    yield from ((100, 4320, 100), (40, 1024, 50), (256, 512, 70), (7, 300, 1001), (8, 2049, 70), (257, 1030, 65))
    yield from ((1, 4320, 100), (3, 1000, 2), (600, 64, 300), (300, 2, 300))
    yield from ((100, 200, 333), (33, 64, 512), (20, 67, 40), (40, 1024, 70))  # B copied by tiles, tiles of A together


SIZES = list(sizes())


def compiled_and_reference(fast, function, *args, **kwargs):
    results = []
    for backend in (fast, "numpy"):
        with fc.backend(backend):
            results.append(function(*args, **kwargs))
    return results


@pytest.fixture(params=[1, 2, 3], ids="{}-threads".format)
def threads(request):
    before = fc.get_num_threads()
    fc.set_num_threads(request.param)
    yield request.param
    fc.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_forward(fast, dtype, activation, threads):
    for N, K, M in SIZES:
        x, w, b = whole((N, K), dtype), whole((K, M), dtype, 1), whole(M, dtype, 2)
        ours, reference = compiled_and_reference(fast, fc.affine, x, w, b, activation=activation)
        np.testing.assert_array_equal(ours, reference, str((N, K, M)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
def test_forward_of_transposed_weights(fast, dtype, bias, threads):
    for N, K, M in SIZES:
        x, w, b = whole((N, K), dtype), whole((M, K), dtype, 1), whole(M, dtype, 2) if bias else None
        ours, reference = compiled_and_reference(fast, fc.linear, x, w, b)
        np.testing.assert_array_equal(ours, reference, str((N, K, M)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_backward(fast, dtype, transposed, threads):
    function = fc.linear_backward if transposed else fc.affine_backward
    for N, K, M in SIZES:
        x, w, dout = whole((N, K), dtype), whole((M, K) if transposed else (K, M), dtype, 1), whole((N, M), dtype, 2)
        for ours, reference in zip(*compiled_and_reference(fast, function, dout, x, w), strict=True):
            np.testing.assert_array_equal(ours, reference, str((N, K, M)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_error_of_long_sums(fast, dtype):
    x, w, dout = normal((50, 20000), dtype), normal((20000, 3), dtype, 1), normal((50, 3), dtype, 2)
    with fc.backend(fast):
        assert_close(fc.affine(x, w), x.astype(np.float64) @ w, tolerance(dtype, 20000))
        dw = fc.affine_backward(x, dout, normal((3, 20000), dtype))[1]
        assert_close(dw, dout.T.astype(np.float64) @ x, tolerance(dtype, 50))
        ones = np.ones((100_000, 3), dtype)
        np.testing.assert_array_equal(fc.affine_backward(ones, ones, np.ones((3, 3), dtype))[2], 100_000)


@pytest.mark.parametrize("shape", [(4, 700, 90), (30, 700, 90), (300, 5, 90), (64, 4096, 64)], ids=str)
def test_same_bits_every_time(fast, shape, threads):
    N, K, M = shape
    x, w, dout = normal((N, K), np.float32), normal((K, M), np.float32, 1), normal((N, M), np.float32, 2)
    with fc.backend(fast):
        first, *others = ([fc.affine(x, w), *fc.affine_backward(dout, x, w)] for _ in range(6))
    for results in others:
        for ours, before in zip(results, first, strict=True):
            np.testing.assert_array_equal(ours, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 20, 33), (40, 20, 33), (40, 3, 5)], ids=str)
def test_nan_and_infinity(fast, shape, dtype):
    """They reach the row and the column that they belong to, through ReLU too, and no other."""
    N, K, M = shape
    x, w = whole((N, K), dtype), np.ones((K, M), dtype)
    x[1, 2], x[2, 1] = np.nan, np.inf
    for function, weights in ((fc.affine, w), (fc.linear, np.ascontiguousarray(w.T))):
        ours, reference = compiled_and_reference(fast, function, x, weights)
        np.testing.assert_array_equal(ours, reference)
    ours, reference = compiled_and_reference(fast, fc.affine, x, w, activation="relu")
    np.testing.assert_array_equal(ours, reference)
    assert np.isnan(ours[1]).all() and np.isfinite(np.delete(ours, [1, 2], axis=0)).all()
