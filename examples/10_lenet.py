"""
LeNet
=====

The first convolutional network that read cheques takes images of 32x32. Digits get a margin to be that large. The last
part uses one layer twice: its gradients add up.
"""

import sys

import numpy as np

from fastconv import init
from fastconv.datasets import load_digits
from fastconv.layers import Affine, Convolution, Flatten, Pooling, Relu
from fastconv.networks import LeNet, Network
from fastconv.trainer import Trainer

quick = "--quick" in sys.argv
split = load_digits(flatten=False)
(x, t), (x_test, t_test) = ((np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))), labels) for images, labels in split)


def trained(net):
    trainer = Trainer(
        net,
        x,
        t,
        x_test,
        t_test,
        epochs=2 if quick else 10,
        mini_batch_size=4,
        optimizer="Momentum",
        optimizer_param={"lr": 0.001, "momentum": 0.9},
        seed=0,
        shuffle=True,
        verbose=False,
    )
    trainer.train()
    return trainer.final_test_acc


net = LeNet(channels=1, rng=0)
print(net.summary((4, 1, 32, 32)))
print(f"LeNet: accuracy of the test images {trained(net):.3f}")

# %%
# One convolution in two places: the network has its weights once.
rng = np.random.default_rng(0)
first = Convolution(init.he((16, 1, 3, 3), rng, np.float32), pad=1)
shared = Convolution(init.he((16, 16, 3, 3), rng, np.float32), pad=1)
head = Affine(init.he((16 * 64, 10), rng, np.float32), np.zeros(10, np.float32))
net = Network([first, Relu(), Pooling(2, 2, 2), shared, Relu(), shared, Relu(), Pooling(2, 2, 2), Flatten(), head])
print("parameters:", {name: array.shape for name, array in net.params.items()})
print(f"shared weights: accuracy of the test images {trained(net):.3f}")
