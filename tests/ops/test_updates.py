"""Optimiser kernels against PyTorch's optimisers, or the published formula written out, over several steps."""

import numpy as np
import pytest
import torch

import fastconv as fc
from fastconv._problem import Update
from fastconv.ops.updates import adadelta_update, adam_update, momentum_update, sgd_update
from fastconv.testing import DTYPES, assert_close, kernels, normal, tolerance

SHAPES = [(3, 4), (1,), (17,), (16, 3, 3, 3), (300, 41), (0,)]
DECAY = 0.01


def torch_nesterov(params, grads, steps, lr, mu):
    """The update as published, on PyTorch tensors: v_t = mu*v - lr*g; p += mu*v_t - lr*g is its look-ahead form."""
    velocities = [torch.zeros_like(p) for p in params]
    for _ in range(steps):
        for p, g, v in zip(params, grads, velocities, strict=True):
            step = lr * (g + DECAY * p)
            v.mul_(mu).sub_(step)
            p.add_(mu * v - step)


def torch_steps(name, params, grads, steps):
    params = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in params]
    grads = [torch.tensor(g, dtype=torch.float64) for g in grads]
    options = {"weight_decay": DECAY}
    if name == "nesterov":
        plain = [p.detach() for p in params]
        torch_nesterov(plain, grads, steps, 0.01, 0.9)
        return [p.numpy() for p in plain]
    optimizer = {
        "sgd": lambda: torch.optim.SGD(params, 0.01, **options),
        "momentum": lambda: torch.optim.SGD(params, 0.01, 0.9, **options),
        "adagrad": lambda: torch.optim.Adagrad(params, 0.01, eps=1e-7, **options),
        "rmsprop": lambda: torch.optim.RMSprop(params, 0.01, 0.99, 1e-7, **options),
        "adadelta": lambda: torch.optim.Adadelta(params, 1.0, 0.9, 1e-6, **options),
        "adam": lambda: torch.optim.Adam(params, 0.01, (0.9, 0.999), 1e-8, **options),
    }[name]()
    for _ in range(steps):
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
    return [p.detach().numpy() for p in params]


HYPER = {
    "sgd": {"lr": 0.01},
    "momentum": {"lr": 0.01, "momentum": 0.9},
    "nesterov": {"lr": 0.01, "momentum": 0.9},
    "adagrad": {"lr": 0.01, "eps": 1e-7},
    "rmsprop": {"lr": 0.01, "decay": 0.99, "eps": 1e-7},
    "adadelta": {"lr": 1.0, "rho": 0.9, "eps": 1e-6},
    "adam": {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
}
STATES = {"sgd": 0, "adadelta": 2, "adam": 2}


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", kernels(*HYPER), ids=lambda k: f"{k.op}-{k}")
def test_against_torch(kernel, dtype):
    p = Update(dtype=np.dtype(dtype), result_dtype=np.dtype(dtype))
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    params = [normal(s, dtype, i) for i, s in enumerate(SHAPES)]
    grads = [normal(s, dtype, 50 + i) for i, s in enumerate(SHAPES)]
    before = [g.copy() for g in grads]
    expected = torch_steps(kernel.op, params, grads, 50)
    states = [[np.zeros_like(a) for a in params] for _ in range(STATES.get(kernel.op, 1))]
    for step in range(1, 51):
        hyper = {**HYPER[kernel.op], "weight_decay": DECAY}
        if kernel.op == "adam":
            hyper["step"] = float(step)
        kernel(params, grads, *states, hyper, p)
    for got, want, g, g0 in zip(params, expected, grads, before, strict=True):
        assert_close(got, want, tolerance(dtype, 2500) if dtype == np.float32 else 1e-9)
        np.testing.assert_array_equal(g, g0)


def test_lists_of_mixed_dtypes_and_layouts():
    base = np.ones((4, 6))
    params = [np.ones(3, np.float32), base[:, ::2], np.ones(2, np.float16)]
    grads = [np.full(3, 2.0), np.full((4, 3), 2.0, np.float32), np.full(2, 2.0, np.float32)]
    sgd_update(params, grads, lr=0.25)
    for p in params:
        np.testing.assert_array_equal(p, np.full(p.shape, 0.5))
    np.testing.assert_array_equal(base[:, 1::2], 1)
    sgd_update([], [], lr=0.1)


def test_bad_lists():
    good = np.ones(3)
    with pytest.raises(ValueError, match="grads"):
        sgd_update([good], [], lr=0.1)
    with pytest.raises(ValueError, match=r"grads\[0\]"):
        sgd_update([good], [np.ones(4)], lr=0.1)
    with pytest.raises(TypeError, match=r"params\[0\]"):
        sgd_update([np.ones(3, int)], [good], lr=0.1)
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        momentum_update([frozen], [good], [np.zeros(3)], lr=0.1, momentum=0.9)
    with pytest.raises(TypeError, match="lr"):
        sgd_update([good], [good], lr="fast")
    with pytest.raises(ValueError, match="state"):
        adam_update([good], [good], [good], [np.ones(2)], lr=0.1, beta1=0.9, beta2=0.9, eps=1e-8, step=1)
    with pytest.raises(ValueError, match="state"):
        adadelta_update([good], [good], [], [good])
    assert fc.__version__
