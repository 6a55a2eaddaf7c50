"""What a classification is worth: functions of its scores or classes y and the true ones t.

y may be scores (N, classes), whose highest counts, or classes (N,) or (N, 1), integers. t may be labels (N,) or (N, 1),
integers, or one-hot rows (N, classes).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ._check.arguments import integer
from ._device import to_host

Array = npt.NDArray[Any]

__all__ = ["accuracy", "confusion_matrix", "per_class_accuracy"]


def accuracy(y: npt.ArrayLike, t: npt.ArrayLike) -> float:
    """The share of samples whose class is the true one.

    Parameters
    ----------
    y : array_like (N, classes), (N,) or (N, 1)
        Scores or classes.
    t : array_like (N,), (N, 1) or (N, classes)
        Labels or one-hot rows.

    Raises
    ------
    ValueError, TypeError
        For no samples, different numbers of them, or other shapes and types.

    Examples
    --------
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    chosen, true, _ = _both(y, t, None)
    return float(np.mean(chosen == true))


def per_class_accuracy(y: npt.ArrayLike, t: npt.ArrayLike, classes: int | None = None) -> Array:
    """For each class, the share of its samples that were recognised.

    Parameters
    ----------
    y, t : array_like
        As for `accuracy`.
    classes : int, optional
        Their number; by default that of the scores or one-hot rows, else the largest class plus one.

    Returns
    -------
    ndarray (classes,)
        NaN for a class without samples.
    """
    counts = confusion_matrix(y, t, classes)
    samples = counts.sum(axis=1)
    return np.divide(counts.diagonal(), samples, out=np.full(len(counts), np.nan), where=samples > 0)


def confusion_matrix(y: npt.ArrayLike, t: npt.ArrayLike, classes: int | None = None) -> Array:
    """How often a sample of class i (row) was taken for one of class j (column).

    Parameters
    ----------
    y, t, classes
        As for `per_class_accuracy`.

    Returns
    -------
    ndarray (classes, classes), int64

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 0, 1])
    array([[1, 1],
           [0, 1]])
    """
    chosen, true, number = _both(y, t, classes)
    return np.bincount(true * number + chosen, minlength=number * number).reshape(number, number)


def _both(y: Any, t: Any, classes: int | None) -> tuple[Array, Array, int]:
    """Chosen and true classes, and the number of classes."""
    if classes is not None:
        classes = integer("classes", classes, 1)
    chosen, of_scores = _classes_of("y", y, "scores (N, classes) or classes (N,)")
    true, of_rows = _classes_of("t", t, "labels (N,) or one-hot rows (N, classes)")
    if len(chosen) != len(true):
        raise ValueError(f"t: expected {len(chosen)} targets, one for each sample, got {len(true)}")
    if len(true) == 0:
        raise ValueError("y: expected at least one sample, got none")
    widths = {"classes": classes, "the scores": of_scores, "the one-hot rows": of_rows}
    named = {name: width for name, width in widths.items() if width is not None}
    if len(set(named.values())) > 1:
        raise ValueError(f"expected one number of classes, got {', '.join(f'{n} of {k}' for k, n in named.items())}")
    number = next(iter(named.values()), int(max(chosen.max(), true.max())) + 1)
    for name, labels in (("y", chosen), ("t", true)):
        if labels.min() < 0 or labels.max() >= number:
            raise ValueError(f"{name}: expected classes in 0..{number - 1}, got {labels.min()}..{labels.max()}")
    return chosen, true, number


def _classes_of(name: str, given: Any, expected: str) -> tuple[Array, int | None]:
    """Classes (N,) of int64, and how many there are where the shape says so."""
    a = to_host(given)
    if a.size == 0 and a.ndim in (1, 2):
        return np.empty(0, np.int64), None
    if a.ndim == 2 and a.shape[1] > 1:
        if a.dtype.kind not in "fiub":
            raise TypeError(f"{name}: expected {expected}, got dtype {a.dtype}")
        if name == "t" and not (np.isin(a, (0, 1)).all() and (a.sum(axis=1) == 1).all()):
            raise ValueError("t: expected one-hot rows, with one 1 among zeros, got others")
        return a.argmax(axis=1), a.shape[1]
    if a.ndim == 1 or (a.ndim == 2 and a.shape[1] == 1):
        if a.dtype.kind not in "iub":
            raise TypeError(f"{name}: expected {expected}, got dtype {a.dtype} in shape {a.shape}")
        return a.reshape(-1).astype(np.int64), None
    raise ValueError(f"{name}: expected {expected}, got shape {a.shape}")
