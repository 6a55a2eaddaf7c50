"""
DeepConvNet
===========

Six convolutions, each pair before a pooling, then two affine layers with dropout: the book's last network. It shows
what a validation, a schedule of the learning rate and the best epoch's parameters are for.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from fastconv import optim, plots
from fastconv.datasets import load_digits
from fastconv.networks import DeepConvNet
from fastconv.trainer import Trainer

quick = "--quick" in sys.argv
(x, t), (x_test, t_test) = load_digits(flatten=False)
held = 200  # training samples that choose the best epoch; the test samples are for the end alone

net = DeepConvNet((1, 28, 28), dtype=np.float32, rng=0)
with tempfile.TemporaryDirectory() as folder:
    best = Path(folder) / "best.npz"
    trainer = Trainer(
        net,
        x[held:],
        t[held:],
        x_test,
        t_test,
        epochs=2 if quick else 10,
        mini_batch_size=50,
        optimizer=optim.Adam(0.001),
        schedule=optim.schedules.Cosine(2 if quick else 10),
        validation=(x[:held], t[:held]),
        save_best=best,
        seed=0,
        shuffle=True,
        verbose=False,
    )
    trainer.train()
    plots.learning_curve(trainer, "deep_convnet.png")
    print(f"accuracy at the end: {net.accuracy(x_test, t_test):.3f}")
    net.load_params(best)
print(f"accuracy of the best epoch, number {trainer.best.epoch + 1}: {net.accuracy(x_test, t_test):.3f}")

# %%
# The digits that it still takes for others.
guesses = net.predict(x_test).argmax(axis=1)
wrong = np.flatnonzero(guesses != t_test)[:12]
titles = [f"{t_test[i]} taken for {guesses[i]}" for i in wrong]
if len(wrong):
    plots.image_grid(x_test[wrong], 6, titles, "deep_convnet_mistakes.png")
