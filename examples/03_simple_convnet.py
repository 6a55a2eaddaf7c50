"""
The book's SimpleConvNet
========================

One convolution, one pooling and two affine layers read handwritten digits. Class names, arguments and the names of the
parameters are those of *Deep Learning from Scratch*.
"""

import sys

import numpy as np

from fastconv import metrics, plots
from fastconv.datasets import load_digits
from fastconv.networks import SimpleConvNet
from fastconv.trainer import Trainer

quick = "--quick" in sys.argv
(x_train, t_train), (x_test, t_test) = load_digits(flatten=False)

# %%
# float32 is twice as fast as NumPy's float64, and exact enough for training.
net = SimpleConvNet(
    (1, 28, 28),
    {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1},
    hidden_size=100,
    output_size=10,
    dtype=np.float32,
    rng=0,
)
print(net.summary((100, 1, 28, 28)))

# %%
trainer = Trainer(
    net,
    x_train,
    t_train,
    x_test,
    t_test,
    epochs=2 if quick else 12,
    mini_batch_size=50,
    optimizer="Adam",
    optimizer_param={"lr": 0.002},
    seed=0,
    shuffle=True,
    verbose=False,
)
trainer.train()
print(f"accuracy of {len(x_test)} test images: {trainer.final_test_acc:.3f}")
plots.learning_curve(trainer, "simple_convnet.png")

# %%
# Which digits are mistaken for which? A row is a true digit, a column a guess.
print(metrics.confusion_matrix(net.predict(x_test), t_test))
