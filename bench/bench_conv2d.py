"""Convolution: forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, ConvCase, normal

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


TRANSPOSED = [ConvCase(8, 64, 28, 28, 32, (4, 4), stride=2, padding=1), ConvCase(8, 32, 28, 28, 32, padding=1)]


def transposed_setup(case):
    """x, w of (C, FN, FH, FW), and the options of both."""
    x, w = normal((case.N, case.C, case.H, case.W), np.float32), normal((case.C, case.FN, *case.kernel), np.float32, 1)
    return x, w, {"stride": case.stride, "padding": case.padding}


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def bench_conv_transpose2d_forward(timed, case):
    x, w, options = transposed_setup(case)

    def theirs(torch):
        tx, tw = torch.tensor(x), torch.tensor(w)
        return lambda: torch.nn.functional.conv_transpose2d(tx, tw, **options)

    timed(lambda: fc.conv_transpose2d(x, w, **options), theirs)


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def bench_conv_transpose2d_backward(timed, case):
    x, w, options = transposed_setup(case)
    dout = fc.conv_transpose2d(x, w, **options)

    def theirs(torch):
        ty, tx, tw = (torch.tensor(a) for a in (dout, x, w))
        s, p = ([v, v] for v in (case.stride, case.padding))
        return lambda: torch.ops.aten.convolution_backward(
            ty, tx, tw, [case.FN], s, p, [1, 1], True, [0, 0], 1, [True, True, True]
        )

    timed(lambda: fc.conv_transpose2d_backward(dout, x, w, **options), theirs)
