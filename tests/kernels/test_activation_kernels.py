"""Compiled activations: every size of tail, special values, accuracy, and PyTorch."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fastconv.kernels._cpu import engine
from fastconv.kernels.activations import ref

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu", "gelu_tanh")
DTYPES = (np.float32, np.float64)
SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000)
FROM_OUTPUT = ("sigmoid", "tanh")  # their gradients take y
TORCH = {
    "relu": torch.relu,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.2),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu6": torch.nn.functional.relu6,
    # the gradient of PyTorch's own hardsigmoid has 1/6 in float32 alone
    "hard_sigmoid": lambda x: torch.nn.functional.relu6(x + 3) / 6,
    "hard_swish": torch.nn.functional.hardswish,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
}

# The largest errors that are promised, in units of the last place. Without FMA the rounding errors of a quotient
# cannot be made good.
ULPS = 2.5 if engine.isa() == "baseline" else 2.0


def problem(dtype):
    return SimpleNamespace(dtype=np.dtype(dtype), negative_slope=0.2)


def forward(module, name, x):
    out = np.full_like(x, 99)
    getattr(module, f"{name}_forward")(out, x, problem(x.dtype))
    return out


def backward(module, name, dout, x):
    dx = np.full_like(x, 99)
    getattr(module, f"{name}_backward")(dx, dout, x, problem(x.dtype))
    return dx


def ulps(got, exact):
    """The largest error in units of the last place of the exact result, rounded to got's type."""
    unit = np.spacing(np.maximum(np.abs(exact.astype(got.dtype)), np.finfo(got.dtype).tiny))
    return float(np.max(np.abs(got.astype(exact.dtype) - exact) / unit))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
