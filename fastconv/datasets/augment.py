"""Augmentations: new, randomly changed copies of a batch of images."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Seed = np.random.Generator | int | None


def random_flip(x: NDArray[Any], rng: Seed = None, *, probability: float = 0.5) -> NDArray[Any]:
    """Mirror each image left to right with the given probability.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    rng : Generator, int or None
        The source of randomness, or its seed.
    probability : float
        0 to 1.

    Returns
    -------
    ndarray (N, C, H, W)
        A new array of x's dtype.
    """
    _need_batch(x)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in 0..1, got {probability}")
    flipped = np.random.default_rng(rng).random(len(x)) < probability
    return np.where(flipped[:, None, None, None], x[..., ::-1], x)


def random_crop(x: NDArray[Any], padding: int, rng: Seed = None) -> NDArray[Any]:
    """Surround each image with zeros and cut its size out again at a random place.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    padding : int
        Width of the border: images move by up to this many pixels in both directions.
    rng : Generator, int or None
        The source of randomness, or its seed.

    Returns
    -------
    ndarray (N, C, H, W)
        A new array of x's dtype.
    """
    _need_batch(x)
    if padding < 0:
        raise ValueError(f"padding must not be negative, got {padding}")
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    offsets = 2 * padding + 1
    windows = sliding_window_view(padded, x.shape[2:], axis=(2, 3))  # (N, C, offsets, offsets, H, W)
    top, left = np.random.default_rng(rng).integers(0, offsets, (2, len(x)))
    return windows[np.arange(len(x)), :, top, left]


def _need_batch(x: NDArray[Any]) -> None:
    if np.ndim(x) != 4:
        raise ValueError(f"x must be (N, C, H, W), got shape {np.shape(x)}")
