"""INPUT of the command line: pictures, .npy and .npz files as samples for a model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets import load_image
from ..datasets._image import pillow
from ..onnx import Value

Array = npt.NDArray[Any]
Sizes = tuple[int | str | None, ...]

_COLOURS = {1: True, 3: False}  # channels -> whether the picture is grey


@dataclass(frozen=True, slots=True)
class Source:
    """A file's samples.

    Attributes
    ----------
    name : str
    count : int
    read : callable
        The number of a sample -> its array, without a batch.
    """

    name: str
    count: int
    read: Callable[[int], Array]

    def samples(self) -> Iterator[tuple[str, Array]]:
        for i in range(self.count):
            yield (self.name if self.count == 1 else f"{self.name}[{i}]"), self.read(i)


@dataclass(frozen=True, slots=True)
class Pictures:
    """How pictures become samples.

    Attributes
    ----------
    size : (int, int) or None
        None: as the model says, or as large as they are.
    mean, std : list of float
        One number, or one for each channel.
    """

    size: tuple[int, int] | None
    mean: Sequence[float]
    std: Sequence[float]

    def reader(self, path: Path, value: Value) -> Callable[[int], Array]:
        """What reads a picture as a sample for an input of a model."""
        axis, channels, size = self._wanted(path, value)
        for name, numbers in (("--mean", self.mean), ("--std", self.std)):
            if len(numbers) not in (1, channels):
                raise ValueError(f"{name}: expected one number, or {channels} for the model's channels")
        mean, std = (np.array(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.std))
        return lambda _: np.moveaxis((load_image(path, size, _COLOURS[channels]) - mean) / std, 0, axis)

    def _wanted(self, path: Path, value: Value) -> tuple[int, int, tuple[int, int] | None]:
        """The axis of the channels in a sample, their number, and the size."""
        shape = value.shape
        if shape is None:
            return 0, 3, self.size
        for axis, plane in ((1, (2, 3)), (3, (1, 2))):
            channels = shape[axis] if len(shape) == 4 else None
            if isinstance(channels, int) and channels in _COLOURS:
                height, width = (shape[at] for at in plane)
                known = isinstance(height, int) and isinstance(width, int) and self.size is None
                return axis - 1, channels, (height, width) if known else self.size  # type: ignore[return-value]
        if len(shape) == 4 and not isinstance(shape[1], int):
            return 0, 3, self.size
        raise ValueError(f"{path}: a picture has 1 or 3 channels, and the model takes {_shown(value.shape)}")


def sources(paths: Sequence[Path], value: Value, pictures: Pictures) -> list[Source]:
    """The samples of every file, none of them read yet but for .npz.

    Raises
    ------
    ValueError, OSError
        If a file is not there, or its arrays do not fit the model.
    """
    found: list[Source] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such file")
        if path.is_dir():
            raise ValueError(f"{path}: expected a picture, .npy or .npz, got a folder")
        if path.suffix.lower() == ".npy":
            found.append(_of_array(str(path), _read(path), value))
        elif path.suffix.lower() == ".npz":
            arrays = archive(path)
            chosen = {value.name: arrays[value.name]} if value.name in arrays else arrays
            found += [
                _of_array(str(path) if len(chosen) == 1 else f"{path}:{key}", a, value) for key, a in chosen.items()
            ]
        else:
            pillow("reading a picture")
            found.append(Source(str(path), 1, pictures.reader(path, value)))
    return found


def archive(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file.

    Raises
    ------
    ValueError
        If it is damaged, or holds anything but numbers.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise ValueError(f"{path}: cannot be read as .npz ({error})") from error
    if not arrays:
        raise ValueError(f"{path}: holds no array")
    for key, a in arrays.items():
        _numbers(f"{path}:{key}", a)
    return arrays


def _read(path: Path) -> Array:
    """An .npy file, which stays on the disk until its numbers are asked for."""
    try:
        a = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as .npy ({error})") from error
    return _numbers(str(path), a)


def _numbers(name: str, a: Any) -> Array:
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected an array of numbers, got {getattr(a, 'dtype', type(a).__name__)}")
    return a


def _of_array(name: str, a: Array, value: Value) -> Source:
    """Samples of a batch, or an array that is one sample."""
    if value.shape is None:
        if a.ndim == 0:
            raise ValueError(f"{name}: expected a batch of samples, got one number")
        return Source(name, len(a), lambda i: a[i])
    wanted = value.shape[1:]
    if a.ndim == len(wanted) and _fits(a.shape, wanted):
        return Source(name, 1, lambda _: a)
    if a.ndim != len(value.shape) or not _fits(a.shape[1:], wanted):
        raise ValueError(f"{name}: expected {_shown(value.shape)}, or one sample of it, got shape {a.shape}")
    if not len(a):
        raise ValueError(f"{name}: has no samples")
    return Source(name, len(a), lambda i: a[i])


def _fits(shape: tuple[int, ...], wanted: Sizes) -> bool:
    return all(not isinstance(w, int) or n == w for n, w in zip(shape, wanted, strict=True))


def _shown(shape: Sizes | None) -> str:
    return "any shape" if shape is None else f"({', '.join('?' if n is None else str(n) for n in shape)})"
