"""CIFAR-10: the binary batches, or the python (pickled) ones, unpacked or in their archive."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import _unpickle
from . import _fetch
from ._prepare import Pair, Split, prepare_split

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = "test_batch"
PIXELS = 3 * 32 * 32
_CLASSES = 10
BINARY_NAMES = tuple(f"{stem}.bin" for stem in (*_TRAIN, _TEST))

_BASE_URL = "https://www.cs.toronto.edu/~kriz/"
_DOWNLOAD = {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}


def load_cifar10(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    data: str | os.PathLike[str] | None = None,
) -> Split:
    """CIFAR-10: 32x32 colour photographs of ten classes.

    Parameters
    ----------
    normalize : bool
        float32 pixels in 0..1; otherwise uint8 in 0..255.
    flatten : bool
        Images as (N, 3072); otherwise (N, 3, 32, 32).
    one_hot_label : bool
        Labels as one-hot rows (N, 10); otherwise int64 (N,).
    data : path, optional
        A folder with the batches (``data_batch_1.bin`` ... ``test_batch.bin``, or the python batches without
        a suffix), with the authors' folder of them, or with the authors' archive. By default the binary
        archive is downloaded once, checked and cached (needs pooch).

    Returns
    -------
    (x_train, t_train), (x_test, t_test)

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder, or a batch in it, is missing.
    ValueError
        If a batch is damaged, or a python batch holds anything but arrays and plain values.
    ModuleNotFoundError, ConnectionError
        If the archive must be downloaded, and pooch or the network is missing.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report (2009).
    """
    place = _fetch.folder(data) if data is not None else _fetch.download("cifar-10", _BASE_URL, _DOWNLOAD)
    batches = _all_batches(place)
    images, labels = zip(*(batches[stem] for stem in _TRAIN), strict=True)
    train = np.concatenate(images), np.concatenate(labels)
    return prepare_split((train, batches[_TEST]), normalize, flatten, one_hot_label)


def _decode_binary(content: bytes) -> Pair:
    """Records of one label byte and 3,072 pixels, channel by channel."""
    if not content or len(content) % (1 + PIXELS):
        raise ValueError(f"{len(content)} bytes are no whole number of records of {1 + PIXELS}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _decode_python(content: bytes) -> Pair:
    """A pickled dict with the keys b"data" (N, 3072) and b"labels"."""
    batch = _unpickle.load(io.BytesIO(content), encoding="bytes")
    pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    if pixels.dtype != np.uint8 or labels.dtype.kind not in "iu":
        raise ValueError(f"expected pixels of uint8 and integer labels, got {pixels.dtype} and {labels.dtype}")
    images = pixels.reshape(-1, 3, 32, 32)
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images have labels of shape {labels.shape}")
    return images, labels


class _Format(NamedTuple):
    archive: str
    folder: str
    suffix: str
    decode: Callable[[bytes], Pair]


_FORMATS = (
    _Format("cifar-10-binary.tar.gz", "cifar-10-batches-bin", ".bin", _decode_binary),
    _Format("cifar-10-python.tar.gz", "cifar-10-batches-py", "", _decode_python),
)


def _all_batches(place: Path) -> dict[str, Pair]:
    """Every batch from the first of the known formats and places that holds one."""
    for form in _FORMATS:
        names = {stem + form.suffix: stem for stem in (*_TRAIN, _TEST)}
        for source in (place, place / form.folder):
            paths = {stem: source / name for name, stem in names.items()}
            if any(path.is_file() for path in paths.values()):
                return {stem: _decode(form, path, path.read_bytes()) for stem, path in paths.items()}
        if (place / form.archive).is_file():
            return _read_archive(place / form.archive, form, names)
    raise FileNotFoundError(
        f"no CIFAR-10 batches in {place}: expected "
        + " or ".join(f"{form.archive}, {form.folder}/ or data_batch_1{form.suffix}" for form in _FORMATS)
    )


def _read_archive(archive: Path, form: _Format, names: dict[str, str]) -> dict[str, Pair]:
    batches = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if name in names and (stored := tar.extractfile(member)) is not None:
                    batches[names[name]] = _decode(form, archive / name, stored.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} is not a whole archive: {error}") from error
    if missing := names.values() - batches.keys():
        raise ValueError(f"{archive} lacks the batches {sorted(missing)}")
    return batches


def _decode(form: _Format, source: Path, content: bytes) -> Pair:
    try:
        images, labels = form.decode(content)
        if labels.size and not 0 <= labels.min() <= labels.max() < _CLASSES:
            raise ValueError(f"expected labels from 0 to {_CLASSES - 1}, got {labels.min()} to {labels.max()}")
        return images, labels
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{source} is not a CIFAR-10 batch: {error}") from error
