"""A folder of images, one sub-folder a class."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _fetch
from ._image import pillow, pixels, read_picture, suffixes
from ._prepare import Pair, Split, prepare_split, split


def folder_classes(path: str | os.PathLike[str]) -> list[str]:
    """The class names of an image folder: its sub-folders, sorted; label i is the i-th name.

    In a folder with the sub-folders ``train`` and ``test`` the classes are those of ``train``.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder or the classes in it are missing.
    """
    place = _fetch.folder(path)
    if _has_own_split(place):
        place = place / "train"
    folders = (entry.name for entry in place.iterdir() if entry.is_dir())
    names = sorted(name for name in folders if not name.startswith("."))
    if not names:
        raise FileNotFoundError(f"no class folders in {place}: expected {place}/CLASS/IMAGE")
    return names


def load_image_folder(
    path: str | os.PathLike[str],
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Split:
    """Images from ``path/CLASS/IMAGE``, or from ``path/train/CLASS/IMAGE`` and ``path/test/CLASS/IMAGE``.

    Parameters
    ----------
    path : path
        The folder.
    normalize, flatten, one_hot_label : bool
        As for `load_mnist`; the labels are numbers into `folder_classes`.
    size : (H, W), optional
        Resize every image to this (bilinear). By default all must have one size.
    grey : bool
        One channel in place of red, green and blue.
    test_fraction : float
        The part set aside for testing where the folder does not bring its own ``train`` and ``test``.
    seed : int
        Seed of the shuffle before that split.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)
        Images (N, 3, H, W), (N, 1, H, W) if `grey`, or flattened.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder, its classes or their images are missing.
    ValueError
        If an image cannot be read, images differ in size and no `size` is given, or `test_fraction` is not
        within 0..1.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    if not 0 <= test_fraction <= 1:
        raise ValueError(f"test_fraction must lie in 0..1, got {test_fraction}")
    place, classes = _fetch.folder(path), folder_classes(path)
    if _has_own_split(place):
        parts = _read(place / "train", classes, size, grey), _read(place / "test", classes, size, grey)
    else:
        images, labels = _read(place, classes, size, grey)
        parts = split(images, labels, round(test_fraction * len(images)), seed)
    return prepare_split(parts, normalize, flatten, one_hot_label, len(classes))


def _has_own_split(place: Path) -> bool:
    return all((place / part).is_dir() for part in ("train", "test"))


def _read(place: Path, classes: list[str], size: tuple[int, int] | None, grey: bool) -> Pair:
    """All images (N, C, H, W) below the class folders of `place`, and their labels."""
    if unknown := set(folder_classes(place)) - set(classes):
        raise ValueError(f"{place} has classes that the training folder lacks: {sorted(unknown)}")
    readable = suffixes()
    images: list[NDArray[Any]] = []
    labels: list[int] = []
    for label, folder in enumerate(place / name for name in classes):
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            if file.suffix.lower() in readable:
                images.append(_read_image(file, size, grey))
                labels.append(label)
                first, last = images[0].shape[1:], images[-1].shape[1:]
                if first != last:
                    raise ValueError(f"{file} is {last}, the images before it are {first}: give a size")
    if not images:
        raise FileNotFoundError(f"no images in the class folders of {place}")
    return np.stack(images), np.array(labels)


def _read_image(file: Path, size: tuple[int, int] | None, grey: bool) -> NDArray[np.uint8]:
    """One image as (C, H, W)."""
    picture = read_picture(file, grey)
    if picture.mode == "F":
        picture = pillow().fromarray(np.rint(255 * np.asarray(picture)).astype(np.uint8))
    if size is not None:
        height, width = size
        picture = picture.resize((width, height), pillow().Resampling.BILINEAR)
    return pixels(picture, grey)
