"""Image files: any format into float32 (C, H, W), the lazy folder, and one's own photo of a digit."""

import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import datasets
from fastconv.datasets import ImageFolder, batches, load_image
from fastconv.datasets import transforms as T
from fastconv.networks import MultiLayerNet
from fastconv.optim import Adam

PIL = pytest.importorskip("PIL.Image")

RGB = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)


def save(path, array=RGB, mode=None, **options):
    picture = PIL.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_colours(tmp_path, suffix):
    x = load_image(save(tmp_path / f"a{suffix}"))
    assert x.dtype == np.float32 and x.flags.c_contiguous and x.flags.writeable
    assert_array_equal(x, RGB.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    assert_array_equal(load_image(str(tmp_path / f"a{suffix}")), x)


def test_grey(tmp_path):
    x = load_image(save(tmp_path / "a.png"), grey=True)
    assert x.shape == (1, 6, 4)
    assert_allclose(x[0], RGB @ [0.299, 0.587, 0.114] / 255, atol=0.6 / 255)  # the luma of ITU-R 601, in bytes
    save(tmp_path / "l.png", RGB[..., 0])
    assert load_image(tmp_path / "l.png").shape == (3, 6, 4)
    assert_array_equal(load_image(tmp_path / "l.png", grey=True)[0], RGB[..., 0].astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr"])
def test_other_modes(tmp_path, mode):
    flat = np.zeros((4, 5, 3), np.uint8)
    flat[:, 3:] = 255
    save(tmp_path / "a.tif", flat, mode)
    assert PIL.open(tmp_path / "a.tif").mode == mode
    assert_allclose(load_image(tmp_path / "a.tif"), flat.transpose(2, 0, 1) / 255, atol=0.02)


def test_transparent_parts_are_white(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)  # black
    pixels[0, 0, 3], pixels[0, 1, 3] = 255, 128
    save(tmp_path / "a.png", pixels)
    expected = [[0, 1 - 128 / 255, 1], [1, 1, 1]]
    for grey in (False, True):
        for plane in load_image(tmp_path / "a.png", grey=grey):
            assert_allclose(plane, expected, atol=1e-3)
    palette = PIL.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    palette.info["transparency"] = 0
    palette.save(tmp_path / "p.png", transparency=0)
    assert load_image(tmp_path / "p.png")[:, 0, 0].tolist() == [1, 1, 1]


def test_sixteen_bits_and_floats(tmp_path):
    save(tmp_path / "a.png", np.array([[0, 32768, 65535]], np.uint16))
    assert_allclose(load_image(tmp_path / "a.png", grey=True), [[[0, 32768 / 65535, 1]]], atol=1e-6)
    assert load_image(tmp_path / "a.png").shape == (3, 1, 3)
    assert_allclose(load_image(tmp_path / "a.png", (1, 6)).mean(), 0.5, atol=1e-3)
    save(tmp_path / "a.tif", np.array([[0, 0.25, 1]], np.float32))
    assert_allclose(load_image(tmp_path / "a.tif", grey=True), [[[0, 0.25, 1]]])
    for value in (2.0, np.nan):
        save(tmp_path / "b.tif", np.array([[0, value]], np.float32))
        with pytest.raises(ValueError, match=r"b\.tif: expected its floating-point numbers in 0\.\.1"):
            load_image(tmp_path / "b.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations(tmp_path, orientation):
    """A picture that a camera held in one of eight ways stored comes out upright."""
    upright = RGB[::2, :, 0]
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: np.rot90(upright.T, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = PIL.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    assert_array_equal(np.rint(255 * load_image(tmp_path / "a.png", grey=True)[0]), upright)


def test_sizes(tmp_path):
    path = save(tmp_path / "a.png")
    assert load_image(path, 3).shape == (3, 3, 3)
    x = load_image(path, (2, 5))
    expected = T.Resize((2, 5))(RGB.transpose(2, 0, 1))
    assert_array_equal(np.rint(255 * x), expected)
    for size, error in ((0, ValueError), ((1, 2, 3), ValueError), (2.5, TypeError), ("a", TypeError)):
        with pytest.raises(error, match="size"):
            load_image(path, size)


def whole(suffix, tmp_path):
    big = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    return save(tmp_path / f"whole{suffix}", big).read_bytes()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95])
def test_a_file_that_is_cut_short_is_named(tmp_path, suffix, share):
    content = whole(suffix, tmp_path)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"cannot read the image .*cut\{suffix}"):
        load_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tif", ".webp", ".ppm"])
def test_damaged_files_raise_one_error_or_none(tmp_path, suffix):
    """Whatever bytes are wrong: an image of the right form, or a ValueError that names the file."""
    content, rng = whole(suffix, tmp_path), np.random.default_rng(0)
    path = tmp_path / f"damaged{suffix}"
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(damaged), 200), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            x = load_image(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert x.ndim == 3 and x.shape[0] == 3 and x.min() >= 0 and x.max() <= 1


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none.png")
    with pytest.raises(IsADirectoryError):
        load_image(tmp_path)


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r"reading an image needs PIL.*pip install 'fastconv\[data\]'"):
        load_image(tmp_path / "a.png")


# --- the folder -------------------------------------------------------------------------------------------------------


