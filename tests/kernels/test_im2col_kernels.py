"""Compiled im2col and col2im against the reference over many windows."""

from functools import partial

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import DTYPES, normal, whole


def windows():
    """(x's shape, FH, FW, stride, pad): every filter width that is compiled as a constant, then random ones."""
    for FW in range(1, 10):
        for width in (FW, 15, 16, 17, 33):
            if width >= FW:
                yield (2, 3, 6, width), 3, FW, 1, 0
                yield (1, 5, 5, width), 2, FW, (1, 2), 1
    yield (2, 40, 9, 70), 3, 3, 1, 1  # more channels than a strip holds
    yield (0, 3, 5, 5), 3, 3, 1, 1
    yield (1, 2, 1, 1), 3, 3, 4, ((4, 0), (4, 0))  # as little of the padded image as one window
    yield (1, 2, 1, 1), 2, 3, 1, 4  # windows that see nothing but padding
    rng = np.random.default_rng(0)
    for _ in range(150):
        FH, FW = rng.integers(1, 8, 2).tolist()
        (top, bottom), (left, right) = pads = [tuple(rng.integers(0, 5, 2).tolist()) for _ in range(2)]
        H = max(1, FH - top - bottom) + int(rng.integers(0, 20))
        W = max(1, FW - left - right) + int(rng.integers(0, 40))
        yield (*rng.integers(1, 5, 2).tolist(), H, W), FH, FW, tuple(rng.integers(1, 5, 2).tolist()), tuple(pads)


def both(fast, function, *args):
    results = []
    for backend in (fast, "numpy"):
        with fc.backend(backend):
            results.append(function(*args))
    return results


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_the_reference(fast, dtype):
    for shape, *window in windows():
        col, expected = both(fast, fc.im2col, normal(shape, dtype), *window)
        np.testing.assert_array_equal(col, expected, str((shape, window)))
        image, expected = both(fast, fc.col2im, whole(col.shape, dtype), shape, *window)
        np.testing.assert_array_equal(image, expected, str((shape, window)))


@pytest.mark.parametrize("layout", ["rows_nhwc", "columns", "columns_n_last", "unfold"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_against_the_reference(fast, dtype, layout):
    for shape, *window in windows():
        x = normal((shape[0], *shape[2:], shape[1]) if layout == "rows_nhwc" else shape, dtype)
        col, expected = both(fast, partial(fc.im2col, layout=layout), x, *window)
        np.testing.assert_array_equal(col, expected, str((shape, window)))
        image, expected = both(fast, partial(fc.col2im, layout=layout), whole(col.shape, dtype), x.shape, *window)
        np.testing.assert_array_equal(image, expected, str((shape, window)))


@pytest.mark.parametrize("layout", ["rows", "rows_nhwc", "columns", "columns_n_last", "unfold"])
@pytest.mark.parametrize("shape", [(50, 3, 20, 20), (1, 2, 300, 200)], ids=str)
def test_same_bits_for_any_number_of_threads(fast, shape, layout):
    x, threads = normal(shape, np.float32), fc.get_num_threads()
    results = []
    try:
        for n in (1, 3):
            fc.set_num_threads(n)
            with fc.backend(fast):
                col = fc.im2col(x, 3, 3, 1, 1, layout=layout)
                results.append((col, fc.col2im(col, shape, 3, 3, 1, 1, layout=layout)))
    finally:
        fc.set_num_threads(threads)
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)
