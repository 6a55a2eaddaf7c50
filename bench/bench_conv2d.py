"""Convolution: forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal

CASES = [*SPEED["conv2d"], *SPEED["depthwise"]]


@pytest.mark.parametrize("case", CASES, ids=str)
def bench_conv2d_forward(timed, case):
    x, w, b = case.arrays(np.float32)

    def theirs(torch):
        tx, tw, tb = (torch.tensor(a) for a in (x, w, b))
        return lambda: torch.nn.functional.conv2d(tx, tw, tb, **case.options)

    timed(lambda: fc.conv2d(x, w, b, **case.options), theirs)


@pytest.mark.parametrize("case", CASES, ids=str)
def bench_conv2d_backward(timed, case):
    x, w, b = case.arrays(np.float32)
    dout = normal(fc.conv2d(x, w, **case.options).shape, np.float32, 9)

    def theirs(torch):
        ty, tx, tw = (torch.tensor(a) for a in (dout, x, w))
        s, p, d = ([v, v] for v in (case.stride, case.padding, case.dilation))
        return lambda: torch.ops.aten.convolution_backward(
            ty, tx, tw, [case.FN], s, p, d, False, [0, 0], case.groups, [True, True, True]
        )

    timed(lambda: fc.conv2d_backward(dout, x, w, **case.options), theirs)