@pytest.fixture
def flowers(tmp_path):
    """Two classes; a picture's colour says its number."""
    for i, name in enumerate(["rose/b.png", "rose/a.jpg", "daisy/deep/c.png", "daisy/d.PNG", "daisy/notes.txt"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no image")
        else:
            save(path, np.full((8 + i, 9, 3), 20 * i, np.uint8))
    (tmp_path / ".hidden").mkdir()
    return tmp_path


@pytest.mark.system("F26")
def test_the_folder_lists_without_reading(flowers):
    (flowers / "rose" / "a.jpg").write_bytes(b"damaged")
    folder = ImageFolder(flowers)
    assert folder.classes == ["daisy", "rose"]
    assert folder.class_to_idx == {"daisy": 0, "rose": 1}
    names = ["daisy/d.PNG", "daisy/deep/c.png", "rose/a.jpg", "rose/b.png"]
    assert folder.samples == [(str(flowers / name), i // 2) for i, name in enumerate(names)]
    assert folder.targets.tolist() == [0, 0, 1, 1] and len(folder) == 4
    x, t = folder[3]
    assert x.shape == (3, 8, 9) and x.dtype == np.float32 and t == 1 and x.max() == 0
    assert folder[-4][0].shape == (3, 11, 9)
    with pytest.raises(ValueError, match=r"cannot read the image .*a\.jpg"):
        folder[2]
    with pytest.raises(IndexError):
        folder[4]
    assert repr(folder).endswith("4 images, classes daisy, rose")


@pytest.mark.system("F26")
def test_the_folder_with_transforms_in_batches(flowers):
    transform = T.Compose([T.RandomCrop(4), T.RandomHorizontalFlip(), T.Normalize(0.5, 0.5)])
    folder = ImageFolder(str(flowers), transform)

    def course(seed):
        return list(batches(folder, None, 3, rng=seed, prefetch=2))

    for (x, t), (x2, t2) in zip(course(1), course(1), strict=True):
        assert_array_equal(x, x2)
        assert_array_equal(t, t2)
    assert sorted(np.concatenate([t for _, t in course(1)])) == [0, 0, 1, 1]
    assert course(1)[0][0].shape == (3, 3, 4, 4)
    assert ImageFolder(flowers, grey=True)[0][0].shape == (1, 11, 9)


def test_an_error_of_a_transform_names_the_file(flowers):
    with pytest.raises(ValueError, match="at least") as caught:
        ImageFolder(flowers, T.RandomCrop(50))[1]
    assert any("c.png" in note for note in caught.value.__notes__)


def test_a_damaged_file_in_a_batch_is_named(flowers):
    (flowers / "rose" / "b.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"cannot read the image .*b\.png"):
        list(batches(ImageFolder(flowers, T.Resize((4, 4))), None, 2))


def test_folders_that_are_refused(flowers, tmp_path):
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "none")
    with pytest.raises(NotADirectoryError):
        ImageFolder(flowers / "rose" / "b.png")
    with pytest.raises(FileNotFoundError, match="no class folders"):
        ImageFolder(flowers / "rose")
    (flowers / "tulip").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in the class folder .*tulip"):
        ImageFolder(flowers)
    (flowers / "train").mkdir()
    (flowers / "test").mkdir()
    with pytest.raises(ValueError, match="the folders train and test: name one of them"):
        ImageFolder(flowers)
    with pytest.raises(TypeError, match="transform: expected a callable"):
        ImageFolder(flowers, transform=3)


# --- one's own photo --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    pytest.importorskip("sklearn")
    (x, t), (x_test, t_test) = datasets.load_digits()
    net, optimizer, rng = (
        MultiLayerNet(784, [50], 10, weight_init_std="he", rng=0),
        Adam(0.01),
        np.random.default_rng(0),
    )
    for _ in range(4):
        for batch, labels in batches(x, t, 50, rng=rng):
            optimizer.update(net.params, net.gradient(batch, labels))
    assert net.accuracy(x_test, t_test) > 0.93
    return net, x_test.reshape(-1, 28, 28), t_test


@pytest.mark.system("F25")
def test_a_photo_of_a_digit(tmp_path, trained):
    """Dark on light paper, in colour, large, lying on its side: turned, shrunk and inverted it is recognised."""
    net, digits, labels = trained
    right = 0
    for digit, label in zip(digits[:20], labels[:20], strict=True):
        large = np.rint(255 * (1 - digit)).astype(np.uint8).repeat(7, 0).repeat(11, 1)
        paper = np.stack([large, large * 0.95, large * 0.85], axis=-1).astype(np.uint8)
        exif = PIL.Exif()
        exif[0x0112] = 6
        PIL.fromarray(np.rot90(paper).copy()).save(tmp_path / "photo.jpg", exif=exif, quality=90)
        x = 1 - load_image(tmp_path / "photo.jpg", size=(28, 28), grey=True)
        assert x.shape == (1, 28, 28)
        right += int(net.predict(x.reshape(1, -1)).argmax()) == label
    assert right >= 18


@pytest.mark.system("F25")
def test_weights_in_a_pickle_of_the_books_kind(tmp_path, trained):
    """sample_weight.pkl: a dict of float32 arrays for 784-50-100-10 with sigmoids."""
    rng = np.random.default_rng(0)
    sizes = [784, 50, 100, 10]
    weights = {f"W{i + 1}": rng.standard_normal(sizes[i : i + 2]).astype(np.float32) for i in range(3)}
    weights |= {f"b{i + 1}": rng.standard_normal(sizes[i + 1]).astype(np.float32) for i in range(3)}
    (tmp_path / "sample_weight.pkl").write_bytes(pickle.dumps(weights, protocol=2))
    net = MultiLayerNet(784, [50, 100], 10, activation="sigmoid")
    net.load_params(tmp_path / "sample_weight.pkl")
    a = trained[1][:5].reshape(5, -1).astype(float)
    for i in (1, 2):
        a = 1 / (1 + np.exp(-(a @ weights[f"W{i}"] + weights[f"b{i}"])))
    assert_allclose(net.predict(trained[1][:5].reshape(5, -1)), a @ weights["W3"] + weights["b3"], rtol=1e-5)
