"""Optimisers: `update(params, grads)` changes the arrays of a dict in place.

The constructors, defaults and state are the book's, with `weight_decay` added: an L2 penalty,
g = grad + weight_decay*p. State (velocities, sums of squares, moments) is kept in dicts under the parameters' names,
from the first update on.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy.typing as npt

from . import ops
from ._device import zeros_like

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class Optimizer:
    """The part they share: dicts of state, and a compiled step over the lists of their arrays.

    A subclass names the step, its dicts of state, and the attribute behind each of the step's keywords.
    """

    _op: ClassVar[Callable[..., None]]
    _states: ClassVar[tuple[str, ...]] = ()
    _keywords: ClassVar[dict[str, str]] = {}

    def __init__(self, lr: float, weight_decay: float) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        for name in self._states:
            setattr(self, name, None)

    def update(self, params: Arrays, grads: Arrays) -> None:
        """One step.

        Parameters
        ----------
        params : dict of ndarray
            Changed in place.
        grads : dict of ndarray
            The gradients under the keys of `params`. A parameter without one, as a frozen one, stays as it is.
        """
        self.advance()
        self.apply(params, grads)

    def advance(self) -> None:
        """Count a step, where the step's number matters."""

    def apply(self, params: Arrays, grads: Arrays) -> None:
        """The update of the step that `advance` has counted."""
        for name in self._states:
            if getattr(self, name) is None:
                setattr(self, name, {key: zeros_like(p) for key, p in params.items()})
        groups = params, grads, *self.states()
        trained = [key for key in params if key in grads]
        self._op(*([group[key] for key in trained] for group in groups), **self.hyper())

    def states(self) -> list[dict[str, Array]]:
        """The dicts of state; none before the first update."""
        return [state for state in (getattr(self, name) for name in self._states) if state is not None]

    def hyper(self) -> dict[str, float]:
        """The numbers of the step that `advance` has counted, under the step's keywords."""
        keywords = {name: getattr(self, attribute) for name, attribute in self._keywords.items()}
        return {"lr": self.lr, "weight_decay": self.weight_decay, **keywords}


class SGD(Optimizer):
    """p -= lr * g."""

    _op = staticmethod(ops.sgd_update)

    def __init__(self, lr: float = 0.01, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)


class Momentum(Optimizer):
    """v = momentum * v - lr * g; p += v.

    Source: B. Polyak, Some Methods of Speeding Up the Convergence of Iteration Methods, 1964.
    """

    _op = staticmethod(ops.momentum_update)
    _states = ("v",)
    _keywords: ClassVar = {"momentum": "momentum"}
    v: dict[str, Array] | None

    def __init__(self, lr: float = 0.01, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.momentum = momentum


class Nesterov(Momentum):
    """p += momentum**2 * v - (1 + momentum) * lr * g; v = momentum * v - lr * g.

    Source: Y. Bengio, N. Boulanger-Lewandowski and R. Pascanu, Advances in Optimizing Recurrent Networks, 2013.
    """

    _op = staticmethod(ops.nesterov_update)


class AdaGrad(Optimizer):
    """h += g**2; p -= lr * g / (sqrt(h) + eps).

    Source: J. Duchi, E. Hazan and Y. Singer, Adaptive Subgradient Methods, 2011.
    """

    _op = staticmethod(ops.adagrad_update)
    _states = ("h",)
    _keywords: ClassVar = {"eps": "eps"}
    h: dict[str, Array] | None

    def __init__(self, lr: float = 0.01, weight_decay: float = 0.0, eps: float = 1e-7) -> None:
        super().__init__(lr, weight_decay)
        self.eps = eps


class RMSprop(Optimizer):
    """h = decay_rate * h + (1 - decay_rate) * g**2; p -= lr * g / (sqrt(h) + eps).

    Source: T. Tieleman and G. Hinton, Lecture 6.5, Neural Networks for Machine Learning, 2012.
    """

    _op = staticmethod(ops.rmsprop_update)
    _states = ("h",)
    _keywords: ClassVar = {"decay": "decay_rate", "eps": "eps"}
    h: dict[str, Array] | None

    def __init__(
        self, lr: float = 0.01, decay_rate: float = 0.99, weight_decay: float = 0.0, eps: float = 1e-7
    ) -> None:
        super().__init__(lr, weight_decay)
        self.decay_rate, self.eps = decay_rate, eps


class AdaDelta(Optimizer):
    """h = rho * h + (1 - rho) * g**2; d = sqrt(s + eps) / sqrt(h + eps) * g; s = rho * s + (1 - rho) * d**2;
    p -= lr * d.

    Source: M. Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012.
    """

    _op = staticmethod(ops.adadelta_update)
    _states = ("h", "s")
    _keywords: ClassVar = {"rho": "rho", "eps": "eps"}
    h: dict[str, Array] | None
    s: dict[str, Array] | None

    def __init__(self, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.rho, self.eps = rho, eps


class Adam(Optimizer):
    """m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2;
    p -= lr * (m / (1 - beta1**iter)) / (sqrt(v / (1 - beta2**iter)) + eps).

    Attributes
    ----------
    iter : int
        Steps made.
    m, v : dict of ndarray, or None before the first step

    Notes
    -----
    Source: D. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1; as in PyTorch.
    """

    _op = staticmethod(ops.adam_update)
    _states = ("m", "v")
    _keywords: ClassVar = {"beta1": "beta1", "beta2": "beta2", "eps": "_eps_now", "step": "iter"}
    m: dict[str, Array] | None
    v: dict[str, Array] | None

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.iter = 0

    def advance(self) -> None:
        self.iter += 1

    @property
    def _eps_now(self) -> float:
        return self.eps


class BookAdam(Adam):
    """Adam with eps where the book has it, outside of the bias correction:
    p -= lr * sqrt(1 - beta2**iter) / (1 - beta1**iter) * m / (sqrt(v) + eps).
    """

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, beta1, beta2, eps, weight_decay)

    @property
    def _eps_now(self) -> float:
        """Numerator and denominator divided by sqrt(1 - beta2**iter) make it Adam's formula with this eps."""
        return self.eps / math.sqrt(1 - self.beta2**self.iter)
