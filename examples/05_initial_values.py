"""
Activations and initial weights
===============================

With weights that are too large or too small, the activations of deep layers lie at their limits or all in one place,
and nothing can be learned. Xavier's and He's initial values keep them spread out.
"""

import numpy as np
from matplotlib.figure import Figure

import fastconv as fc
from fastconv import functions, init

rng = np.random.default_rng(0)
x = rng.standard_normal((1000, 100))

# %%
# The activations first: each is a function, with its gradient beside it (``relu_grad`` and so on).
points = np.linspace(-4, 4, 161)
picture = Figure(figsize=(8, 3), layout="constrained")
left, right = picture.subplots(1, 2)
for name in ("sigmoid", "tanh", "relu", "leaky_relu"):
    left.plot(points, getattr(functions, name)(points), label=name)
for name in ("relu6", "hard_swish", "silu", "gelu"):
    right.plot(points, getattr(fc, name)(points), label=name)
for axis in (left, right):
    axis.set(ylim=(-1.2, 4.2), xlabel="x")
    axis.legend()
picture.savefig("activations.png")

# %%
# Five layers of 100 neurons each. A row of pictures is a way to choose the weights, a column is a layer.
trials = [
    ("sigmoid", "std 1", lambda shape: init.normal(shape, 1.0, rng)),
    ("sigmoid", "std 0.01", lambda shape: init.normal(shape, 0.01, rng)),
    ("sigmoid", "Xavier", lambda shape: init.xavier(shape, rng)),
    ("relu", "Xavier", lambda shape: init.xavier(shape, rng)),
    ("relu", "He", lambda shape: init.he(shape, rng)),
]
picture = Figure(figsize=(10, 9), layout="constrained")
for row, (activation, name, weights) in zip(picture.subplots(len(trials), 5), trials, strict=True):
    z, spreads = x, []
    for number, axis in enumerate(row, 1):
        z = getattr(functions, activation)(z @ weights((100, 100)))
        spreads.append(z.std())
        axis.hist(z.ravel(), 30, range=(0, 1) if activation == "sigmoid" else (0, 3))
        axis.set_title(f"{activation}, {name}, layer {number}", fontsize=8)
        axis.set_yticks([])
    print(f"{activation:8} {name:9} standard deviations:", " ".join(f"{spread:.3f}" for spread in spreads))
picture.savefig("initial_values.png")
