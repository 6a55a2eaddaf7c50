"""Arrays in memory, one-hot labels, augmentations and the bundled digits."""

import sys

import numpy as np
import pytest

from fastconv import datasets


def test_one_hot_has_a_one_at_each_label():
    assert datasets.one_hot([2, 0, 1], 4).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]


def test_one_hot_counts_classes_itself():
    assert datasets.one_hot(np.array([0, 5], np.uint8)).shape == (2, 6)
    assert datasets.one_hot(np.array([], int)).shape == (0, 0)


@pytest.mark.parametrize(
    ("labels", "classes", "error", "message"),
    [
        ([0.0, 1.0], None, TypeError, "integers"),
        ([[0], [1]], None, ValueError, "one dimension"),
        ([0, 3], 3, ValueError, r"0\.\.2, got 0\.\.3"),
        ([-1, 0], None, ValueError, "got -1"),
    ],
)
def test_one_hot_refuses(labels, classes, error, message):
    with pytest.raises(error, match=message):
        datasets.one_hot(labels, classes)


@pytest.fixture
def images():
    return np.arange(10 * 1 * 4 * 3, dtype=np.uint8).reshape(10, 1, 4, 3)


def test_load_arrays_keeps_every_image_with_its_label(images):
    labels = np.arange(10)
    options = {"normalize": False, "flatten": False, "test_fraction": 0.3}
    (x, t), (x_test, t_test) = datasets.load_arrays(images, labels, **options)
    assert x.shape == (7, 1, 4, 3)
    assert x_test.shape == (3, 1, 4, 3)
    assert sorted([*t, *t_test]) == list(range(10))
    np.testing.assert_array_equal(np.concatenate([x, x_test]), images[np.concatenate([t, t_test])])


def test_load_arrays_splits_the_same_way_for_the_same_seed(images):
    first, again, other = (datasets.load_arrays(images, np.arange(10), seed=seed)[0][1] for seed in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()


def test_load_arrays_options(images):
    (x, t), (x_test, t_test) = datasets.load_arrays(images, np.arange(10) % 3, one_hot_label=True)
    assert x.shape == (8, 12)
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1
    assert t.shape == (8, 3)
    assert t_test.sum(axis=1).tolist() == [1, 1]
    np.testing.assert_array_equal(np.sort(np.rint(255 * np.concatenate([x, x_test])).ravel()), np.arange(120))


def test_load_arrays_leaves_the_values_of_float_images(images):
    halves = images / 2
    (x, _), _ = datasets.load_arrays(halves[:, 0], np.zeros(10, int), test_fraction=0)
    assert x.dtype == np.float64
    np.testing.assert_array_equal(np.sort(x.ravel()), halves.ravel())


def test_load_arrays_of_no_images():
    (x, t), (x_test, _) = datasets.load_arrays(np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, int))
    assert x.shape == x_test.shape == (0, 4)
    assert t.shape == (0,)


@pytest.mark.parametrize(
    ("images", "labels", "fraction", "message"),
    [
        (np.zeros(3), np.zeros(3, int), 0.2, r"images must be .* got shape \(3,\)"),
        (np.zeros((3, 2)), np.zeros(4, int), 0.2, r"labels must be \(3,\)"),
        (np.zeros((3, 2)), np.zeros(3, int), 1.5, "test_fraction"),
    ],
)
def test_load_arrays_refuses(images, labels, fraction, message):
    with pytest.raises(ValueError, match=message):
        datasets.load_arrays(images, labels, test_fraction=fraction)


def test_random_flip_mirrors_some_images_whole(images):
    images = np.repeat(images, 20, axis=0)
    kept = images.copy()
    flipped = datasets.random_flip(images, rng=0)
    mirrored = (flipped == images[..., ::-1]).all(axis=(1, 2, 3))
    same = (flipped == images).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130
    assert flipped.dtype == images.dtype
    np.testing.assert_array_equal(images, kept)


def test_random_flip_at_the_ends_of_its_range(images):
    np.testing.assert_array_equal(datasets.random_flip(images, probability=0), images)
    np.testing.assert_array_equal(datasets.random_flip(images, probability=1), images[..., ::-1])


def test_random_crop_moves_images_over_zeros(images):
    images = np.repeat(images + 1, 30, axis=0)
    cropped = datasets.random_crop(images, 2, rng=np.random.default_rng(1))
    assert cropped.shape == images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    offsets = set()
    for before, after in zip(padded, cropped, strict=True):
        places = [(i, j) for i in range(5) for j in range(5)]
        offsets |= {(i, j) for i, j in places if (before[:, i : i + 4, j : j + 3] == after).all()}
    assert len(offsets) == 25


def test_random_crop_without_padding_changes_nothing(images):
    np.testing.assert_array_equal(datasets.random_crop(images, 0), images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: datasets.random_flip(x[0]), r"\(N, C, H, W\)"),
        (lambda x: datasets.random_flip(x, probability=2), "probability"),
        (lambda x: datasets.random_crop(x[0], 1), r"\(N, C, H, W\)"),
        (lambda x: datasets.random_crop(x, -1), "padding"),
    ],
)
def test_augmentations_refuse(images, call, message):
    with pytest.raises(ValueError, match=message):
        call(images)


def test_digits_have_the_shape_and_range_of_mnist():
    pytest.importorskip("sklearn")
    (x, t), (x_test, t_test) = datasets.load_digits(normalize=False, flatten=False)
    assert x.shape == (1437, 1, 28, 28)
    assert x_test.shape == (360, 1, 28, 28)
    assert x.dtype == np.uint8
    assert (x.min(), x.max()) == (0, 255)
    assert set(t) == set(t_test) == set(range(10))
    assert not x[:, :, :2].any() and not x[..., -2:].any()


def test_digits_hold_scikit_learns_pixels():
    sklearn = pytest.importorskip("sklearn.datasets")
    (x, _), (x_test, _) = datasets.load_digits(normalize=True, flatten=False)
    small = np.concatenate([x, x_test])[:, 0, 3:-2:3, 3:-2:3] * 16
    stored = sklearn.load_digits().images
    assert sorted(map(tuple, np.rint(small).reshape(-1, 64))) == sorted(map(tuple, stored.reshape(-1, 64)))


def test_digits_flat_and_one_hot():
    pytest.importorskip("sklearn")
    (x, t), (_, labels) = datasets.load_digits(one_hot_label=True)
    assert x.shape == (1437, 784)
    assert x.max() == 1
    assert t.shape == (1437, 10)
    assert labels.shape == (360, 10)


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs sklearn.*fastconv\[demo\]"):
        datasets.load_digits()
