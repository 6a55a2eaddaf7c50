"""Winograd with stride 2 against PyTorch in float64: edges of tiles and vectors, every plan, errors, the table."""

from functools import partial

import numpy as np
import pytest
from winograd_checks import (
    assert_bias_and_relu,
    assert_error_statistics,
    assert_inputs_stay,
    assert_repeatable,
    assert_same_bits,
    exact,
    flat,
    rms,
    run,
    winograd_case,
)

import fastconv as fc
from fastconv import _check
from fastconv._dispatch import load
from fastconv._table import TABLE, winograd, winograd_backward_data, winograd_backward_weights
from fastconv.kernels.chain.cy import Chain
from fastconv.kernels.winograd import cy

case = partial(winograd_case, 2)
RMS_ERROR = 1.0e-6  # relative to the result's root mean square; measured: 0.1e-6 to 0.7e-6

# N, C, H, W, FN, padding. Each line is there for one way through the kernels.
PROBLEMS = {
    "one tile": [(1, 1, 3, 3, 1, 0), (1, 1, 9, 9, 1, 0), (1, 1, 8, 8, 2, 1), (1, 3, 1, 1, 5, 1), (9, 5, 3, 4, 4, 1)],
    "rows and columns beyond the last tile": [
        (2, 5, h, w, 6, p) for h, w in ((9, 10), (10, 11), (11, 12), (12, 13), (15, 16), (17, 18)) for p in (0, 1)
    ],
    "channels around the vectors": [(1, c, 9, 13, 20, 1) for c in (3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)],
    "filters around the panels": [(1, 6, 13, 9, f, 1) for f in (1, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 65)],
    "paddings": [
        (2, 9, 8, 11, 12, p)
        for p in (0, 1, 2, 3, 5, ((0, 1), (2, 0)), ((2, 1), (0, 2)), ((1, 0), (0, 0)), ((0, 2), (1, 2)))
    ],
    "rows that meet no window": [(2, 4, h, w, 5, 0) for h, w in ((4, 6), (10, 10), (18, 12))],
    "more tiles in a row than in a block": [(1, 4, 6, 600, 5, 1), (2, 3, 5, 1555, 4, 2)],
    "blocks over many images": [(70, 5, 7, 7, 6, 1), (33, 4, 9, 17, 5, 1)],
    "shared filters": [(1, 64, 112, 112, 64, 1), (3, 40, 60, 61, 70, 1)],
    "chunks of channels": [(1, 200, 28, 27, 48, 1), (2, 70, 26, 23, 66, 1)],
    "ranges of panels": [(1, 96, 28, 28, 300, 1)],
    "filters too large to share": [(1, 330, 72, 72, 330, 1)],
}


@pytest.mark.parametrize("N, C, H, W, FN, padding", flat(PROBLEMS))
def test_against_float64(N, C, H, W, FN, padding):
    p, *arrays = case(N, C, H, W, FN, padding)
    for got, expected in zip(run(p, *arrays), exact(p, *arrays), strict=True):
        assert rms(got - expected) <= RMS_ERROR * rms(expected)


@pytest.mark.parametrize(
    "N, C, H, W, FN",
    [(2, 64, 60, 60, 64), (1, 200, 30, 30, 200), (3, 32, 14, 18, 48), (1, 64, 56, 56, 64), (1, 192, 40, 40, 128)],
)
def test_every_number_of_threads(threads, N, C, H, W, FN):
    assert_repeatable(*case(N, C, H, W, FN, 1), error=RMS_ERROR)


def test_forward_has_the_same_bits_for_any_number_of_threads():
    assert_same_bits(*case(2, 100, 40, 40, 80, 1))


def test_bias_and_relu():
    assert_bias_and_relu(*case(2, 20, 18, 20, 35, 1, "relu"), error=RMS_ERROR)


