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


@pytest.mark.parametrize("output_size", [(1, 1), (7, 7)], ids=str)
@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_adaptive_avg_pool2d_forward(timed, case, output_size):
    x, _, _ = setup(case)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.nn.functional.adaptive_avg_pool2d(tx, output_size)

    def ours():
        return fc.global_avg_pool2d(x) if output_size == (1, 1) else fc.adaptive_avg_pool2d(x, output_size)

    timed(ours, theirs)


@pytest.mark.parametrize("output_size", [(1, 1), (7, 7)], ids=str)
@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_adaptive_avg_pool2d_backward(timed, case, output_size):
    x, shape, _ = setup(case)
    dout = normal((*shape[:2], *output_size), np.float32, 1)
    backward = fc.global_avg_pool2d_backward if output_size == (1, 1) else fc.adaptive_avg_pool2d_backward

    def theirs(torch):
        td, tx = torch.tensor(dout), torch.tensor(x)
        return lambda: torch.ops.aten._adaptive_avg_pool2d_backward(td, tx)

    timed(lambda: backward(dout, shape), theirs)


@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_min_pool2d_forward(timed, case):
    x, _, args = setup(case)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: -torch.nn.functional.max_pool2d(-tx, *args, return_indices=True)[0]

    timed(lambda: fc.min_pool2d(x, *args), theirs)


@pytest.mark.parametrize("name", ("min_pool2d", "stochastic_pool2d"))
@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_scatter_backward(timed, case, name):
    """The gradient of pools that remember indices goes where max pooling's goes."""
    x, shape, args = setup(case)
    y, indices = getattr(fc, name)(x, *args)

    def theirs(torch):
        ty, tx, ti = (torch.tensor(a) for a in (y, x, indices))
        k, s, p = ([v, v] for v in (args[0], args[1] or args[0], args[2]))
        return lambda: torch.ops.aten.max_pool2d_with_indices_backward(ty, tx, k, s, p, [1, 1], False, ti)

    timed(lambda: BACKWARDS[name](y, indices, shape, *args), theirs)


BACKWARDS = {"min_pool2d": fc.min_pool2d_backward, "stochastic_pool2d": fc.stochastic_pool2d_backward}


@pytest.mark.parametrize("training", (True, False), ids=("training", "inference"))
@pytest.mark.parametrize("case", SPEED["pool2d"], ids=str)
def bench_stochastic_pool2d_forward(timed, case, training):
    """PyTorch has none: its maximum pool is what it is measured by."""
    x, _, args = setup(case)
    x, rng = np.abs(x), np.random.default_rng(0)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.nn.functional.max_pool2d(tx, *args, return_indices=True)

    timed(lambda: fc.stochastic_pool2d(x, *args, training=training, rng=rng), theirs)
