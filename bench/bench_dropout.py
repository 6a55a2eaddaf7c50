"""Dropout, forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import normal

SHAPES = [(100, 50), (100, 4320), (100, 32, 14, 14)]


@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_dropout_forward(timed, case):
    x, rng = normal(case, np.float32), np.random.default_rng(0)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.native_dropout(tx, 0.5, True)

    timed(lambda: fc.dropout(x, 0.5, rng), theirs)


@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_dropout_backward(timed, case):
    x = normal(case, np.float32)
    _, mask = fc.dropout(x, 0.5, 0)

    def theirs(torch):
        tx, tm = torch.tensor(x), torch.tensor(mask)
        return lambda: torch.ops.aten.native_dropout_backward(tx, tm, 2.0)

    timed(lambda: fc.dropout_backward(x, mask, 0.5), theirs)


IMAGES = [(100, 32, 14, 14), (8, 64, 56, 56)]


@pytest.mark.parametrize("case", IMAGES, ids=str)
def bench_dropout2d_forward(timed, case):
    x, rng = normal(case, np.float32), np.random.default_rng(0)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.nn.functional.dropout2d(tx, 0.5, True)

    timed(lambda: fc.dropout2d(x, 0.5, rng), theirs)


@pytest.mark.parametrize("case", IMAGES, ids=str)
def bench_dropout2d_backward(timed, case):
    x = normal(case, np.float32)
    _, mask = fc.dropout2d(x, 0.5, 0)

    def theirs(torch):
        tx, tm = torch.tensor(x), torch.tensor(mask * np.float32(2))
        return lambda: tx * tm

    timed(lambda: fc.dropout2d_backward(x, mask, 0.5), theirs)
