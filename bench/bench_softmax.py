"""Softmax, and softmax with cross entropy and its gradient."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal


@pytest.mark.parametrize("case", SPEED["softmax"], ids=str)
def bench_softmax(timed, case):
    x = normal(case.shape, np.float32)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.softmax(tx, 1)

    timed(lambda: fc.softmax(x), theirs)


@pytest.mark.parametrize("case", SPEED["softmax"], ids=str)
def bench_softmax_cross_entropy_with_gradient(timed, case):
    x, t = normal(case.shape, np.float32), np.random.default_rng(0).integers(0, case.shape[1], case.shape[0])

    def ours():
        _, y = fc.softmax_cross_entropy(x, t)
        return fc.softmax_cross_entropy_backward(y, t)

    def theirs(torch):
        tx, tt = torch.tensor(x, requires_grad=True), torch.tensor(t)
        return lambda: torch.autograd.grad(torch.nn.functional.cross_entropy(tx, tt), tx)

    timed(ours, theirs)
