"""Winograd's kernels against PyTorch in float64: edges of tiles and vectors, every plan, errors, the table."""

from functools import partial

import numpy as np
import pytest
from winograd_checks import (
    assert_bias_and_relu,
    assert_error_statistics,
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
from fastconv._dispatch import at_once, load
from fastconv._table import TABLE, winograd, winograd_backward, winograd_backward_data
from fastconv.kernels.winograd import cy

case = partial(winograd_case, 1)
RMS_ERROR = 1.5e-6  # relative to the result's root mean square; measured: 0.4e-6 to 1.1e-6

# N, C, H, W, FN, padding. Each line is there for one way through the kernels.
PROBLEMS = {
    "one tile": [(1, 1, 3, 3, 1, 0), (1, 1, 6, 6, 1, 0), (1, 3, 1, 1, 5, 1), (9, 5, 3, 3, 4, 1)],
    "rows and columns beyond the last tile": [
        (2, 5, h, w, 6, 1) for h, w in ((4, 5), (5, 8), (6, 7), (7, 13), (9, 10))
    ],
    "channels around the vectors": [(1, c, 6, 9, 20, 1) for c in (3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)],
    "filters around the panels": [(1, 6, 9, 6, f, 1) for f in (1, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 65)],
    "results of 2 x 2": [
        (9, 5, 2, 2, 4, 1),
        (3, 17, 4, 4, 33, 0),
        (70, 40, 2, 2, 20, 1),
        (2, 33, 4, 3, 16, 0),
        (5, 9, 1, 2, 7, 1),
        (3, 200, 2, 2, 130, 1),
    ],
    "paddings": [
        (2, 9, 8, 11, 12, p)
        for p in (0, 1, 2, 3, 5, ((0, 1), (2, 0)), ((2, 1), (0, 2)), ((1, 0), (0, 0)), ((0, 2), (1, 2)))
    ],
    "more tiles in a row than in a block": [(1, 4, 6, 300, 5, 1), (2, 3, 5, 777, 4, 2)],
    "blocks over many images": [(70, 5, 4, 4, 6, 1), (33, 4, 7, 9, 5, 1)],
    "shared filters": [(1, 64, 56, 56, 64, 1), (3, 40, 30, 31, 70, 1)],
    "chunks of channels": [(1, 200, 14, 13, 48, 1), (2, 70, 13, 11, 66, 1)],
    "ranges of panels": [(1, 96, 14, 14, 300, 1)],
    "filters too large to share": [(1, 330, 36, 36, 330, 1)],
}


def run_at_once(p, x, w, dout, bias=True):
    """(dx, dw, db), likewise."""
    dx, dw, db = (np.full(s, np.nan, np.float32) for s in (p.x_shape, p.w_shape, p.FN))
    cy.backward(dx, dw, db if bias else None, dout, x, w, p)
    return dx, dw, db


@pytest.mark.parametrize("N, C, H, W, FN, padding", flat(PROBLEMS))
def test_against_float64(N, C, H, W, FN, padding):
    p, *arrays = case(N, C, H, W, FN, padding)
    for got, expected in zip(run(p, *arrays), exact(p, *arrays), strict=True):
        assert rms(got - expected) <= RMS_ERROR * rms(expected)


@pytest.mark.parametrize("N, C, H, W, FN, padding", flat(PROBLEMS))
def test_all_gradients_at_once(N, C, H, W, FN, padding):
    p, x, w, b, dout = case(N, C, H, W, FN, padding)
    got, expected = run_at_once(p, x, w, dout), exact(p, x, w, b, dout)[1:]
    if np.max(padding) > 2:  # of which the kernel leaves out db
        got, expected = got[:2], expected[:2]
    for a, e in zip(got, expected, strict=True):
        assert rms(a - e) <= RMS_ERROR * rms(e)


def test_all_gradients_at_once_are_no_less_precise():
    for shape in ((100, 16, 28, 28, 16, 1), (100, 32, 14, 14, 32, 2), (100, 64, 8, 8, 64, 1)):
        p, x, w, b, dout = case(*shape)
        expected = exact(p, x, w, b, dout)[1:]
        for a, one, e in zip(run_at_once(p, x, w, dout), run(p, x, w, b, dout)[1:], expected, strict=True):
            assert rms(a - e) <= 1.1 * rms(one - e)


def test_all_gradients_at_once_with_every_number_of_threads(threads):
    shapes = (
        (2, 64, 30, 30, 64, 1),
        (3, 32, 7, 9, 48, 2),
        (70, 5, 9, 13, 33, 0),
        (1, 70, 9, 13, 64, 1),
        (2, 130, 8, 8, 9, 1),
    )
    for shape in shapes:
        p, x, w, b, dout = case(*shape)
        results = run_at_once(p, x, w, dout)
        for got, expected in zip(results, exact(p, x, w, b, dout)[1:], strict=True):
            assert rms(got - expected) <= RMS_ERROR * rms(expected)
        for _ in range(3):
            for again, first in zip(run_at_once(p, x, w, dout), results, strict=True):
                np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize(
    "N, C, H, W, FN",
    [(2, 64, 30, 30, 64), (1, 200, 15, 15, 200), (3, 32, 7, 9, 48), (1, 64, 28, 28, 64), (1, 192, 20, 20, 128)],
)
def test_every_number_of_threads(threads, N, C, H, W, FN):
    assert_repeatable(*case(N, C, H, W, FN, 1), error=RMS_ERROR)


def test_forward_has_the_same_bits_for_any_number_of_threads():
    assert_same_bits(*case(2, 100, 20, 20, 80, 1))


def test_bias_and_relu():
    assert_bias_and_relu(*case(2, 20, 9, 10, 35, 1, "relu"), error=RMS_ERROR)


def test_no_images_give_zero_gradients():
    p, *arrays = case(0, 16, 8, 8, 16, 1)
    y, dx, dw, db = run(p, *arrays)
    assert y.size == dx.size == 0
    assert not dw.any() and not db.any()
    _, dw, db = run_at_once(p, *arrays[:2], arrays[3])
    assert not dw.any() and not db.any()


def test_bias_gradient_is_not_asked_for():
    p, x, w, b, dout = case(2, 40, 14, 14, 40, 1)
    dw = np.full(p.w_shape, np.nan, np.float32)
    cy.backward_weights(dw, None, dout, x, p)
    np.testing.assert_array_equal(dw, run(p, x, w, b, dout)[2])
    for got, expected in zip(run_at_once(p, x, w, dout, bias=False)[:2], run_at_once(p, x, w, dout)[:2], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_error_statistics():
    for shape in ((4, 16, 28, 28, 16, 1), (1, 128, 28, 28, 128, 1), (1, 512, 7, 7, 512, 1), (20, 300, 8, 8, 40, 1)):
        assert_error_statistics(*case(*shape))


def test_inputs_stay_as_they_are():
    p, *arrays = case(2, 33, 9, 10, 40, 1)
    before = [a.copy() for a in arrays]
    run(p, *arrays)
    run_at_once(p, *arrays[:2], arrays[3])
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


def problem(N, C, H, FN, dtype=np.float32, kernel=3, **options):
    return _check.conv2d(np.empty((N, C, H, H), dtype), np.empty((FN, C, kernel, kernel), dtype), None, **options)[0]


def test_the_table_takes_what_pays_and_says_why_not():
    for p in (
        problem(8, 64, 56, 64, padding=1),
        problem(1, 512, 14, 512, padding=1),
        problem(100, 32, 14, 64),
        problem(100, 8, 28, 8, padding=1),
        problem(1, 64, 8, 64, padding=1),
        problem(100, 64, 2, 64, padding=1),
        problem(100, 32, 4, 32),
    ):
        assert winograd(p) == winograd_backward_data(p) == ""
    assert "channels or pixels" in winograd(problem(100, 1, 28, 32, padding=1))
    assert "channels or pixels" in winograd(problem(1, 64, 4, 64, padding=1))
    assert "channels or pixels" in winograd(problem(50, 64, 5, 64, padding=1))
    assert "channels or pixels" in winograd(problem(0, 64, 56, 64, padding=1))
    assert "float64" in winograd(problem(8, 64, 56, 64, np.float64, padding=1))
    for options in ({"stride": 3}, {"dilation": 2}, {"kernel": 2}):
        assert "3 x 3" in winograd(problem(8, 64, 56, 64, **options))
    fc.set_float32_conv_precision("highest")
    try:
        assert "highest" in winograd(problem(8, 64, 56, 64, padding=1))
    finally:
        fc.set_float32_conv_precision("high")


def test_the_public_functions_choose_it():
    p, x, w, b, dout = case(2, 64, 28, 28, 64, 1)
    for op, function in (
        ("forward", cy.forward),
        ("backward_data", cy.backward_data),
        ("backward_weights", cy.backward_weights),
    ):
        row = next(row for row in TABLE[f"conv2d_{op}"] if row.accepts(p) == "")
        assert load(row.kernel) is function
    y, dx, dw, db = run(p, x, w, b, dout)
    np.testing.assert_array_equal(fc.conv2d(x, w, b, padding=1), y)
    got = (
        *fc.conv2d_backward(dout, x, w, padding=1, needs=(True, False, False))[:1],
        *fc.conv2d_backward(dout, x, w, padding=1, needs=(False, True, True))[1:],
    )
    for a, expected in zip(got, (dx, dw, db), strict=True):
        np.testing.assert_array_equal(a, expected)


def test_the_table_takes_all_gradients_at_once_where_it_pays():
    for p in (
        problem(100, 16, 28, 16, padding=1),
        problem(100, 32, 14, 32, padding=2),
        problem(100, 64, 8, 64, padding=1),
        problem(8, 64, 56, 64, padding=1),
        problem(1, 64, 8, 64, padding=1),
    ):
        assert winograd_backward(p) == ""
        assert at_once("conv2d_backward", p) is cy.backward
        with fc.backend("numpy"):
            assert at_once("conv2d_backward", p) is None
    assert "25 tiles" in winograd_backward(problem(1, 96, 20, 96, padding=1))
    assert "1600 tiles, more than the 900" in winograd_backward(problem(100, 32, 14, 64))
    assert "padding" in winograd_backward(problem(100, 16, 14, 16, padding=3))
    assert "2 x 2" in winograd_backward(problem(100, 64, 4, 64))
    assert "stride 1" in winograd_backward(problem(100, 16, 28, 16, stride=2))


@pytest.mark.parametrize("needs", [(True, True, True), (True, True, False), (True, False, True)])
def test_conv2d_backward_takes_all_gradients_at_once(needs):
    p, x, w, _, dout = case(9, 16, 14, 15, 24, 1)
    got = fc.conv2d_backward(dout, x, w, padding=1, needs=needs)
    for a, expected, needed in zip(got, run_at_once(p, x, w, dout), needs, strict=True):
        assert (a is None) == (not needed)
        if needed:
            np.testing.assert_array_equal(a, expected)
