"""What a Trainer measures behind every epoch, and what follows from it: the best parameters kept, an early end."""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import metrics as _metrics
from ._checkpoint import generators, set_states, states_of
from ._device import to_host
from .datasets._batches import Samples
from .networks import Network

Metric = Callable[[Any, Any], Any]
_SUFFIXES = (".npz", ".safetensors", ".pkl")


class Measured:
    """Samples that a network is measured on: arrays, or a data set that is read in batches.

    Parameters
    ----------
    samples : Samples
    size : int
        How many are read at a time.
    team : Alone or Processes
        Every process measures some of the parts, and gets the result of all.
    """

    def __init__(self, samples: Samples, size: int, team: Any) -> None:
        self.samples, self.size, self.team = samples, size, team
        before = states_of(generators(samples))
        self._fixed = samples.fork(np.random.default_rng(0))
        set_states(samples, before)  # the training draws as if nobody measured
        self._start = states_of(generators(self._fixed))

    def parts(self, count: int | None = None) -> Iterator[Any]:
        """Of the first samples, or all, those of this process, some at a time.

        Random transforms are the same ones every time.
        """
        set_states(self._fixed, self._start)
        n = len(self.samples) if count is None else min(count, len(self.samples))
        for number in self.team.parts(-(-n // self.size)):
            start = number * self.size
            yield with_targets(self._fixed.take(slice(start, min(start + self.size, n))))

    def accuracy(self, network: Any, count: int | None = None) -> float:
        if not self.samples.lazy:
            return self.team.accuracy(network, self.samples.x[:count], self.samples.t[:count])
        return self._mean((len(x), network.accuracy(x, t)) for x, t in self.parts(count))

    def loss(self, network: Any, count: int | None = None) -> float:
        """The mean of the losses of the parts, as in prediction."""
        evaluates = "train_flg" in inspect.signature(network.loss).parameters
        options = {"train_flg": False} if evaluates else {}
        return self._mean((len(x), float(network.loss(x, t, **options))) for x, t in self.parts(count))

    def scores(self, network: Any) -> tuple[Any, Any]:
        """What the network predicts, and the targets."""
        pairs = [(to_host(network.predict(x)), t) for x, t in self.parts()]
        y, t = zip(*self.team.gathered(pairs), strict=True)
        return np.concatenate(y), np.concatenate(t)

    def _mean(self, counted: Iterable[tuple[int, float]]) -> float:
        sums, numbers = 0.0, 0
        for count, value in counted:
            sums += count * value
            numbers += count
        total, number = self.team.total(sums, numbers)
        if not number:
            raise ValueError("expected at least one sample to measure, got none")
        return float(total / number)


def with_targets(batch: Any) -> tuple[Any, Any]:
    """A batch (x, t), or an error for inputs alone."""
    if not isinstance(batch, tuple):
        raise ValueError("expected a data set of pairs (input, target), got inputs alone")
    return batch


def classifies(network: Any) -> bool:
    """Whether an accuracy of the network means something."""
    if not hasattr(network, "accuracy"):
        return False
    foreign = not isinstance(network, Network)  # the book's own last layers say nothing about themselves
    return getattr(getattr(network, "last_layer", None), "classifies", foreign)


def named_metrics(given: Any) -> dict[str, Metric]:
    """Metrics under their names.

    Raises
    ------
    TypeError, ValueError
        For what is neither a name from `fastconv.metrics` nor callable.
    """
    entries: Iterable[Any] = given.items() if isinstance(given, Mapping) else [(None, metric) for metric in given]
    found: dict[str, Metric] = {}
    for name, metric in entries:
        if isinstance(metric, str):
            if metric not in _metrics.__all__:
                raise ValueError(f"metrics: expected one of {', '.join(_metrics.__all__)}, got {metric!r}")
            name, metric = name or metric, getattr(_metrics, metric)
        if not callable(metric):
            raise TypeError(f"metrics: expected callables (y, t) or names, got {metric!r}")
        found[name or getattr(metric, "__name__", repr(metric))] = metric
    return found


class Best:
    """The best epoch so far by the validation's loss or accuracy.

    Parameters
    ----------
    monitor : {"loss", "accuracy"}
    patience : int, optional
        After so many epochs without a better one the training is to end.
    path : path, optional
        Where the parameters of the best epoch are kept.
    """

    def __init__(self, network: Any, monitor: str, patience: int | None, path: Any) -> None:
        if monitor not in ("loss", "accuracy"):
            raise ValueError(f"monitor: expected 'loss' or 'accuracy', got {monitor!r}")
        if monitor == "accuracy" and not classifies(network):
            raise ValueError("monitor: this network's loss is none of classes, so that it has no accuracy")
        if path is not None:
            if not hasattr(network, "save_params"):
                raise TypeError(f"save_best: expected a network with save_params, got {type(network).__name__}")
            if Path(path).suffix not in _SUFFIXES or not Path(path).parent.is_dir():
                raise ValueError(
                    f"save_best: expected a name ending in {', '.join(_SUFFIXES)} in a folder that exists, "
                    f"got {os.fspath(path)!r}"
                )
        self.monitor, self.patience, self.path = monitor, patience, path
        self.value = math.inf if monitor == "loss" else -math.inf
        self.epoch: int | None = None
        self.worse = 0

    def take(self, network: Any, epoch: int, value: float) -> bool:
        """Take an epoch's value; whether the training should go on."""
        if value < self.value if self.monitor == "loss" else value > self.value:
            self.value, self.epoch, self.worse = value, epoch, 0
            if self.path is not None:
                network.save_params(self.path)
        else:
            self.worse += 1
        return self.patience is None or self.worse < self.patience
