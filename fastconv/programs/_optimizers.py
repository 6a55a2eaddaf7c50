"""The book's optimisers: `update` on fastconv, for classes of a program that do the same.

The program's own method does the first step, in which it makes its state, and every step on anything but dicts of
arrays of one type.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import ops
from . import _float32
from ._arrays import number
from ._classes import Substitute
from ._proof import NotTaken

_DICTS = (dict, OrderedDict)
_FLOATS = ("f", "d")


def sgd() -> Substitute:
    return _updating(ops.sgd_update, (), {"lr": "lr"})


def momentum() -> Substitute:
    return _updating(ops.momentum_update, ("v",), {"lr": "lr", "momentum": "momentum"})


def nesterov() -> Substitute:
    return _updating(ops.nesterov_update, ("v",), {"lr": "lr", "momentum": "momentum"})


def ada_grad() -> Substitute:
    return _updating(ops.adagrad_update, ("h",), {"lr": "lr"})


def rms_prop() -> Substitute:
    return _updating(ops.rmsprop_update, ("h",), {"lr": "lr", "decay": "decay_rate"})


def adam() -> Substitute:
    """With eps behind the square root of v as it is, before the correction of the bias."""

    def update(self: Any, params: Any, grads: Any) -> None:
        lists = _lists(self, params, grads, ("m", "v"))
        lr, beta1, beta2 = number(self.lr), number(self.beta1), number(self.beta2)
        if type(self.iter) is not int or not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise NotTaken("an attribute is unusual")
        step = self.iter + 1
        eps = 1e-7 / math.sqrt(1 - beta2**step)
        ops.adam_update(*lists, lr=lr, beta1=beta1, beta2=beta2, eps=eps, step=step)
        self.iter = step

    return Substitute({"update": update})


def _updating(step: Callable[..., None], states: tuple[str, ...], numbers: Mapping[str, str]) -> Substitute:
    def update(self: Any, params: Any, grads: Any) -> None:
        lists = _lists(self, params, grads, states)
        step(*lists, **{keyword: number(getattr(self, name)) for keyword, name in numbers.items()})

    return Substitute({"update": update})


def _lists(self: Any, params: Any, grads: Any, states: tuple[str, ...]) -> list[list[Any]]:
    """Parameters, gradients and states in the order of the parameters, if they can be changed one by one."""
    dicts = [params, grads, *(getattr(self, name, None) for name in states)]
    if not all(type(d) in _DICTS and d.keys() == params.keys() for d in dicts):
        raise NotTaken("the parameters are no dict, or the state is not theirs")
    if _float32.on:
        _float32.adopt(params, *dicts[2:])
    lists = [list(map(d.__getitem__, params)) for d in dicts]
    for p, *others in zip(*lists, strict=True):
        for a in (p, *others):
            if type(a) is not np.ndarray or a.dtype != p.dtype or a.shape != p.shape or not a.flags.c_contiguous:
                raise NotTaken("not all of them are arrays of one type and shape")
        if p.dtype.char not in _FLOATS or any(np.may_share_memory(p, a) for a in others):
            raise NotTaken("a parameter is no array of its own")
    changed = [a for column in (lists[0], *lists[2:]) for a in column]
    if not all(a.flags.writeable for a in changed) or _overlap(changed):
        raise NotTaken("the parameters share memory, or cannot be written to")
    return lists


def _overlap(arrays: list[Any]) -> bool:
    """Whether two of the arrays may share memory. Arrays that own their memory share it with no other owner."""
    views = [a for a in arrays if not a.flags.owndata]
    if len(set(map(id, arrays))) != len(arrays):
        return True
    return any(np.may_share_memory(view, a) for view in views for a in arrays if a is not view)
