"""Losses in plain NumPy."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal

SHAPES = [(100, 10), (100, 1000)]


@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_mean_squared_error(timed, case):
    y, t = normal(case, np.float32), normal(case, np.float32, 1)

    def theirs(torch):
        ty, tt = torch.tensor(y), torch.tensor(t)
        return lambda: torch.nn.functional.mse_loss(ty, tt)

    timed(lambda: fc.mean_squared_error(y, t, "mean"), theirs)


@pytest.mark.parametrize("case", SPEED["softmax"], ids=str)
def bench_nll_loss(timed, case):
    log_y, t = fc.log_softmax(normal(case.shape, np.float32)), np.arange(case.shape[0]) % 10

    def theirs(torch):
        ty, tt = torch.tensor(log_y), torch.tensor(t)
        return lambda: torch.nn.functional.nll_loss(ty, tt)

    timed(lambda: fc.nll_loss(log_y, t), theirs)


@pytest.mark.parametrize("case", SHAPES, ids=str)
def bench_mean_squared_error_backward(timed, case):
    y, t = normal(case, np.float32), normal(case, np.float32, 1)

    def theirs(torch):
        one, ty, tt = torch.tensor(1.0), torch.tensor(y), torch.tensor(t)
        return lambda: torch.ops.aten.mse_loss_backward(one, ty, tt, 1)

    timed(lambda: fc.mean_squared_error_backward(y, t, "mean"), theirs)


@pytest.mark.parametrize("case", SPEED["softmax"], ids=str)
def bench_nll_loss_backward(timed, case):
    log_y, t = fc.log_softmax(normal(case.shape, np.float32)), np.arange(case.shape[0]) % 10

    def theirs(torch):
        one, ty, tt, count = torch.tensor(1.0), torch.tensor(log_y), torch.tensor(t), torch.tensor(float(len(t)))
        return lambda: torch.ops.aten.nll_loss_backward(one, ty, tt, None, 1, -100, count)

    timed(lambda: fc.nll_loss_backward(log_y, t), theirs)
