"""Data sets in their own file formats, written here by hand."""

import gzip
import io
import os
import pickle
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from mnist_files import FOLDER, idx_bytes, needs_mnist, write_idx

from fastconv import datasets
from fastconv.datasets.idx import read_idx


@pytest.fixture
def digits():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (20, 28, 28), np.uint8), rng.integers(0, 10, 20, np.uint8)


@pytest.mark.parametrize("load", [datasets.load_mnist, datasets.load_fashion_mnist])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_mnist_reads_both_parts(tmp_path, digits, load, suffix):
    images, labels = digits
    write_idx(tmp_path, "train", images, labels, suffix=suffix)
    write_idx(tmp_path, "t10k", images[::-1], labels[::-1], suffix=suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (x, t), (x_test, t_test) = load(normalize=False, flatten=False, data=tmp_path)
    np.testing.assert_array_equal(x[:, 0], images)
    np.testing.assert_array_equal(t, labels)
    np.testing.assert_array_equal(x_test[:, 0], images[::-1])
    np.testing.assert_array_equal(t_test, labels[::-1])


KAGGLE = {
    "dots": "{name}",
    "folders of the files' names": "{name}/{name}",
    "folders with hyphens": "{hyphens}/{name}",
    "folders of dotted names": "{name}/{hyphens}",
    "hyphens in folders of their names": "{hyphens}/{hyphens}",
}


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("layout", KAGGLE)
def test_mnist_as_kaggle_has_it(tmp_path, digits, layout, suffix):
    for part in ("train", "t10k"):
        for hyphens, array in (("images-idx3-ubyte", digits[0]), ("labels-idx1-ubyte", digits[1])):
            names = {"hyphens": f"{part}-{hyphens}", "name": f"{part}-{hyphens.replace('-', '.', 1)}"}
            path = tmp_path / (KAGGLE[layout].format(**names) + suffix)
            path.parent.mkdir(exist_ok=True)
            content = idx_bytes(array)
            path.write_bytes(gzip.compress(content) if suffix else content)
    (x, t), (x_test, t_test) = datasets.load_mnist(normalize=False, flatten=False, data=tmp_path)
    for images, labels in ((x, t), (x_test, t_test)):
        np.testing.assert_array_equal(images[:, 0], digits[0])
        np.testing.assert_array_equal(labels, digits[1])


def test_a_gzipped_file_without_its_suffix(tmp_path, digits):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(idx_bytes(digits[0])))
    np.testing.assert_array_equal(read_idx(path), digits[0])


@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_every_array_can_be_written_to(tmp_path, digits, normalize, flatten):
    """And writing to one changes no other."""
    write_idx(tmp_path, "train", *digits)
    write_idx(tmp_path, "t10k", *digits)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3072), np.uint8)
    records = np.concatenate([np.arange(3, dtype=np.uint8)[:, None], pixels], axis=1).tobytes()
    python = pickle.dumps({b"data": pixels, b"labels": [0, 1, 2]})
    for folder, suffix, content in (("bin", ".bin", records), ("py", "", python)):
        (tmp_path / folder).mkdir()
        for stem in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            (tmp_path / folder / f"{stem}{suffix}").write_bytes(content)
    options = {"normalize": normalize, "flatten": flatten}
    for load, place in (
        (datasets.load_mnist, tmp_path),
        (datasets.load_cifar10, tmp_path / "bin"),
        (datasets.load_cifar10, tmp_path / "py"),
    ):
        (x, t), (x_test, t_test) = load(**options, data=place)
        before = x.copy()
        for array in (t, x_test, t_test):
            array += 1
        np.testing.assert_array_equal(x, before)
        x += 1
    assert read_idx(tmp_path / "train-labels-idx1-ubyte.gz").flags.writeable


