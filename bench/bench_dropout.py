"""Dropout, forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import normal

SHAPES = [(100, 50), (100, 4320), (100, 32, 14, 14)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def bench_dropout_forward(timed, shape):
    x, rng = normal(shape, np.float32), np.random.default_rng(0)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.native_dropout(tx, 0.5, True)

    timed(lambda: fc.dropout(x, 0.5, rng), theirs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def bench_dropout_backward(timed, shape):
    x = normal(shape, np.float32)
    _, mask = fc.dropout(x, 0.5, 0)

    def theirs(torch):
        tx, tm = torch.tensor(x), torch.tensor(mask)
        return lambda: torch.ops.aten.native_dropout_backward(tx, tm, 2.0)

    timed(lambda: fc.dropout_backward(x, mask, 0.5), theirs)
