"""Compiled pooling against the reference over many windows, and what their fast paths must not break."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import ops
from fastconv.testing import DTYPES, assert_close, normal, tolerance, whole

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 65)  # around the vectors' lanes, and twice them


def windows(most_dilation):
    """(shape, kernel, stride, padding, dilation, ceil_mode): common ones over all widths, then random ones that fit."""
    for width in WIDTHS[1:]:
        yield (1, 2, 6, width), (2, 2), (2, 2), 0, 1, False
        yield (2, 1, 7, width), (2, 2), (2, 2), 0, 1, True
    for width in WIDTHS[2:]:
        yield (2, 2, 7, width), (3, 3), (2, 2), 1, 1, False
        yield (1, 1, 8, width), (3, 3), (2, 2), 0, 1, True
        yield (1, 1, 5, width), (3, 3), (1, 1), 1, 1, False
        yield (1, 1, 9, width), (3, 3), (3, 3), 1, 1, False
    rng = np.random.default_rng(0)
    for index in range(250):
        planes = rng.integers(1, 3, 2) if index < 150 else (3, rng.integers(1, 12))  # then with a lane for each of some
        kernel, stride, dilation = (tuple(rng.integers(1, most + 1, 2).tolist()) for most in (5, 4, most_dilation))
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        pads = tuple(tuple(rng.integers(0, r // 2 + 1, 2).tolist()) for r in reach)
        most = 40 if index < 150 else 14
        size = [max(1, r - sum(pad)) + int(rng.integers(0, most)) for r, pad in zip(reach, pads, strict=True)]
        yield (*map(int, planes), *size), kernel, stride, pads, dilation, bool(rng.integers(2))


WINDOWS = list(windows(most_dilation=3))
UNDILATED = [(*sizes, ceil_mode) for *sizes, _, ceil_mode in windows(most_dilation=1)]


def both(fast, function, *args, **kwargs):
    """The compiled result and the reference's."""
    results = []
    for backend in (fast, "numpy"):
        with fc.backend(backend):
            results.append(function(*args, **kwargs))
    return results


def with_ties(shape, dtype, seed=0):
    """Whole numbers tie often; NaN and infinities are scattered among them."""
    x = whole(shape, dtype, low=-2, high=2)
    spots = np.random.default_rng(seed).random(shape)
    for value, low, high in ((np.nan, 0, 0.03), (-np.inf, 0.1, 0.3), (np.inf, 0.9, 0.92)):
        x[(spots >= low) & (spots < high)] = value
    return x


@pytest.mark.parametrize("dtype", DTYPES)
def test_max_forward_and_backward(fast, dtype):
    for shape, *window in WINDOWS:
        for x in (normal(shape, dtype), with_ties(shape, dtype), np.full(shape, -np.inf, dtype)):
            (y, indices), (expected, positions) = both(fast, fc.max_pool2d, x, *window)
            np.testing.assert_array_equal(y, expected, str((shape, window)))
            np.testing.assert_array_equal(indices, positions, str((shape, window)))
            if indices.min() >= 0:
                dx, truth = both(fast, fc.max_pool2d_backward, whole(y.shape, dtype), indices, shape, *window)
                np.testing.assert_array_equal(dx, truth, str((shape, window)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel, padding", [(2, 0), (3, 0), (3, 1)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_stride_2_at_every_width(fast, kernel, padding, ceil_mode, dtype):
    window = (kernel, 2, padding)
    for width in range(kernel, 71):
        for height in (3, 4, 5, 8, 9):
            x = with_ties((1, 2, height, width), dtype, width)
            (y, indices), (expected, positions) = both(fast, fc.max_pool2d, x, *window, ceil_mode=ceil_mode)
            np.testing.assert_array_equal(y, expected, str((x.shape, window)))
            np.testing.assert_array_equal(indices, positions, str((x.shape, window)))
            values = whole(x.shape, dtype)
            mean, truth = both(fast, fc.avg_pool2d, values, *window, ceil_mode=ceil_mode)
            np.testing.assert_array_equal(mean, truth, str((x.shape, window)))
            dx, truth = both(fast, fc.avg_pool2d_backward, mean, x.shape, *window, ceil_mode=ceil_mode)
            assert_close(dx, truth, tolerance(dtype, 25))


@pytest.mark.parametrize("width", [912, 911])
def test_max_of_more_than_the_caches_hold(fast, width):
    x = with_ties((5, 1, 1000, width), np.float32)
    (y, indices), (expected, positions) = both(fast, fc.max_pool2d, x, 3, 2, 1)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, positions)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel, padding", [(2, 0), (3, 1)])
def test_max_backward_adds_at_any_index(fast, kernel, padding, dtype):
    """Indices of another window than their own are legal: every dout is added where its index says."""
    shape = (2, 3, 14, 38)
    with fc.backend("numpy"):
        y, indices = fc.max_pool2d(normal(shape, dtype), kernel, 2, padding)
    rng = np.random.default_rng(3)
    for changed in (0, 1, indices.size):
        wild = indices.copy()
        if changed:
            wild.ravel()[rng.choice(indices.size, changed, replace=False)] = rng.integers(0, 14 * 38, changed)
        else:  # two windows' indices exchanged: as far to the right as to the left
            wild[0, 0, 0, :2] = wild[0, 0, 0, 1::-1]
        dx, truth = both(fast, fc.max_pool2d_backward, whole(y.shape, dtype), wild, shape, kernel, 2, padding)
        np.testing.assert_array_equal(dx, truth)


@pytest.mark.parametrize("backend", ["cython", pytest.param("numba", marks=pytest.mark.numba), "numpy"])
@pytest.mark.parametrize("width", [6, 60])
@pytest.mark.parametrize("wrong", [-1, 6 * 60, 2**62, 2**32 + 2 * 60 + 2], ids=str)
def test_max_backward_refuses_an_index_outside(wrong, width, backend):
    with fc.backend(backend):
        y, indices = fc.max_pool2d(normal((2, 3, 6, width), np.float32), 2)
        indices[1, 1, 1, 1] = wrong
        with pytest.raises(ValueError, match="indices"):
            fc.max_pool2d_backward(y, indices, (2, 3, 6, width), 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"count_include_pad": False}, {"divisor_override": 3}], ids=str)
