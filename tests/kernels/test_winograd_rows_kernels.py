"""Minimal filtering along rows against PyTorch in float64: edges of tiles and vectors, strides, errors, the table."""

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
from fastconv._table import winograd, winograd_backward, winograd_backward_data, winograd_backward_weights
from fastconv.kernels.chain.cy import Chain
from fastconv.kernels.winograd import cy

RMS_ERROR = 1.3e-6  # relative to the result's root mean square; measured: 0.1e-6 to 1.1e-6


def case(N, C, H, W, FN, size, stride, padding, activation=None):
    return winograd_case(stride, N, C, H, W, FN, padding, activation, size if isinstance(size, tuple) else (size, size))


# N, C, H, W, FN, filter, stride, padding
PROBLEMS = {
    "one tile": [
        (1, 1, 5, 5, 1, 5, 1, 0),
        (1, 2, 7, 7, 3, 7, 1, 0),
        (1, 1, 7, 7, 2, 7, 2, 0),
        (1, 1, 1, 1, 1, 5, 1, 2),
    ],
    "filters of every height": [(2, 3, 19, 17, 5, (h, 5), s, 2) for h in (5, 6, 7) for s in (1, 2)],
    "filters of every width": [(2, 3, 18, 21, 6, (5, w), s, 0) for w in (1, 2, 3, 4, 6, 7, 9) for s in (1, 2)],
    "rows and columns beyond the last tile": [
        (2, 2, h, w, 4, 5, s, 2) for h, w in ((8, 9), (9, 16), (10, 17), (11, 25), (13, 33), (16, 40)) for s in (1, 2)
    ],
    "filters around the groups": [(1, 2, 12, 13, f, 5, 1, 2) for f in (2, 3, 4, 5, 7, 8, 9, 30)],
    "channels": [(1, c, 11, 12, 6, 5, s, 1) for c in (1, 2, 3, 5, 16, 33) for s in (1, 2)],
    "paddings": [
        (2, 3, 14, 15, 7, k, s, p)
        for k, s in ((5, 1), (5, 2), (7, 2))
        for p in (0, 1, 3, 4, ((0, 3), (2, 1)), ((4, 0), (1, 4)))
    ],
    "strides of one axis": [(2, 3, 20, 21, 5, (5, 7), s, (2, 3)) for s in ((1, 2), (2, 1))],
    "bands of an image": [(1, 3, 120, 130, 9, 7, 2, 3), (2, 24, 60, 61, 10, 5, 1, 2)],
    "many images": [(70, 1, 12, 12, 6, 5, 1, 0)],
    "long sums": [(1, 90, 12, 12, 5, 5, 1, 2), (1, 4, 12, 12, 90, 7, 2, 3)],
}


def exact_and_ours(p, *arrays):
    """Pairs of what is exact and ours; dx with different strides is not computed."""
    wanted = exact(p, *arrays)
    if p.stride_h == p.stride_w:
        return zip(run(p, *arrays), wanted, strict=True)
    x, w, b, dout = arrays
    y, dw, db = (np.full(s, np.nan, np.float32) for s in (p.out_shape, p.w_shape, p.FN))
    cy.forward(y, x, w, b, p)
    cy.backward_weights(dw, db, dout, x, p)
    return zip((y, dw, db), (wanted[0], *wanted[2:]), strict=True)


@pytest.mark.parametrize("N, C, H, W, FN, size, stride, padding", flat(PROBLEMS))
def test_against_float64(N, C, H, W, FN, size, stride, padding):
    p, *arrays = case(N, C, H, W, FN, size, stride, padding)
    for got, expected in exact_and_ours(p, *arrays):
        assert rms(got - expected) <= RMS_ERROR * rms(expected)


