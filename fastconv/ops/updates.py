"""Optimiser steps over lists of parameters: one kernel call per list and dtype, everything but grads in place."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .. import _check as check
from .._dispatch import kernel

Arrays = Sequence[NDArray]


def _step(op: str, *groups: Arrays, **hyper: Any) -> None:
    jobs, rates = check.update(*groups, **hyper)
    if check.listed_twice(list(groups[0])):  # by turns, as threads would write to it at once
        for row in zip(*groups, strict=True):
            _step(op, *([a] for a in row), **hyper)
        return
    for p, columns, back in jobs:
        kernel(op, p)(*columns, rates, p)
        for given, updated in back:
            given[...] = updated


def sgd_update(params: Arrays, grads: Arrays, *, lr: float, weight_decay: float = 0.0) -> None:
    """``p -= lr*g`` with ``g = grad + weight_decay*p``, as in all updates here.

    Parameters
    ----------
    params : sequence of ndarray
        Changed in place.
    grads : sequence of ndarray, of the same shapes
    lr, weight_decay : float

    Raises
    ------
    ValueError, TypeError
        When lengths, shapes or types do not fit, or a parameter is read-only.
    """
    _step("sgd", params, grads, lr=lr, weight_decay=weight_decay)


def momentum_update(
    params: Arrays,
    grads: Arrays,
    velocities: Arrays,
    *,
    lr: float,
    momentum: float,
    weight_decay: float = 0.0,
) -> None:
    """``v = momentum*v - lr*g; p += v`` (B. Polyak, 1964; the book's form)."""
    _step("momentum", params, grads, velocities, lr=lr, momentum=momentum, weight_decay=weight_decay)


def nesterov_update(
    params: Arrays,
    grads: Arrays,
    velocities: Arrays,
    *,
    lr: float,
    momentum: float,
    weight_decay: float = 0.0,
) -> None:
    """``p += momentum**2*v - (1 + momentum)*lr*g; v = momentum*v - lr*g`` (Y. Bengio et al., 2013)."""
    _step("nesterov", params, grads, velocities, lr=lr, momentum=momentum, weight_decay=weight_decay)


def adagrad_update(
    params: Arrays, grads: Arrays, sums: Arrays, *, lr: float, eps: float = 1e-7, weight_decay: float = 0.0
) -> None:
    """``h += g**2; p -= lr*g/(sqrt(h) + eps)`` (J. Duchi et al., 2011)."""
    _step("adagrad", params, grads, sums, lr=lr, eps=eps, weight_decay=weight_decay)


def rmsprop_update(
    params: Arrays, grads: Arrays, sums: Arrays, *, lr: float, decay: float, eps: float = 1e-7,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """``h = decay*h + (1 - decay)*g**2; p -= lr*g/(sqrt(h) + eps)`` (T. Tieleman and G. Hinton, 2012)."""
    _step("rmsprop", params, grads, sums, lr=lr, decay=decay, eps=eps, weight_decay=weight_decay)


def adadelta_update(
    params: Arrays, grads: Arrays, sums: Arrays, deltas: Arrays, *, lr: float = 1.0, rho: float = 0.9,
    eps: float = 1e-6, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """``h = rho*h + (1 - rho)*g**2; d = sqrt(s + eps)/sqrt(h + eps)*g; s = rho*s + (1 - rho)*d**2; p -= lr*d``
    (M. Zeiler, 2012)."""
    _step("adadelta", params, grads, sums, deltas, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)


def adam_update(
    params: Arrays, grads: Arrays, m: Arrays, v: Arrays, *, lr: float, beta1: float, beta2: float, eps: float,
    step: int, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """``m = b1*m + (1 - b1)*g; v = b2*v + (1 - b2)*g**2; p -= lr*m_hat/(sqrt(v_hat) + eps)`` with
    ``m_hat = m/(1 - b1**step)``, ``v_hat = v/(1 - b2**step)`` (D. Kingma and J. Ba, 2015, algorithm 1). step counts
    from 1."""
    _step(
        "adam",
        params,
        grads,
        m,
        v,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        step=step,
        weight_decay=weight_decay,
    )
