"""The optimisers.

The constructors, defaults and state are the book's, with `weight_decay` added: an L2 penalty,
g = grad + weight_decay*p. State (velocities, sums of squares, moments) is kept in dicts under the parameters' names,
from the first update on. Where PyTorch spells an argument otherwise, that is understood too.
"""

import math
from typing import Any, ClassVar

import numpy.typing as npt

from .. import ops
from .._check.arguments import real
from ._optimizer import Optimizer
from ._rates import Rates

Array = npt.NDArray[Any]


class SGD(Optimizer):
    """p -= lr * g.

    Parameters
    ----------
    lr : float, or dict of float
        As for all optimisers here: see `Optimizer`.
    weight_decay : float
    momentum, nesterov : float, bool
        As in PyTorch: b = momentum * b + g; p -= lr * b, or p -= lr * (g + momentum * b). While the rate stays as it
        is, that is `Momentum` or `Nesterov`; a new rate counts at once for all of the velocity.

    Attributes
    ----------
    v : dict of ndarray, or None before the first step
        With momentum: -rate * b, where the rate is the latest above 0.
    """

    _op: Any = staticmethod(ops.sgd_update)
    _numbers: ClassVar = {"momentum": "momentum"}
    v: dict[str, Array] | None

    def __init__(
        self, lr: Rates = 0.01, weight_decay: float = 0.0, *, momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        self.momentum, self.nesterov = real("momentum", momentum, 0), bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov: expected a momentum above 0 with it, got {momentum!r}")
        if self.momentum:
            self._states = ("v",)
            self._op = ops.nesterov_update if self.nesterov else ops.momentum_update
        super().__init__(lr, weight_decay)

    def hyper(self, rate: float | None = None, missed: float = 0) -> dict[str, float]:
        numbers = super().hyper(rate, missed)
        if not self.momentum:
            del numbers["momentum"]
        return numbers

    def _kind(self) -> str:
        words = [word for word in ("momentum", "nesterov") if getattr(self, word)]
        return f"SGD({', '.join(words)})" if words else "SGD"

    def advance(self) -> None:
        super().advance()
        if self.momentum and self.v:
            self._rescale(list(self.v), list(self.v.values()), self.lr)

    def _need_one_group(self) -> None:
        super()._need_one_group()
        if self.momentum and not self.lr:
            raise RuntimeError("the step cannot be captured: its rate is 0")

    def _step(self, keys: list[str], lists: list[list[Any]], rate: float) -> None:
        if self.momentum:
            if rate == 0:
                self._step_at_rest(keys, lists)
                return
            self._rescale(keys, lists[2], rate)
        super()._step(keys, lists, rate)

    def _rescale(self, keys: list[str], velocities: list[Any], rate: float) -> None:
        """Express velocities in another rate."""
        for key, v in zip(keys, velocities, strict=True):
            before = self._marks.get(key, rate)
            if before != rate:
                v[...] = v * (rate / before)
            self._marks[key] = float(rate)

    def _step_at_rest(self, keys: list[str], lists: list[list[Any]]) -> None:
        """With a rate of 0 the velocities go on and the parameters stay: the step moves copies of these."""
        params, grads, velocities = lists
        for key, p, g, v in zip(keys, params, grads, velocities, strict=True):
            rate = self._marks.setdefault(key, 1.0)
            super()._step([key], [[p.copy()], [g], [v]], rate)


class Momentum(Optimizer):
    """v = momentum * v - lr * g; p += v.

    Source: B. Polyak, Some Methods of Speeding Up the Convergence of Iteration Methods, 1964.
    """

    _op = staticmethod(ops.momentum_update)
    _states = ("v",)
    _numbers: ClassVar = {"momentum": "momentum"}
    v: dict[str, Array] | None

    def __init__(self, lr: Rates = 0.01, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.momentum = real("momentum", momentum, 0)


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
    _numbers: ClassVar = {"eps": "eps"}
    h: dict[str, Array] | None

    def __init__(self, lr: Rates = 0.01, weight_decay: float = 0.0, eps: float = 1e-7) -> None:
        super().__init__(lr, weight_decay)
        self.eps = real("eps", eps, 0)


class RMSprop(Optimizer):
    """h = decay_rate * h + (1 - decay_rate) * g**2; p -= lr * g / (sqrt(h) + eps).

    `alpha` is PyTorch's word for `decay_rate`.

    Source: T. Tieleman and G. Hinton, Lecture 6.5, Neural Networks for Machine Learning, 2012.
    """

    _op = staticmethod(ops.rmsprop_update)
    _states = ("h",)
    _numbers: ClassVar = {"decay": "decay_rate", "eps": "eps"}
    h: dict[str, Array] | None

    def __init__(
        self,
        lr: Rates = 0.01,
        decay_rate: float = 0.99,
        weight_decay: float = 0.0,
        eps: float = 1e-7,
        *,
        alpha: float | None = None,
    ) -> None:
        super().__init__(lr, weight_decay)
        self.decay_rate = real("decay_rate", decay_rate, 0, 1) if alpha is None else real("alpha", alpha, 0, 1)
        self.eps = real("eps", eps, 0)


class AdaDelta(Optimizer):
    """h = rho * h + (1 - rho) * g**2; d = sqrt(s + eps) / sqrt(h + eps) * g; s = rho * s + (1 - rho) * d**2;
    p -= lr * d.

    Source: M. Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012.
    """

    _op = staticmethod(ops.adadelta_update)
    _states = ("h", "s")
    _numbers: ClassVar = {"rho": "rho", "eps": "eps"}
    h: dict[str, Array] | None
    s: dict[str, Array] | None

    def __init__(self, lr: Rates = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)
        self.rho, self.eps = real("rho", rho, 0, 1), real("eps", eps, 0)


class Adam(Optimizer):
    """m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2;
    p -= lr * (m / (1 - beta1**iter)) / (sqrt(v / (1 - beta2**iter)) + eps).

    Parameters
    ----------
    lr, beta1, beta2, eps, weight_decay : float
    betas : (float, float), optional
        PyTorch's spelling of beta1 and beta2.

    Attributes
    ----------
    iter : int
        Steps made. A parameter that came later, or was left out of some, counts its own.
    m, v : dict of ndarray, or None before the first step

    Notes
    -----
    Source: D. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1; as in PyTorch.
    """

    _op = staticmethod(ops.adam_update)
    _counts = True
    _states = ("m", "v")
    _numbers: ClassVar = {"beta1": "beta1", "beta2": "beta2", "eps": "eps"}
    m: dict[str, Array] | None
    v: dict[str, Array] | None

    def __init__(
        self,
        lr: Rates = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        betas: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(lr, weight_decay)
        if betas is not None:
            if not isinstance(betas, (tuple, list)) or len(betas) != 2:
                raise ValueError(f"betas: expected two numbers, got {betas!r}")
            beta1, beta2 = betas
        self.beta1, self.beta2 = _below_one("beta1", beta1), _below_one("beta2", beta2)
        self.eps = real("eps", eps, 0)

    def hyper(self, rate: float | None = None, missed: float = 0) -> dict[str, float]:
        return {**super().hyper(rate, missed), "step": self.iter - missed}


class BookAdam(Adam):
    """Adam with eps where the book has it, outside of the bias correction:
    p -= lr * sqrt(1 - beta2**iter) / (1 - beta1**iter) * m / (sqrt(v) + eps).
    """

    def __init__(
        self,
        lr: Rates = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, beta1, beta2, eps, weight_decay)

    def hyper(self, rate: float | None = None, missed: float = 0) -> dict[str, float]:
        """Numerator and denominator divided by sqrt(1 - beta2**iter) make it Adam's formula with this eps."""
        numbers = super().hyper(rate, missed)
        return {**numbers, "eps": self.eps / math.sqrt(1 - self.beta2 ** numbers["step"])}


def _below_one(name: str, value: float) -> float:
    number = real(name, value, 0)
    if number >= 1:
        raise ValueError(f"{name}: expected a number from 0 on and below 1, got {value!r}")
    return number
