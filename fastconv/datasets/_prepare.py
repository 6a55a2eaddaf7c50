"""From stored images and labels to the arrays a network takes: the last step of every loader."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pair = tuple[NDArray[Any], NDArray[Any]]
Split = tuple[Pair, Pair]


def one_hot(labels: ArrayLike, classes: int | None = None) -> NDArray[np.float32]:
    """Labels as one-hot rows.

    Parameters
    ----------
    labels : array_like (N,), int
        Class numbers from 0.
    classes : int, optional
        Number of columns; by default the largest label plus one.

    Returns
    -------
    ndarray (N, classes), float32

    Raises
    ------
    TypeError
        If the labels are not integers.
    ValueError
        If they are not one-dimensional, or one is negative or not below `classes`.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"labels must have one dimension, got shape {labels.shape}")
    if classes is None:
        classes = int(labels.max()) + 1 if labels.size else 0
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    rows = np.zeros((labels.size, classes), np.float32)
    rows[np.arange(labels.size), labels] = 1
    return rows


def prepare(part: Pair, normalize: bool, flatten: bool, one_hot_label: bool, classes: int) -> Pair:
    """Apply the book's three options to images (N, C, H, W) and labels (N,); the arrays can be written to."""
    images, labels = part
    if normalize:
        images = images.astype(np.float32) / np.float32(255)
    elif not images.flags.writeable:  # a view of what was read from a file
        images = images.copy()
    if flatten:
        images = images.reshape(len(images), math.prod(images.shape[1:]))
    return images, one_hot(labels, classes) if one_hot_label else labels.astype(np.int64)


def split(images: NDArray[Any], labels: NDArray[Any], test_size: int, seed: int = 0) -> Split:
    """Shuffle by `seed`, then cut off the last `test_size` images: the same split every time."""
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = np.split(order, [len(order) - test_size])
    return (images[train], labels[train]), (images[test], labels[test])


def prepare_split(parts: Split, normalize: bool, flatten: bool, one_hot_label: bool, classes: int = 10) -> Split:
    """`prepare` for the training and the test part."""
    train, test = (prepare(part, normalize, flatten, one_hot_label, classes) for part in parts)
    return train, test


def load_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Split:
    """Arrays in memory, shuffled and split for training and testing.

    Parameters
    ----------
    images : array_like (N, D), (N, H, W) or (N, C, H, W)
        (N, H, W) is taken as one channel.
    labels : array_like (N,), int
        Class numbers from 0.
    normalize : bool
        uint8 images become float32 in 0..1; images of any other dtype keep their values.
    flatten : bool
        Return images as (N, C*H*W).
    one_hot_label : bool
        Return labels as one-hot rows (N, classes).
    test_fraction : float
        The part of the images set aside for testing, 0 to 1.
    seed : int
        Seed of the shuffle: the same seed gives the same split.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)

    Raises
    ------
    ValueError
        If the numbers of images and labels differ, the images have a rank other than 2, 3 or 4, or
        `test_fraction` is not within 0..1.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim not in (2, 3, 4):
        raise ValueError(f"images must be (N, D), (N, H, W) or (N, C, H, W), got shape {images.shape}")
    if labels.shape != (len(images),):
        raise ValueError(f"labels must be ({len(images)},), one for each image, got shape {labels.shape}")
    if not 0 <= test_fraction <= 1:
        raise ValueError(f"test_fraction must lie in 0..1, got {test_fraction}")
    if images.ndim == 3:
        images = images[:, np.newaxis]
    classes = one_hot(labels).shape[1]
    parts = split(images, labels, round(test_fraction * len(images)), seed)
    return prepare_split(parts, normalize and images.dtype == np.uint8, flatten, one_hot_label, classes)
