"""The compiled depthwise kernels against the reference, on whole numbers: every sum is exact."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import DTYPES, ConvCase, whole

WIDTHS = (1, 3, 7, 8, 9, 14, 15, 16, 17, 18, 31, 32, 33, 34, 49, 65)  # around the vectors' lanes, and twice them

CASES = [
    *(ConvCase(2, 3, 6, width, 3, (3, 3), stride, 1, groups=3) for width in WIDTHS for stride in (1, 2)),
    *(ConvCase(1, 2, height, 17, 2, (3, 3), stride, 1, groups=2) for height in range(1, 12) for stride in (1, 2)),
    *(ConvCase(1, 2, 11, width, 2, (5, 5), stride, 2, groups=2) for width in (4, 16, 33) for stride in (1, 2)),
    *(ConvCase(1, 2, 11, width, 2, (7, 7), stride, 3, groups=2) for width in (4, 16, 33) for stride in (1, 2)),
    # paddings that are odd, even, missing, one-sided, more than the filter
    *(ConvCase(2, 2, 9, 19, 2, (3, 3), s, p, groups=2) for s in (1, 2) for p in (0, 2, ((0, 2), (1, 3)), ((1, 0), (2, 1)), 4)),
    # the general path, and several filters for each channel
    ConvCase(2, 3, 9, 18, 3, (3, 2), (2, 1), 1, groups=3),
    ConvCase(2, 3, 9, 18, 3, (3, 3), 1, 2, 2, groups=3),
    ConvCase(2, 3, 9, 18, 3, (2, 2), (3, 5), 1, (1, 3), groups=3),
    ConvCase(2, 3, 9, 18, 3, (1, 1), 2, groups=3),
    ConvCase(2, 3, 9, 18, 9, (3, 3), 1, 1, groups=3),
    ConvCase(2, 3, 9, 18, 6, (5, 5), 2, 2, groups=3),
    ConvCase(0, 3, 8, 8, 3, (3, 3), 1, 1, groups=3),
    ConvCase(1, 2, 90, 140, 2, (3, 3), 1, 1, groups=2),  # several bands
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_as_the_reference(fast, case, dtype):
    x, w, b = (whole(a.shape, dtype, seed) for seed, a in enumerate(case.arrays(dtype)))
    results = []
    for backend in (fast, "numpy"):
        with fc.backend(backend):
            y = fc.conv2d(x, w, b, **case.options)
            dout = whole(y.shape, dtype, seed=5)
            relu = fc.conv2d(x, w, activation="relu", **case.options)
            results.append((y, relu, *fc.conv2d_backward(dout, x, w, **case.options)))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("stride", (1, 2))
def test_infinity_reaches_only_the_windows_that_see_it(fast, stride):
    x = np.ones((1, 2, 6, 19), np.float32)
    x[0, 0, 5, 18] = np.inf
    w = np.ones((2, 1, 3, 3), np.float32)
    results = []
    for backend in (fast, "numpy"):
        with fc.backend(backend):
            y = fc.conv2d(x, w, stride=stride, groups=2)
            results.append((y, fc.conv2d_backward(np.ones_like(y), x, w, stride=stride, groups=2)[1]))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(actual, expected)
