"""Optimiser steps over a parameter list; PyTorch's fused ones where it has them."""

import numpy as np
import pytest

from fastconv.ops import adam_update, momentum_update, sgd_update
from fastconv.testing import normal

LISTS = {
    "SimpleConvNet": [(30, 1, 5, 5), (30,), (4320, 100), (100,), (100, 10), (10,)],
    "2M": [(2_000_000,)],
}


def arrays(shapes):
    params, grads = ([normal(s, np.float32, i) for s in shapes] for i in range(2))
    return params, grads, [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]


def torch_step(torch, params, grads, optimiser, **options):
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    for tensor, grad in zip(tensors, grads, strict=True):
        tensor.grad = torch.tensor(grad)
    return optimiser(tensors, lr=1e-3, fused=True, **options).step


@pytest.mark.parametrize("name", LISTS)
def bench_sgd(timed, name):
    p, g, _, _ = arrays(LISTS[name])
    timed(lambda: sgd_update(p, g, lr=1e-3), lambda torch: torch_step(torch, p, g, torch.optim.SGD))


@pytest.mark.parametrize("name", LISTS)
def bench_momentum(timed, name):
    p, g, v, _ = arrays(LISTS[name])
    timed(
        lambda: momentum_update(p, g, v, lr=1e-3, momentum=0.9),
        lambda torch: torch_step(torch, p, g, torch.optim.SGD, momentum=0.9),
    )


@pytest.mark.parametrize("name", LISTS)
def bench_adam(timed, name):
    p, g, m, v = arrays(LISTS[name])
    timed(
        lambda: adam_update(p, g, m, v, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, step=5),
        lambda torch: torch_step(torch, p, g, torch.optim.Adam),
    )