class TestAgainstReference:
    def test_sizes(self, compiled, name, dtype):
        rng = np.random.default_rng(0)
        eps = 8 * np.finfo(dtype).eps
        for n in SIZES:
            x, dout = rng.standard_normal((2, n)).astype(dtype)
            np.testing.assert_allclose(forward(compiled, name, x), forward(ref, name, x), rtol=eps, atol=eps)
            np.testing.assert_allclose(
                backward(compiled, name, dout, x), backward(ref, name, dout, x), rtol=eps, atol=eps
            )

    def test_nothing_is_written_beyond_the_end(self, compiled, name, dtype):
        for n in SIZES:
            memory = np.full(n + 64, 99, dtype)
            x = np.ones(n, dtype)
            getattr(compiled, f"{name}_forward")(memory[:n], x, problem(dtype))
            getattr(compiled, f"{name}_backward")(memory[:n], x, x, problem(dtype))
            assert (memory[n:] == 99).all()

    def test_unaligned(self, compiled, name, dtype):
        x = np.random.default_rng(1).standard_normal(1003).astype(dtype)
        shifted = np.empty(x.nbytes + 3 * x.itemsize, np.uint8)[3 * x.itemsize :].view(dtype)
        shifted[:] = x
        assert np.array_equal(forward(compiled, name, shifted), forward(compiled, name, x))

    def test_large(self, compiled, name, dtype):
        x, dout = np.random.default_rng(2).standard_normal((2, 400_003)).astype(dtype)
        eps = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(forward(compiled, name, x), forward(ref, name, x), rtol=eps, atol=eps)
        np.testing.assert_allclose(backward(compiled, name, dout, x), backward(ref, name, dout, x), rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", DTYPES)
class TestReluMasked:
    def bits(self, x):
        return np.packbits(x <= 0, bitorder="little")

    def test_sizes_and_nothing_beyond(self, compiled, dtype):
        rng = np.random.default_rng(6)
        for n in (*SIZES, 400_003):
            x, dout = rng.standard_normal((2, n)).astype(dtype)
            count = (n + 7) // 8
            y, dx, bits = np.full(n + 64, 99, dtype), np.full(n + 64, 99, dtype), np.full(count + 8, 99, np.uint8)
            compiled.relu_masked_forward(y[:n], bits[:count], x, problem(dtype))
            compiled.relu_masked_backward(dx[:n], dout, bits[:count], problem(dtype))
            np.testing.assert_array_equal(y[:n], np.maximum(x, 0))
            np.testing.assert_array_equal(bits[:count], self.bits(x))
            np.testing.assert_array_equal(dx[:n], np.where(x <= 0, 0, dout))
            assert (y[n:] == 99).all() and (dx[n:] == 99).all() and (bits[count:] == 99).all()

    def test_special_values_at_every_place(self, compiled, dtype):
        special = np.array([np.nan, np.inf, -np.inf, -0.0, 0, -1, 1, 5e-324, -5e-324, 1e-45, -1e-45], dtype)
        for start in range(11):
            x = np.roll(np.tile(special, 7), start)
            y, bits = np.full_like(x, 99), np.zeros((x.size + 7) // 8, np.uint8)
            compiled.relu_masked_forward(y, bits, x, problem(dtype))
            np.testing.assert_array_equal(y, np.maximum(x, 0))
            np.testing.assert_array_equal(bits, self.bits(x))
            dx = np.full_like(x, 99)
            compiled.relu_masked_backward(dx, x, bits, problem(dtype))
            np.testing.assert_array_equal(dx, np.where(x <= 0, 0, x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_against_torch(compiled, name, dtype):
    rng = np.random.default_rng(3)
    a, dout = (3 * rng.standard_normal((2, 4, 3, 5, 7))).astype(dtype)
    x = torch.tensor(a, requires_grad=True)
    y = TORCH[name](x)
    y.backward(torch.tensor(dout))
    eps = 8 * np.finfo(dtype).eps
    got = forward(compiled, name, a)
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=eps, atol=eps)
    saved = got if name in FROM_OUTPUT else a
    np.testing.assert_allclose(backward(compiled, name, dout, saved), x.grad.numpy(), rtol=eps, atol=8 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
class TestSpecialValues:
    def test_relu(self, compiled, dtype):
        x = np.array([np.nan, np.inf, -np.inf, -0.0, 0, -1, 1], dtype)
        np.testing.assert_array_equal(forward(compiled, "relu", x), np.array([np.nan, np.inf, 0, 0, 0, 0, 1], dtype))
        dout = np.array([1, 2, 3, 4, 5, np.nan, np.nan], dtype)
        np.testing.assert_array_equal(backward(compiled, "relu", dout, x), np.array([1, 2, 0, 0, 0, 0, np.nan], dtype))

    def test_relu_backward_from_the_output_is_the_same(self, compiled, dtype):
        x, dout = np.random.default_rng(4).standard_normal((2, 100)).astype(dtype)
        x[:3] = np.nan, 0, -0.0
        np.testing.assert_array_equal(
            backward(compiled, "relu", dout, x), backward(compiled, "relu", dout, forward(compiled, "relu", x))
        )

    def test_leaky_relu(self, compiled, dtype):
        x = np.array([np.nan, np.inf, -np.inf, -5, 5], dtype)
        np.testing.assert_array_equal(forward(compiled, "leaky_relu", x), forward(ref, "leaky_relu", x))

    def test_sigmoid(self, compiled, dtype):
        least = np.finfo(dtype).smallest_subnormal
        x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e30, -1e30, least], dtype)
        np.testing.assert_array_equal(
            forward(compiled, "sigmoid", x), np.array([np.nan, 1, 0, 0.5, 0.5, 1, 0, 0.5], dtype)
        )

    def test_sigmoid_of_very_negative_arguments_is_small_not_zero(self, compiled, dtype):
        x = np.array([-87, -88.5, -95, -100] if dtype == np.float32 else [-700, -709, -730, -740], dtype)
        exact = np.exp(x.astype(np.longdouble))
        got = forward(compiled, "sigmoid", x)
        assert (got > 0).all()
        assert ulps(got, exact) <= ULPS

    def test_tanh(self, compiled, dtype):
        least = np.finfo(dtype).smallest_subnormal
        x = np.array([np.nan, np.inf, -np.inf, 0, 1e30, -1e30, least, -least, 1e-30], dtype)
        np.testing.assert_array_equal(forward(compiled, "tanh", x), np.tanh(x))
        assert np.signbit(forward(compiled, "tanh", np.array([-0.0], dtype)))[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("least, most", [(-1e-3, 1e-3), (-0.5, 0.5), (-5, 5), (-25, 25), (-100, 20)])
def test_accuracy(compiled, dtype, least, most):
    exact_type = np.float64 if dtype == np.float32 else np.longdouble
    if np.finfo(exact_type).eps > np.finfo(dtype).eps / 100:
        pytest.skip("no wider type to compare with")
    x = np.random.default_rng(5).uniform(least, most, 300_000).astype(dtype)
    wide = x.astype(exact_type)
    assert ulps(forward(compiled, "tanh", x), np.tanh(wide)) <= ULPS
    assert ulps(forward(compiled, "sigmoid", x), 1 / (1 + np.exp(-wide))) <= ULPS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("least, most", [(-1e-3, 1e-3), (-0.5, 0.5), (-5, 5), (-13, -5)])
def test_accuracy_of_gelu(compiled, dtype, least, most):
    """Against the error function of the C library: relative to the result, also where it is small."""
    x = np.random.default_rng(6).uniform(least, most, 20_000).astype(dtype)
    exact = x * np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    worst = np.max(np.abs(forward(compiled, "gelu", x) - exact) / np.maximum(np.abs(exact), np.finfo(dtype).tiny))
    # -x/sqrt(2), rounded, moves erfc by its square: the compiled kernels make that good, the C library's caller cannot
    exact_enough = compiled.__name__.endswith("cy") and dtype == np.float32
    assert worst <= (4 if exact_enough else 8 + max(least**2, most**2)) * np.finfo(dtype).eps
