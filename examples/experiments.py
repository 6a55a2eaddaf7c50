"""Experiments on how networks learn, each with its picture, on the bundled handwritten digits.

    python examples/experiments.py                       # all of them, pictures into the folder experiments/
    python examples/experiments.py initial_values --quick

Source: K. Saitoh, Deep Learning from Scratch, 2016, whose chapter on training these follow.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fastconv import functions, metrics, optim, plots
from fastconv.datasets import load_digits
from fastconv.networks import MultiLayerNet, MultiLayerNetExtend, SimpleConvNet
from fastconv.trainer import Trainer

Experiment = Callable[[Path, bool], None]
ADAM = {"lr": 0.002}


def digits(flatten: bool = True) -> tuple[Any, ...]:
    (x, t), (x_test, t_test) = load_digits(flatten=flatten)
    return x, t, x_test, t_test


def figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    made = Figure(figsize=size, layout="constrained")
    return made, made.subplots(rows, columns, squeeze=False)


def trained(net: Any, data: tuple[Any, ...], epochs: int, name: str = "sgd", **options: Any) -> Trainer:
    trainer = Trainer(net, *data, epochs, 50, name, options or {"lr": 0.01}, None, False, seed=0, shuffle=True)
    trainer.train()
    return trainer


def initial_values(path: Path, quick: bool) -> None:
    """What five layers of sigmoids make of normal input, for initial weights of different sizes."""
    rng = np.random.default_rng(0)
    width = 50 if quick else 100
    scales = {"std 1": 1.0, "std 0.01": 0.01, "Xavier": np.sqrt(1 / width), "He": np.sqrt(2 / width)}
    made, axes = figure(len(scales), 5, (12, 8))
    for row, (name, scale) in zip(axes, scales.items(), strict=True):
        x = rng.standard_normal((1000, width))
        for layer, axis in enumerate(row):
            x = functions.sigmoid(x @ (scale * rng.standard_normal((width, width))))
            axis.hist(x.ravel(), 30, range=(0, 1))
            axis.set(title=f"{name}, layer {layer + 1}", yticks=[])
    made.savefig(path)


def optimizer_paths(path: Path, quick: bool) -> None:
    """The ways of four optimisers down x**2/20 + y**2."""
    rules = {"SGD": optim.SGD(0.95), "Momentum": optim.Momentum(0.1), "AdaGrad": optim.AdaGrad(1.5),
             "Adam": optim.Adam(0.3)}  # fmt: skip
    made, axes = figure(2, 2, (10, 7))
    x, y = np.meshgrid(np.linspace(-10, 10, 200), np.linspace(-5, 5, 200))
    for axis, (name, rule) in zip(axes.ravel(), rules.items(), strict=True):
        params, track = {"x": -7.0, "y": 2.0}, []
        for _ in range(30):
            track.append((params["x"], params["y"]))
            rule.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
        axis.contour(x, y, x**2 / 20 + y**2, 20, colors="0.85")
        axis.plot(*zip(*track, strict=True), "o-", markersize=3)
        axis.set(title=name, xlim=(-10, 10), ylim=(-5, 5))
    made.savefig(path)


def optimizers_compared(path: Path, quick: bool) -> None:
    """The training loss of the same network under four optimisers."""
    made, axes = figure(1, 1, (7, 5))
    for name in ("sgd", "momentum", "adagrad", "adam"):
        net = MultiLayerNet(784, [50, 50], 10, dtype=np.float32, rng=0)
        losses = trained(net, digits(), 1 if quick else 5, name, lr=0.001 if name == "adam" else 0.01).train_loss_list
        axes[0, 0].plot(functions.smooth_curve(np.array(losses)), label=name)
    axes[0, 0].set(xlabel="step", ylabel="loss")
    axes[0, 0].legend()
    made.savefig(path)


def overfitting(path: Path, quick: bool) -> None:
    """Few samples and many parameters: alone, with weight decay, with dropout."""
    x, t, *test = digits()
    few = x[:200], t[:200], *test
    options: dict[str, dict[str, Any]] = {
        "alone": {}, "weight decay 0.1": {"weight_decay_lambda": 0.1},
        "dropout 0.2": {"use_dropout": True, "dropout_ration": 0.2},
    }  # fmt: skip
    made, axes = figure(1, 3, (12, 4))
    for axis, (name, more) in zip(axes[0], options.items(), strict=True):
        net = MultiLayerNetExtend(784, [100] * 5, 10, dtype=np.float32, rng=0, **more)
        trainer = trained(net, few, 3 if quick else 60, lr=0.01)
        axis.plot(trainer.train_acc_list, label="train")
        axis.plot(trainer.test_acc_list, label="test")
        axis.set(title=name, xlabel="epoch", ylim=(0, 1))
        axis.legend()
    made.savefig(path)


def normalisation(path: Path, quick: bool) -> None:
    """Training accuracy with and without batch normalisation, for initial weights of different sizes."""
    scales = np.logspace(0, -4, 4 if quick else 16)
    x, t, *test = digits()
    few = x[:500], t[:500], *test
    made, axes = figure(2 if quick else 4, 2 if quick else 4, (12, 9))
    for axis, scale in zip(axes.ravel(), scales, strict=True):
        for on in (True, False):
            net = MultiLayerNetExtend(784, [50] * 4, 10, weight_init_std=float(scale), use_batchnorm=on,
                                      dtype=np.float32, rng=0)  # fmt: skip
            axis.plot(trained(net, few, 2 if quick else 15, lr=0.01).train_acc_list, "-" if on else "--")
        axis.set(title=f"std {scale:.2g}", ylim=(0, 1))
    made.legend(["batch normalisation", "without"], loc="outside lower center", ncols=2)
    made.savefig(path)


def hyper_parameters(path: Path, quick: bool) -> None:
    """Random rates and weight decays, the best of them by the accuracy on a validation set."""
    rng = np.random.default_rng(0)
    x, t, *_ = digits()
    held, count, epochs = 100, 4 if quick else 30, 1 if quick else 10
    data = x[held:600], t[held:600], x[:held], t[:held]
    trials = []
    for _ in range(count):
        rate, decay = 10 ** rng.uniform(-4, -1), 10 ** rng.uniform(-8, -3)
        net = MultiLayerNet(784, [100] * 3, 10, weight_decay_lambda=decay, dtype=np.float32, rng=0)
        trials.append((trained(net, data, epochs, lr=rate).final_test_acc, rate, decay))
    accuracies, rates, decays = zip(*sorted(trials), strict=True)
    made, axes = figure(1, 1, (7, 5))
    points = axes[0, 0].scatter(rates, decays, c=accuracies)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="learning rate", ylabel="weight decay")
    made.colorbar(points, label="validation accuracy")
    made.savefig(path)
    print(f"  best: accuracy {accuracies[-1]:.3f} with lr {rates[-1]:.2g}, weight decay {decays[-1]:.2g}")


def filters(path: Path, quick: bool) -> None:
    """The filters of a first layer, before and after learning."""
    net = SimpleConvNet((1, 28, 28), rng=0, dtype=np.float32)
    before = net.params["W1"].copy()
    trained(net, digits(flatten=False), 1 if quick else 5, "adam", **ADAM)
    plots.show_filters(np.concatenate([before, net.params["W1"]]), columns=15, path=path)


def misclassified(path: Path, quick: bool) -> None:
    """The digits of the test set that a trained network takes for others, and its accuracy class by class."""
    data = digits(flatten=False)
    net = SimpleConvNet((1, 28, 28), rng=0, dtype=np.float32)
    trained(net, data, 1 if quick else 5, "adam", **ADAM)
    x, t = data[2:]
    scores = net.predict(x)
    guesses = scores.argmax(axis=1)
    wrong = np.flatnonzero(guesses != t)[:24]
    made, axes = figure(4, 6, (9, 7))
    for axis in axes.ravel():
        axis.axis("off")
    for axis, i in zip(axes.ravel(), wrong, strict=False):
        axis.imshow(x[i, 0], cmap="gray_r")
        axis.set_title(f"{t[i]} taken for {guesses[i]}", fontsize=8)
    made.savefig(path)
    by_class = metrics.per_class_accuracy(scores, t)
    print("  accuracy by class:", " ".join(f"{digit}: {share:.2f}" for digit, share in enumerate(by_class)))


def curves(path: Path, quick: bool) -> None:
    """The course of a training with a validation set."""
    x, t, *test = digits(flatten=False)
    net = SimpleConvNet((1, 28, 28), rng=0, dtype=np.float32)
    trainer = Trainer(net, x[200:], t[200:], *test, 1 if quick else 6, 50, "adam", ADAM, None, False, seed=0,
                      shuffle=True, validation=(x[:200], t[:200]))  # fmt: skip
    trainer.train()
    plots.learning_curve(trainer, path)


EXPERIMENTS: dict[str, Experiment] = {
    each.__name__: each
    for each in (
        initial_values, optimizer_paths, optimizers_compared, overfitting, normalisation, hyper_parameters, filters,
        misclassified, curves,
    )
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--quick", action="store_true", help="smaller and shorter, for a test")
    parser.add_argument("--out", type=Path, default=Path("experiments"), help="folder of the pictures")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - EXPERIMENTS.keys())
    if unknown:
        parser.error(f"expected names of {', '.join(EXPERIMENTS)}; got {', '.join(unknown)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or EXPERIMENTS:
        path = options.out / f"{name}.png"
        print(f"{name}: {(EXPERIMENTS[name].__doc__ or '').splitlines()[0]}")
        EXPERIMENTS[name](path, options.quick)
        print(f"  {path}")


if __name__ == "__main__":
    main()
