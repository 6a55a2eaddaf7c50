"""Every convolution kernel of the table against PyTorch in float64, and the public functions around them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal, tolerance, whole


def problem(kernel, case, dtype, **more):
    x, w, b = case.arrays(dtype)
    p, x, w, b = check.conv2d(x, w, b, **case.options, **more)
    reason = kernel.refuses(p)
    if reason:
        pytest.skip(reason)
    return p, x, w, b


def torch_conv(x, w, b, case):
    """PyTorch's result in float64; paddings that it does not know are applied by hand."""
    x, w, b = (torch.tensor(a, dtype=torch.float64) for a in (x, w, b))
    padding = case.padding
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        (top, bottom), (left, right) = padding
        x, padding = F.pad(x, (left, right, top, bottom)), 0
    return F.conv2d(x, w, b, case.stride, padding, case.dilation, case.groups)


def torch_gradients(dout, x, w, b, case):
    x, w, b = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    xp, padding = x, case.padding
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        (top, bottom), (left, right) = padding
        xp, padding = F.pad(x, (left, right, top, bottom)), 0
    y = F.conv2d(xp, w, b, case.stride, padding, case.dilation, case.groups)
    y.backward(torch.tensor(dout, dtype=torch.float64))
    return x.grad.numpy(), w.grad.numpy(), b.grad.numpy()


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["conv2d"], ids=str)
@pytest.mark.parametrize("kernel", kernels("conv2d_forward"), ids=str)
def test_forward(kernel, case, dtype):
    p, x, w, b = problem(kernel, case, dtype)
    expected = torch_conv(x, w, b, case).numpy()
    y = np.full(p.out_shape, np.nan, dtype)
    kernel(y, x, w, b, p)
    assert_close(y, expected, tolerance(dtype, np.prod(w.shape[1:])))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["conv2d"][::3], ids=str)
@pytest.mark.parametrize("kernel", kernels("conv2d_forward"), ids=str)
def test_forward_relu_without_bias(kernel, case, dtype):
    p, x, w, b = problem(kernel, case, dtype, activation="relu")
    expected = torch_conv(x, w, np.zeros_like(b), case).relu().numpy()
    y = np.full(p.out_shape, np.nan, dtype)
    kernel(y, x, w, None, p)
    tol = tolerance(dtype, np.prod(w.shape[1:]))
    np.testing.assert_allclose(y, expected, rtol=tol, atol=4 * tol)


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["conv2d"], ids=str)
@pytest.mark.parametrize("kernel", kernels("conv2d_backward_data"), ids=str)
def test_backward_data(kernel, case, dtype):
    p, x, w, b = problem(kernel, case, dtype)
    dout = normal(p.out_shape, dtype, 7)
    dx = np.full(p.x_shape, np.nan, dtype)
    kernel(dx, dout, w, p)
    expected = torch_gradients(dout, x, w, b, case)[0]
    assert_close(dx, expected, tolerance(dtype, w[:, 0].size))


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["conv2d"], ids=str)
@pytest.mark.parametrize("kernel", kernels("conv2d_backward_weights"), ids=str)
def test_backward_weights(kernel, case, dtype):
    p, x, w, b = problem(kernel, case, dtype)
    dout = normal(p.out_shape, dtype, 7)
    dw, db = np.full(p.w_shape, np.nan, dtype), np.full(p.FN, np.nan, dtype)
    kernel(dw, db, dout, x, p)
    _, expected_dw, expected_db = torch_gradients(dout, x, w, b, case)
    tol = tolerance(dtype, p.N * p.OH * p.OW)
    assert_close(dw, expected_dw, tol)
    assert_close(db, expected_db, tol)
    again = np.full(p.w_shape, np.nan, dtype)
    kernel(again, None, dout, x, p)
    np.testing.assert_array_equal(again, dw)


