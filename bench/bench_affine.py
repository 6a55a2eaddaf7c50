"""Affine maps, forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal


def setup(case):
    return normal((case.N, case.K), np.float32), normal((case.K, case.M), np.float32, 1), normal(case.M, np.float32, 2)


@pytest.mark.parametrize("case", SPEED["affine"], ids=str)
def bench_affine_forward(timed, case):
    x, w, b = setup(case)

    def theirs(torch):
        tx, tw, tb = (torch.tensor(a) for a in (x, w, b))
        return lambda: torch.addmm(tb, tx, tw)

    timed(lambda: fc.affine(x, w, b), theirs)


@pytest.mark.parametrize("case", SPEED["affine"], ids=str)
def bench_affine_backward(timed, case):
    x, w, _ = setup(case)
    dout = normal((case.N, case.M), np.float32, 3)

    def theirs(torch):
        td, tx, tw = (torch.tensor(a) for a in (dout, x, w))
        return lambda: (td @ tw.T, tx.T @ td, td.sum(0))

    timed(lambda: fc.affine_backward(dout, x, w), theirs)


@pytest.mark.parametrize("case", SPEED["affine"], ids=str)
def bench_linear_forward(timed, case):
    x, w, b = setup(case)
    weight = np.ascontiguousarray(w.T)

    def theirs(torch):
        tx, tw, tb = (torch.tensor(a) for a in (x, weight, b))
        return lambda: torch.nn.functional.linear(tx, tw, tb)

    timed(lambda: fc.linear(x, weight, b), theirs)


@pytest.mark.parametrize("case", SPEED["affine"], ids=str)
def bench_linear_backward(timed, case):
    x, w, _ = setup(case)
    weight, dout = np.ascontiguousarray(w.T), normal((case.N, case.M), np.float32, 3)

    def theirs(torch):
        td, tx, tw = (torch.tensor(a) for a in (dout, x, weight))
        return lambda: (td @ tw, td.T @ tx, td.sum(0))

    timed(lambda: fc.linear_backward(dout, x, weight), theirs)
