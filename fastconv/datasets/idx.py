"""MNIST and Fashion-MNIST: the IDX format, gzipped or not."""

import gzip
import math
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _fetch
from ._prepare import Pair, Split, prepare_split, split

PARTS = ("train", "t10k")
_KINDS = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}  # Kaggle's copies: images.idx3-ubyte

_GZIP = b"\x1f\x8b"

_MNIST = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
_FASHION = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    data: str | os.PathLike[str] | None = None,
) -> Split:
    """MNIST, with the signature and the results of the book's ``dataset.mnist.load_mnist``.

    Parameters
    ----------
    normalize : bool
        float32 pixels in 0..1; otherwise uint8 in 0..255.
    flatten : bool
        Images as (N, 784); otherwise (N, 1, 28, 28).
    one_hot_label : bool
        Labels as one-hot rows (N, 10); otherwise int64 (N,).
    data : path, optional
        A folder with the four IDX files, gzipped or not, each there itself or in a folder of its own name, as
        Kaggle's archives have them (``train-images.idx3-ubyte`` is known too). When only the pair ``t10k-*`` (or
        ``train-*``) is there, it is shuffled by a fixed seed and split four to one (8,000 and 2,000 of ``t10k``),
        with a warning that says so. By default the files are downloaded once, checked and cached (needs pooch).

    Returns
    -------
    (x_train, t_train), (x_test, t_test)

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder, or the files in it, are missing.
    ValueError
        If a file is damaged or not in the IDX format.
    ModuleNotFoundError, ConnectionError
        If the files must be downloaded, and pooch or the network is missing.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998).
    """
    place = _fetch.folder(data) if data is not None else _fetch.download("mnist", *_MNIST)
    return prepare_split(_read_folder(place), normalize, flatten, one_hot_label)


def load_fashion_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    data: str | os.PathLike[str] | None = None,
) -> Split:
    """Fashion-MNIST: articles of clothing in MNIST's format; options, results and errors of `load_mnist`.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", arXiv:1708.07747 (2017).
    """
    place = _fetch.folder(data) if data is not None else _fetch.download("fashion-mnist", *_FASHION)
    return prepare_split(_read_folder(place), normalize, flatten, one_hot_label)


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the element type (8: unsigned byte), the rank, each size as a big-endian
    32-bit integer, then the elements.

    Raises
    ------
    ValueError
        If the file is damaged, or not an IDX file of unsigned bytes.
    """
    path = Path(path)
    content = path.read_bytes()
    if path.suffix == ".gz" or content[:2] == _GZIP:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file: {error}") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"{path} is cut short within its sizes")
    sizes = struct.unpack_from(f">{rank}I", content, 4)
    if len(content) - start != math.prod(sizes):
        raise ValueError(f"{path} has {len(content) - start} elements where its sizes are {sizes}")
    try:
        return np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy()  # to be written to
    except ValueError as error:  # too many dimensions, or sizes around a zero that no array can have
        raise ValueError(f"{path} has sizes that no array can have: {error}") from error


def _read_folder(place: Path) -> Split:
    found = {part: files for part in PARTS if (files := files_of(place, part))}
    if not found:
        raise FileNotFoundError(
            f"no IDX files in {place}: expected "
            + " and ".join(f"t10k-{name}.gz" for name in _KINDS.values())
            + ", and the same for train-*, or Kaggle's t10k-images.idx3-ubyte"
        )
    parts = [_read_part(files) for files in found.values()]
    if len(parts) == 2:
        return parts[0], parts[1]
    images, labels = parts[0]
    tests = len(images) // 5
    warnings.warn(
        f"only the {next(iter(found))} files are in {place}: its {len(images):,} images are split into "
        f"{len(images) - tests:,} for training and {tests:,} for testing",
        stacklevel=3,
    )
    return split(images, labels, tests)


def files_of(place: Path, part: str, suffixes: tuple[str, ...] = (".gz", "")) -> dict[str, Path] | None:
    """The images and the labels of one part, or None when either is missing."""
    files = {}
    for kind, name in _KINDS.items():
        spellings = [f"{part}-{name}", f"{part}-{name.replace('-', '.', 1)}"]
        names = [f"{spelling}{suffix}" for spelling in spellings for suffix in suffixes]
        places = [place, *(place / name for name in names)]
        here = [path for folder in places for name in names if (path := folder / name).is_file()]
        if not here:
            return None
        files[kind] = here[0]
    return files


def _read_part(files: dict[str, Path]) -> Pair:
    images: NDArray[Any] = read_idx(files["images"])
    labels = read_idx(files["labels"])
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{files['images']} {images.shape} and {files['labels']} {labels.shape} are not images and their labels"
        )
    return images[:, np.newaxis], labels
