"""A folder of images, read when they are asked for."""

import copy
import operator
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _fetch
from ._image import PathLike, load_image, suffixes
from .transforms import forked


class ImageFolder:
    """Images from ``path/CLASS/.../IMAGE``: a data set that reads a file when its sample is asked for.

    Parameters
    ----------
    path : path
        The folder. Every sub-folder is a class, with what lies in its own sub-folders.
    transform : callable, optional
        Of an image as `load_image` gives it, float32 (3, H, W) in 0..1; see `datasets.transforms`.
    grey : bool
        One channel in place of three.

    Attributes
    ----------
    classes : list of str
        The names of the sub-folders, sorted; label i is the i-th.
    class_to_idx : dict of str to int
    samples : list of (str, int)
        Path and label of each sample, class by class, sorted.
    targets : ndarray (N,), int64
        The labels.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder or its classes are missing, or a class has no image.
    ValueError
        If it has a `train` and a `test` folder: each is an image folder by itself.

    Examples
    --------
    ::

        images = ImageFolder("flowers/train", Compose([RandomResizedCrop(224), Normalize(mean, std)]))
        for x, t in batches(images, None, 8):
            optimizer.update(net.params, net.gradient(x, t))
    """

    def __init__(self, path: PathLike, transform: Callable[[Any], Any] | None = None, *, grey: bool = False) -> None:
        if transform is not None and not callable(transform):
            raise TypeError(f"transform: expected a callable, got {transform!r}")
        self.path, self.transform, self.grey = os.fspath(path), transform, grey
        place = _fetch.folder(path)
        names = sorted(entry.name for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not names:
            raise FileNotFoundError(f"no class folders in {place}: expected {place}/CLASS/IMAGE")
        if {"train", "test"} <= set(names):
            raise ValueError(f"path: {place} has the folders train and test: name one of them")
        self.classes = names
        self.class_to_idx = {name: label for label, name in enumerate(names)}
        self.samples: list[tuple[str, int]] = []
        for label, name in enumerate(names):
            found = _images(os.path.join(place, name))
            if not found:
                raise FileNotFoundError(f"no images in the class folder {place / name}")
            self.samples += [(file, label) for file in found]
        self.targets = np.array([label for _, label in self.samples], np.int64)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        """Image and label of a sample.

        Raises
        ------
        ValueError
            If the file is damaged, naming it.
        """
        file, label = self.samples[operator.index(i)]
        image = load_image(file, grey=self.grey)
        if self.transform is not None:
            try:
                image = self.transform(image)
            except Exception as error:
                error.add_note(f"in the transform of {file}")
                raise
        return image, label

    def __repr__(self) -> str:
        return f"ImageFolder({self.path!r}): {len(self)} images, classes {', '.join(self.classes)}"

    def fork(self, rng: np.random.Generator) -> "ImageFolder":
        """The same folder for another thread: `datasets.batches` makes one for each batch."""
        twin = copy.copy(self)
        twin.transform = forked(self.transform, rng)
        return twin


def _images(folder: str) -> list[str]:
    """The image files below a folder, sorted as torchvision sorts them."""
    return [
        os.path.join(root, name)
        for root, _, names in sorted(os.walk(folder, followlinks=True))
        for name in sorted(names)
        if os.path.splitext(name)[1].lower() in suffixes() and not name.startswith(".")
    ]
