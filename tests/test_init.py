"""Initial values: distribution, dtype, seeds."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastconv import init

pytestmark = pytest.mark.system("F16")

# shape, fan-in
SHAPES = [((400, 300), 400), ((128, 64, 5, 5), 64 * 25)]


@pytest.mark.parametrize(("shape", "n"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("values", "std"),
    [
        (lambda s, d: init.normal(s, 0.03, 1, d), lambda n: 0.03),
        (lambda s, d: init.xavier(s, 1, d), lambda n: n**-0.5),
        (lambda s, d: init.he(s, 1, d), lambda n: (2 / n) ** 0.5),
        (lambda s, d: init.weights(s, 0.01, 1, d), lambda n: 0.01),
        (lambda s, d: init.weights(s, "ReLU", 1, d), lambda n: (2 / n) ** 0.5),
        (lambda s, d: init.weights(s, "he", 1, d), lambda n: (2 / n) ** 0.5),
        (lambda s, d: init.weights(s, "sigmoid", 1, d), lambda n: n**-0.5),
        (lambda s, d: init.weights(s, "Xavier", 1, d), lambda n: n**-0.5),
    ],
    ids=["normal", "xavier", "he", "weights .01", "weights relu", "weights he", "weights sigmoid", "weights xavier"],
)
def test_distribution(values, std, shape, n, dtype):
    a = values(shape, dtype)
    assert a.shape == shape and a.dtype == dtype
    assert init.fan_in(shape) == n
    assert a.std() == pytest.approx(std(n), rel=0.02)
    assert abs(a.mean()) < 5 * std(n) / np.sqrt(a.size)


def test_zeros():
    assert_array_equal(init.zeros(3), [0, 0, 0])
    assert init.zeros((2, 3), np.float32).dtype == np.float32


def test_seeds():
    assert_array_equal(init.he((3, 4), rng=5), init.he((3, 4), rng=5))
    assert (init.he((3, 4), rng=5) != init.he((3, 4), rng=6)).all()
    generator = np.random.default_rng(5)
    first, second = init.he((3, 4), generator), init.he((3, 4), generator)
    assert_array_equal(first, init.he((3, 4), rng=5))
    assert (first != second).all()


def test_numpys_global_seed_gives_the_books_values():
    np.random.seed(2)  # noqa: NPY002 (as the book's programs do)
    expected = 0.01 * np.random.randn(4, 5)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert_array_equal(init.normal((4, 5)), expected)


def test_an_unknown_name():
    with pytest.raises(ValueError, match="weight_init_std: expected a number or one of relu, he, sigmoid, xavier"):
        init.weights((3, 4), "lecun")
