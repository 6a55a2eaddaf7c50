"""Transforms against values that torchvision 0.28 gave for the same small images, and their properties."""

# ruff: noqa: NPY002 (without rng, transforms draw from NumPy's global generator)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastconv.datasets import transforms as T

pytestmark = pytest.mark.system("F26")


def image(h, w):
    return (np.arange(h * w).reshape(1, h, w) * 37 % 251).astype(np.uint8)


RESIZED = [  # (H, W), size, interpolation; of a PIL image; of a tensor of floats in 0..1
    (
        (4, 6), 2, "bilinear",
        [[82, 77, 138], [175, 94, 93]],
        [[0.32373, 0.29909, 0.540616], [0.687395, 0.366457, 0.361905]],
    ),
    (
        (5, 3), (2, 4), "bilinear",
        [[100, 88, 94, 117], [150, 138, 114, 88]],
        [[0.390553, 0.341422, 0.366355, 0.457041], [0.590018, 0.540887, 0.448373, 0.343315]],
    ),
    (
        (3, 3), 5, "bilinear",
        [[0, 15, 37, 59, 74], [44, 59, 81, 103, 118], [111, 126, 148, 170, 185], [178, 132, 64, 86, 101], [222, 136, 8, 30, 45]],
        [[0.0, 0.058039, 0.145098, 0.232157, 0.290196], [0.174118, 0.232157, 0.319216, 0.406275, 0.464314], [0.435294, 0.493333, 0.58039, 0.667451, 0.72549], [0.696471, 0.518275, 0.25098, 0.338039, 0.396078], [0.870588, 0.534902, 0.031373, 0.118431, 0.176471]],
    ),
    (
        (6, 4), 3, "bicubic",
        [[62, 115, 87], [104, 144, 107], [160, 129, 99], [149, 74, 133]],
        [[0.242053, 0.450203, 0.339721], [0.409377, 0.564484, 0.418037], [0.628227, 0.506413, 0.387081], [0.584244, 0.288173, 0.523155]],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("extent", "size", "interpolation", "bytes_", "floats"), RESIZED)
def test_resize(extent, size, interpolation, bytes_, floats):
    resize = T.Resize(size, interpolation)
    x = image(*extent)
    before = x.copy()
    assert_array_equal(resize(x)[0], bytes_)
    assert_array_equal(x, before)
    assert resize(x).dtype == np.uint8
    for dtype in (np.float16, np.float32, np.float64):
        y = resize(x.astype(dtype) / dtype(255))
        assert y.dtype == dtype
        assert_allclose(y[0], floats, atol=1e-3 if dtype == np.float16 else 4e-6)
    batch = np.stack([x.repeat(2, 0), x.repeat(2, 0)[..., ::-1]])  # leading axes, and strides
    assert_array_equal(resize(batch)[0, 1], bytes_)
    assert_array_equal(resize(batch)[1, 0], resize(np.ascontiguousarray(x[..., ::-1]))[0])


def test_resize_keeps_proportions_as_torchvision_rounds_them():
    for extent, size, expected in [((375, 500), 256, (256, 341)), ((500, 375), 256, (341, 256)), ((7, 7), 3, (3, 3))]:
        assert T.Resize(size)(np.zeros((1, *extent), np.uint8)).shape[1:] == expected


@pytest.mark.parametrize(
    ("extent", "size", "expected"),
    [
        ((5, 6), 2, [[16, 53], [238, 24]]),
        ((5, 6), (3, 4), [[8, 45, 82, 119], [230, 16, 53, 90], [201, 238, 24, 61]]),
        ((3, 4), 5, [[0] * 5, [0, 37, 74, 111, 0], [148, 185, 222, 8, 0], [45, 82, 119, 156, 0], [0] * 5]),
        ((2, 7), (3, 4), [[74, 111, 148, 185], [82, 119, 156, 193], [0] * 4]),
        ((7, 7), (4, 4), [[90, 127, 164, 201], [98, 135, 172, 209], [106, 143, 180, 217], [114, 151, 188, 225]]),
    ],
)
def test_center_crop(extent, size, expected):
    assert_array_equal(T.CenterCrop(size)(image(*extent))[0], expected)


def test_normalize():
    x = np.array([[[0.0, 0.5]], [[0.25, 1.0]], [[1.0, 0.0]]], np.float32)
    y = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(x)
    expected = [[[-2.1179039478302, 0.0655021220445633]], [[-0.9196428060531616, 2.4285714626312256]], [[2.640000104904175, -1.804444432258606]]]  # fmt: skip
    assert y.dtype == np.float32
    assert_array_equal(y, np.array(expected, np.float32))
    assert_allclose(T.Normalize(0.5, 0.25)(x), (x - 0.5) / 0.25)


def test_random_resized_crop_of_a_known_box(monkeypatch):
    crop = T.RandomResizedCrop((3, 2))
    monkeypatch.setattr(crop, "box", lambda h, w: (1, 0, 4, 3))
    y = crop(image(6, 5).astype(np.float32) / 255)
    expected = [[0.702255, 0.45299], [0.391667, 0.573039], [0.511716, 0.262451]]
    assert_allclose(y[0], expected, atol=4e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000), st.sampled_from([(0.08, 1.0), (0.5, 0.5), (1, 1)]))