@pytest.mark.parametrize("case", CASES["conv2d"][:20:2], ids=str)
@pytest.mark.parametrize(
    "kernel", kernels("conv2d_forward", "conv2d_backward_data", "conv2d_backward_weights"), ids=str
)
def test_whole_numbers_are_exact_in_float32(kernel, case):
    """Direct sums of small whole numbers have no rounding error: results equal the float64 reference to the bit."""
    if "winograd" in kernel.row.kernel:
        pytest.skip("Winograd's transforms divide")
    p, x, w, _ = problem(kernel, case, np.float32)
    x, w, dout = (whole(s, np.float32, i) for i, s in enumerate((p.x_shape, p.w_shape, p.out_shape)))
    b = np.zeros(p.FN)
    expected_dx, expected_dw, expected_db = torch_gradients(dout, x, w, b, case)
    if kernel.op == "conv2d_forward":
        y = np.empty(p.out_shape, np.float32)
        kernel(y, x, w, None, p)
        np.testing.assert_array_equal(y, torch_conv(x, w, b, case).numpy())
    elif kernel.op == "conv2d_backward_data":
        dx = np.empty(p.x_shape, np.float32)
        kernel(dx, dout, w, p)
        np.testing.assert_array_equal(dx, expected_dx)
    else:
        dw, db = np.empty(p.w_shape, np.float32), np.empty(p.FN, np.float32)
        kernel(dw, db, dout, x, p)
        np.testing.assert_array_equal(dw, expected_dw)
        np.testing.assert_array_equal(db, expected_db)


@pytest.mark.parametrize("kernel", kernels("conv2d_forward"), ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_reach_every_window_that_holds_them(kernel, bad):
    x, w = np.ones((1, 4, 9, 9), np.float32), np.ones((5, 4, 3, 3), np.float32)
    x[0, 1, 4, 4] = bad
    p, x, w, _ = check.conv2d(x, w, None, 1, 1)
    if kernel.refuses(p) or "winograd" in kernel.row.kernel:
        pytest.skip("spreads over its tile")
    y = np.empty(p.out_shape, np.float32)
    kernel(y, x, w, None, p)
    hit = np.zeros((9, 9), bool)
    hit[3:6, 3:6] = True
    assert np.isfinite(y[..., ~hit]).all()
    np.testing.assert_array_equal(y[..., hit], np.full((1, 5, 9), bad, np.float32))


def test_same_bits_again():
    x, w, b = (normal(s, np.float32) for s in ((8, 32, 14, 14), (64, 32, 3, 3), 64))
    y = fc.conv2d(x, w, b, padding=1)
    gradients = fc.conv2d_backward(y, x, w, padding=1)
    for _ in range(5):
        np.testing.assert_array_equal(fc.conv2d(x, w, b, padding=1), y)
        for again, first in zip(fc.conv2d_backward(y, x, w, padding=1), gradients, strict=True):
            np.testing.assert_array_equal(again, first)


def test_highest_precision_is_as_exact_as_a_direct_sum():
    x, w = normal((1, 64, 16, 16), np.float32), normal((64, 64, 3, 3), np.float32, 1)
    exact = fc.conv2d(x.astype(np.float64), w.astype(np.float64), padding=1)
    fc.set_float32_conv_precision("highest")
    try:
        y = fc.conv2d(x, w, padding=1)
    finally:
        fc.set_float32_conv_precision("high")
    assert fc.get_float32_conv_precision() == "high"
    assert np.sqrt(np.mean((y - exact) ** 2)) / np.sqrt(np.mean(exact**2)) < 2e-6
    with pytest.raises(ValueError, match="precision"):
        fc.set_float32_conv_precision("low")


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True), (False,) * 3])
def test_needs(needs):
    x, w = normal((2, 3, 6, 6), np.float64), normal((4, 3, 3, 3), np.float64)
    dout = normal((2, 4, 4, 4), np.float64)
    full = fc.conv2d_backward(dout, x, w)
    some = fc.conv2d_backward(dout, x, w, needs=needs)
    for needed, got, expected in zip(needs, some, full, strict=True):
        if needed:
            np.testing.assert_array_equal(got, expected)
        else:
            assert got is None


def test_unbatched():
    x, w, b = normal((3, 8, 8), np.float64), normal((4, 3, 3, 3), np.float64), normal(4, np.float64)
    y = fc.conv2d(x, w, b)
    assert y.shape == (4, 6, 6)
    np.testing.assert_array_equal(y, fc.conv2d(x[None], w, b)[0])
    dx, dw, _ = fc.conv2d_backward(y, x, w)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, fc.conv2d_backward(y[None], x[None], w)[1])


