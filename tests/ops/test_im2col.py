"""im2col and col2im against PyTorch's unfold and fold, and the book's layout."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal, tolerance, whole


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


def torch_layout(x, case, layout):
    """im2col in a layout, from PyTorch."""
    cols = F.unfold(F.pad(x, pads(case.padding)), case.kernel, stride=case.stride)  # (N, C*FH*FW, OH*OW)
    N, rows, windows = cols.shape
    match layout:
        case "unfold":
            return cols
        case "columns":
            return cols.permute(1, 0, 2).reshape(rows, N * windows)
        case "columns_n_last":
            return cols.permute(1, 2, 0).reshape(rows, windows * N)
        case "rows_nhwc":
            taps = cols.reshape(N, x.shape[1], rows // x.shape[1], windows).permute(0, 3, 2, 1)
            return taps.reshape(N * windows, rows)
    return cols.permute(0, 2, 1).reshape(N * windows, rows)


LAYOUTS = ["rows", "rows_nhwc", "columns", "columns_n_last", "unfold"]
IN_PLANES = ["columns", "columns_n_last", "unfold"]


@pytest.mark.against_torch
@pytest.mark.parametrize("layout", IN_PLANES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["im2col"], ids=str)
@pytest.mark.parametrize("kernel", kernels("im2col_planes"), ids=str)
def test_im2col_planes(kernel, case, dtype, layout):
    x = normal((case.N, case.C, case.H, case.W), dtype)
    p, x, shape = check.im2col_laid_out(x, *case.kernel, case.stride, case.padding, layout)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    if 0 in shape:
        pytest.skip("no kernel is called for an empty batch")
    images = np.ascontiguousarray(x.reshape(case.N, -1).T) if layout == "columns_n_last" else x
    col = np.full(shape, np.nan, dtype)
    kernel(col, images, p)
    np.testing.assert_array_equal(col, torch_layout(torch.tensor(x), case, layout).numpy())


@pytest.mark.against_torch
@pytest.mark.parametrize("layout", IN_PLANES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["im2col"], ids=str)
@pytest.mark.parametrize("kernel", kernels("col2im_planes"), ids=str)
def test_col2im_planes(kernel, case, dtype, layout):
    x = torch.zeros((case.N, case.C, case.H, case.W), dtype=torch.float64, requires_grad=True)
    cols = torch_layout(x, case, layout)
    col = normal(tuple(cols.shape), dtype)
    cols.backward(torch.tensor(col, dtype=torch.float64))
    p, col, _ = check.col2im_laid_out(col, tuple(x.shape), *case.kernel, case.stride, case.padding, layout)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    if not case.N:
        pytest.skip("no kernel is called for an empty batch")
    image = np.full((*p.x_shape, p.run), np.nan, dtype)
    kernel(image, col, p)
    image = image.reshape(-1, case.N).T if layout == "columns_n_last" else image
    assert_close(image.reshape(x.shape), x.grad.numpy(), tolerance(dtype, np.prod(case.kernel)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("case", CASES["im2col"], ids=str)
def test_layouts(case, dtype, layout):
    """Both directions as they are called, and their adjointness, which makes one right when the other is."""
    images = whole((case.N, case.C, case.H, case.W), dtype)
    x = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if layout == "rows_nhwc" else images
    col = fc.im2col(x, *case.kernel, case.stride, case.padding, layout=layout)
    assert col.dtype == dtype
    expected = torch_layout(torch.tensor(images, dtype=torch.float64), case, layout).numpy()
    np.testing.assert_array_equal(col, expected)
    weights = whole(col.shape, dtype, 1)
    image = fc.col2im(weights, x.shape, *case.kernel, case.stride, case.padding, layout=layout)
    assert image.shape == x.shape and image.dtype == dtype
    assert np.vdot(image.astype(float), x) == np.vdot(weights.astype(float), col)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_strided_images_and_integers(layout):
    x = normal((3, 4, 9, 8), np.float64)[:, ::2, ::-1]
    last = layout == "rows_nhwc"
    given, dense = (a.transpose(0, 2, 3, 1) if last else a for a in (x, x.copy()))
    np.testing.assert_array_equal(fc.im2col(given, 3, 3, layout=layout), fc.im2col(dense, 3, 3, layout=layout))
    whole_numbers = (x * 9).astype(np.int32)
    given = whole_numbers.transpose(0, 2, 3, 1) if last else whole_numbers
    assert fc.im2col(given, 3, 3, layout=layout).dtype == np.float64


sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(4, 9), st.integers(4, 20)),
    kernel=sizes,
    stride=sizes,
    pads=st.tuples(st.tuples(st.integers(0, 5), st.integers(0, 5)), st.tuples(st.integers(0, 5), st.integers(0, 5))),
    layout=st.sampled_from(LAYOUTS),
    dtype=st.sampled_from(DTYPES),
)
def test_layouts_are_those_of_the_reference(shape, kernel, stride, pads, layout, dtype):
    x = normal((shape[0], *shape[2:], shape[1]) if layout == "rows_nhwc" else shape, dtype)
    options = (*kernel, stride, pads)
    col = fc.im2col(x, *options, layout=layout)
    weights = normal(col.shape, dtype, 1)
    image = fc.col2im(weights, x.shape, *options, layout=layout)
    with fc.backend("numpy"):
        np.testing.assert_array_equal(col, fc.im2col(x, *options, layout=layout))
        expected = fc.col2im(weights, x.shape, *options, layout=layout)
    assert_close(image, expected, tolerance(dtype, kernel[0] * kernel[1]))
    rows = fc.im2col(x.transpose(0, 3, 1, 2) if layout == "rows_nhwc" else x, *options)
    np.testing.assert_array_equal(np.sort(col, axis=None), np.sort(rows, axis=None))


def test_explain_shows_the_kernel_of_a_layout(capsys):
    x = normal((2, 3, 6, 6), np.float64)
    fc.explain("im2col", x, 3, 3, layout="columns")
    assert "-> cython im2col.cy:im2col_planes: chosen" in capsys.readouterr().out
    fc.explain("col2im", fc.im2col(x, 3, 3, layout="unfold"), x.shape, 3, 3, layout="unfold")
    assert "-> cython im2col.cy:col2im_planes: chosen" in capsys.readouterr().out
    fc.explain("im2col", x, 3, 3, layout="rows_nhwc")
    assert "-> cython im2col.cy:im2col: chosen" in capsys.readouterr().out


def test_windows_of_padding_alone_in_planes():
    x = whole((2, 2, 1, 1), np.float64)
    for layout in IN_PLANES:
        col = fc.im2col(x, 2, 2, 3000, 3000, layout=layout)
        assert np.count_nonzero(col) == np.count_nonzero(x)
        np.testing.assert_array_equal(fc.col2im(col, x.shape, 2, 2, 3000, 3000, layout=layout), x)


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
