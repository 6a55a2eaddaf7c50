"""Metrics: against counting by hand, for every form of labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fastconv.metrics import accuracy, confusion_matrix, per_class_accuracy

T = np.array([0, 1, 2, 1])
SCORES = np.array([[5, 1, 1], [0, 0, 3], [1, 0, 2], [0, 9, 1]], float)  # 0, 2, 2, 1

FORMS = {
    "labels": lambda t: t,
    "a column": lambda t: t[:, None],
    "bytes": lambda t: t.astype(np.uint8),
    "a list": lambda t: t.tolist(),
    "one-hot": lambda t: np.eye(3)[t],
    "one-hot bools": lambda t: np.eye(3, dtype=bool)[t],
}
CHOSEN = {
    "scores": SCORES,
    "single scores": SCORES.astype(np.float32),
    **{k: f(SCORES.argmax(1)) for k, f in FORMS.items()},
}


@pytest.mark.parametrize("y", CHOSEN.values(), ids=CHOSEN)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form(y, form):
    t = form(T)
    assert accuracy(y, t) == 0.75
    assert_array_equal(per_class_accuracy(y, t), [1, 0.5, 1])
    assert_array_equal(confusion_matrix(y, t), [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    assert confusion_matrix(y, t).dtype == np.int64


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_counts(pairs):
    y, t = np.array(pairs).T
    counts = confusion_matrix(y, t, 6)
    for i in range(6):
        for j in range(6):
            assert counts[i, j] == sum((a, b) == (j, i) for a, b in pairs)
    assert accuracy(y, t) == pytest.approx(np.trace(counts) / len(pairs))
    shares = per_class_accuracy(y, t, 6)
    for i in range(6):
        of = [a == i for a, b in pairs if b == i]
        assert np.isnan(shares[i]) if not of else shares[i] == pytest.approx(np.mean(of))


def test_the_number_of_classes():
    assert confusion_matrix([0], [1]).shape == (2, 2)
    assert confusion_matrix([0], [1], classes=4).shape == (4, 4)
    assert confusion_matrix([0], np.eye(5)[[1]]).shape == (5, 5)


@pytest.mark.parametrize("function", [accuracy, per_class_accuracy, confusion_matrix])
@pytest.mark.parametrize(
    ("y", "t", "error", "message"),
    [
        ([], [], ValueError, "at least one sample"),
        (np.empty((0, 3)), np.empty(0, int), ValueError, "at least one sample"),
        (SCORES, T[:3], ValueError, "t: expected 4 targets, one for each sample, got 3"),
        (SCORES, [0, 1, 2, 3], ValueError, r"t: expected classes in 0\.\.2, got 0\.\.3"),
        (SCORES, [0, 1, 2, -1], ValueError, r"t: expected classes in 0\.\.2, got -1\.\.2"),
        (SCORES, T.astype(float), TypeError, "t: expected labels .* got dtype float64"),
        (SCORES[:, :1], T, TypeError, r"y: expected scores .* got dtype float64 in shape \(4, 1\)"),
        (SCORES, np.eye(4)[T], ValueError, "one number of classes, got 3 of the scores, 4 of the one-hot rows"),
        (SCORES, np.full((4, 3), 1 / 3), ValueError, "one-hot rows, with one 1"),
        (SCORES[None], T, ValueError, r"y: expected scores .* got shape \(1, 4, 3\)"),
        (SCORES, np.array(["a", "b", "c", "d"]), TypeError, "t: expected labels"),
        (SCORES.astype(complex), T, TypeError, "y: expected scores"),
        (3, 3, ValueError, r"y: expected scores .* got shape \(\)"),
    ],
)
def test_refused(function, y, t, error, message):
    with pytest.raises(error, match=message):
        function(y, t)


def test_a_number_of_classes_that_does_not_fit():
    with pytest.raises(ValueError, match="got 2 of classes, 3 of the scores"):
        confusion_matrix(SCORES, T, 2)
    with pytest.raises(ValueError, match=r"y: expected classes in 0\.\.1, got 0\.\.2"):
        confusion_matrix([0, 2], [0, 1], 2)
    with pytest.raises(ValueError, match="classes"):
        per_class_accuracy(SCORES, T, 0)
