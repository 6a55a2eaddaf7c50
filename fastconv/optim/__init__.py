"""Optimisers, `update(params, grads)` in place, and schedules of their learning rates.

`_optimizer.py` has what all optimisers share: rates by prefix, state by parameter, its saving and loading. `_rules.py`
has the optimisers, `schedules.py` the schedules.
"""

from . import schedules
from ._optimizer import Optimizer
from ._rules import SGD, AdaDelta, AdaGrad, Adam, BookAdam, Momentum, Nesterov, RMSprop

__all__ = [
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "BookAdam",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "schedules",
]

for _kind in (SGD, AdaDelta, AdaGrad, Adam, BookAdam, Momentum, Nesterov, Optimizer, RMSprop):
    _kind.__module__ = __name__  # where the user finds them
