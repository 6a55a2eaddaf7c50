"""
Feature maps
============

What do the filters of a trained network look like, and what does each layer make of an image?
"""

import sys

import numpy as np

from fastconv import hooks, plots
from fastconv.datasets import load_digits
from fastconv.networks import DeepConvNet
from fastconv.trainer import Trainer

quick = "--quick" in sys.argv
(x, t), _ = load_digits(flatten=False)
net = DeepConvNet((1, 28, 28), dtype=np.float32, rng=0)
Trainer(net, x, t, None, None, 1 if quick else 6, 50, "Adam", {"lr": 0.001}, None, False, seed=0, shuffle=True).train()

# %%
# The 16 filters of the first convolution.
plots.show_filters(net.params["W1"], 8, "first_filters.png")

# %%
# A forward hook is called with what a layer gives. `feature_maps` collects that for the layers that are named.
image = x[:1]
maps = hooks.feature_maps(net, image)
for name, each in maps.items():
    print(name, type(net.layers[name]).__name__, each.shape)

# %%
# The digit.
plots.image_grid(image, path="digit.png")

# %%
# What the first ReLU makes of it.
plots.show_feature_maps(maps[1], 8, "maps_first.png")

# %%
# What the third pooling is left with: 64 channels of 4x4.
plots.show_feature_maps(maps[14], 16, "maps_last.png")

# %%
# A hook of one's own: the share of zeros behind each ReLU.
shares = {}
for name, layer in hooks.named_layers(net).items():
    if type(layer).__name__ == "Relu":
        with hooks.on_forward(layer, lambda layer, inputs, output: shares.update({name: np.mean(output == 0)})):  # noqa: B023
            net.predict(x[:100])
print("zeros behind the ReLUs:", {name: round(float(share), 2) for name, share in shares.items()})
