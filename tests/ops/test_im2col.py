"""im2col and col2im against PyTorch's unfold and fold, and the book's layout."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal, tolerance


def pads(padding):
    if isinstance(padding, int):
        return (padding,) * 4
    (top, bottom), (left, right) = padding
    return left, right, top, bottom


def torch_im2col(x, case):
    """(N, C*FH*FW, OH*OW) from PyTorch, in the book's order of rows."""
    cols = F.unfold(F.pad(x, pads(case.padding)), case.kernel, stride=case.stride)
    return cols.permute(0, 2, 1).reshape(-1, cols.shape[1])


@pytest.mark.system("F12")
@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["im2col"], ids=str)
@pytest.mark.parametrize("kernel", kernels("im2col"), ids=str)
def test_im2col(kernel, case, dtype):
    x = normal((case.N, case.C, case.H, case.W), dtype)
    p, x = check.im2col(x, *case.kernel, case.stride, case.padding)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    col = np.full((p.N * p.OH * p.OW, p.C * p.FH * p.FW), np.nan, dtype)
    kernel(col, x, p)
    np.testing.assert_array_equal(col, torch_im2col(torch.tensor(x), case).numpy())


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["im2col"], ids=str)
@pytest.mark.parametrize("kernel", kernels("col2im"), ids=str)
def test_col2im(kernel, case, dtype):
    x = torch.zeros((case.N, case.C, case.H, case.W), dtype=torch.float64, requires_grad=True)
    cols = torch_im2col(x, case)
    col = normal(tuple(cols.shape), dtype)
    cols.backward(torch.tensor(col, dtype=torch.float64))
    p, col = check.col2im(col, tuple(x.shape), *case.kernel, case.stride, case.padding)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    image = np.full(p.x_shape, np.nan, dtype)
    kernel(image, col, p)
    assert_close(image, x.grad.numpy(), tolerance(dtype, np.prod(case.kernel)))


@pytest.mark.system("F12")
@pytest.mark.parametrize(
    "shape, expected", [((1, 3, 7, 7), (9, 75)), ((10, 3, 7, 7), (90, 75)), ((100, 1, 28, 28), (57600, 25))]
)
def test_the_books_shapes(shape, expected):
    assert fc.im2col(np.zeros(shape), 5, 5).shape == expected


def test_float32_stays_float32():
    assert fc.im2col(np.zeros((1, 1, 4, 4), np.float32), 2, 2).dtype == np.float32
    assert fc.im2col(np.zeros((1, 1, 4, 4), np.int64), 2, 2).dtype == np.float64


@pytest.mark.system("F12")
def test_col2im_of_im2col_counts_the_windows():
    x = np.ones((1, 1, 4, 4))
    counts = fc.col2im(fc.im2col(x, 3, 3), x.shape, 3, 3)
    np.testing.assert_array_equal(counts[0, 0], [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]])
