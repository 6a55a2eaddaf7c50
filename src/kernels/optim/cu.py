"""Optimiser steps in CUDA: one launch for a whole list of parameters, which the kernel knows by their addresses.

A table says for each array where its blocks begin, its size and the addresses of its parameter, gradient and state; a
block finds its array by bisection. Formulas in ref.py.
"""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from ..._problem import Update
from .._cuda.arrays import entry, size, table
from .._cuda.elements import Type
from .._cuda.kernels import EACH, WIDTH, Family
from .._cuda.pointers import access, addresses
from .._cuda.shim import cuda, require

require()

MINE = WIDTH * EACH  # numbers that one block updates


def _step(name: str, states: int, formula: Callable[[Type], Any]) -> Callable[..., None]:
    """A launch (params, grads, state lists..., rates) whose kernel does formula(p, g, s, t, rates...) -> p, s, t."""

    def make(E):
        T = E.T
        step = cuda.jit(device=True)(formula(T))
        read, write = access(T)

        def kernel(tables, arrays, decay, a, b, c, d):
            block = cuda.blockIdx.x
            low, high = 0, arrays
            while high - low > 1:
                middle = (low + high) // 2
                if tables[middle] <= block:
                    low = middle
                else:
                    high = middle
            count = tables[arrays + low]
            param = tables[2 * arrays + low]
            grad = tables[3 * arrays + low]
            first = tables[4 * arrays + low] if states > 0 else param
            second = tables[5 * arrays + low] if states > 1 else param
            start = (block - tables[low]) * MINE + cuda.threadIdx.x
            for e in range(EACH):
                i = start + e * WIDTH
                if i < count:
                    value = read(param, i)
                    s = read(first, i) if states > 0 else T(0)
                    t = read(second, i) if states > 1 else T(0)
                    g = read(grad, i)
                    if decay != T(0):
                        g += decay * value
                    value, s, t = step(value, g, s, t, a, b, c, d)
                    write(param, i, value)
                    if states > 0:
                        write(first, i, s)
                    if states > 1:
                        write(second, i, t)

        return kernel

    kernels = Family(f"optim.{name}", make, "i[] i T T T T T", stored=(np.float32, np.float64))

    def launch(lists: list[list[Any]], hyper: dict[str, float], p: Update, *rates: float) -> None:
        lists = [[a for a in arrays if size(a)] for arrays in lists]
        sizes = [size(a) for a in lists[0]]
        blocks = [0, *accumulate(-(-n // MINE) for n in sizes)]
        tables = table((*blocks[:-1], *sizes, *addresses(lists)))
        scalars = (p.dtype.type(rate) for rate in (hyper["weight_decay"], *rates, *[0.0] * (4 - len(rates))))
        kernels.launch(p.dtype, blocks[-1], WIDTH, tables, len(sizes), *scalars)

    return launch


def _sgd(T: Type) -> Any:
    return lambda p, g, s, t, lr, b, c, d: (p - lr * g, s, t)


def _momentum(T: Type) -> Any:
    def step(p, g, v, t, lr, mu, c, d):
        v = mu * v - lr * g
        return p + v, v, t

    return step


def _nesterov(T: Type) -> Any:
    def step(p, g, v, t, lr, mu, c, d):
        change = lr * g
        return p + (mu * mu * v - (T(1) + mu) * change), mu * v - change, t

    return step


def _adagrad(T: Type) -> Any:
    def step(p, g, h, t, lr, eps, c, d):
        h += g * g
        return p - lr * g / (T(math.sqrt(h)) + eps), h, t

    return step


def _rmsprop(T: Type) -> Any:
    def step(p, g, h, t, lr, keep, share, eps):
        h = keep * h + share * g * g
        return p - lr * g / (T(math.sqrt(h)) + eps), h, t

    return step


def _adadelta(T: Type) -> Any:
    def step(p, g, h, s, lr, keep, share, eps):
        h = keep * h + share * g * g
        delta = T(math.sqrt(s + eps)) / T(math.sqrt(h + eps)) * g
        return p - lr * delta, h, keep * s + share * delta * delta

    return step


def _adam(T: Type) -> Any:
    """rate is lr/(1 - b1^t); eps comes times sqrt(1 - b2^t), like the root, so the quotient is the formula's."""

    def step(p, g, m, v, rate, share_m, share_v, eps):
        m += share_m * (g - m)
        v += share_v * (g * g - v)
        return p - rate * m / (T(math.sqrt(v)) + eps), m, v

    return step


_launch_sgd = _step("sgd", 0, _sgd)
_launch_momentum = _step("momentum", 1, _momentum)
_launch_nesterov = _step("nesterov", 1, _nesterov)
_launch_adagrad = _step("adagrad", 1, _adagrad)
_launch_rmsprop = _step("rmsprop", 1, _rmsprop)
_launch_adadelta = _step("adadelta", 2, _adadelta)
_launch_adam = _step("adam", 2, _adam)


@entry("params")
def sgd(params: Any, grads: Any, hyper: Any, p: Update) -> None:
    _launch_sgd([params, grads], hyper, p, hyper["lr"])


@entry("params", "velocities")
def momentum(params: Any, grads: Any, velocities: Any, hyper: Any, p: Update) -> None:
    _launch_momentum([params, grads, velocities], hyper, p, hyper["lr"], hyper["momentum"])


@entry("params", "velocities")
def nesterov(params: Any, grads: Any, velocities: Any, hyper: Any, p: Update) -> None:
    _launch_nesterov([params, grads, velocities], hyper, p, hyper["lr"], hyper["momentum"])


@entry("params", "sums")
def adagrad(params: Any, grads: Any, sums: Any, hyper: Any, p: Update) -> None:
    _launch_adagrad([params, grads, sums], hyper, p, hyper["lr"], hyper["eps"])


@entry("params", "sums")
def rmsprop(params: Any, grads: Any, sums: Any, hyper: Any, p: Update) -> None:
    keep = hyper["decay"]
    _launch_rmsprop([params, grads, sums], hyper, p, hyper["lr"], keep, 1 - keep, hyper["eps"])


@entry("params", "sums", "deltas")
def adadelta(params: Any, grads: Any, sums: Any, deltas: Any, hyper: Any, p: Update) -> None:
    keep = hyper["rho"]
    _launch_adadelta([params, grads, sums, deltas], hyper, p, hyper["lr"], keep, 1 - keep, hyper["eps"])


@entry("params", "m", "v")
def adam(params: Any, grads: Any, m: Any, v: Any, hyper: Any, p: Update) -> None:
    b1, b2, t = hyper["beta1"], hyper["beta2"], hyper["step"]
    root = (1 - b2**t) ** 0.5
    rate = hyper["lr"] / (1 - b1**t) * root
    _launch_adam([params, grads, m, v], hyper, p, rate, 1 - b1, 1 - b2, hyper["eps"] * root)
