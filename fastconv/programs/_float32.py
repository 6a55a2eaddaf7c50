"""The choice to compute in float32 whatever the program's arrays are: ``python -m fastconv --float32 SCRIPT``.

Layers cast what they are given. Parameters become float32 themselves, in the program's dict and in its layers, at the
second step of an optimiser that was replaced, if nothing else refers to them; else they stay, and are cast each time.
"""

import sys
from typing import Any
from weakref import WeakSet

import numpy as np

on = False

SINGLE = np.dtype(np.float32)
_layers: WeakSet[Any] = WeakSet()
_counts = {"parameters": 0, "kept": 0}


def cast(a: Any) -> Any:
    """The array in float32."""
    return a if a.dtype == SINGLE else a.astype(SINGLE)


def meet(layer: Any) -> None:
    """Remember a layer that has a parameter which is not float32."""
    _layers.add(layer)


def adopt(params: Any, *others: Any) -> None:
    """Make parameters float32, and what is kept for them.

    Parameters
    ----------
    params : dict of ndarray
    others : dicts of ndarray
        An optimiser's state under the same keys.
    """
    for key in list(params):
        if type(params[key]) is not np.ndarray or params[key].dtype != np.float64:
            continue
        holders = [(vars(layer), name) for layer in _layers for name, a in vars(layer).items() if a is params[key]]
        kept = sum(a is params[key] for layer in _layers for a in _state(layer))
        # Every reference is known: that of the dict, those of the layers, and the argument of getrefcount.
        if not holders or sys.getrefcount(params[key]) != len(holders) + kept + 2:
            _counts["kept"] += 1
            continue
        single = cast(params[key])
        for attributes, name in holders:
            attributes[name] = single
        params[key] = single
        for other in others:
            other[key] = cast(other[key])
        _counts["parameters"] += 1


def _state(layer: Any) -> tuple[Any, ...]:
    """What a layer keeps for its backward."""
    state, _ = vars(layer).get("_fastconv", ((), None))
    return state if isinstance(state, tuple) else (state,)


def summary() -> str:
    """What is said at the end."""
    return f"fastconv: computed in float32, as asked; {_counts['parameters']} parameters were made float32"
