"""Numerical differentiation: known values, any shape, arrays restored."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import gradient
from fastconv.gradient import gradient_descent, numerical_diff, numerical_gradient, numerical_gradient_2d

rng = np.random.default_rng(9)


def squares(x):
    return np.sum(x**2)


@pytest.mark.system("F5")
@pytest.mark.parametrize(("x", "expected"), [((3.0, 4.0), (6, 8)), ((0.0, 2.0), (0, 4)), ((3.0, 0.0), (6, 0))])
def test_known_gradients(x, expected):
    assert_allclose(numerical_gradient(squares, np.array(x)), expected, atol=1e-8)


def test_numerical_diff():
    assert numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5) == pytest.approx(0.2, abs=1e-8)
    assert numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 10) == pytest.approx(0.3, abs=1e-8)


@pytest.mark.system("F5")
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3, 2), (0, 4)])
def test_any_shape(shape):
    x = np.array(rng.standard_normal(shape))
    before = x.copy()
    assert_allclose(numerical_gradient(squares, x), 2 * x, atol=1e-7)
    assert_array_equal(x, before)


def test_strided_arrays_are_changed_where_they_lie():
    whole = rng.standard_normal((4, 6))
    part = whole[::2, ::3]
    before = whole.copy()
    gradient = numerical_gradient(lambda _: np.sum(whole**2), part)
    assert_allclose(gradient, 2 * part, atol=1e-7)
    assert_array_equal(whole, before)


def test_lists_and_integers_are_copied():
    x = np.array([3, 4])
    assert_allclose(numerical_gradient(squares, x), [6, 8], atol=1e-7)
    assert_array_equal(x, [3, 4])
    assert_allclose(numerical_gradient(squares, [3, 4]), [6, 8], atol=1e-7)


def test_float32_keeps_its_dtype():
    assert numerical_gradient(squares, np.ones(2, np.float32)).dtype == np.float32


@pytest.mark.system("F5")
def test_an_error_of_f_restores_the_array():
    x = np.array([1.0, 2.0, 3.0])
    calls = iter(range(10))

    def fails(x):
        if next(calls) == 3:
            raise ArithmeticError
        return 0.0

    with pytest.raises(ArithmeticError):
        numerical_gradient(fails, x)
    assert_array_equal(x, [1, 2, 3])


def test_rows():
    X = rng.standard_normal((4, 2))
    assert_allclose(numerical_gradient_2d(lambda row: row[0] ** 2 * row[1], X), np.c_[2 * X[:, 0] * X[:, 1], X[:, 0] ** 2],
                    atol=1e-6)  # fmt: skip
    assert_allclose(numerical_gradient_2d(squares, X[0]), 2 * X[0], atol=1e-7)
    assert_allclose(gradient._numerical_gradient_1d(squares, X[0]), 2 * X[0], atol=1e-7)


@pytest.mark.system("F5")
def test_gradient_descent():
    start = np.array([-3.0, 4.0])
    x = gradient_descent(squares, start, lr=0.1, step_num=100)
    assert_allclose(x, [0, 0], atol=1e-8)
    assert_allclose(x, start * 0.8**100, rtol=1e-4)
    assert_array_equal(start, [-3, 4])
    assert_allclose(gradient_descent(squares, [1, 1], lr=0, step_num=3), [1, 1])