def test_boxes_lie_inside(h, w, seed, scale):
    crop = T.RandomResizedCrop(3, scale=scale, rng=seed)
    for _ in range(5):
        top, left, height, width = crop.box(h, w)
        assert top >= 0 and left >= 0 and height >= 1 and width >= 1 and top + height <= h and left + width <= w


def test_boxes_have_the_areas_and_proportions_that_were_asked_for():
    crop = T.RandomResizedCrop(3, scale=(0.2, 0.6), ratio=(0.5, 2.0), rng=0)
    boxes = np.array([crop.box(1000, 1000) for _ in range(2000)])
    areas, ratios = boxes[:, 2] * boxes[:, 3] / 1e6, boxes[:, 3] / boxes[:, 2]
    assert 0.199 < areas.min() < 0.21 and 0.59 < areas.max() < 0.601
    assert 0.499 < ratios.min() < 0.52 and 1.92 < ratios.max() < 2.01
    assert abs(areas.mean() - 0.4) < 0.01 and abs(np.log(ratios).mean()) < 0.03


@pytest.mark.parametrize(
    ("extent", "expected"), [((10, 100), (0, 43, 10, 13)), ((100, 10), (43, 0, 13, 10)), ((10, 10), (0, 0, 10, 10))]
)
def test_the_fallback_is_the_middle(extent, expected, monkeypatch):
    crop = T.RandomResizedCrop(3, scale=(1.0, 1.0))
    monkeypatch.setattr(T, "_TRIES", 0)
    assert crop.box(*extent) == expected


def test_random_crop_takes_every_place():
    x = image(4, 5)
    crop = T.RandomCrop((3, 3), rng=0)
    places = set()
    for _ in range(200):
        y = crop(x)
        found = [(i, j) for i in range(2) for j in range(3) if (x[:, i : i + 3, j : j + 3] == y).all()]
        assert len(found) == 1
        places |= set(found)
    assert len(places) == 6


def test_random_crop_with_padding():
    crop, x = T.RandomCrop(4, padding=(0, 2), rng=0), image(4, 4) + np.uint8(1)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2)))
    crops = [crop(x) for _ in range(100)]
    lefts = {next(j for j in range(5) if (padded[..., j : j + 4] == y).all()) for y in crops}
    assert lefts == set(range(5))


def test_random_flip():
    x = image(3, 4)
    flip = T.RandomHorizontalFlip(0.3, rng=0)
    flipped = [bool((flip(x) == x[..., ::-1]).all()) for _ in range(1000)]
    assert 240 < sum(flipped) < 360
    assert_array_equal(T.RandomHorizontalFlip(1)(x), x[..., ::-1])
    assert_array_equal(T.RandomHorizontalFlip(0)(x), x)