def test_out():
    x, w = normal((2, 3, 6, 6), np.float32), normal((4, 3, 3, 3), np.float32)
    expected = fc.conv2d(x, w)
    out = np.empty((2, 4, 4, 4), np.float32)
    assert fc.conv2d(x, w, out=out) is out
    np.testing.assert_array_equal(out, expected)
    wide = np.empty((2, 4, 4, 8), np.float64)[..., ::2]
    assert fc.conv2d(x, w, out=wide) is wide
    np.testing.assert_array_equal(wide, expected)
    single = np.empty((4, 4, 4), np.float32)
    assert fc.conv2d(x[0], w, out=single) is single
    np.testing.assert_array_equal(single, fc.conv2d(x[0], w))
    # out overlapping an input is written as if it did not
    eye = np.ones((3, 3, 1, 1), np.float32)
    target = x.copy()
    fc.conv2d(target, eye, out=target)
    np.testing.assert_array_equal(target, fc.conv2d(x, eye))


@pytest.mark.parametrize("out, error", [
    (np.empty((2, 4, 4, 5), np.float32), ValueError),
    ([1.0], TypeError),
    (np.empty((2, 4, 4, 4), np.int32), TypeError),
])  # fmt: skip
def test_bad_out(out, error):
    with pytest.raises(error, match="out"):
        fc.conv2d(normal((2, 3, 6, 6), np.float32), normal((4, 3, 3, 3), np.float32), out=out)


def test_read_only_out():
    out = np.empty((2, 4, 4, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out"):
        fc.conv2d(normal((2, 3, 6, 6), np.float32), normal((4, 3, 3, 3), np.float32), out=out)


TRANSPOSED = [
    # C, FN, kernel, stride, padding, output_padding, groups, dilation
    (4, 6, 3, 1, 0, 0, 1, 1),
    (4, 6, 3, 2, 1, 1, 1, 1),
    (4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, 1),
    (5, 5, 3, 2, 1, 0, 5, 1),
    (4, 6, 3, 1, 2, 0, 1, 2),
    (16, 33, 2, 2, 0, 0, 1, 1),
    # Dilation allows more padding of the result than stride: rows and columns that no tap reaches.
    (4, 6, 1, 1, 0, 1, 1, 2),
    (4, 40, 1, 1, 0, (0, 1), 2, (1, 2)),
    (8, 6, 1, 1, 0, (1, 0), 1, (3, 1)),
    (4, 6, 3, 1, 1, 1, 1, 2),
    (6, 6, 1, 1, 0, 1, 6, 2),
    (4, 6, (1, 3), 1, (0, 1), 2, 2, 3),
]


@pytest.mark.parametrize("backend", ["cython", pytest.param("numba", marks=pytest.mark.numba), "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C, FN, k, s, p, op, g, d", TRANSPOSED)
def test_transposed(C, FN, k, s, p, op, g, d, dtype, backend):
    with fc.backend(backend):
        _check_transposed(C, FN, k, s, p, op, g, d, dtype)


def _check_transposed(C, FN, k, s, p, op, g, d, dtype):
    kernel = k if isinstance(k, tuple) else (k, k)
    x, w, b = (normal(shape, dtype, i) for i, shape in enumerate(((2, C, 9, 8), (C, FN // g, *kernel), FN)))
    tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    expected = F.conv_transpose2d(tx, tw, tb, s, p, op, g, d)
    y = fc.conv_transpose2d(x, w, b, s, p, op, g, d)
    tol = tolerance(dtype, w[:, 0].size)
    assert_close(y, expected.detach().numpy(), tol)
    dout = normal(y.shape, dtype, 9)
    expected.backward(torch.tensor(dout, dtype=torch.float64))
    gradients = fc.conv_transpose2d_backward(dout, x, w, s, p, op, g, d)
    for got, leaf in zip(gradients, (tx, tw, tb), strict=True):
        assert_close(got, leaf.grad.numpy(), tolerance(dtype, dout.size))
    assert fc.conv_transpose2d_backward(dout, x, w, s, p, op, g, d, needs=(False,) * 3) == (None,) * 3
    by_shape = fc.conv_transpose2d_backward(dout, x, w.shape, s, p, op, g, d, needs=(False, True, True))
    by_filters = fc.conv_transpose2d_backward(dout, x, w, s, p, op, g, d, needs=(False, True, True))
    for one, other in zip(by_shape, by_filters, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="w: expected the filters, since dx is needed"):
        fc.conv_transpose2d_backward(dout, x, w.shape, s, p, op, g, d)
