"""
A network of one's own, with branches
=====================================

A network is a tree of named layers. `Sum`, `Residual`, `Concatenate` and `ChannelScale` make branches of it; the graph
behind it fuses what can be computed together, forward and backward.
"""

import sys

import numpy as np

from fastconv import init
from fastconv.datasets import load_digits
from fastconv.layers import (
    Affine,
    BatchNorm2d,
    ChannelScale,
    Concatenate,
    Convolution,
    Flatten,
    GlobalAveragePooling,
    Pooling,
    Relu,
    Residual,
    Sigmoid,
)
from fastconv.networks import Network
from fastconv.trainer import Trainer

quick = "--quick" in sys.argv
rng = np.random.default_rng(0)


def conv(into, out, size=3):
    return Convolution(init.he((out, into, size, size), rng, np.float32), pad=size // 2)


# %%
# Filters of three sizes side by side, a residual block, and a scale for each channel that is computed from all of them.
squeeze = [GlobalAveragePooling(), conv(24, 6, 1), Relu(), conv(6, 24, 1), Sigmoid()]
net = Network(
    {
        "stem": Concatenate(conv(1, 8, 1), conv(1, 8, 3), conv(1, 8, 5)),
        "norm": BatchNorm2d(24),
        "relu": Relu(),
        "pool": Pooling(2, 2, 2),
        "block": Residual({"conv1": conv(24, 24), "bn1": BatchNorm2d(24), "relu": Relu(), "conv2": conv(24, 24)}),
        "scale": ChannelScale(*squeeze),
        "head": [
            Relu(),
            GlobalAveragePooling(),
            Flatten(),
            Affine(init.he((24, 10), rng, np.float32), np.zeros(10, np.float32)),
        ],
    }
)
print(net.summary((50, 1, 28, 28)))

# %%
(x, t), (x_test, t_test) = load_digits(flatten=False)
trainer = Trainer(net, x, t, x_test, t_test, 2 if quick else 8, 50, "Adam", {"lr": 0.01}, None, False, seed=0)
trainer.train()
print(f"accuracy of the test images: {trainer.final_test_acc:.3f}")
