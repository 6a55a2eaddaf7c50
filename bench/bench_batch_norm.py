"""Batch normalisation, forward in training and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal


@pytest.mark.parametrize("case", SPEED["batch_norm"], ids=str)
def bench_batch_norm_forward(timed, case):
    C = case.shape[1]
    x, g, mean, var = (
        normal(case.shape, np.float32),
        np.ones(C, np.float32),
        np.zeros(C, np.float32),
        np.ones(C, np.float32),
    )

    def theirs(torch):
        args = [torch.tensor(a) for a in (x, g, g, mean, var)]
        return lambda: torch.native_batch_norm(*args, True, 0.1, 1e-5)

    timed(lambda: fc.batch_norm(x, g, g, mean, var, True), theirs)


@pytest.mark.parametrize("case", SPEED["batch_norm"], ids=str)
def bench_batch_norm_backward(timed, case):
    C = case.shape[1]
    x, g = normal(case.shape, np.float32), np.ones(C, np.float32)
    y, cache = fc.batch_norm(x, g, g, None, None, True)

    def theirs(torch):
        tx, tg, mean, var = torch.tensor(x), torch.tensor(g), torch.zeros(C), torch.ones(C)
        ty, m, i = torch.native_batch_norm(tx, tg, tg, mean, var, True, 0.1, 1e-5)
        backward = torch.ops.aten.native_batch_norm_backward
        return lambda: backward(ty, tx, tg, mean, var, m, i, True, 1e-5, [True, True, True])

    timed(lambda: fc.batch_norm_backward(y, cache), theirs)


@pytest.mark.parametrize("case", SPEED["batch_norm"], ids=str)
def bench_batch_norm_inference(timed, case):
    C = case.shape[1]
    x, ones, zeros = normal(case.shape, np.float32), np.ones(C, np.float32), np.zeros(C, np.float32)

    def theirs(torch):
        args = [torch.tensor(a) for a in (x, zeros, ones, ones, zeros)]
        return lambda: torch.nn.functional.batch_norm(*args)

    timed(lambda: fc.batch_norm(x, ones, zeros, zeros, ones), theirs)
