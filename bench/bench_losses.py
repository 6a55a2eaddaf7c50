"""Losses in plain NumPy."""

import numpy as np

import fastconv as fc
from fastconv.testing import normal


def bench_mean_squared_error(timed):
    y, t = normal((100, 1000), np.float32), normal((100, 1000), np.float32, 1)

    def theirs(torch):
        ty, tt = torch.tensor(y), torch.tensor(t)
        return lambda: torch.nn.functional.mse_loss(ty, tt)

    timed(lambda: fc.mean_squared_error(y, t, "mean"), theirs)


def bench_nll_loss(timed):
    log_y, t = fc.log_softmax(normal((100, 10), np.float32)), np.arange(100) % 10

    def theirs(torch):
        ty, tt = torch.tensor(log_y), torch.tensor(t)
        return lambda: torch.nn.functional.nll_loss(ty, tt)

    timed(lambda: fc.nll_loss(log_y, t), theirs)
