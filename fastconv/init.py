"""Initial values of parameters.

Every function takes the shape first; `rng` is None (NumPy's global generator, as the book's `np.random.randn`), a seed
or a Generator. The fan-in n of a weight array is the number of inputs of one neuron: the rows of an affine (in, out),
C*FH*FW of a filter bank (FN, C, FH, FW).
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ._random import source

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


def fan_in(shape: Shape) -> int:
    """Number of inputs of one neuron of a weight array of this shape."""
    return shape[0] if len(shape) == 2 else math.prod(shape[1:])


def zeros(shape: int | Shape, dtype: npt.DTypeLike = np.float64) -> Array:
    """Zeros."""
    return np.zeros(shape, dtype)


def normal(shape: Shape, std: float = 0.01, rng: Any = None, dtype: npt.DTypeLike = np.float64) -> Array:
    """Normally distributed around 0 with standard deviation `std`."""
    return (std * source(rng).standard_normal(shape)).astype(dtype, copy=False)


def xavier(shape: Shape, rng: Any = None, dtype: npt.DTypeLike = np.float64) -> Array:
    """Normal with standard deviation 1/sqrt(n), for sigmoid and tanh.

    Source: X. Glorot and Y. Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks, 2010
    (with the fan-in alone, as in the book).
    """
    return normal(shape, np.sqrt(1.0 / fan_in(shape)), rng, dtype)


def he(shape: Shape, rng: Any = None, dtype: npt.DTypeLike = np.float64) -> Array:
    """Normal with standard deviation sqrt(2/n), for ReLU.

    Source: K. He, X. Zhang, S. Ren and J. Sun, Delving Deep into Rectifiers, 2015.
    """
    return normal(shape, np.sqrt(2.0 / fan_in(shape)), rng, dtype)


_NAMED = {"relu": he, "he": he, "sigmoid": xavier, "xavier": xavier}


def weights(shape: Shape, std: float | str, rng: Any = None, dtype: npt.DTypeLike = np.float64) -> Array:
    """Initial weights as the book's networks name them.

    Parameters
    ----------
    shape : tuple of int
    std : float, or one of "relu", "he" (`he`), "sigmoid", "xavier" (`xavier`), in any case

    Raises
    ------
    ValueError
        If `std` is another word.
    """
    if not isinstance(std, str):
        return normal(shape, std, rng, dtype)
    if std.lower() not in _NAMED:
        raise ValueError(f"weight_init_std: expected a number or one of {', '.join(_NAMED)}, got {std!r}")
    return _NAMED[std.lower()](shape, rng, dtype)
