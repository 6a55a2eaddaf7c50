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


@pytest.mark.parametrize("case", SPEED["softmax"], ids=str)
def bench_log_softmax(timed, case):
    x = normal(case.shape, np.float32)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.log_softmax(tx, 1)

    timed(lambda: fc.log_softmax(x), theirs)


@pytest.mark.parametrize("name", ("softmax_backward", "log_softmax_backward"))
@pytest.mark.parametrize("case", SPEED["softmax"], ids=str)
def bench_backward(timed, case, name):
    dout, x = normal(case.shape, np.float32, 1), normal(case.shape, np.float32)
    y = fc.softmax(x) if name == "softmax_backward" else fc.log_softmax(x)

    def theirs(torch):
        td, ty, function = torch.tensor(dout), torch.tensor(y), getattr(torch.ops.aten, f"_{name}_data")
        return lambda: function(td, ty, 1, torch.float32)

    timed(lambda: getattr(fc, name)(dout, y), theirs)
