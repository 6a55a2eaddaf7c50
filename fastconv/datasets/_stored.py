"""MNIST and CIFAR-10 in their own files, of which an image is read when it is asked for."""

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from . import _fetch
from .cifar import BINARY_NAMES, PIXELS
from .idx import PARTS, files_of, read_idx
from .transforms import forked

PathLike: TypeAlias = str | os.PathLike[str]
Transform = Callable[[Any], Any]
_HEADER = 16  # bytes of an IDX file before its images: magic number, count, height, width


class StoredImages:
    """Images of fixed size in uncompressed files: a data set that reads by offset what it is asked for.

    Made by `open_mnist` and `open_cifar10`. Of several processes each reads its own samples alone.

    Parameters
    ----------
    files : list of (images, labels)
        Arrays (n, C, H, W) and (n,) of uint8 that lie in files.
    transform : callable, optional
        Of an image, float32 (C, H, W) in 0..1.
    classes : int
        Labels from here on are no class.
    """

    def __init__(self, files: list[tuple[Any, Any]], transform: Transform | None = None, *, classes: int = 256) -> None:
        if transform is not None and not callable(transform):
            raise TypeError(f"transform: expected a callable, got {transform!r}")
        self._files, self.transform, self._classes = files, transform, classes
        self._ends = np.cumsum([len(labels) for _, labels in files])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> tuple[Any, int]:
        """Image and label.

        Raises
        ------
        IndexError
            If there is no such sample.
        """
        n, place = len(self), operator.index(i)
        place += n * (place < 0)
        if not 0 <= place < n:
            raise IndexError(f"expected -{n} <= i < {n}, got {i}")
        file = int(np.searchsorted(self._ends, place, side="right"))
        images, labels = self._files[file]
        place -= int(self._ends[file - 1]) if file else 0
        label = int(labels[place])
        if label >= self._classes:
            raise ValueError(f"expected labels below {self._classes}, sample {i} has {label}")
        image = images[place].astype(np.float32) / np.float32(255)
        return image if self.transform is None else self.transform(image), label

    def __repr__(self) -> str:
        return f"StoredImages: {len(self)} of shape {self._files[0][0].shape[1:]}"

    def fork(self, rng: np.random.Generator) -> "StoredImages":
        """The same for another thread: `datasets.batches` makes one for each batch."""
        return StoredImages(self._files, forked(self.transform, rng), classes=self._classes)


def open_mnist(data: PathLike, transform: Transform | None = None) -> tuple[StoredImages, StoredImages]:
    """MNIST or Fashion-MNIST as data sets that read an image when it is asked for.

    Parameters
    ----------
    data : path
        A folder with the four IDX files, not gzipped, as for `load_mnist`.
    transform : callable, optional
        Of an image of the training part, float32 (1, 28, 28) in 0..1.

    Returns
    -------
    (train, test) : StoredImages

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder, or one of the files, is missing.
    ValueError
        If a file is gzipped, damaged or not in the IDX format.
    """
    place = _fetch.folder(data)
    parts = []
    for part in PARTS:
        files = files_of(place, part, suffixes=("",))
        if files is None:
            packed = files_of(place, part) is not None
            hint = ": unpack its .gz files, of which no single image can be read" if packed else ""
            raise FileNotFoundError(f"no IDX files {part}-* in {place}{hint}")
        parts.append(_idx_images(files))
    (train, test) = parts
    return StoredImages([train], transform), StoredImages([test])


def _idx_images(files: dict[str, Path]) -> tuple[Any, Any]:
    path, labels = files["images"], read_idx(files["labels"])
    header = np.fromfile(path, np.uint8, _HEADER)
    if len(header) < _HEADER or header[:4].tolist() != [0, 0, 8, 3]:
        raise ValueError(f"{path} is not an IDX file of images of unsigned bytes, or it is compressed")
    count, height, width = header[4:].view(">u4").tolist()
    size = path.stat().st_size - _HEADER
    if size != count * height * width:
        raise ValueError(f"{path} has {size} elements where its sizes are {(count, height, width)}")
    if labels.shape != (count,):
        raise ValueError(f"{path} has {count} images, {files['labels']} labels of shape {labels.shape}")
    shape = count, 1, height, width
    images = np.memmap(path, np.uint8, "r", _HEADER, shape) if size else np.empty(shape, np.uint8)
    return images, labels


def open_cifar10(data: PathLike, transform: Transform | None = None) -> tuple[StoredImages, StoredImages]:
    """CIFAR-10 as data sets that read an image when it is asked for.

    Parameters
    ----------
    data : path
        A folder with the binary batches, ``data_batch_1.bin`` ... ``test_batch.bin``, or with the authors' folder of
        them.
    transform : callable, optional
        Of an image of the training part, float32 (3, 32, 32) in 0..1.

    Returns
    -------
    (train, test) : StoredImages

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder, or a batch in it, is missing.
    ValueError
        If a batch is no whole number of records.
    """
    place = _fetch.folder(data)
    inner = place / "cifar-10-batches-bin"
    place = inner if inner.is_dir() else place
    missing = [name for name in BINARY_NAMES if not (place / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{place} lacks the binary batches {missing}")
    *train, test = (_cifar_images(place / name) for name in BINARY_NAMES)
    return StoredImages(train, transform, classes=10), StoredImages([test], classes=10)


def _cifar_images(path: Path) -> tuple[Any, Any]:
    """Views of the records of a file: a byte of label and 3,072 of pixels each."""
    size, record = path.stat().st_size, 1 + PIXELS
    if not size or size % record:
        raise ValueError(f"{path} is not a CIFAR-10 batch: {size} bytes are no whole number of records of {record}")
    content = np.memmap(path, np.uint8, "r")
    n = size // record
    images = np.ndarray((n, 3, 32, 32), np.uint8, content, offset=1, strides=(record, 1024, 32, 1))
    return images, np.ndarray((n,), np.uint8, content, strides=(record,))
