"""The compiled dropout against the reference: the same bits for any size, repeat, ratio and number of threads."""

import numpy as np
import pytest

from fastconv import get_num_threads, set_num_threads
from fastconv._problem import Dropout
from fastconv.kernels.dropout import ref
from fastconv.testing import DTYPES, normal

SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 16383, 16385, 50001]


def problem(size, repeat, ratio, dtype):
    return Dropout(
        dtype=np.dtype(dtype), result_dtype=np.dtype(dtype), size=size, repeat=repeat,
        threshold=round(ratio * 2**32), scale=1.25,
    )  # fmt: skip


@pytest.fixture(params=[1, 3])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("repeat", [1, 2, 5, 700])
def test_same_bits_as_the_reference(compiled, repeat, ratio, dtype, threads):
    for size in SIZES if repeat == 1 else [0, 1, 5, 16, 33, 100]:
        p = problem(size, repeat, ratio, dtype)
        x, seed = normal(size * repeat, dtype), 2**64 - 12345
        if x.size > 2:
            x[:2] = np.nan, np.inf
        results = []
        for kernels in (compiled, ref):
            out, dx = np.full_like(x, -1), np.full_like(x, -1)
            mask = np.zeros(size, np.bool_)
            kernels.forward(out, mask, x, seed, p)
            kernels.backward(dx, x, mask, p)
            results.append((out, mask, dx))
        for got, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_nothing_is_written_beyond_the_end(compiled):
    for size in (1, 15, 16, 17, 30):
        mask = np.full(size + 64, 7, np.uint8)
        out = np.full(size + 64, 7, np.float32)
        x = np.ones(size, np.float32)
        compiled.forward(out[:size], mask.view(np.bool_)[:size], x, 1, problem(size, 1, 0.5, np.float32))
        assert (mask[size:] == 7).all() and (out[size:] == 7).all()
