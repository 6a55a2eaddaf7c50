"""Optimiser steps over a parameter list; PyTorch's fused ones where it has them."""

import numpy as np
import pytest

from fastconv.ops import (
    adadelta_update,
    adagrad_update,
    adam_update,
    momentum_update,
    nesterov_update,
    rmsprop_update,
    sgd_update,
)
from fastconv.testing import normal

LISTS = {
    "SimpleConvNet": [(30, 1, 5, 5), (30,), (4320, 100), (100,), (100, 10), (10,)],
    "2M": [(2_000_000,)],
}


def arrays(shapes):
    params, grads = ([normal(s, np.float32, i) for s in shapes] for i in range(2))
    return params, grads, [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]


def torch_step(torch, params, grads, optimiser, **options):
    return unfused_step(torch, params, grads, optimiser, fused=True, **options)


def unfused_step(torch, params, grads, optimiser, **options):
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    for tensor, grad in zip(tensors, grads, strict=True):
        tensor.grad = torch.tensor(grad)
    return optimiser(tensors, lr=1e-3, **options).step


@pytest.mark.parametrize("case", LISTS)
def bench_sgd(timed, case):
    p, g, _, _ = arrays(LISTS[case])
    timed(lambda: sgd_update(p, g, lr=1e-3), lambda torch: torch_step(torch, p, g, torch.optim.SGD))


@pytest.mark.parametrize("case", LISTS)
def bench_momentum(timed, case):
    p, g, v, _ = arrays(LISTS[case])
    timed(
        lambda: momentum_update(p, g, v, lr=1e-3, momentum=0.9),
        lambda torch: torch_step(torch, p, g, torch.optim.SGD, momentum=0.9),
    )


@pytest.mark.parametrize("case", LISTS)
def bench_adam(timed, case):
    p, g, m, v = arrays(LISTS[case])
    timed(
        lambda: adam_update(p, g, m, v, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, step=5),
        lambda torch: torch_step(torch, p, g, torch.optim.Adam),
    )


@pytest.mark.parametrize("case", LISTS)
def bench_nesterov(timed, case):
    p, g, v, _ = arrays(LISTS[case])
    timed(
        lambda: nesterov_update(p, g, v, lr=1e-3, momentum=0.9),
        lambda torch: torch_step(torch, p, g, torch.optim.SGD, momentum=0.9, nesterov=True),
    )


@pytest.mark.parametrize("case", LISTS)
def bench_adagrad(timed, case):
    p, g, h, _ = arrays(LISTS[case])
    timed(lambda: adagrad_update(p, g, h, lr=1e-3), lambda torch: torch_step(torch, p, g, torch.optim.Adagrad))


@pytest.mark.parametrize("case", LISTS)
def bench_rmsprop(timed, case):
    """PyTorch has no fused one."""
    p, g, h, _ = arrays(LISTS[case])
    timed(
        lambda: rmsprop_update(p, g, h, lr=1e-3, decay=0.99),
        lambda torch: unfused_step(torch, p, g, torch.optim.RMSprop),
    )


@pytest.mark.parametrize("case", LISTS)
def bench_adadelta(timed, case):
    """PyTorch has no fused one."""
    p, g, h, d = arrays(LISTS[case])
    timed(lambda: adadelta_update(p, g, h, d), lambda torch: unfused_step(torch, p, g, torch.optim.Adadelta))
