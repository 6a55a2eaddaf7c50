"""Where random numbers come from when the caller may name a seed, a Generator, or nothing."""

from typing import Any

import numpy as np


def source(rng: Any = None) -> Any:
    """An object with NumPy's `standard_normal`, `random`, `choice` and `permutation`.

    Parameters
    ----------
    rng : None, int or numpy.random.Generator
        None is NumPy's global generator, which `numpy.random.seed` governs: the numbers are then those that the book's
        `np.random.randn`, `rand` and `choice` draw.
    """
    return np.random if rng is None else np.random.default_rng(rng)
