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
from .._cuda.graphs import hyper_source, step_numbers
from .._cuda.kernels import EACH, WIDTH, Family
from .._cuda.pointers import access, addresses
from .._cuda.shim import cuda, require

require()

MINE = WIDTH * EACH  # numbers that one block updates


Rates = Callable[[dict[str, float]], tuple[float, ...]]

NUMBERS = 5  # the weight decay, and up to four rates


def _step(name: str, states: int, formula: Callable[[Type], Any], rates: Rates) -> Callable[..., None]:
    """A launch (lists, hyper, p) whose kernel does formula(p, g, s, t, *rates(hyper)) -> p, s, t."""

    def make(E):
        T = E.T
        step = cuda.jit(device=True)(formula(T))
        read, write = access(T)

        def kernel(tables, arrays, changing, decay, a, b, c, d):
            block = cuda.blockIdx.x
            decay += changing[0]
            a += changing[1]
            b += changing[2]
            c += changing[3]
            d += changing[4]
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

    kernels = Family(f"optim.{name}", make, "i[] i T[] T T T T T", stored=(np.float32, np.float64))

    def numbers(hyper: dict[str, float]) -> list[float]:
        given = [hyper["weight_decay"], *rates(hyper)]
        return given + [0.0] * (NUMBERS - len(given))

    def launch(lists: list[list[Any]], hyper: dict[str, float], p: Update) -> None:
        lists = [[a for a in arrays if size(a)] for arrays in lists]
        sizes = [size(a) for a in lists[0]]
        blocks = [0, *accumulate(-(-n // MINE) for n in sizes)]
        tables = table((*blocks[:-1], *sizes, *addresses(lists)))
        hyper_now = hyper_source(hyper)
        changing, scalars = step_numbers(p.dtype, NUMBERS, lambda: numbers(hyper_now()))
        kernels.launch(p.dtype, blocks[-1], WIDTH, tables, len(sizes), changing, *scalars)

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


def _keep_and_share(keep: str) -> Rates:
    return lambda h: (h["lr"], h[keep], 1 - h[keep], h["eps"])


def _adam_rates(h: dict[str, float]) -> tuple[float, ...]:
    b1, b2, t = h["beta1"], h["beta2"], h["step"]
    root = (1 - b2**t) ** 0.5
    return h["lr"] / (1 - b1**t) * root, 1 - b1, 1 - b2, h["eps"] * root


_launch_sgd = _step("sgd", 0, _sgd, lambda h: (h["lr"],))
_launch_momentum = _step("momentum", 1, _momentum, lambda h: (h["lr"], h["momentum"]))
_launch_nesterov = _step("nesterov", 1, _nesterov, lambda h: (h["lr"], h["momentum"]))
_launch_adagrad = _step("adagrad", 1, _adagrad, lambda h: (h["lr"], h["eps"]))
_launch_rmsprop = _step("rmsprop", 1, _rmsprop, _keep_and_share("decay"))
_launch_adadelta = _step("adadelta", 2, _adadelta, _keep_and_share("rho"))
_launch_adam = _step("adam", 2, _adam, _adam_rates)


@entry("params")
def sgd(params: Any, grads: Any, hyper: Any, p: Update) -> None:
    _launch_sgd([params, grads], hyper, p)


@entry("params", "velocities")
def momentum(params: Any, grads: Any, velocities: Any, hyper: Any, p: Update) -> None:
    _launch_momentum([params, grads, velocities], hyper, p)


@entry("params", "velocities")
def nesterov(params: Any, grads: Any, velocities: Any, hyper: Any, p: Update) -> None:
    _launch_nesterov([params, grads, velocities], hyper, p)


@entry("params", "sums")
def adagrad(params: Any, grads: Any, sums: Any, hyper: Any, p: Update) -> None:
    _launch_adagrad([params, grads, sums], hyper, p)


@entry("params", "sums")
def rmsprop(params: Any, grads: Any, sums: Any, hyper: Any, p: Update) -> None:
    _launch_rmsprop([params, grads, sums], hyper, p)


@entry("params", "sums", "deltas")
def adadelta(params: Any, grads: Any, sums: Any, deltas: Any, hyper: Any, p: Update) -> None:
    _launch_adadelta([params, grads, sums, deltas], hyper, p)


@entry("params", "m", "v")
def adam(params: Any, grads: Any, m: Any, v: Any, hyper: Any, p: Update) -> None:
    _launch_adam([params, grads, m, v], hyper, p)
