"""Maximum and average pooling, forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal


def setup(case):
    shape = (case.N, case.C, case.H, case.W)
    return normal(shape, np.float32), shape, (case.kernel, case.stride, case.padding)


@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_max_pool2d_forward(timed, case):
    x, _, args = setup(case)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.nn.functional.max_pool2d(tx, *args, return_indices=True)

    timed(lambda: fc.max_pool2d(x, *args), theirs)


@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_max_pool2d_backward(timed, case):
    x, shape, args = setup(case)
    y, indices = fc.max_pool2d(x, *args)

    def theirs(torch):
        ty, tx, ti = (torch.tensor(a) for a in (y, x, indices))
        k, s, p = ([v, v] for v in (args[0], args[1] or args[0], args[2]))
        return lambda: torch.ops.aten.max_pool2d_with_indices_backward(ty, tx, k, s, p, [1, 1], False, ti)

    timed(lambda: fc.max_pool2d_backward(y, indices, shape, *args), theirs)


@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_avg_pool2d_forward(timed, case):
    x, _, args = setup(case)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.nn.functional.avg_pool2d(tx, *args)

    timed(lambda: fc.avg_pool2d(x, *args), theirs)


@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_avg_pool2d_backward(timed, case):
    x, shape, args = setup(case)
    y = fc.avg_pool2d(x, *args)

    def theirs(torch):
        ty, tx = torch.tensor(y), torch.tensor(x)
        k, s, p = ([v, v] for v in (args[0], args[1] or args[0], args[2]))
        return lambda: torch.ops.aten.avg_pool2d_backward(ty, tx, k, s, p, False, True, None)

    timed(lambda: fc.avg_pool2d_backward(y, shape, *args), theirs)
