"""Convolutions, ReLUs and a pooling as one, against the same operations one by one."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import _prepare as prepare
from fastconv.kernels.chain.cy import BackwardStep, WeightsStep
from fastconv.testing import DTYPES, assert_close, normal, tolerance

ROWS = {  # C, H, W, convolutions (FN, filter, stride, pad, groups), pooling (window, stride, pad, ceil_mode)
    "one": (1, 12, 11, [(5, 5, 1, 0, 1)], ((2, 2), 2, 0, False)),
    "two": (3, 13, 15, [(16, 3, 1, 1, 1), (18, 3, 1, 1, 1)], ((2, 2), 2, 0, True)),
    "three": (20, 14, 14, [(33, 3, 1, 1, 1), (40, 1, 1, 0, 1), (7, 3, 2, 1, 1)], ((3, 3), 2, 1, False)),
    "winograd": (32, 20, 18, [(32, 3, 1, 1, 1), (48, 3, 1, 2, 1)], ((2, 2), 2, 0, False)),
    "winograd, stride 2": (32, 32, 30, [(64, 3, 2, 1, 1), (48, 3, 1, 1, 1)], ((2, 2), 2, 0, False)),
    "groups": (6, 9, 9, [(4, 3, 1, (1, 0), 2)], ((2, 3), (1, 2), 0, False)),
}


def arrays(row, N, dtype):
    C, H, W, convolutions, (size, stride, pad, ceil) = row
    x, given = normal((N, C, H, W), dtype), []
    for number, (FN, K, step, padding, groups) in enumerate(convolutions):
        w = normal((FN, C // groups, K, K), dtype, number) / dtype(K * np.sqrt(C / groups))
        given.append((w, normal(FN, dtype, number + 9) if number % 2 == 0 else None, step, padding, 1, groups))
        C = FN
    return x, given, (size, stride, pad, 1, ceil)


def one_by_one(x, given, window, dout, needs_dx):
    sources = [x]
    for w, b, *geometry in given:
        sources.append(fc.conv2d(sources[-1], w, b, *geometry, activation="relu"))
    y, indices = fc.max_pool2d(sources[-1], *window)
    gradient = fc.max_pool2d_backward(dout, indices, sources[-1].shape, *window)
    gradients = []
    for (w, b, *geometry), source, result in zip(given[::-1], sources[-2::-1], sources[::-1], strict=False):
        needs = needs_dx or source is not x, True, b is not None
        gradient = fc.relu_backward(gradient, result)
        gradient, *more = fc.conv2d_backward(gradient, source, w, *geometry, needs=needs)
        gradients.insert(0, more)
    return y, indices, gradient, gradients


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("needs_dx", [True, False])
@pytest.mark.parametrize("N", [1, 2, 37])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_as_one_by_one(name, dtype, N, needs_dx, threads):
    before = fc.get_num_threads()
    try:
        fc.set_num_threads(threads)
        x, given, window = arrays(ROWS[name], N, dtype)
        block = prepare.block(x, given, window)
        y, indices = block.forward()
        dout = normal(y.shape, dtype, 5)
        expected = one_by_one(x, given, window, dout, needs_dx)
        # A convolution of fewer images may take another road, so that the last bits differ, and equal maxima change.
        assert_close(y, expected[0], tolerance(dtype, 4000))
        assert np.mean(indices == expected[1]) > 0.99
        dx, gradients = block.backward(dout, needs_dx)
    finally:
        fc.set_num_threads(before)
    terms = 20 * N * x[0, 0].size
    assert (dx is None) == (not needs_dx)
    if needs_dx:
        assert_close(dx, expected[2], tolerance(dtype, 40000))
    for (dw, db), (dw_expected, db_expected) in zip(gradients, expected[3], strict=True):
        assert_close(dw, dw_expected, tolerance(dtype, terms))
        assert (db is None) == (db_expected is None)
        if db is not None:
            assert_close(db, db_expected, tolerance(dtype, terms))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_every_time_and_for_nan(dtype):
    x, given, window = arrays(ROWS["two"], 50, dtype)
    x[3, 0, 4, 4], x[7, 1, 2, 2] = np.nan, np.inf
    results = []
    for _ in range(3):
        block = prepare.block(x, given, window)
        with np.errstate(invalid="ignore"):
            y, indices = block.forward()
            dx, gradients = block.backward(np.ones_like(y), True)
        results.append([y, indices, dx, *(g for pair in gradients for g in pair if g is not None)])
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.isnan(results[0][0][3]).any() and not np.isnan(results[0][0][4]).any()


def test_an_index_outside_of_its_plane_is_an_error():
    x, given, window = arrays(ROWS["one"], 4, np.float32)
    block = prepare.block(x, given, window)
    y, indices = block.forward()
    indices[2, 1, 0, 0] = 1000
    with pytest.raises(ValueError, match="indices"):
        block.backward(np.ones_like(y), False)
    with pytest.raises(ValueError, match="dout"):
        block.backward(np.ones_like(y[:2]), False)


def test_not_for_depthwise_other_backends_float16_or_no_images():
    x, given, window = arrays(ROWS["two"], 2, np.float32)
    assert prepare.block(x[:0], given, window) is None
    half = [(w.astype(np.float16), None, *geometry) for w, _, *geometry in given]
    assert prepare.block(x.astype(np.float16), half, window) is None
    with fc.backend("numpy"):
        assert prepare.block(x, given, window) is None
    assert prepare.block(x, [(normal((3, 1, 3, 3), np.float32), None, 1, 1, 1, 3)], window) is None


def test_one_kernel_for_all_gradients_where_there_is_one():
    x, given, window = arrays(ROWS["winograd"], 37, np.float32)
    block = prepare.block(x, given, window)
    for p, (w, _) in zip(block._problems, block._weights, strict=True):
        data, weights, both = prepare._backward_steps(p, w, needs_dx=True)
        assert data is None and weights is None and isinstance(both, BackwardStep)
        data, weights, both = prepare._backward_steps(p, w, needs_dx=False)
        assert data is None and both is None and isinstance(weights, WeightsStep)
