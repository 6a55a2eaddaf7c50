"""MNIST and CIFAR-10 read by offset: the same images as those of the loaders, from uncompressed files alone."""

import gzip

import numpy as np
import pytest
from mnist_files import write_idx
from numpy.testing import assert_array_equal

from fastconv.datasets import batches, load_cifar10, load_mnist, open_cifar10, open_mnist, transforms

rng = np.random.default_rng(8)


@pytest.fixture
def idx_folder(tmp_path):
    for part, n in (("train", 7), ("t10k", 3)):
        images, labels = rng.integers(0, 256, (n, 5, 6), np.uint8), rng.integers(0, 10, n, np.uint8)
        write_idx(tmp_path, part, images, labels, suffix="")
    return tmp_path


@pytest.fixture
def cifar_folder(tmp_path):
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(0, 256, (4, 3073)).astype(np.uint8)
        records[:, 0] = rng.integers(0, 10, 4)
        records.tofile(tmp_path / f"{name}.bin")
    return tmp_path


def assert_same(stored, loaded):
    x, t = loaded
    assert len(stored) == len(x)
    for i in range(-len(x), len(x)):
        image, label = stored[i]
        assert_array_equal(image, x[i], strict=True)
        assert label == t[i]


def test_idx_files(idx_folder):
    loaded = load_mnist(flatten=False, data=idx_folder)
    for stored, arrays in zip(open_mnist(idx_folder), loaded, strict=True):
        assert_same(stored, arrays)


def test_cifar_files(cifar_folder):
    loaded = load_cifar10(flatten=False, data=cifar_folder)
    for stored, arrays in zip(open_cifar10(cifar_folder), loaded, strict=True):
        assert_same(stored, arrays)


def test_in_batches_with_a_transform(cifar_folder):
    train, test = open_cifar10(cifar_folder, transforms.RandomCrop(20))
    assert [x.shape for x, _ in batches(train, None, 8, rng=0)] == [(8, 3, 20, 20)] * 2 + [(4, 3, 20, 20)]
    again = [t.tolist() for _, t in batches(train, None, 8, rng=0)]
    assert again == [t.tolist() for _, t in batches(train, None, 8, rng=0)]
    assert next(batches(test, None, 4))[0].shape == (4, 3, 32, 32)  # the transform is the training's
    assert repr(test) == "StoredImages: 4 of shape (3, 32, 32)"


@pytest.mark.parametrize("i", [20, -21])
def test_there_is_no_such_sample(cifar_folder, i):
    with pytest.raises(IndexError, match=f"expected -20 <= i < 20, got {i}"):
        open_cifar10(cifar_folder)[0][i]


def test_compressed_files_are_refused(idx_folder):
    for path in list(idx_folder.glob("train-*")):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"train-\* in .*: unpack its \.gz files"):
        open_mnist(idx_folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x08\x03", "not an IDX file of images"),
        (gzip.compress(bytes(100)), "not an IDX file of images of unsigned bytes, or it is compressed"),
        (
            b"\0\0\x08\x03" + np.array([7, 5, 6], ">u4").tobytes() + bytes(209),
            r"209 elements where its sizes are \(7, 5",
        ),
        (b"\0\0\x08\x03" + np.array([2, 5, 6], ">u4").tobytes() + bytes(60), r"2 images, .* labels of shape \(7,\)"),
    ],
    ids=["cut short", "gzipped", "too few pixels", "other labels"],
)
def test_damaged_idx_files_are_named(idx_folder, content, message):
    (idx_folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_mnist(idx_folder)


def test_damaged_batches_are_named(cifar_folder):
    path = cifar_folder / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin is not a CIFAR-10 batch: 12291 bytes"):
        open_cifar10(cifar_folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the binary batches \['data_batch_3\.bin'\]"):
        open_cifar10(cifar_folder)


def test_a_label_that_is_no_class_is_refused(cifar_folder):
    path = cifar_folder / "data_batch_1.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    with pytest.raises(ValueError, match="expected labels below 10, sample 0 has 10"):
        open_cifar10(cifar_folder)[0][0]
    open_cifar10(cifar_folder)[0][1]


def test_a_transform_must_be_callable(cifar_folder):
    with pytest.raises(TypeError, match="transform: expected a callable, got 3"):
        open_cifar10(cifar_folder, 3)
