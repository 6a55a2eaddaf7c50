"""Local response, layer, group and instance normalisation."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import ArrayCase, normal

CASES = [ArrayCase(s) for s in ((8, 96, 27, 27), (8, 192, 56, 56), (100, 32, 14, 14))]


@pytest.mark.parametrize("case", CASES, ids=str)
def bench_local_response(timed, case):
    x = normal(case.shape, np.float32)

    def theirs(torch):
        tx = torch.tensor(x)
        return lambda: torch.nn.functional.local_response_norm(tx, 5)

    timed(lambda: fc.local_response_norm(x, 5), theirs)


@pytest.mark.parametrize("case", CASES, ids=str)
def bench_local_response_backward(timed, case):
    x, dout = normal(case.shape, np.float32), normal(case.shape, np.float32, 1)

    def theirs(torch):
        tx, td = torch.tensor(x, requires_grad=True), torch.tensor(dout)
        ty = torch.nn.functional.local_response_norm(tx, 5)
        return lambda: torch.autograd.grad(ty, tx, td, retain_graph=True)

    timed(lambda: fc.local_response_norm_backward(dout, x, 5), theirs)


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "instance_norm"])
@pytest.mark.parametrize("case", CASES, ids=str)
def bench_norms(timed, case, name):
    x = normal(case.shape, np.float32)
    options = {"layer_norm": (case.shape[1:],), "group_norm": (8,), "instance_norm": ()}[name]

    def theirs(torch):
        tx, function = torch.tensor(x), getattr(torch.nn.functional, name)
        return lambda: function(tx, *options)

    timed(lambda: getattr(fc, name)(x, *options), theirs)
