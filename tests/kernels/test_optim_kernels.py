"""The compiled optimiser steps against the reference: many sizes in one list, any alignment, any number of threads."""

import numpy as np
import pytest

from fastconv import get_num_threads, set_num_threads
from fastconv._problem import Update
from fastconv.kernels.optim import ref
from fastconv.testing import DTYPES, normal

RULES = {  # name: (number of state lists, hyper-parameters)
    "sgd": (0, {}),
    "momentum": (1, {"momentum": 0.9}),
    "nesterov": (1, {"momentum": 0.9}),
    "adagrad": (1, {"eps": 1e-7}),
    "rmsprop": (1, {"decay": 0.99, "eps": 1e-7}),
    "adadelta": (2, {"rho": 0.9, "eps": 1e-6}),
    "adam": (2, {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 3.0}),
}
SIZES = [1, 0, 3, 15, 16, 17, 63, 64, 65, 8191, 8192, 8193, 0, 30001, 2]


@pytest.fixture(params=[1, 3])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def shifted(values, offset):
    """The same values, `offset` elements after a vector's boundary."""
    room = np.empty(values.size + 32, values.dtype)
    skip = (-(room.ctypes.data // values.itemsize)) % 16 + offset
    view = room[skip : skip + values.size]
    view[...] = values
    return view


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("rule", RULES)
def test_against_the_reference(compiled, rule, weight_decay, dtype, threads):
    states, hyper = RULES[rule]
    p = Update(dtype=np.dtype(dtype), result_dtype=np.dtype(dtype))
    hyper = {"lr": 0.01, "weight_decay": weight_decay, **hyper}
    lists = [[normal(n, dtype, 10 * k + n) for n in SIZES] for k in range(2 + states)]
    for state in lists[2:]:
        for a in state:
            np.abs(a, out=a)
    ours = [[shifted(a, (i + k) % 3) for i, a in enumerate(group)] for k, group in enumerate(lists)]
    for _ in range(2):
        getattr(ref, rule)(*lists, hyper, p)
        getattr(compiled, rule)(*ours, hyper, p)
    eps = 16 * np.finfo(dtype).eps
    for expected, got in zip(lists, ours, strict=True):
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_allclose(b, a, rtol=eps, atol=eps)


def test_infinite_parameter_without_decay(compiled):
    """0 * infinity must not turn a parameter into NaN."""
    param, grad = np.array([np.inf, 1.0], np.float32), np.ones(2, np.float32)
    p = Update(dtype=param.dtype, result_dtype=param.dtype)
    compiled.sgd([param], [grad], {"lr": 0.5, "weight_decay": 0.0}, p)
    np.testing.assert_array_equal(param, [np.inf, 0.5])


def test_empty_list(compiled):
    compiled.sgd([], [], {"lr": 0.5, "weight_decay": 0.0}, None)
