"""Schedules: objects that set an optimiser's learning rate once an epoch.

A schedule is attached to an optimiser, whose rate of that moment is its first one, and called before the steps of each
epoch with the epoch's number (from 0), or, where `wants` is "metric", behind each epoch with what was measured::

    schedule = Step(30, gamma=0.1).attach(optimizer)
    for epoch in range(90):
        schedule(epoch)
        ...

`Trainer(schedule=Step(30))` does both. Rates by prefix are scaled alike.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from .._check.arguments import integer, real
from ._optimizer import Optimizer

__all__ = ["Cosine", "Plateau", "Schedule", "Step"]

S = TypeVar("S", bound="Schedule")


class Schedule:
    """What schedules share. A schedule of one's own overrides `rate`.

    Attributes
    ----------
    wants : {"epoch", "metric"}
        What it is called with.
    optimizer : Optimizer or None
    """

    wants: ClassVar[str] = "epoch"
    _kept: tuple[str, ...] = ("_first",)  # what the following calls depend on

    def __init__(self) -> None:
        self.optimizer: Any = None
        self._first: Any = None

    def attach(self: S, optimizer: Optimizer) -> S:
        """Take an optimiser and its present rate.

        Returns
        -------
        Schedule
            This one.

        Raises
        ------
        TypeError
            When it has no `lr`.
        """
        if not hasattr(optimizer, "lr"):
            raise TypeError(f"optimizer: expected one with an attribute lr, got {type(optimizer).__name__}")
        self.optimizer, self._first = optimizer, optimizer.lr
        return self

    def __call__(self, epoch: int) -> None:
        """Set the rate of an epoch, counted from 0; calling it again changes nothing."""
        self._need_optimizer()
        epoch = integer("epoch", epoch, 0)
        self.optimizer.lr = _each(self._first, lambda first: self.rate(first, epoch))

    def rate(self, first: float, epoch: int) -> float:
        """The rate of an epoch, from the first one."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(first, epoch)")

    def _need_optimizer(self) -> None:
        if self.optimizer is None:
            raise RuntimeError(f"{type(self).__name__} has no optimiser: attach(optimizer) comes first")

    def state_dict(self) -> dict[str, Any]:
        """What the following calls depend on, beside the optimiser."""
        return {"schedule": type(self).__name__, **{name: getattr(self, name) for name in self._kept}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of a schedule of the same class gave.

        Raises
        ------
        ValueError
            When it is another's. Nothing is changed then.
        """
        if not isinstance(state, Mapping) or state.keys() != {"schedule", *self._kept}:
            raise ValueError(f"state: expected one of {type(self).__name__}.state_dict(), got {state!r}")
        if state["schedule"] != type(self).__name__:
            raise ValueError(f"state: expected that of {type(self).__name__}, got that of {state['schedule']}")
        for name in self._kept:
            setattr(self, name, state[name])


class Step(Schedule):
    """The rate times `gamma` every `step_size` epochs: first * gamma**(epoch // step_size)."""

    def __init__(self, step_size: int, gamma: float = 0.1) -> None:
        super().__init__()
        self.step_size, self.gamma = integer("step_size", step_size, 1), real("gamma", gamma, 0)

    def __repr__(self) -> str:
        return f"Step({self.step_size}, gamma={self.gamma})"

    def rate(self, first: float, epoch: int) -> float:
        return first * self.gamma ** (epoch // self.step_size)


class Cosine(Schedule):
    """Half a cosine from the first rate down to `eta_min` in epoch `T_max`, and up again behind it:
    eta_min + (first - eta_min) * (1 + cos(pi * epoch / T_max)) / 2.

    Source: I. Loshchilov and F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (without restarts).
    """

    def __init__(self, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__()
        self.T_max, self.eta_min = integer("T_max", T_max, 1), real("eta_min", eta_min, 0)

    def __repr__(self) -> str:
        return f"Cosine({self.T_max}, eta_min={self.eta_min})"

    def rate(self, first: float, epoch: int) -> float:
        return self.eta_min + (first - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class Plateau(Schedule):
    """The rate times `factor` when a metric has not become better for more than `patience` epochs.

    Parameters
    ----------
    mode : {"min", "max"}
        Whether less is better.
    factor : float
        Above 0 and below 1.
    patience : int
    threshold : float
        How much better it has to be than the best so far.
    threshold_mode : {"rel", "abs"}
        Whether that is a share of the best, or a difference.
    cooldown : int
        After a reduction, so many epochs do not count.
    min_lr : float
        The least rate.
    eps : float
        A change of the rate by less is left out.

    Notes
    -----
    As PyTorch's ReduceLROnPlateau, whose arguments these are.
    """

    wants = "metric"
    _kept = ("best", "bad_epochs", "_resting")

    def __init__(
        self,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode: expected 'rel' or 'abs', got {threshold_mode!r}")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = real("factor", factor, 0)
        if not 0 < self.factor < 1:
            raise ValueError(f"factor: expected a number above 0 and below 1, got {factor!r}")
        self.patience, self.cooldown = integer("patience", patience, 0), integer("cooldown", cooldown, 0)
        self.threshold, self.min_lr, self.eps = (
            real("threshold", threshold),
            real("min_lr", min_lr, 0),
            real("eps", eps),
        )
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_epochs = self._resting = 0

    def __repr__(self) -> str:
        return f"Plateau({self.mode!r}, factor={self.factor}, patience={self.patience})"

    def __call__(self, metric: float) -> None:  # type: ignore[override]
        """Take what was measured behind an epoch, and set the rate of the next one."""
        self._need_optimizer()
        metric = float(metric)
        if self._is_better(metric):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self._resting:
            self._resting -= 1
            self.bad_epochs = 0
        if self.bad_epochs > self.patience:
            self.optimizer.lr = _each(self.optimizer.lr, self._reduced)
            self.bad_epochs, self._resting = 0, self.cooldown

    def _is_better(self, metric: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            return sign * metric > sign * self.best * (1 + sign * self.threshold)
        return sign * metric > sign * self.best + self.threshold

    def _reduced(self, rate: float) -> float:
        reduced = max(rate * self.factor, self.min_lr)
        return reduced if rate - reduced > self.eps else rate


def _each(rates: Any, change: Any) -> Any:
    """A changed rate, or all of those by prefix."""
    if isinstance(rates, Mapping):
        return {prefix: change(rate) for prefix, rate in rates.items()}
    return change(rates)
