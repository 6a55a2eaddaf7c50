"""The worked examples of the documents fastconv was commissioned from: functions and single layers."""

import numpy as np
import pytest

import fastconv as fc

A = np.array([[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]], float)
K = np.array([[2, 0, 1], [0, 1, 2], [1, 0, 2]], float)


@pytest.mark.system("F10")
def test_sliding_windows_and_convolution_by_hand():
    windows = fc.im2col(A[None, None], 3, 3).sum(axis=1)
    np.testing.assert_array_equal(windows, [13, 14, 12, 13])
    y = fc.conv2d(A[None, None], K[None, None])
    np.testing.assert_array_equal(y[0, 0], [[15, 16], [6, 15]])
    np.testing.assert_array_equal(fc.conv2d(A[None, None], K[None, None], [3.0])[0, 0], [[18, 19], [9, 18]])


@pytest.mark.system("F10")
def test_output_size_and_its_inverse():
    """Padding 1 keeps H = 4 and H = 6 under a 3x3 filter with stride 1."""
    for H in (4, 6):
        assert fc.conv2d(np.ones((1, H, H)), np.ones((1, 1, 3, 3)), padding=1).shape == (1, H, H)
        assert fc.conv2d(np.ones((1, H, H)), np.ones((1, 1, 3, 3)), padding="same").shape == (1, H, H)


@pytest.mark.system("F11")
def test_three_dimensional_convolution():
    """The source loops columns first, so its 5x5 result is the transpose of the correlation."""
    data = np.array([
        [[2, 2, 1, 1, 0], [0, 0, 1, 0, 0], [0, 2, 0, 0, 1], [1, 2, 1, 1, 1], [1, 0, 1, 0, 1]],
        [[2, 0, 0, 0, 1], [0, 2, 2, 0, 1], [0, 0, 0, 0, 2], [0, 1, 2, 0, 1], [2, 0, 2, 2, 2]],
        [[1, 1, 0, 1, 1], [0, 1, 0, 1, 2], [0, 2, 2, 0, 0], [0, 2, 0, 0, 1], [1, 1, 2, 1, 1]],
    ], float)  # fmt: skip
    w = np.array([
        [[1, 1, -1], [-1, 0, 0], [1, 1, 0]],
        [[-1, -1, 0], [0, -1, 1], [0, -1, 0]],
        [[-1, 1, 1], [-1, 1, -1], [0, 0, -1]],
    ], float)  # fmt: skip
    expected = [[-3, -1, -2, -3, -1], [-4, 2, 0, 7, 2], [-6, 0, -4, -6, -3], [-1, 3, 3, -6, -3], [-3, -1, -1, -3, 0]]
    y = fc.conv2d(data, w[None], padding=1)[0]
    assert y[0, 0] == -3 and y.T[0, 1] == -1 and y[0, 1] == -4
    np.testing.assert_array_equal(y.T, expected)


@pytest.mark.system("F17")
def test_convolution_arithmetic():
    for FN, size, padding, outputs, parameters in ((10, 5, 2, 10_240, 760), (64, 3, 1, 65_536, 1_792)):
        w, b = np.ones((FN, 3, size, size)), np.ones(FN)
        assert fc.conv2d(np.ones((3, 32, 32)), w, b, padding=padding).size == outputs
        assert w.size + b.size == parameters


@pytest.mark.system("F13")
def test_the_books_layer_shapes():
    x, W = np.ones((10, 3, 7, 7)), np.ones((10, 3, 5, 5))
    assert fc.conv2d(x, W).shape == (10, 10, 3, 3)


def test_apples_and_gradient_of_softmax_loss():
    y = fc.softmax(np.array([[0.3, 2.9, 4.0]]))
    np.testing.assert_allclose(y, [[0.01821127, 0.24519181, 0.73659691]], rtol=1e-6)
    np.testing.assert_allclose(fc.softmax_cross_entropy_backward(y, np.array([2])), y - [[0, 0, 1]])