SHAPES = [(20, 1, 28, 28, 30, 5, 1, 0), (1, 3, 96, 96, 40, 7, 2, 3), (3, 8, 40, 40, 20, 5, 1, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_number_of_threads(threads, shape):
    assert_repeatable(*case(*shape), error=RMS_ERROR)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_has_the_same_bits_for_any_number_of_threads(shape):
    assert_same_bits(*case(*shape))


@pytest.mark.parametrize("shape", [(2, 2, 18, 20, 7, 5, 1, 2), (2, 3, 18, 20, 7, 7, 2, 3)], ids=str)
def test_bias_and_relu(shape):
    assert_bias_and_relu(*case(*shape, "relu"), error=RMS_ERROR)


@pytest.mark.parametrize("shape", [(3, 5, 18, 21, 9, 5, 1, 2), (3, 5, 18, 21, 9, 7, 2, 3)], ids=str)
def test_prepared(shape):
    p, x, w, b, dout = case(*shape, "relu")
    y, dx = np.full(p.out_shape, np.nan, np.float32), np.full(p.x_shape, np.nan, np.float32)
    cy.forward(y, x, w, b, p)
    cy.backward_data(dx, dout, w, p)
    forward, backward = cy.prepare(w, b, p), cy.prepare_data(w, p)
    w[:] = np.nan  # they keep transformed copies
    for _ in range(2):
        np.testing.assert_array_equal(Chain([forward], x, p.out_shape)(x), y)
        np.testing.assert_array_equal(Chain([backward], dout, p.x_shape)(dout), dx)


def test_no_images_give_zero_gradients():
    p, *arrays = case(0, 1, 28, 28, 6, 5, 1, 0)
    y, dx, dw, db = run(p, *arrays)
    assert y.size == dx.size == 0
    assert not dw.any() and not db.any()


def test_bias_gradient_is_not_asked_for():
    p, x, w, b, dout = case(4, 2, 20, 20, 9, 5, 1, 0)
    dw = np.full(p.w_shape, np.nan, np.float32)
    cy.backward_weights(dw, None, dout, x, p)
    np.testing.assert_array_equal(dw, run(p, x, w, b, dout)[2])


def test_error_statistics():
    for shape in (
        (50, 1, 28, 28, 30, 5, 1, 0),
        (1500, 1, 20, 20, 6, 5, 1, 0),  # long sums
        (2, 3, 224, 224, 64, 7, 2, 3),
        (2, 32, 28, 28, 32, 5, 1, 2),
    ):
        assert_error_statistics(*case(*shape))


def test_inputs_stay_as_they_are():
    for stride in (1, 2):
        assert_inputs_stay(*case(2, 3, 18, 20, 9, 7, stride, 3))


def problem(N=8, C=3, H=64, FN=32, size=5, stride=1, dtype=np.float32, groups=1, padding=2, dilation=1):
    x, w = np.empty((N, C, H, H), dtype), np.empty((FN, C // groups, size, size), dtype)
    return _check.conv2d(x, w, None, stride, padding, dilation, groups)[0]


@pytest.mark.parametrize("registers, lanes", [(16, 8), (32, 16), (16, 4)])
def test_the_table_takes_what_pays_and_says_why_not(registers, lanes, monkeypatch):
    monkeypatch.setattr("fastconv._table.vector_registers", lambda: registers)
    monkeypatch.setattr("fastconv._table.vector_lanes", lambda: lanes)
    stem = problem(8, 3, 224, 64, 7, 2, padding=3)
    first = problem(100, 1, 64, 30, 5, padding=0)
    assert winograd(stem) == ""
    assert (winograd(first) == "") == (registers == 16)
    if registers == 16:
        for p in (stem, first):
            assert winograd_backward_weights(p) == ""
        assert winograd_backward_data(stem) == ""
        assert winograd_backward_data(problem(8, 16, 28, 32)) == ""
    assert "pays" in winograd_backward_data(first)
    if lanes > 4:
        assert "pays" in winograd(problem(4, 6, 14, 16, padding=0))
    assert "pays" in winograd_backward_weights(problem(4, 6, 14, 16, padding=0))
    assert "1 MB" in winograd_backward_weights(problem(C=64, FN=64))
    assert "float32" in winograd(problem(dtype=np.float64))
    assert "padding" in winograd(problem(padding=5))
    for p in (problem(size=9), problem(stride=3), problem(groups=3, FN=33), problem(dilation=2), problem(size=4)):
        assert "computes filters" in winograd(p)
    assert "same stride" in winograd_backward_data(problem(stride=(1, 2)))
    assert "3 x 3" in winograd_backward(problem())
    before = fc.get_float32_conv_precision()
    fc.set_float32_conv_precision("highest")
    try:
        assert "precise" in winograd(problem())
    finally:
        fc.set_float32_conv_precision(before)


def test_the_public_functions_use_it():
    p, x, w, b, dout = case(8, 3, 64, 64, 32, 5, 1, 2)
    wanted = exact(p, x, w, b, dout)
    got = fc.conv2d(x, w, b, padding=2), *fc.conv2d_backward(dout, x, w, padding=2)
    for ours, expected in zip(got, wanted, strict=True):
        assert rms(ours - expected) <= RMS_ERROR * rms(expected)
