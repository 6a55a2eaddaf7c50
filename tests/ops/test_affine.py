"""Affine kernels against PyTorch, both weight layouts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal, tolerance

OPS = ("affine_forward", "affine_backward_data", "affine_backward_weights")


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("case", CASES["affine"], ids=str)
@pytest.mark.parametrize("kernel", kernels(*OPS), ids=str)
def test_against_torch(kernel, case, transposed, dtype):
    N, K, M = case.N, case.K, case.M
    x, w, b = normal((N, K), dtype), normal((M, K) if transposed else (K, M), dtype, 1), normal(M, dtype, 2)
    p, x, w, b = check.affine(x, w, b, None, transposed)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    ty = F.linear(tx, tw if transposed else tw.T, tb)
    dout = normal((N, M), dtype, 3)
    ty.backward(torch.tensor(dout, dtype=torch.float64))
    if kernel.op == "affine_forward":
        y = np.full((N, M), np.nan, dtype)
        kernel(y, x, w, b, p)
        assert_close(y, ty.detach().numpy(), tolerance(dtype, K))
    elif kernel.op == "affine_backward_data":
        dx = np.full((N, K), np.nan, dtype)
        kernel(dx, dout, w, p)
        assert_close(dx, tx.grad.numpy(), tolerance(dtype, M))
    else:
        dw, db = np.full(w.shape, np.nan, dtype), np.full(M, np.nan, dtype)
        kernel(dw, db, dout, x, p)
        assert_close(dw, tw.grad.numpy(), tolerance(dtype, N))
        assert_close(db, tb.grad.numpy(), tolerance(dtype, N))
        again = np.full(w.shape, np.nan, dtype)
        kernel(again, None, dout, x, p)
        np.testing.assert_array_equal(again, dw)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["affine"], ids=str)
@pytest.mark.parametrize("kernel", kernels("affine_forward"), ids=str)
def test_relu_without_bias(kernel, case, dtype):
    x, w = normal((case.N, case.K), dtype), normal((case.K, case.M), dtype, 1)
    p, x, w, _ = check.affine(x, w, None, "relu")
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    y = np.full((case.N, case.M), np.nan, dtype)
    kernel(y, x, w, None, p)
    exact = np.maximum(x.astype(np.float64) @ w.astype(np.float64), 0)
    tol = tolerance(dtype, case.K)
    np.testing.assert_allclose(y, exact, rtol=tol, atol=tol * case.K**0.5)


def test_the_books_flattening_and_single_rows():
    x, W, b = normal((4, 2, 3), np.float64), normal((6, 5), np.float64), normal(5, np.float64)
    np.testing.assert_allclose(fc.affine(x, W, b), x.reshape(4, 6) @ W + b)
    np.testing.assert_allclose(fc.affine(x.reshape(4, 6)[0], W, b), x.reshape(4, 6)[0] @ W + b)
    dout = normal((4, 5), np.float64)
    dx, dW, db = fc.affine_backward(dout, x, W)
    assert dx.shape == x.shape
    np.testing.assert_allclose(dx.reshape(4, 6), dout @ W.T)
    np.testing.assert_allclose(dW, x.reshape(4, 6).T @ dout)
    np.testing.assert_allclose(db, dout.sum(axis=0))
    row = fc.affine_backward(dout[0], x.reshape(4, 6)[0], W)
    assert row[0].shape == (6,)
    assert fc.affine_backward(dout, x, W, needs=(False,) * 3) == (None,) * 3


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_linear(leading):
    x, weight, bias = normal((*leading, 4), np.float64), normal((5, 4), np.float64), normal(5, np.float64)
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, weight, bias))
    ty = F.linear(tx, tw, tb)
    y = fc.linear(x, weight, bias)
    assert y.shape == tuple(ty.shape)
    assert_close(y, ty.detach().numpy(), 1e-12)
    dout = normal(y.shape, np.float64, 5)
    ty.backward(torch.tensor(dout))
    for got, leaf in zip(fc.linear_backward(dout, x, weight), (tx, tw, tb), strict=True):
        assert got.shape == tuple(leaf.shape)
        assert_close(got, leaf.grad.numpy(), 1e-12)
