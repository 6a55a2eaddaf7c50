"""Activations against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh")
TORCH = {"relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "sigmoid": torch.sigmoid, "tanh": torch.tanh}
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 100.0, -100.0, 1000.0, -1000.0, 88.0, -88.0, 1e38, -1e38]


def slope(name):
    return 0.2 if name == "leaky_relu" else 0.0


def tol(dtype):
    return 4 * float(np.finfo(dtype).eps)


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["elementwise"], ids=str)
@pytest.mark.parametrize("kernel", kernels(*(f"{n}_forward" for n in NAMES)), ids=lambda k: f"{k.op}-{k}")
def test_forward(kernel, case, dtype):
    name = kernel.op.removesuffix("_forward")
    p, x = check.elementwise(normal(case.shape, dtype) * 4, slope(name))
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    y = np.full(x.shape, np.nan, dtype)
    kernel(y, x, p)
    assert_close(y, TORCH[name](torch.tensor(x, dtype=torch.float64)).numpy(), tol(dtype))


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["elementwise"], ids=str)
@pytest.mark.parametrize("kernel", kernels(*(f"{n}_backward" for n in NAMES)), ids=lambda k: f"{k.op}-{k}")
def test_backward(kernel, case, dtype):
    name = kernel.op.removesuffix("_backward")
    x, dout = normal(case.shape, dtype), normal(case.shape, dtype, 1)
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ty = TORCH[name](tx)
    ty.backward(torch.tensor(dout, dtype=torch.float64))
    saved = ty.detach().numpy().astype(dtype) if name in ("sigmoid", "tanh") else x
    p, dout, saved = check.elementwise_backward(dout, saved, "x", slope(name))
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    dx = np.full(x.shape, np.nan, dtype)
    kernel(dx, dout, saved, p)
    # 1 - y and 1 - y^2 from a rounded y lose up to a few units of y's last place
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=tol(dtype), atol=8 * float(np.finfo(dtype).eps) * 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", kernels(*(f"{n}_forward" for n in NAMES)), ids=lambda k: f"{k.op}-{k}")
def test_special_values(kernel, dtype):
    name = kernel.op.removesuffix("_forward")
    with np.errstate(over="ignore"):
        p, x = check.elementwise(np.array(SPECIAL * 3, dtype), slope(name))
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    y = np.full(x.shape, 7, dtype)
    kernel(y, x, p)
    np.testing.assert_allclose(y, TORCH[name](torch.tensor(x)).numpy(), rtol=1e-6, atol=float(np.finfo(dtype).tiny))


def test_relu_gradient_lets_nan_pass_and_stops_at_zero():
    dout = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(fc.relu_backward(dout, np.array([-1.0, 0.0, 1.0, np.nan])), [0, 0, 3, 4])


def test_the_result_serves_as_well_as_the_input():
    x, dout = normal((5, 7), np.float64), normal((5, 7), np.float64, 1)
    np.testing.assert_array_equal(fc.relu_backward(dout, fc.relu(x)), fc.relu_backward(dout, x))
