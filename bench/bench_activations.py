"""Element-wise activations, forward and backward."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import SPEED, normal

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", SPEED["elementwise"], ids=str)
def bench_forward(timed, case, name):
    x = normal(case.shape, np.float32)

    def theirs(torch):
        tx = torch.tensor(x)
        function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
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
        }[name]

    timed(lambda: getattr(fc, f"{name}_backward")(dout, saved), theirs)