def test_mnist_takes_the_books_options_by_position(tmp_path, digits):
    images, labels = digits
    write_idx(tmp_path, "train", images, labels)
    write_idx(tmp_path, "t10k", images, labels)
    (x, t), _ = datasets.load_mnist(True, True, True, data=str(tmp_path))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, images.reshape(20, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(t.argmax(axis=1), labels)
    assert t.shape == (20, 10)


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_mnist_splits_a_lonely_part_the_same_way_each_time_and_says_so(tmp_path, digits, part):
    write_idx(tmp_path, part, *digits)
    with pytest.warns(UserWarning, match=rf"only the {part} files .* 16 for training and 4 for testing"):
        (x, t), (x_test, _) = datasets.load_mnist(normalize=False, data=tmp_path)
    with pytest.warns(UserWarning):
        (again, _), _ = datasets.load_mnist(normalize=False, data=tmp_path)
    np.testing.assert_array_equal(x, again)
    assert (len(x), len(t), len(x_test)) == (16, 16, 4)
    rows = sorted(map(bytes, np.concatenate([x, x_test])))
    assert rows == sorted(map(bytes, digits[0].reshape(20, 784)))


@needs_mnist
def test_real_mnist():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (x, t), (x_test, t_test) = datasets.load_mnist(flatten=False, data=FOLDER)
    assert x.shape[1:] == x_test.shape[1:] == (1, 28, 28)
    assert (len(x), len(x_test)) in {(8000, 2000), (60000, 10000)}
    counts = np.bincount(np.concatenate([t, t_test]))
    assert len(counts) == 10
    assert counts.min() > 0.08 * counts.sum()
    assert x.mean() == pytest.approx(0.13, abs=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "not a whole gzip file"),
        (gzip.compress(idx_bytes(np.zeros((2, 3), np.uint8)))[:-9], "not a whole gzip file"),
        (gzip.compress(b""), "not an IDX file"),
        (gzip.compress(b"\0\0\x0d\1" + bytes(8)), "not an IDX file of unsigned bytes"),
        (gzip.compress(b"\0\0\x08\3\0\0"), "cut short"),
        (
            gzip.compress(idx_bytes(np.zeros((2, 3), np.uint8))[:-1]),
            r"has 5 elements where its sizes are \(2, 3\)",
        ),
    ],
)
def test_idx_refuses_what_is_damaged(tmp_path, content, message):
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_idx(path)


def test_mnist_refuses_images_and_labels_of_different_numbers(tmp_path, digits):
    images, labels = digits
    write_idx(tmp_path, "t10k", images, labels[:-1])
    with pytest.raises(ValueError, match="not images and their labels"):
        datasets.load_mnist(data=tmp_path)


def cifar_batch(seed, count=4):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072), np.uint8), rng.integers(0, 10, count, np.uint8)


STEMS = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def as_binary(pixels, labels):
    return np.column_stack([labels, pixels]).tobytes()


def as_python(pixels, labels):
    return pickle.dumps({b"batch_label": b"a batch", b"data": pixels, b"labels": labels.tolist()}, protocol=2)


FORMATS = [("bin", ".bin", as_binary), ("py", "", as_python)]


@pytest.mark.parametrize(("kind", "suffix", "encode"), FORMATS)
@pytest.mark.parametrize("form", ["files", "folder", "archive"])
def test_cifar_reads_its_formats(tmp_path, kind, suffix, encode, form):
    batches = {stem: cifar_batch(seed) for seed, stem in enumerate(STEMS)}
    place = tmp_path if form == "files" else tmp_path / f"cifar-10-batches-{kind}"
    place.mkdir(exist_ok=True)
    for stem, batch in batches.items():
        (place / (stem + suffix)).write_bytes(encode(*batch))
    if form == "archive":
        archive = tmp_path / f"cifar-10-{'binary' if kind == 'bin' else 'python'}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(place, arcname=place.name)
        for file in place.iterdir():
            file.unlink()
    (x, t), (x_test, t_test) = datasets.load_cifar10(normalize=False, flatten=False, data=tmp_path)
    assert x.shape == (20, 3, 32, 32)
    np.testing.assert_array_equal(x.reshape(20, -1), np.concatenate([batches[stem][0] for stem in STEMS[:5]]))
    np.testing.assert_array_equal(t, np.concatenate([batches[stem][1] for stem in STEMS[:5]]))
    np.testing.assert_array_equal(x_test.reshape(4, -1), batches["test_batch"][0])
    np.testing.assert_array_equal(t_test, batches["test_batch"][1])


