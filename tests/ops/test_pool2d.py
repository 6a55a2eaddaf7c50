"""Pooling kernels against PyTorch, and the public functions around them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal, tolerance, whole

SYMMETRIC = [c for c in CASES["pool2d"] if not (isinstance(c.padding, tuple) and isinstance(c.padding[0], tuple))]
AVERAGED = [c for c in SYMMETRIC if c.dilation == 1]


def images(case, dtype):
    return normal((case.N, case.C, case.H, case.W), dtype)


def or_skip(kernel, p):
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))


def max_problem(case, dtype):
    return check.max_pool2d(images(case, dtype), case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode)


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SYMMETRIC, ids=str)
@pytest.mark.parametrize("kernel", kernels("max_pool2d_forward"), ids=str)
def test_max_forward(kernel, case, dtype):
    p, x = max_problem(case, dtype)
    or_skip(kernel, p)
    y, indices = np.full(p.out_shape, np.nan, dtype), np.full(p.out_shape, -7)
    kernel(y, indices, x, p)
    expected, positions = F.max_pool2d(
        torch.tensor(x), case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode, return_indices=True
    )
    np.testing.assert_array_equal(y, expected.numpy())
    np.testing.assert_array_equal(indices, positions.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["pool2d"], ids=str)
@pytest.mark.parametrize("kernel", kernels("max_pool2d_forward"), ids=str)
def test_max_forward_ties_nan_and_infinity(kernel, case, dtype):
    """Whole numbers tie often; NaN and -inf are scattered among them. The reference decides."""
    x = whole((case.N, case.C, case.H, case.W), dtype, low=-1, high=1)
    spots = np.random.default_rng(1).random(x.shape)
    x[spots < 0.05], x[spots > 0.9] = np.nan, -np.inf
    p, x = check.max_pool2d(x, case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode)
    or_skip(kernel, p)
    y, indices = np.full(p.out_shape, 5, dtype), np.full(p.out_shape, -7)
    kernel(y, indices, x, p)
    reference = list(kernels("max_pool2d_forward"))[-1]
    expected, positions = np.empty_like(y), np.empty_like(indices)
    reference(expected, positions, x, p)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, positions)


def test_max_of_nan_and_minus_infinity_as_pytorch():
    x = np.array([[[[1, np.nan, -np.inf, -np.inf], [2, 3, -np.inf, -np.inf]]]], np.float32)
    expected, positions = F.max_pool2d(torch.tensor(x), 2, return_indices=True)
    y, indices = fc.max_pool2d(x, 2)
    np.testing.assert_array_equal(y, expected.numpy())
    np.testing.assert_array_equal(indices, positions.numpy())


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SYMMETRIC, ids=str)
@pytest.mark.parametrize("kernel", kernels("max_pool2d_backward"), ids=str)
def test_max_backward(kernel, case, dtype):
    p, x = max_problem(case, dtype)
    or_skip(kernel, p)
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ty, positions = F.max_pool2d(
        tx, case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode, return_indices=True
    )
    dout = normal(p.out_shape, dtype, 3)
    ty.backward(torch.tensor(dout, dtype=torch.float64))
    dx = np.full(p.x_shape, np.nan, dtype)
    kernel(dx, dout, positions.numpy(), p)
    assert_close(dx, tx.grad.numpy(), tolerance(dtype, 9))


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize("case", AVERAGED, ids=str)
@pytest.mark.parametrize("kernel", kernels("avg_pool2d_forward", "avg_pool2d_backward"), ids=str)
def test_average(kernel, case, divisor, include, dtype):
    options = (case.kernel, case.stride, case.padding, case.ceil_mode, include, divisor)
    p, x = check.avg_pool2d(images(case, dtype), *options)
    or_skip(kernel, p)
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ty = F.avg_pool2d(tx, *options)
    if kernel.op == "avg_pool2d_forward":
        y = np.full(p.out_shape, np.nan, dtype)
        kernel(y, x, p)
        assert_close(y, ty.detach().numpy(), tolerance(dtype, p.FH * p.FW))
    else:
        dout = normal(p.out_shape, dtype, 3)
        ty.backward(torch.tensor(dout, dtype=torch.float64))
        dx = np.full(p.x_shape, np.nan, dtype)
        kernel(dx, dout, p)
        assert_close(dx, tx.grad.numpy(), tolerance(dtype, p.FH * p.FW))


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["adaptive_pool2d"], ids=str)
@pytest.mark.parametrize("kernel", kernels("adaptive_avg_pool2d_forward", "adaptive_avg_pool2d_backward"), ids=str)
def test_adaptive(kernel, case, dtype):
    p, x = check.adaptive_avg_pool2d(images(case, dtype), case.kernel)
    or_skip(kernel, p)
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ty = F.adaptive_avg_pool2d(tx, case.kernel)
    if kernel.op == "adaptive_avg_pool2d_forward":
        y = np.full(p.out_shape, np.nan, dtype)
        kernel(y, x, p)
        assert_close(y, ty.detach().numpy(), tolerance(dtype, p.H * p.W))
    else:
        dout = normal(p.out_shape, dtype, 3)
        ty.backward(torch.tensor(dout, dtype=torch.float64))
        dx = np.full((p.N, p.C, p.H, p.W), np.nan, dtype)
        kernel(dx, dout, p)
        assert_close(dx, tx.grad.numpy(), tolerance(dtype, p.H * p.W))


def expected_stochastic(x, u, case):
    """The definition, window by window: (values, positions, expectation)."""
    N, C, OH, OW = u.shape
    sh, sw = (case.stride or case.kernel,) * 2
    y, indices, mean = np.empty(u.shape), np.empty(u.shape, np.int64), np.empty(u.shape)
    for n, c, i, j in np.ndindex(N, C, OH, OW):
        rows = [r for r in range(i * sh - case.padding, i * sh - case.padding + case.kernel) if 0 <= r < case.H]
        columns = [k for k in range(j * sw - case.padding, j * sw - case.padding + case.kernel) if 0 <= k < case.W]
        at = [(r, k) for r in rows for k in columns]
        values = np.array([x[n, c, r, k] for r, k in at])
        weights = np.maximum(values, 0)
        weights = weights if weights.sum() > 0 else np.ones_like(weights)
        chosen = int(np.argmax(weights.cumsum() > u[n, c, i, j] * weights.sum()))
        y[n, c, i, j], indices[n, c, i, j] = values[chosen], at[chosen][0] * case.W + at[chosen][1]
        mean[n, c, i, j] = (weights * values).sum() / weights.sum()
    return y, indices, mean


STOCHASTIC = [c for c in CASES["pool2d"] if isinstance(c.kernel, int) and c.dilation == 1 and not c.ceil_mode
              and isinstance(c.padding, int)]  # fmt: skip


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", STOCHASTIC, ids=str)
@pytest.mark.parametrize("kernel", kernels("stochastic_pool2d_forward", "stochastic_pool2d_inference"), ids=str)
def test_stochastic(kernel, case, dtype):
    x = whole((case.N, case.C, case.H, case.W), dtype, low=-2, high=3)
    p, x = check.stochastic_pool2d(x, case.kernel, case.stride, case.padding)
    or_skip(kernel, p)
    u = np.random.default_rng(2).random(p.out_shape, dtype)
    expected, positions, mean = expected_stochastic(x, u, case)
    y, indices = np.full(p.out_shape, np.nan, dtype), np.full(p.out_shape, -7)
    if kernel.op == "stochastic_pool2d_forward":
        kernel(y, indices, x, u, p)
        np.testing.assert_array_equal(indices, positions)
        np.testing.assert_array_equal(y, expected)
        taken = torch.tensor(x).flatten(2).gather(2, torch.tensor(indices).flatten(2))
        np.testing.assert_array_equal(y, taken.reshape(y.shape).numpy())
    else:
        kernel(y, x, p)
        assert_close(y, mean, tolerance(dtype, 9))


def test_stochastic_draws_in_proportion():
    x = np.tile(np.array([[1.0, 2.0], [3.0, -4.0]]), (100, 100))[None, None]
    y, indices = fc.stochastic_pool2d(x, 2, rng=0)
    values, counts = np.unique(y, return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 3])
    np.testing.assert_allclose(counts / y.size, [1 / 6, 2 / 6, 3 / 6], atol=0.02)
    again, _ = fc.stochastic_pool2d(x, 2, rng=0)
    np.testing.assert_array_equal(again, y)
    mean, none = fc.stochastic_pool2d(x, 2, training=False)
    assert none is None
    np.testing.assert_allclose(mean, (1 + 4 + 9) / 6)
    dx = fc.stochastic_pool2d_backward(np.ones_like(y), indices, x.shape, 2)
    assert dx.sum() == y.size
    assert sorted(x[dx == 1]) == sorted(y.ravel())


def test_min_is_max_of_the_negative():
    x = normal((2, 3, 9, 9), np.float64)
    y, indices = fc.min_pool2d(x, 3, 2, 1)
    expected, positions = fc.max_pool2d(-x, 3, 2, 1)
    np.testing.assert_array_equal(y, -expected)
    np.testing.assert_array_equal(indices, positions)
    dout = normal(y.shape, np.float64)
    np.testing.assert_array_equal(
        fc.min_pool2d_backward(dout, indices, x.shape, 3, 2, 1), fc.max_pool2d_backward(dout, indices, x.shape, 3, 2, 1)
    )


def test_global_average():
    x = normal((2, 3, 5, 7), np.float64)
    y = fc.global_avg_pool2d(x)
    assert y.shape == (2, 3, 1, 1)
    np.testing.assert_allclose(y, x.mean(axis=(2, 3), keepdims=True))
    dx = fc.global_avg_pool2d_backward(y, x.shape)
    np.testing.assert_allclose(dx, np.broadcast_to(y / 35, x.shape))


def test_the_books_example():
    x = np.array([[21, 8, 8, 12], [12, 19, 9, 7], [8, 10, 4, 3], [18, 12, 9, 10]], float)[None, None]
    np.testing.assert_array_equal(fc.max_pool2d(x, 2)[0][0, 0], [[21, 12], [18, 10]])


def test_unbatched():
    x = normal((3, 8, 8), np.float64)
    y, indices = fc.max_pool2d(x, 2)
    assert y.shape == indices.shape == (3, 4, 4)
    assert fc.max_pool2d_backward(y, indices, x.shape, 2).shape == x.shape
    assert fc.avg_pool2d(x, 2).shape == (3, 4, 4)
    assert fc.avg_pool2d_backward(y, x.shape, 2).shape == x.shape
    assert fc.adaptive_avg_pool2d_backward(fc.adaptive_avg_pool2d(x, 2), x.shape).shape == x.shape