def test_avg_forward_and_backward(fast, options, dtype):
    for shape, kernel, stride, padding, ceil_mode in UNDILATED:
        window = dict(kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, **options)
        y, expected = both(fast, fc.avg_pool2d, whole(shape, dtype), **window)
        np.testing.assert_array_equal(y, expected, str((shape, window)))  # sums of whole numbers, divided once
        dx, truth = both(fast, fc.avg_pool2d_backward, whole(y.shape, dtype), shape, **window)
        assert_close(dx, truth, tolerance(dtype, 25))


@pytest.mark.parametrize("dtype", DTYPES)
def test_avg_lets_nan_and_infinity_through(fast, dtype):
    x = with_ties((2, 3, 11, 37), dtype)
    for window in ((2,), (3, 2, 1), (3, 1), (4, 3, 2)):
        with np.errstate(invalid="ignore"):
            y, expected = both(fast, fc.avg_pool2d, x, *window)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", [1, (1, 3), 2, 3, (5, 7), 7, (14, 40), (17, 50)], ids=str)
def test_adaptive(fast, output, dtype):
    for shape in ((2, 3, 14, 40), (1, 2, 7, 7), (3, 1, 13, 17), (0, 2, 5, 5)):
        x = normal(shape, dtype)
        y, expected = both(fast, fc.adaptive_avg_pool2d, x, output)
        assert_close(y, expected, tolerance(dtype, 560))
        dx, truth = both(fast, ops.adaptive_avg_pool2d_backward, normal(y.shape, dtype), shape)
        assert_close(dx, truth, tolerance(dtype, 560))


def test_global_average_of_a_long_plane_is_accurate(fast):
    x = (np.random.default_rng(0).random((1, 2, 1000, 1001)) + 1000).astype(np.float32)
    with fc.backend(fast):
        y = fc.global_avg_pool2d(x)[..., 0, 0]
    np.testing.assert_allclose(y, x.mean(axis=(2, 3), dtype=np.float64), rtol=2e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_stochastic_draws_the_same_elements(fast, dtype):
    for shape, kernel, stride, padding, ceil_mode in UNDILATED[::2]:
        if ceil_mode:
            continue
        for x in (normal(shape, dtype), with_ties(shape, dtype), -np.abs(normal(shape, dtype))):
            with np.errstate(invalid="ignore"):
                (y, indices), (expected, positions) = both(
                    fast, fc.stochastic_pool2d, x, kernel, stride, padding, rng=5
                )
                np.testing.assert_array_equal(indices, positions, str((shape, kernel, stride, padding)))
                np.testing.assert_array_equal(y, expected)
                (mean, _), (truth, _) = both(fast, fc.stochastic_pool2d, x, kernel, stride, padding, training=False)
                assert_close(mean, truth, tolerance(dtype, 25))


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (64, 3, 5, 5), (1, 1, 200, 300), (3, 7, 64, 64)], ids=str)
def test_same_bits_for_any_number_of_threads(fast, shape):
    x = normal(shape, np.float32)
    threads = fc.get_num_threads()
    results = []
    try:
        for n in (1, 3):
            fc.set_num_threads(n)
            with fc.backend(fast):
                y, indices = fc.max_pool2d(x, 3, 2, 1)
                results.append(
                    (y, indices, fc.max_pool2d_backward(y, indices, shape, 3, 2, 1), fc.avg_pool2d(x, 3, 2, 1),
                     fc.avg_pool2d_backward(y, shape, 3, 2, 1), fc.adaptive_avg_pool2d(x, 3))
                )  # fmt: skip
    finally:
        fc.set_num_threads(threads)
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)