class Malice:
    def __reduce__(self):
        return os.system, ("exit 7",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_1.bin", b"\0" * 3072, "no whole number of records"),
        ("data_batch_1", b"no pickle", "not a CIFAR-10 batch"),
        (
            "data_batch_1",
            pickle.dumps({b"data": np.zeros(5, np.uint8), b"labels": [1]}),
            "not a CIFAR-10 batch",
        ),
        ("data_batch_1", pickle.dumps(Malice()), "only arrays are admitted"),
        ("cifar-10-binary.tar.gz", b"no archive", "not a whole archive"),
    ],
)
def test_cifar_refuses_what_is_damaged(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        datasets.load_cifar10(data=tmp_path)


def test_cifar_names_the_batches_that_are_missing(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        content = as_binary(*cifar_batch(0))
        member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"lacks the batches \['data_batch_2', .*'test_batch'\]"):
        datasets.load_cifar10(data=tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(FileNotFoundError, match=r"data_batch_2\.bin"):
        datasets.load_cifar10(data=tmp_path)


def write_picture(path, colour, size=(6, 5)):
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new("RGB", size, colour).save(path)


COLOURS = {"apple": (255, 0, 0), "leaf": (0, 128, 0)}


def test_image_folder_labels_images_by_their_folder(tmp_path):
    for name, colour in COLOURS.items():
        for i in range(5):
            write_picture(tmp_path / name / f"{i}.png", colour)
    (tmp_path / "apple" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    assert datasets.folder_classes(tmp_path) == ["apple", "leaf"]
    (x, t), (x_test, t_test) = datasets.load_image_folder(tmp_path, normalize=False, flatten=False)
    assert x.shape == (8, 3, 5, 6)
    assert x_test.shape == (2, 3, 5, 6)
    assert sorted([*t, *t_test]) == [0] * 5 + [1] * 5
    colours = np.array(list(COLOURS.values()))
    np.testing.assert_array_equal(x.min(axis=(2, 3)), colours[t])
    np.testing.assert_array_equal(x.max(axis=(2, 3)), colours[t])


def test_image_folder_takes_the_split_it_finds(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for name, colour in COLOURS.items():
            for i in range(count):
                write_picture(tmp_path / part / name / f"{i}.png", colour, size=(4 + i, 7))
    options = {"one_hot_label": True, "size": (8, 9), "grey": True}
    (x, t), (x_test, t_test) = datasets.load_image_folder(tmp_path, **options)
    assert x.shape == (6, 72)
    assert x_test.shape == (4, 72)
    assert t.shape == (6, 2)
    assert t_test.argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert 0 < x.min() <= x.max() <= 1


def test_image_folder_refuses(tmp_path):
    pytest.importorskip("PIL.Image")
    with pytest.raises(FileNotFoundError, match="no class folders"):
        datasets.load_image_folder(tmp_path)
    (tmp_path / "apple").mkdir()
    with pytest.raises(FileNotFoundError, match="no images"):
        datasets.load_image_folder(tmp_path)
    (tmp_path / "apple" / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot read the image"):
        datasets.load_image_folder(tmp_path)
    write_picture(tmp_path / "apple" / "a.png", "red", (3, 3))
    write_picture(tmp_path / "apple" / "b.png", "red", (4, 3))
    with pytest.raises(ValueError, match="give a size"):
        datasets.load_image_folder(tmp_path)
    write_picture(tmp_path / "train" / "apple" / "a.png", "red")
    write_picture(tmp_path / "test" / "pear" / "a.png", "green")
    with pytest.raises(ValueError, match=r"lacks.*pear"):
        datasets.load_image_folder(tmp_path)
    with pytest.raises(ValueError, match="test_fraction"):
        datasets.load_image_folder(tmp_path, test_fraction=-1)


LOADERS = [datasets.load_mnist, datasets.load_fashion_mnist, datasets.load_cifar10]


@pytest.mark.parametrize("load", LOADERS)
def test_wrong_folders_are_named(tmp_path, load):
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        load(data=tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"not a folder: .*file"):
        load(data=tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="expected"):
        load(data=tmp_path)


@pytest.mark.parametrize("load", LOADERS)
def test_downloading_without_pooch_names_the_extra(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs pooch.*fastconv\[data\]"):
        load()


class NoNetwork:
    """A socket that cannot be opened, as on a machine without a network."""

    def __init__(self, *_, **__):
        raise OSError("the network is unreachable")


@pytest.mark.parametrize("load", LOADERS)
def test_downloading_without_a_network_says_what_to_do(load, monkeypatch, tmp_path):
    pytest.importorskip("pooch")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", NoNetwork)
    with pytest.raises(ConnectionError, match=r"cannot download .* pass a folder that has the files"):
        load()


def serve(monkeypatch, tmp_path, files):
    """Answer pooch's downloads from `files`, and cache under tmp_path."""
    pooch = pytest.importorskip("pooch")
    asked = []

    class Downloader:
        def __call__(self, url, output_file, _):
            asked.append(url)
            Path(output_file).write_bytes(files[url.rpartition("/")[2]])

    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: Downloader())
    return asked


def test_a_download_with_a_wrong_checksum_is_refused(monkeypatch, tmp_path):
    serve(monkeypatch, tmp_path, {"train-images-idx3-ubyte.gz": b"something else"})
    with pytest.raises(ValueError, match="hash"):
        datasets.load_mnist()
    assert not list(tmp_path.rglob("*.gz"))


def test_downloads_are_cached(monkeypatch, tmp_path, digits):
    pooch = pytest.importorskip("pooch")
    written = tmp_path / "served"
    written.mkdir()
    for part in ("train", "t10k"):
        write_idx(written, part, *digits)
    files = {file.name: file.read_bytes() for file in written.iterdir()}
    hashes = {name: pooch.file_hash(str(written / name), alg="md5") for name in files}
    monkeypatch.setattr("fastconv.datasets.idx._MNIST", ("https://data.example/", hashes))
    asked = serve(monkeypatch, tmp_path, files)
    (x, _), _ = datasets.load_mnist(normalize=False)
    (again, _), _ = datasets.load_mnist(normalize=False)
    assert len(asked) == 4
    np.testing.assert_array_equal(x, digits[0].reshape(20, 784))
    np.testing.assert_array_equal(again, x)


@pytest.mark.parametrize("sizes", [(1,) * 70, (0, 2**32 - 1, 2**32 - 1)])
def test_idx_sizes_that_no_array_can_have(sizes, tmp_path):
    path = tmp_path / "t10k-images-idx3-ubyte"
    elements = b"\1" if 0 not in sizes else b""
    path.write_bytes(bytes((0, 0, 8, len(sizes))) + b"".join(n.to_bytes(4, "big") for n in sizes) + elements)
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte has sizes that no array can have"):
        read_idx(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_1.bin", b"\x0a" + bytes(3072), "labels from 0 to 9, got 10 to 10"),
        ("data_batch_1", pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": [1, 2]}, 2), "1 images have"),
        ("data_batch_1", pickle.dumps({b"data": np.zeros((1, 3072), "f8"), b"labels": [1]}, 2), "pixels of uint8"),
        ("data_batch_1", pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": ["x"]}, 2), "integer labels"),
        ("data_batch_1", pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": [-1]}, 2), "labels from 0 to 9"),
    ],
)
def test_cifar_names_what_is_no_label(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not a CIFAR-10 batch: .*{message}"):
        datasets.load_cifar10(data=tmp_path)