@pytest.mark.parametrize("C, FN", [(20, 35), (330, 330)])  # filters kept transformed, and not
def test_prepared(C, FN):
    p, x, w, b, dout = case(3, C, 18, 21, FN, 1, "relu")
    y, dx = np.full(p.out_shape, np.nan, np.float32), np.full(p.x_shape, np.nan, np.float32)
    cy.forward(y, x, w, b, p)
    cy.backward_data(dx, dout, w, p)
    forward = Chain([cy.prepare(w, b, p)], x, p.out_shape)
    backward = Chain([cy.prepare_data(w, p)], dout, p.x_shape)
    for _ in range(2):
        np.testing.assert_allclose(forward(x), y, rtol=0, atol=1e-5 * rms(y))
        np.testing.assert_allclose(backward(dout), dx, rtol=0, atol=1e-5 * rms(dx))


def test_no_images_give_zero_gradients():
    p, *arrays = case(0, 16, 8, 8, 16, 1)
    y, dx, dw, db = run(p, *arrays)
    assert y.size == dx.size == 0
    assert not dw.any() and not db.any()


def test_bias_gradient_is_not_asked_for():
    p, x, w, b, dout = case(2, 40, 28, 28, 40, 1)
    dw = np.full(p.w_shape, np.nan, np.float32)
    cy.backward_weights(dw, None, dout, x, p)
    np.testing.assert_array_equal(dw, run(p, x, w, b, dout)[2])


def test_error_statistics():
    for shape in ((4, 16, 56, 56, 16, 1), (1, 128, 56, 56, 128, 1), (1, 512, 14, 14, 512, 1)):
        assert_error_statistics(*case(*shape))


def test_inputs_stay_as_they_are():
    assert_inputs_stay(*case(2, 33, 18, 20, 40, 1))


def problem(N, C, H, FN, dtype=np.float32, kernel=3, stride=2, **options):
    x, w = np.empty((N, C, H, H), dtype), np.empty((FN, C, kernel, kernel), dtype)
    return _check.conv2d(x, w, None, stride=stride, **options)[0]


def test_the_table_takes_what_pays_and_says_why_not():
    for p in (
        problem(8, 64, 56, 128, padding=1),
        problem(1, 64, 56, 128, padding=1),
        problem(4, 256, 28, 512, padding=1),
        problem(8, 32, 57, 64),
    ):
        assert winograd(p) == winograd_backward_data(p) == ""
    assert winograd_backward_weights(problem(8, 64, 56, 128, padding=1)) == ""
    assert "channels or pixels" in winograd_backward_weights(problem(1, 256, 14, 512, padding=1))
    assert "channels or pixels" in winograd(problem(100, 1, 28, 32, padding=1))
    assert "channels or pixels" in winograd(problem(1, 64, 8, 64, padding=1))
    assert "channels or pixels" in winograd(problem(50, 64, 9, 64, padding=1))
    assert "channels or pixels" in winograd_backward_data(problem(100, 3, 112, 64, padding=1))
    assert "channels or pixels" in winograd(problem(0, 64, 56, 64, padding=1))
    assert "float64" in winograd(problem(8, 64, 56, 64, np.float64, padding=1))
    for options in ({"stride": 3}, {"stride": (2, 1)}, {"dilation": 2}, {"kernel": 2}):
        assert "3 x 3 with stride 1 or 2" in winograd(problem(8, 64, 56, 64, **options))
    fc.set_float32_conv_precision("highest")
    try:
        assert "highest" in winograd(problem(8, 64, 56, 64, padding=1))
    finally:
        fc.set_float32_conv_precision("high")


def test_the_public_functions_choose_it():
    p, x, w, b, dout = case(2, 64, 56, 56, 64, 1)
    for op, function in (
        ("forward", cy.forward),
        ("backward_data", cy.backward_data),
        ("backward_weights", cy.backward_weights),
    ):
        row = next(row for row in TABLE[f"conv2d_{op}"] if row.accepts(p) == "")
        assert load(row.kernel) is function
    y, dx, dw, db = run(p, x, w, b, dout)
    np.testing.assert_array_equal(fc.conv2d(x, w, b, stride=2, padding=1), y)
    for got, expected in zip(fc.conv2d_backward(dout, x, w, stride=2, padding=1), (dx, dw, db), strict=True):
        np.testing.assert_array_equal(got, expected)
