"""
Transfer learning on a folder of images
=======================================

A network that has learned one thing is a good start for another. Here one that reads digits gets a new head and learns
to tell drawn shapes apart, from few images: first the head alone on the frozen trunk, then all of it at a small rate.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from fastconv import optim, plots
from fastconv.datasets import ImageFolder, load_digits, transforms
from fastconv.layers import Affine
from fastconv.networks import ConvNet1
from fastconv.trainer import Trainer

quick = "--quick" in sys.argv
rng = np.random.default_rng(0)


def drawn(kind):
    """A bright shape on a dark, noisy background, somewhere in a picture of 40x40."""
    y, x = np.mgrid[:40, :40] - rng.uniform(16, 24, (2, 1, 1))
    size = rng.uniform(7, 12)
    inside = {
        "circle": np.abs(np.hypot(y, x) - size) < 2,
        "cross": (np.minimum(abs(y), abs(x)) < 2) & (np.maximum(abs(y), abs(x)) < size),
        "square": np.abs(np.maximum(abs(y), abs(x)) - size) < 2,
    }[kind]
    return np.clip(200 * inside + rng.normal(30, 15, (40, 40)), 0, 255).astype(np.uint8)


# %%
# The folder: a sub-folder for each class. PGM is the simplest format of pictures: a line of text before the bytes.
place = tempfile.TemporaryDirectory()
for part, count in ("train", 30), ("held", 40):
    for kind in ("circle", "cross", "square"):
        folder = Path(place.name) / part / kind
        folder.mkdir(parents=True)
        for k in range(count):
            (folder / f"{k:03}.pgm").write_bytes(b"P5 40 40 255\n" + drawn(kind).tobytes())
cut = transforms.Compose([transforms.Resize(32), transforms.RandomCrop(28, rng=0)])
middle = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(28)])
train = ImageFolder(Path(place.name) / "train", cut, grey=True)
held = ImageFolder(Path(place.name) / "held", middle, grey=True)
plots.image_grid(np.stack([train[k][0] for k in range(4, len(train), 10)]), 9, path="shapes.png")

# %%
# The trunk learns from digits; then the head is replaced, and everything else is frozen.
(x, t), _ = load_digits(flatten=False)
net = ConvNet1(rng=0)
Trainer(net, x, t, None, None, 1 if quick else 4, 50, "Adam", {"lr": 0.002}, None, False, seed=0, shuffle=True).train()
net.replace("fc", Affine(0.01 * rng.standard_normal((30 * 144, 3), np.float32), np.zeros(3, np.float32)))
for name, rate, epochs in ("head alone", 0.0005, 2 if quick else 8), ("all of it", 0.0001, 2 if quick else 4):
    net.unfreeze() if name == "all of it" else net.freeze("conv1", "bn1")
    trainer = Trainer(net, train, None, epochs=epochs, mini_batch_size=10, optimizer=optim.Adam(rate),
                      validation=held, seed=0, shuffle=True, verbose=False)  # fmt: skip
    trainer.train()
    print(f"{name}: accuracy of held-out shapes {trainer.val_acc_list[0]:.2f} -> {trainer.val_acc_list[-1]:.2f}")
place.cleanup()
