"""Pictures: the course of a training, feature maps and filters. Needs matplotlib.

Every function returns a matplotlib Figure of its own, apart from pyplot's state, and also writes it where `path` is
given (the suffix names the format).
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._extras import require
from .functions import smooth_curve

PathLike = str | os.PathLike[str]


def _figure(width: float, height: float) -> Any:
    return require("matplotlib.figure", "demo", "a picture").Figure(figsize=(width, height), layout="constrained")


def _finish(figure: Any, path: PathLike | None) -> Any:
    if path is not None:
        figure.savefig(path)
    return figure


def learning_curve(trainer: Any, path: PathLike | None = None) -> Any:
    """The loss of every step, smoothed too where there are enough, beside the accuracies of every epoch and the last.

    Where there are no accuracies, as of a regression, the losses of every epoch are shown.

    Parameters
    ----------
    trainer : Trainer
        Or anything with `train_loss_list`, `train_acc_list` and `test_acc_list`; `val_acc_list` and `final_test_acc`
        are shown if there.
    path : str or path, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    losses = trainer.train_loss_list
    left.plot(losses, color="0.75", linewidth=0.8, label="each step")
    if len(losses) > 10:
        left.plot(smooth_curve(losses), color="tab:blue", label="smoothed")
    left.set(xlabel="step", ylabel="training loss")
    left.legend()
    curves = ("train", "train_acc_list", "o"), ("test", "test_acc_list", "s"), ("validation", "val_acc_list", "^")
    ylabel = "accuracy"
    if not any(getattr(trainer, name, None) for _, name, _ in curves) and getattr(trainer, "train_loss_list", None):
        losses_of = ("test", "test_loss_list", "s"), ("validation", "val_loss_list", "^")
        if any(getattr(trainer, name, None) for _, name, _ in losses_of):
            curves, ylabel = losses_of, "loss"
    for name, attribute, marker in curves:
        values = getattr(trainer, attribute, ())
        if len(values):
            right.plot(np.arange(1, len(values) + 1), values, marker=marker, label=name)
    final = getattr(trainer, "final_test_acc" if ylabel == "accuracy" else "final_test_loss", None)
    if final is not None:
        right.axhline(final, color="0.5", linestyle="--", label=f"test at the end: {final:.4f}")
    right.set(xlabel="epoch", ylabel=ylabel)
    right.xaxis.get_major_locator().set_params(integer=True)
    if right.lines:
        right.legend(loc="lower right" if ylabel == "accuracy" else "upper right")
    return _finish(figure, path)


def error_per_loop(errors: Sequence[float], path: PathLike | None = None) -> Any:
    """The number of errors in each loop of a learning, as `functions.perceptron_rule` returns it.

    Parameters
    ----------
    errors : sequence of float
    path : str or path, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no loop.
    """
    if len(errors) == 0:
        raise ValueError("errors: expected at least one loop, got none")
    figure = _figure(5, 4)
    ax = figure.subplots()
    ax.plot(np.arange(1, len(errors) + 1), errors, marker="o")
    ax.set(xlabel="loop", ylabel="errors", ylim=(-0.05 * max(*errors, 1), 1.05 * max(*errors, 1)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    return _finish(figure, path)


def image_grid(
    images: npt.ArrayLike,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    path: PathLike | None = None,
) -> Any:
    """Grey or colour images side by side, each on its own scale from dark (lowest) to bright.

    Parameters
    ----------
    images : array_like (N, H, W), (N, 1, H, W) or (N, 3, H, W)
    columns : int, optional
        By default about as many as rows.
    titles : sequence of N str, optional
    path : str or path, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `images` has another shape.
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"images: expected (N, H, W), (N, 1, H, W) or (N, 3, H, W), got shape {images.shape}")
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    figure = _figure(1.2 * columns, 1.2 * rows + 0.2)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for i, (ax, image) in enumerate(zip(axes, images, strict=False)):
        low, high = image.min(), image.max()
        scaled = (image - low) / ((high - low) or 1)
        ax.imshow(scaled.transpose(1, 2, 0).squeeze(-1) if len(image) == 1 else scaled.transpose(1, 2, 0), cmap="gray")
        if titles is not None:
            ax.set_title(titles[i], fontsize=7)
    return _finish(figure, path)


def show_filters(W: npt.ArrayLike, columns: int | None = None, path: PathLike | None = None) -> Any:
    """The filters of a convolution: one picture for each, or for each of their channels if these are not 1 or 3.

    Parameters
    ----------
    W : array_like (FN, C, FH, FW)
    columns, path
        As in `image_grid`.
    """
    W = np.asarray(W)
    return image_grid(W if W.shape[1] in (1, 3) else W.reshape(-1, *W.shape[2:]), columns, path=path)


def show_feature_maps(maps: npt.ArrayLike, columns: int | None = None, path: PathLike | None = None) -> Any:
    """The channels that a layer gave for one image.

    Parameters
    ----------
    maps : array_like (C, H, W), or (1, C, H, W)
    columns, path
        As in `image_grid`.
    """
    maps = np.asarray(maps)
    return image_grid(maps[0] if maps.ndim == 4 and len(maps) == 1 else maps, columns, path=path)
