"""Batch normalisation against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, ArrayCase, assert_close, kernels, normal, tolerance

OPS = ("batch_norm_training", "batch_norm_inference", "batch_norm_backward")


def setup(case, dtype, training):
    C = case.shape[1]
    x = normal(case.shape, dtype) * 3 + 1
    gamma, beta, mean = (normal(C, dtype, i) for i in (1, 2, 3))
    var = np.random.default_rng(4).random(C).astype(dtype) + dtype(0.5)
    return check.batch_norm(x, gamma, beta, mean, var, training)


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES["batch_norm"], ids=str)
@pytest.mark.parametrize("kernel", kernels(*OPS), ids=str)
def test_against_torch(kernel, case, training, dtype):
    p, x, gamma, beta, mean, var = setup(case, dtype, training)
    if (kernel.op == "batch_norm_training" and not training) or (kernel.op == "batch_norm_inference" and training):
        pytest.skip("the other kernel's mode")
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    tx, tg, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, gamma, beta))
    tm, tv = (torch.tensor(a, dtype=torch.float64) for a in (mean, var))
    ty = F.batch_norm(tx, tm, tv, tg, tb, training, p.momentum, p.eps)
    tol = tolerance(dtype, 4 * p.N * p.P)
    if kernel.op == "batch_norm_training":
        y = np.full(x.shape, np.nan, dtype)
        batch_mean, inv_std = np.full(p.C, np.nan, dtype), np.full(p.C, np.nan, dtype)
        kernel(y, batch_mean, inv_std, x, gamma, beta, mean, var, p)
        axes = (0, *range(2, x.ndim))
        assert_close(y, ty.detach().numpy(), tol)
        assert_close(mean, tm.numpy(), tol)
        assert_close(var, tv.numpy(), tol)
        assert_close(batch_mean, x.astype(np.float64).mean(axis=axes), tol)
        assert_close(inv_std, 1 / np.sqrt(x.astype(np.float64).var(axis=axes) + p.eps), tol)
        again = np.full(x.shape, np.nan, dtype)
        kernel(again, batch_mean, inv_std, x, gamma, beta, None, None, p)
        np.testing.assert_array_equal(again, y)
    elif kernel.op == "batch_norm_inference":
        y = np.full(x.shape, np.nan, dtype)
        kernel(y, x, gamma, beta, mean, var, p)
        assert_close(y, ty.detach().numpy(), tol)
    else:
        dout = normal(x.shape, dtype, 5)
        ty.backward(torch.tensor(dout, dtype=torch.float64))
        exact = x.astype(np.float64)
        axes = (0, *range(2, x.ndim))
        m = (exact.mean(axis=axes) if training else mean).astype(dtype)
        inv = (1 / np.sqrt((exact.var(axis=axes) if training else var) + p.eps)).astype(dtype)
        dx, dgamma, dbeta = np.full(x.shape, np.nan, dtype), np.full(p.C, np.nan, dtype), np.full(p.C, np.nan, dtype)
        kernel(dx, dgamma, dbeta, dout, x, gamma, m, inv, p)
        assert_close(dx, tx.grad.numpy(), tol)
        assert_close(dgamma, tg.grad.numpy(), 4 * tol)
        assert_close(dbeta, tb.grad.numpy(), 4 * tol)


@pytest.mark.parametrize("training", [True, False])
def test_public_function_as_pytorch(training):
    x = normal((3, 4, 5, 6), np.float64)
    mean, var = np.zeros(4), np.ones(4)
    tx = torch.tensor(x, requires_grad=True)
    tm, tv = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    ty = F.batch_norm(tx, tm, tv, None, None, training)
    y, cache = fc.batch_norm(x, None, None, mean, var, training)
    assert_close(y, ty.detach().numpy(), 1e-12)
    assert_close(mean, tm.numpy(), 1e-12)
    assert_close(var, tv.numpy(), 1e-12)
    dout = normal(y.shape, np.float64, 5)
    ty.backward(torch.tensor(dout))
    dx, dgamma, dbeta = fc.batch_norm_backward(dout, cache)
    assert dgamma is None and dbeta is None
    assert_close(dx, tx.grad.numpy(), 1e-12)


def test_running_statistics_of_any_layout_are_updated_in_place():
    x = normal((8, 3), np.float32)
    plain = np.zeros(3, np.float32), np.ones(3, np.float32)
    fc.batch_norm(x, None, None, *plain, True)
    strided = np.zeros(6)[::2], np.ones(6)[::2]
    fc.batch_norm(x, None, None, *strided, True)
    assert plain[0].any()
    for a, b in zip(strided, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    fc.batch_norm(x, None, None, None, None, True)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_variance_of_numbers_far_from_zero(offset):
    """One pass over x must not lose the variance to cancellation."""
    x = (normal(ArrayCase((64, 2, 8, 8)).shape, np.float64) + offset).astype(np.float32)
    y, _ = fc.batch_norm(x, None, None, None, None, True)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(
        exact.var(axis=(0, 2, 3), keepdims=True) + 1e-5
    )
    assert np.abs(y - expected).max() < (1e-5 if offset == 0 else 2e-3)


BACKENDS = [name for name, reason in fc.backends().items() if not reason and name != "cuda"]
SCALES = [
    # spread, mean, eps
    (1e30, 0, 1e-5),
    (1e37, 0, 1e-5),
    (1e19, 1e19, 1e-5),
    (1e-30, 0, 1e-5),
    (1e-30, 0, 0.0),
    (1e-20, 1e-20, 0.0),
    (1e-3, 1e3, 1e-5),
    (1e-2, 1e2, 1e-9),
]


@pytest.mark.parametrize("spread, mean, eps", SCALES, ids=str)
@pytest.mark.parametrize("shape", [(300, 5), (8, 5, 3, 3), (4, 6, 9, 9), (2, 3, 80, 80)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_of_any_size(backend, shape, spread, mean, eps):
    """Variances and sums that float32 cannot hold: the formulas in double decide, with the mean as it is kept."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * spread + mean).astype(np.float32)
    dout = rng.standard_normal(shape).astype(np.float32)
    gamma, beta = (rng.standard_normal(shape[1]).astype(np.float32) for _ in range(2))
    with fc.backend(backend):
        y, cache = fc.batch_norm(x, gamma, beta, None, None, True, eps=eps)
        dx, dgamma, dbeta = fc.batch_norm_backward(dout, cache)
    axes, per_channel = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    exact, count = x.astype(float), x.size / shape[1]
    deviation = exact - exact.mean(axis=axes, keepdims=True)
    inv = 1 / np.sqrt((deviation**2).mean(axis=axes, keepdims=True) + eps)
    scale = gamma.reshape(per_channel) * inv
    close(y, scale * deviation + beta.reshape(per_channel))
    x_hat = (exact - np.asarray(cache.mean, float).reshape(per_channel)) * inv
    sums = dout.sum(axis=axes, dtype=float), (dout * x_hat).sum(axis=axes)
    close(dbeta, sums[0])
    close(dgamma, sums[1])
    close(dx, scale * (dout - (sums[0].reshape(per_channel) + x_hat * sums[1].reshape(per_channel)) / count))


