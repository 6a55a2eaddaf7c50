"""Element-wise activations, forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu")
THEIR_NAMES = {"hard_sigmoid": "hardsigmoid", "hard_swish": "hardswish"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", SPEED["elementwise"], ids=str)
def bench_forward(timed, case, name):
    x = normal(case.shape, np.float32)

    def theirs(torch):
        tx = torch.tensor(x)
        their_name = THEIR_NAMES.get(name, name)
        function = getattr(torch, their_name, None) or getattr(torch.nn.functional, their_name)
        return lambda: function(tx)

    timed(lambda: getattr(fc, name)(x), theirs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", SPEED["elementwise"], ids=str)
def bench_backward(timed, case, name):
    dout, saved = normal(case.shape, np.float32), normal(case.shape, np.float32, 1)

    def theirs(torch):
        td, ts, aten = torch.tensor(dout), torch.tensor(saved), torch.ops.aten
        return {
            "relu": lambda: aten.threshold_backward(td, ts, 0),
            "leaky_relu": lambda: aten.leaky_relu_backward(td, ts, 0.01, False),
            "sigmoid": lambda: aten.sigmoid_backward(td, ts),
            "tanh": lambda: aten.tanh_backward(td, ts),
            "relu6": lambda: aten.hardtanh_backward(td, ts, 0, 6),
            "hard_sigmoid": lambda: aten.hardsigmoid_backward(td, ts),
            "hard_swish": lambda: aten.hardswish_backward(td, ts),
            "silu": lambda: aten.silu_backward(td, ts),
            "gelu": lambda: aten.gelu_backward(td, ts),
        }[name]

    timed(lambda: getattr(fc, f"{name}_backward")(dout, saved), theirs)