RANDOM = [T.RandomCrop(2), T.RandomResizedCrop(5), T.RandomHorizontalFlip()]


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_seeds(transform):
    x = image(9, 8)

    def course(rng):
        seeded = type(transform)(*([] if isinstance(transform, T.RandomHorizontalFlip) else [3]), rng=rng)
        return np.stack([seeded(x) for _ in range(12)])

    assert_array_equal(course(5), course(np.random.default_rng(5)))
    assert (course(5) != course(6)).any()
    np.random.seed(3)
    first = course(None)
    np.random.seed(3)
    assert_array_equal(first, course(None))


def test_results_are_new_arrays():
    x = image(4, 4).astype(np.float32)
    for transform in (T.Resize(4), T.CenterCrop(4), T.RandomCrop(4), T.RandomHorizontalFlip(0), T.Normalize(0, 1)):
        y = transform(x)
        assert not np.shares_memory(x, y)
        assert y.flags.c_contiguous


def test_compose():
    x = image(6, 5).astype(np.float32) / 255
    both = T.Compose([T.CenterCrop(3), lambda a: a + 1, T.Normalize(0.5, 2.0)])
    assert_allclose(both(x), (x[:, 2:5, 1:4] + 0.5) / 2)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (T.Resize(256), "Resize(256)"),
        (T.Resize((2, 3), "bicubic"), "Resize((2, 3), 'bicubic')"),
        (T.CenterCrop(224), "CenterCrop((224, 224))"),
        (T.RandomCrop(4, padding=1), "RandomCrop((4, 4), padding=(1, 1))"),
        (T.RandomResizedCrop(5), "RandomResizedCrop((5, 5), scale=(0.08, 1.0), ratio=(0.75, 1.3333))"),
        (T.RandomHorizontalFlip(), "RandomHorizontalFlip(0.5)"),
        (T.Normalize(0.5, (1, 2)), "Normalize(mean=(0.5,), std=(1.0, 2.0))"),
        (T.Compose([T.Resize(4), T.CenterCrop(2)]), "Compose([Resize(4), CenterCrop((2, 2))])"),
    ],
)
def test_repr(transform, expected):
    assert repr(transform) == expected


ONE = np.zeros((3, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: T.Resize(0), ValueError, "size"),
        (lambda: T.Resize(2.5), TypeError, "size"),
        (lambda: T.Resize((1, 2, 3)), ValueError, "size"),
        (lambda: T.Resize(4, "nearest"), ValueError, "interpolation"),
        (lambda: T.Resize(4)("x.jpg"), TypeError, "expected an ndarray .* got str"),
        (lambda: T.Resize(4)(np.zeros(3)), ValueError, r"got shape \(3,\)"),
        (lambda: T.Resize(4)(np.zeros((3, 0, 4))), ValueError, "with some pixels"),
        (lambda: T.Resize(4)(np.zeros((3, 5, 5), int)), TypeError, "uint8 or floats, got int64"),
        (lambda: T.RandomCrop(6)(ONE), ValueError, r"at least \(6, 6\) with the padding, got \(4, 5\)"),
        (lambda: T.RandomCrop(2, padding=-1), ValueError, "padding"),
        (lambda: T.RandomResizedCrop(2, scale=0.5), ValueError, "scale: expected two numbers"),
        (lambda: T.RandomResizedCrop(2, scale=(0.5, 0.1)), ValueError, "scale"),
        (lambda: T.RandomResizedCrop(2, scale=(0.5, 1.5)), ValueError, "scale"),
        (lambda: T.RandomResizedCrop(2, ratio=(0, 1)), ValueError, "ratio"),
        (lambda: T.RandomHorizontalFlip(1.5), ValueError, "p: "),
        (lambda: T.Normalize(0.5, 0), ValueError, "std"),
        (lambda: T.Normalize("x", 1), TypeError, "mean"),
        (lambda: T.Normalize((), 1), ValueError, "mean"),
        (lambda: T.Normalize((1, 2), 1)(ONE), ValueError, r"expected \(\.\.\., 2, H, W\), got shape \(3, 4, 5\)"),
        (lambda: T.Normalize(0.5, 1)(image(2, 2)), TypeError, "expected floats"),
        (lambda: T.Compose([3]), TypeError, r"transforms\[0\]: expected a callable"),
        (lambda: T.Transform()(ONE), NotImplementedError, "Transform has no __call__"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
