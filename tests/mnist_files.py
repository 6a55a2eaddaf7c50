"""MNIST for the tests: files written by hand, and the folder of the real ones."""

import gzip
import os
import struct
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("FASTCONV_MNIST") or Path(__file__).parents[2] / "shared/data/mnist")

needs_mnist = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no MNIST folder {FOLDER} (FASTCONV_MNIST names another)")


def idx_bytes(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, part, images, labels, *, suffix=".gz"):
    """The files of one part, "train" or "t10k"."""
    for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        content = idx_bytes(array)
        (folder / f"{part}-{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
