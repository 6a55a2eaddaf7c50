"""Batches: the same for any number of threads, errors that reach the caller, threads that end; and the split."""

# ruff: noqa: NPY002 (without rng, batches draw their seed from NumPy's global generator)

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fastconv.datasets import Subset, batches, validation_split
from fastconv.datasets import transforms as T

pytestmark = pytest.mark.system("F26")

X = np.arange(23 * 3 * 6 * 5, dtype=np.float32).reshape(23, 3, 6, 5)
LABELS = np.arange(23)


class Images:
    """A data set of one's own: the item i is X[i], and its label i."""

    def __init__(self, n=23, broken=(), wait=0.0):
        self.n, self.broken, self.wait = n, broken, wait
        self.read = []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.read.append(i)
        time.sleep(self.wait)
        if i in self.broken:
            raise OSError(f"sample {i} is damaged")
        return X[i], i


def ours():
    return [t for t in threading.enumerate() if t.name == "fastconv batch"]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 23), st.integers(1, 30), st.booleans(), st.integers(0, 3), st.sampled_from(["arrays", "data set"])
)
def test_every_sample_once(n, size, shuffle, prefetch, kind):
    given_ = (X[:n], LABELS[:n]) if kind == "arrays" else (Images(n), None)
    got = list(batches(*given_, size, shuffle=shuffle, rng=0, prefetch=prefetch))
    assert [len(t) for _, t in got] == [size] * (n // size) + [n % size] * (n % size > 0)
    seen = np.concatenate([t for _, t in got]) if got else np.empty(0)
    assert sorted(seen) == list(range(n))
    assert shuffle or list(seen) == list(range(n))
    for x, t in got:
        assert_array_equal(x, X[t])
        assert x.dtype == np.float32 and t.dtype == np.int64
    assert not ours()


AUGMENT = T.Compose([T.RandomCrop(4), T.RandomHorizontalFlip()])


@pytest.mark.parametrize(
    "given_", [(X, LABELS), (Images(), None), (list(X), list(range(23)))], ids=["arrays", "data set", "lists"]
)
def test_the_same_seed_gives_the_same_batches_for_any_prefetch(given_):
    def course(rng, prefetch, **options):
        return [*batches(*given_, 4, rng=rng, prefetch=prefetch, **{"transform": AUGMENT, **options})]

    first = course(7, 0)
    for rng, prefetch in ((7, 1), (7, 2), (7, 5), (np.random.default_rng(7), 3)):
        for (x, t), (x2, t2) in zip(first, course(rng, prefetch), strict=True):
            assert_array_equal(x, x2)
            assert_array_equal(t, t2)
    assert any((t != t2).any() for (_, t), (_, t2) in zip(first, course(8, 2), strict=True))
    assert first[0][0].shape == (4, 3, 4, 4)


def test_a_generator_goes_on_and_none_follows_numpys_seed():
    rng = np.random.default_rng(0)
    first, second = ([t.tolist() for _, t in batches(X, LABELS, 23, rng=rng)] for _ in range(2))
    assert first != second
    courses = []
    for _ in range(2):
        np.random.seed(4)
        courses.append([x.sum() for x, _ in batches(X, LABELS, 5, transform=AUGMENT)])
    assert courses[0] == courses[1]


def test_a_transform_with_a_seed_of_its_own():
    def course(seed):
        return [x for x, _ in batches(X, LABELS, 4, shuffle=False, transform=T.RandomCrop(3, rng=seed), prefetch=3)]

    for x, again in zip(course(1), course(1), strict=True):
        assert_array_equal(x, again)
    assert any((x != other).any() for x, other in zip(course(1), course(2), strict=True))


def test_images_of_a_batch_are_cut_at_different_places():
    x, _ = next(batches(np.stack([X[0]] * 20), LABELS[:20], 20, transform=T.RandomCrop(2), rng=0))
    assert len({a.tobytes() for a in x}) > 5


def test_inputs_alone():
    got = list(batches(X, None, 10, shuffle=False))
    assert [x.shape[0] for x in got] == [10, 10, 3]
    got = list(batches(list(X), None, 10, shuffle=False, transform=lambda x: x[0]))
    assert_array_equal(np.concatenate(got), X[:, 0])


def test_one_hot_and_list_targets():
    rows = np.eye(23)
    for targets in (rows, list(rows)):
        for x, t in batches(X, targets, 6, rng=0):
            assert_array_equal(x, X[t.argmax(axis=1)])


@pytest.mark.parametrize("prefetch", [0, 1, 2, 4])
def test_an_error_reaches_the_caller_at_its_turn(prefetch):
    seen = []
    with pytest.raises(OSError, match="sample 9 is damaged"):
        for _, t in batches(Images(broken=[9]), None, 4, shuffle=False, prefetch=prefetch):
            seen.append(t.tolist())
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert not ours()


def test_an_error_in_a_transform():
    def fails(x):
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        next(batches(X, LABELS, 4, transform=fails))
    assert not ours()


@pytest.mark.parametrize("size", [2, 20])
def test_leaving_early_ends_the_threads(size):
    data = Images(wait=0.002)
    for _ in batches(data, None, size, prefetch=3):
        assert size == 20 or ours()
        break
    assert not ours()
    read = len(data.read)
    time.sleep(0.02)
    assert len(data.read) == read


def test_a_loop_that_is_forgotten_leaves_no_waiting_threads():
    stream = batches(Images(), None, 2, prefetch=3)
    next(stream)
    deadline = time.monotonic() + 10
    while ours() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not ours()
    assert next(stream)[0].shape == (2, 3, 6, 5)


def test_batches_are_prepared_ahead():
    data = Images(wait=0.001)
    stream = batches(data, None, 2, shuffle=False, prefetch=2)
    next(stream)
    deadline = time.monotonic() + 10
    while len(data.read) < 6 and time.monotonic() < deadline:
        time.sleep(0.002)
    assert sorted(data.read) == [0, 1, 2, 3, 4, 5]
    stream.close()


def test_plain_arrays_need_no_threads():
    stream = batches(X, LABELS, 2)
    next(stream)
    assert not ours()


class Uneven:
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return np.zeros((3, 4 + i, 4)), i


class Half:
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return (X[0], 1) if i else X[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: batches(X, LABELS[:-1], 4), ValueError, "t: expected 23 targets, one for each sample, got 22"),
        (lambda: batches(X, LABELS, 0), ValueError, "size"),
        (lambda: batches(X, LABELS, 2.5), TypeError, "size"),
        (lambda: batches(X, LABELS, 2, prefetch=-1), ValueError, "prefetch"),
        (lambda: batches(X, LABELS, 2, transform=3), TypeError, "transform: expected a callable"),
        (lambda: batches(7, None, 2), TypeError, "x: expected an array, or an object with __len__"),
        (lambda: batches("abc", None, 2), TypeError, "x: expected an array, or an object with __len__"),
        (lambda: batches(np.float64(3), None, 2), TypeError, "x: expected"),
        (lambda: batches(np.array(3.0), None, 2), ValueError, "x: expected an array"),
        (lambda: batches(X, LABELS, 2, rng="a"), TypeError, "SeedSequence"),
        (lambda: next(batches(Uneven(), None, 2)), ValueError, r"differ in shape, \(3, 4, 4\) and \(3, 5, 4\)"),
        (lambda: next(batches(Half(), None, 2)), ValueError, "pairs"),
    ],
)
def test_refused_at_once(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("fraction", [0, 0.3, 1])
def test_validation_split(fraction):
    (x, t), (x_held, t_held) = validation_split(X, LABELS, fraction)
    assert len(t_held) == round(23 * fraction)
    assert sorted([*t, *t_held]) == list(range(23))
    assert_array_equal(np.concatenate([x, x_held]), X[np.concatenate([t, t_held])])
    again = validation_split(X, LABELS, fraction)
    assert_array_equal(again[0][1], t)
    other = validation_split(X, LABELS, fraction, rng=1)
    assert (other[0][1] != t).any() or fraction == 1


def test_validation_split_of_a_data_set_reads_nothing():
    data = Images()
    train, held = validation_split(data, fraction=0.25)
    assert (len(train), len(held)) == (17, 6) and not data.read
    assert sorted([*(train[i][1] for i in range(17)), *(held[i][1] for i in range(6))]) == list(range(23))
    assert isinstance(held, Subset)
    assert [len(t) for _, t in batches(held, None, 4)] == [4, 2]
    assert repr(held).startswith("Subset of 6 samples")


def test_validation_split_refuses():
    with pytest.raises(ValueError, match="fraction"):
        validation_split(X, LABELS, 1.5)
    with pytest.raises(ValueError, match="t: expected 23 targets"):
        validation_split(X, LABELS[1:])
