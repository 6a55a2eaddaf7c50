"""The compiled batch normalisation against the reference: every layout, remainders around the vector widths."""

import numpy as np
import pytest

from fastconv import get_num_threads, set_num_threads
from fastconv._problem import BatchNorm
from fastconv.kernels.batch_norm import ref
from fastconv.testing import DTYPES, normal

PLANES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 49, 64, 100, 4095, 4097, 9000]
SHAPES = [
    *((5, 3, P) for P in PLANES),
    *((N, C, 1) for N, C in ((2, 1), (4, 10), (127, 65), (129, 64), (300, 63), (1000, 5))),
    (2, 200, 1),
    (40, 70, 3),
    (1, 1, 2),
    (1, 2, 20000),
    (64, 1, 400),
    (200, 2, 49),
    (100, 17, 64),
]


def problem(shape, dtype, training=True):
    N, C, P = shape
    return BatchNorm(dtype=np.dtype(dtype), result_dtype=np.dtype(dtype), N=N, C=C, P=P, training=training)


def vectors(C, dtype):
    return [normal(C, dtype, i) for i in range(1, 4)], (normal(C, dtype, 4) ** 2 + 1).astype(dtype)


def nans(shape, dtype):
    return np.full(shape, np.nan, dtype)


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training(compiled, shape, dtype, threads):
    C = shape[1]
    x = (normal(shape, dtype) * 3 + 2).astype(dtype)
    (gamma, beta, running_mean), running_var = vectors(C, dtype)
    results = []
    for kernels in (compiled, ref):
        out, mean, inv_std = nans(shape, dtype), nans(C, dtype), nans(C, dtype)
        running = running_mean.copy(), running_var.copy()
        kernels.training(out, mean, inv_std, x, gamma, beta, *running, problem(shape, dtype))
        results.append((out, mean, inv_std, *running))
    eps = np.finfo(dtype).eps
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=40 * eps, atol=40 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 4), (0, 3, 1), (0, 3, 100)], ids=str)
def test_inference(compiled, shape, dtype):
    C = shape[1]
    (gamma, beta, mean), var = vectors(C, dtype)
    got, expected = nans(shape, dtype), nans(shape, dtype)
    for kernels, out in ((compiled, got), (ref, expected)):
        kernels.inference(out, normal(shape, dtype), gamma, beta, mean, var, problem(shape, dtype, False))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, expected, rtol=20 * eps, atol=20 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 4), (0, 3, 1), (0, 3, 100)], ids=str)
def test_backward(compiled, shape, training, dtype, threads):
    N, C, P = shape
    x, dout = (normal(shape, dtype, i) + 1 for i in (5, 6))
    (gamma, _, mean), inv_std = vectors(C, dtype)
    results = []
    for kernels in (compiled, ref):
        dx, dgamma, dbeta = nans(shape, dtype), nans(C, dtype), nans(C, dtype)
        with np.errstate(invalid="ignore"):
            kernels.backward(dx, dgamma, dbeta, dout, x, gamma, mean, inv_std, problem(shape, dtype, training))
        results.append((dx, dgamma, dbeta))
    # The reference itself adds up in dtype.
    eps = np.finfo(dtype).eps * (20 + np.sqrt(N * P))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=eps, atol=eps * (1 + np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("shape", [(100, 6, 64), (100, 6, 1), (3, 2, 9000)], ids=str)
@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("first_image", [0, -3])
def test_far_from_zero(compiled, shape, offset, first_image):
    """A large mean costs no accuracy of the statistics; a first image far from the others little."""
    x = normal(shape, np.float64) + offset
    x[0] += first_image * offset
    x = x.astype(np.float32)
    C = shape[1]
    out, mean, inv_std = nans(shape, np.float32), nans(C, np.float32), nans(C, np.float32)
    one, zero = np.ones(C, np.float32), np.zeros(C, np.float32)
    compiled.training(out, mean, inv_std, x, one, zero, None, None, problem(shape, np.float32))
    exact = x.astype(np.float64)
    rtol = 4e-6 if first_image else 1e-6
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2)), rtol=2e-7, atol=5e-7 * np.ptp(exact))
    np.testing.assert_allclose(inv_std, 1 / np.sqrt(exact.var(axis=(0, 2)) + 1e-5), rtol=rtol)


@pytest.mark.parametrize("P", [1, 20, 300])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_channel(compiled, value, P):
    shape = (40, 5, P)
    x = normal(shape, np.float32)
    x[3, 2, P // 2] = value
    one, zero = np.ones(5, np.float32), np.zeros(5, np.float32)
    results = []
    for kernels in (compiled, ref):
        out, mean, inv_std = nans(shape, np.float32), nans(5, np.float32), nans(5, np.float32)
        with np.errstate(invalid="ignore"):
            kernels.training(out, mean, inv_std, x, one, zero, None, None, problem(shape, np.float32))
        results.append((out, mean, inv_std))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_same_bits_every_time(compiled, threads):
    shape = (64, 3, 900)
    x = normal(shape, np.float32)
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)

    def run():
        out, mean, inv_std = nans(shape, np.float32), nans(3, np.float32), nans(3, np.float32)
        compiled.training(out, mean, inv_std, x, one, zero, None, None, problem(shape, np.float32))
        return out

    first = run()
    for _ in range(20):
        np.testing.assert_array_equal(run(), first)
