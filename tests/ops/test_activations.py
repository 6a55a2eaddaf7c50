"""Activations against PyTorch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu", "gelu_tanh")
TORCH = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu6": F.relu6,
    # the gradient of PyTorch's own hardsigmoid has 1/6 in float32 alone
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
    "hard_swish": F.hardswish,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
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
@pytest.mark.parametrize("kernel", kernels("relu_masked_forward"), ids=str)
def test_relu_masked_forward(kernel, case, dtype):
    given = normal(case.shape, dtype)
    given.reshape(-1)[: len(SPECIAL)] = np.array(SPECIAL, dtype)[: given.size]
    p, x = check.elementwise(given)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    y, bits = np.full(x.shape, 7, dtype), np.full((x.size + 7) // 8, 0xAA, np.uint8)
    kernel(y, bits, x, p)
    np.testing.assert_array_equal(y, F.relu(torch.tensor(x)).numpy())
    np.testing.assert_array_equal(bits, np.packbits((x <= 0).reshape(-1), bitorder="little"))


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["elementwise"], ids=str)
@pytest.mark.parametrize("kernel", kernels("relu_masked_backward"), ids=str)
def test_relu_masked_backward(kernel, case, dtype):
    x, dout = normal(case.shape, dtype), normal(case.shape, dtype, 1)
    dout.reshape(-1)[: len(SPECIAL)] = np.array(SPECIAL, dtype)[: dout.size]
    bits = np.packbits((x <= 0).reshape(-1), bitorder="little")
    tx = torch.tensor(x, requires_grad=True)
    F.relu(tx).backward(torch.tensor(dout))
    p, dout = check.relu_masked_backward(dout, bits, x.shape)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    dx = np.full(x.shape, 7, dtype)
    kernel(dx, dout, bits, p)
    np.testing.assert_array_equal(dx, tx.grad.numpy())


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
    with np.errstate(over="ignore"):  # PyTorch's overflow in float32 before ours do
        expected = TORCH[name](torch.tensor(x, dtype=torch.float64)).numpy().astype(dtype)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=float(np.finfo(dtype).tiny))


def test_relu_gradient_lets_nan_pass_and_stops_at_zero():
    dout = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(fc.relu_backward(dout, np.array([-1.0, 0.0, 1.0, np.nan])), [0, 0, 3, 4])


def test_the_result_serves_as_well_as_the_input():
    x, dout = normal((5, 7), np.float64), normal((5, 7), np.float64, 1)
    np.testing.assert_array_equal(fc.relu_backward(dout, fc.relu(x)), fc.relu_backward(dout, x))


def test_relu6_gradient_from_the_result_is_the_same():
    x, dout = 5 * normal((5, 7), np.float64), normal((5, 7), np.float64, 1)
    np.testing.assert_array_equal(fc.relu6_backward(dout, fc.relu6(x)), fc.relu6_backward(dout, x))


def test_gradients_at_the_corners():
    x = np.array([-3.0, 3.0, 0.0, 6.0, np.nan])
    one = np.ones(5)
    np.testing.assert_array_equal(fc.relu6_backward(one, x), [0, 1, 0, 0, 1])
    np.testing.assert_array_equal(fc.hard_sigmoid_backward(one, x), [0, 0, 1 / 6, 0, 1 / 6])
    np.testing.assert_array_equal(fc.hard_swish_backward(one, x), [0, 1, 0.5, 1, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_by_tanh_has_finite_gradients_everywhere(dtype):
    x = np.array([-np.finfo(dtype).max, -1e30, -50, 50, 1e30, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(fc.gelu_backward(np.ones_like(x), x, "tanh"), [0, 0, 0, 1, 1, 1])


def test_the_option_of_gelu_is_never_mistaken():
    x = normal((40,), np.float64)
    for _ in range(3):  # the first call is remembered
        np.testing.assert_allclose(fc.gelu(x), F.gelu(torch.tensor(x)).numpy(), atol=1e-14)
        by_tanh = F.gelu(torch.tensor(x), approximate="tanh").numpy()
        np.testing.assert_allclose(fc.gelu(x, "tanh"), by_tanh, atol=1e-14)
        np.testing.assert_allclose(fc.gelu(x, approximate="tanh"), by_tanh, atol=1e-14)
    with pytest.raises(ValueError, match="approximate: expected 'none' or 'tanh', got 'erf'"):
        fc.gelu(x, "erf")
    with pytest.raises(ValueError, match="approximate"):
        fc.gelu_backward(x, x, None)


@pytest.mark.parametrize("name", NAMES)
def test_results_in_out(name):
    if name == "gelu_tanh":
        pytest.skip("is gelu's option")
    f, x = getattr(fc, name), normal((3, 4, 5), np.float32) * 4
    expected, kept = f(x), x.copy()
    out = np.empty_like(x)
    assert f(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    wide = np.full((3, 9, 5), 7, np.float32)
    f(x, out=wide[:, 2:6])
    np.testing.assert_array_equal(wide[:, 2:6], expected)
    assert (wide[:, :2] == 7).all() and (wide[:, 6:] == 7).all()
    double = np.empty(x.shape)
    np.testing.assert_array_equal(f(x, out=double), expected)
    np.testing.assert_array_equal(x, kept)
    assert f(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


def test_out_overlapping_its_input_is_right():
    line = normal((100,), np.float64)
    expected = fc.sigmoid(line[:-1])
    np.testing.assert_array_equal(fc.sigmoid(line[:-1], out=line[1:]), expected)
    line = normal((100,), np.float64)
    expected = fc.leaky_relu(line[::-1])
    np.testing.assert_array_equal(fc.leaky_relu(line[::-1], out=line), expected)


def test_out_that_cannot_hold_the_result():
    x = normal((3, 4), np.float32)
    for out, error in ((np.empty((4, 3)), ValueError), (np.empty((3, 4), int), TypeError), ([0], TypeError)):
        with pytest.raises(error, match="out: "):
            fc.silu(x, out=out)
    frozen = np.empty((3, 4))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writeable array"):
        fc.relu(x, out=frozen)


@pytest.mark.parametrize("activation", [None, *NAMES])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", kernels("add_activation"), ids=str)
@pytest.mark.against_torch
def test_add_activation(kernel, dtype, activation):
    for count in (0, 1, 17, 70000):
        x, y = normal((count,), dtype), normal((count,), dtype, 1)
        p = replace(check.elementwise(x, slope(activation))[0], activation=activation)
        if kernel.refuses(p):
            pytest.skip(kernel.refuses(p))
        expected = TORCH.get(activation, lambda a: a)(torch.tensor(x + y, dtype=torch.float64)).numpy()
        out = np.full_like(x, np.nan)
        kernel(out, x, y, p)
        assert_close(out, expected, tol(dtype))
        first, second = x.copy(), y.copy()
        kernel(first, first, y, p)  # in the place of either
        kernel(second, x, second, p)
        np.testing.assert_array_equal(first, out)
        np.testing.assert_array_equal(second, out)
