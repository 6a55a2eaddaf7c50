"""Softmax, log-softmax and cross entropy against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal, tolerance

TORCH = {"softmax": F.softmax, "log_softmax": F.log_softmax}


def axes(shape):
    return sorted({-1, 0, len(shape) // 2}) if 0 not in shape else [-1]


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["softmax"], ids=str)
@pytest.mark.parametrize("kernel", kernels("softmax_forward", "log_softmax_forward"), ids=lambda k: f"{k.op}-{k}")
def test_forward(kernel, case, dtype):
    for axis in axes(case.shape):
        p, x = check.softmax(normal(case.shape, dtype) * 3, axis)
        if kernel.refuses(p):
            pytest.skip(kernel.refuses(p))
        y = np.full(x.shape, np.nan, dtype)
        kernel(y, x, p)
        expected = TORCH[kernel.op.removesuffix("_forward")](torch.tensor(x, dtype=torch.float64), axis)
        assert_close(y, expected.numpy(), tolerance(dtype, 4))


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["softmax"], ids=str)
@pytest.mark.parametrize("kernel", kernels("softmax_backward", "log_softmax_backward"), ids=lambda k: f"{k.op}-{k}")
def test_backward(kernel, case, dtype):
    for axis in axes(case.shape):
        x, dout = normal(case.shape, dtype), normal(case.shape, dtype, 1)
        tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        ty = TORCH[kernel.op.removesuffix("_backward")](tx, axis)
        ty.backward(torch.tensor(dout, dtype=torch.float64))
        p, dout, y = check.softmax_backward(dout, ty.detach().numpy().astype(dtype), axis)
        if kernel.refuses(p):
            pytest.skip(kernel.refuses(p))
        dx = np.full(x.shape, np.nan, dtype)
        kernel(dx, dout, y, p)
        np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=tolerance(dtype, 64), atol=tolerance(dtype, 64))


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("case", CASES["cross_entropy"], ids=str)
@pytest.mark.parametrize(
    "kernel", kernels("cross_entropy_forward", "cross_entropy_backward"), ids=lambda k: f"{k.op}-{k}"
)
def test_cross_entropy(kernel, case, soft, dtype):
    N, C = case.shape
    x = normal(case.shape, dtype) * 5
    rng = np.random.default_rng(1)
    t = rng.random((N, C)).astype(dtype) if soft else rng.integers(0, C, N)
    p, x, t = check.softmax_cross_entropy(x, t)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    loss = F.cross_entropy(tx, torch.tensor(t, dtype=torch.float64 if soft else torch.int64))
    loss.backward()
    y = F.softmax(tx, 1).detach().numpy()
    if kernel.op == "cross_entropy_forward":
        out = np.full(x.shape, np.nan, dtype)
        got = kernel(out, x, t, p)
        np.testing.assert_allclose(got, loss.item(), rtol=tolerance(dtype, 16), atol=tolerance(dtype, 16))
        np.testing.assert_allclose(out, y, rtol=tolerance(dtype, 16), atol=1e-30)
    else:
        dx = np.full(x.shape, np.nan, dtype)
        kernel(dx, y.astype(dtype), t, p)
        np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=tolerance(dtype, 16), atol=tolerance(dtype, 16) * C / N)


def test_known_values():
    np.testing.assert_allclose(
        fc.softmax([1010, 1000, 990]), [9.99954600e-01, 4.53978686e-05, 2.06106005e-09], rtol=1e-8
    )
    np.testing.assert_allclose(
        fc.softmax([0.4, 2.0, 0.001, 0.32]), [0.13250053, 0.65627943, 0.08890663, 0.12231341], rtol=1e-6
    )


def test_one_hot_equals_labels_and_single_rows():
    x, t = normal((6, 4), np.float64), np.array([0, 1, 2, 3, 0, 1])
    loss, y = fc.softmax_cross_entropy(x, t)
    hot_loss, hot_y = fc.softmax_cross_entropy(x, np.eye(4)[t])
    np.testing.assert_allclose(hot_loss, loss, rtol=1e-14)
    np.testing.assert_array_equal(hot_y, y)
    np.testing.assert_allclose(
        fc.softmax_cross_entropy_backward(y, np.eye(4)[t]), fc.softmax_cross_entropy_backward(y, t), atol=1e-16
    )
    single, row = fc.softmax_cross_entropy(x[0], 0)
    assert row.shape == (4,)
    np.testing.assert_allclose(single, -np.log(row[0]))


def test_no_logarithm_of_zero():
    loss, _ = fc.softmax_cross_entropy(np.array([[1000.0, 0.0]], np.float32), np.array([1]))
    assert loss == 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", kernels("cross_entropy_forward"), ids=str)
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_with_an_offset(kernel, soft, dtype):
    x, t = normal((6, 5), dtype) * 4, np.array([0, 4, 2, 2, 1, 3])
    x[0, 0] = -300  # a probability of 0: the loss is the logarithm of the offset
    targets = np.eye(5, dtype=dtype)[t] if soft else t
    p, x, targets = check.softmax_cross_entropy(x, targets, "x", 1e-7)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    y = np.full(x.shape, np.nan, dtype)
    loss = float(kernel(y, x, targets, p))
    exact = torch.softmax(torch.tensor(x, dtype=torch.float64), 1).numpy()[np.arange(6), t]
    np.testing.assert_allclose(loss, -np.log(exact + 1e-7).mean(), rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert fc.softmax_cross_entropy(x, targets, offset=1e-7)[0] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("offset", [-1.0, "a", None])
def test_a_wrong_offset(offset):
    with pytest.raises((ValueError, TypeError), match="offset"):
        fc.softmax_cross_entropy(np.ones((2, 3)), np.array([0, 1]), offset=offset)