def close(got, expected):
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_variance_beyond_the_doubles(backend):
    """It is infinite then, and the result beta: as in PyTorch."""
    for shape in ((20, 3), (300, 3), (4, 3, 9, 9)):
        x = np.random.default_rng(0).standard_normal(shape) * 1e200
        with fc.backend(backend), np.errstate(over="ignore"):
            y, cache = fc.batch_norm(x, None, np.full(3, 7.0), None, None, True)
            dx, _, _ = fc.batch_norm_backward(np.ones(shape), cache)
        assert (y == 7).all() and not dx.any()


@pytest.mark.parametrize("momentum", [-1, -0.25, 0, 1.5, 7, float("nan")])
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_momentum(backend, momentum):
    x = normal((6, 3, 4, 4), np.float64)
    ours, theirs = [np.zeros(3), np.ones(3)], [torch.zeros(3).double(), torch.ones(3).double()]
    with fc.backend(backend):
        y, _ = fc.batch_norm(x, None, None, *ours, True, momentum)
    expected = F.batch_norm(torch.tensor(x), *theirs, None, None, True, momentum)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-10, atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", ["cython", pytest.param("numba", marks=pytest.mark.numba), "numpy"])
def test_training_on_an_empty_batch(backend):
    mean, var = np.full(3, 2.0), np.full(3, 4.0)
    with fc.backend(backend), np.errstate(all="raise"):
        y, cache = fc.batch_norm(np.zeros((0, 3)), np.ones(3), np.ones(3), mean, var, True)
        dx, dgamma, dbeta = fc.batch_norm_backward(y, cache)
    assert y.shape == dx.shape == (0, 3)
    for a, expected in ((mean, 2), (var, 4), (dgamma, 0), (dbeta, 0), (cache.mean, 0), (cache.inv_std, 0)):
        np.testing.assert_array_equal(a, np.full(3, expected))
