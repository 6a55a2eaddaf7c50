"""The compiled gradients of filters and bias against the reference, on whole numbers: every sum is exact."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import DTYPES, ConvCase, whole


@pytest.fixture(autouse=True)
def direct_sums():
    """Winograd's sums are not exact."""
    fc.set_float32_conv_precision("highest")
    yield
    fc.set_float32_conv_precision("high")


WIDTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 49)  # around the vectors' lanes, and twice them

CASES = [
    *(ConvCase(2, 3, 7, 6, filters, padding=1) for filters in WIDTHS),
    *(ConvCase(2, channels, 6, 5, 5) for channels in WIDTHS),
    *(ConvCase(2, 2, 5, width, 18, (3, 2), padding=1) for width in WIDTHS),
    *(
        ConvCase(2, 3, 12, 13, 20, (size, size), stride, size // 2)
        for size in (1, 2, 3, 4, 5, 6, 7)
        for stride in (1, 2)
    ),
    # many small images in a block; long rows cut into columns; rows cut into bands and blocks
    ConvCase(40, 8, 6, 6, 20),
    ConvCase(2, 1, 5, 700, 5, padding=1),
    ConvCase(1, 1, 2, 3000, 33, (1, 1)),
    ConvCase(1, 3, 70, 60, 16, (7, 7), 2, 3),
    # units of channels and of filters, groups, parts
    ConvCase(1, 130, 14, 14, 140, padding=1),
    ConvCase(1, 40, 13, 13, 300, (1, 1)),
    ConvCase(1, 20, 28, 28, 40, (1, 1)),
    ConvCase(2, 24, 20, 20, 48, padding=1, groups=4),
    ConvCase(8, 4, 28, 28, 16, padding=1),
    ConvCase(2, 12, 33, 32, 40, (3, 3), (2, 3), ((2, 1), (0, 1)), (1, 2), 2),
    ConvCase(0, 3, 8, 8, 4, padding=1),
]


def gradients(case, x, w, dout):
    return fc.conv2d_backward(dout, x, w, needs=(False, True, True), **case.options)[1:]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_as_the_reference(fast, case, dtype):
    x, w, _ = case.arrays(dtype)
    x = whole(x.shape, dtype)
    with fc.backend("numpy"):
        dout = whole(fc.conv2d(x, w, **case.options).shape, dtype, seed=1)
        expected = gradients(case, x, w, dout)
    with fc.backend(fast):
        actual = gradients(case, x, w, dout)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("case", [ConvCase(6, 4, 28, 28, 16, padding=1), ConvCase(1, 130, 14, 14, 140)], ids=str)
def test_same_bits_each_time(fast, case):
    x, w, _ = case.arrays(np.float32)
    with fc.backend(fast):
        dout = fc.conv2d(x, w, **case.options)
        first = gradients(case, x, w, dout)
        for _ in range(20):
            for a, e in zip(gradients(case, x, w, dout), first, strict=True):
                np.testing.assert_array_equal(a, e)
