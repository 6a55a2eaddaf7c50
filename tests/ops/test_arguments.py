"""What the arguments of convolutions, affine maps and batch normalisations may be besides the usual."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from fastconv.testing import normal

X = normal((2, 4, 8, 9), np.float32)
W = normal((6, 4, 3, 3), np.float32, 1)
B = normal(6, np.float32, 2)
SHAPES = [(6,), (6, 1), (1, 6), (6, 1, 1), (1, 6, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_biases_of_any_shape(shape):
    b = B.reshape(shape)
    rows, matrix = normal((5, 7), np.float32), normal((7, 6), np.float32, 1)
    transposed = normal((4, 6, 3, 3), np.float32, 1)
    for _ in range(2):
        np.testing.assert_array_equal(fc.conv2d(X, W, b), fc.conv2d(X, W, B))
        np.testing.assert_array_equal(fc.affine(rows, matrix, b), fc.affine(rows, matrix, B))
        np.testing.assert_array_equal(fc.linear(rows, matrix.T, b), fc.linear(rows, matrix.T, B))
        np.testing.assert_array_equal(fc.conv_transpose2d(X, transposed, b), fc.conv_transpose2d(X, transposed, B))
        got, cache = fc.batch_norm(normal((3, 6, 2, 2), np.float32), b, b, np.zeros(6), np.ones(6))
        expected, _ = fc.batch_norm(normal((3, 6, 2, 2), np.float32), B, B, np.zeros(6), np.ones(6))
        np.testing.assert_array_equal(got, expected)
        _, dgamma, dbeta = fc.batch_norm_backward(got, cache)
        assert dgamma.shape == dbeta.shape == (6,)
        assert fc.conv2d_backward(fc.conv2d(X, W, b), X, W)[2].shape == (6,)
    strided = np.repeat(B, 2)[::2].reshape(shape)
    np.testing.assert_array_equal(fc.conv2d(X, W, strided), fc.conv2d(X, W, B))


@pytest.mark.parametrize("scalar", [2, 0.1, np.float32(0.1), np.array(0.1, np.float32)])
def test_a_scalar_stands_for_equal_numbers(scalar):
    b = np.full(6, scalar, np.float32)
    rows, matrix = normal((5, 7), np.float32), normal((7, 6), np.float32, 1)
    for again in (scalar, scalar * np.float32(3) if isinstance(scalar, np.generic) else scalar * 3):
        b = np.full(6, again, np.float32)  # another value in a like call
        y = fc.conv2d(X, W, again)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, fc.conv2d(X, W, b))
        np.testing.assert_array_equal(fc.affine(rows, matrix, again), fc.affine(rows, matrix, b))
        y, _ = fc.batch_norm(normal((3, 6), np.float32), again, again, None, None, True)
        np.testing.assert_array_equal(y, fc.batch_norm(normal((3, 6), np.float32), b, b, None, None, True)[0])


def test_scalars_of_numpy_promote_as_numpy_does():
    assert fc.conv2d(X, W, np.float64(1)).dtype == np.float64
    assert fc.conv2d(X, W, 1.0).dtype == np.float32
    assert fc.conv2d(X.astype(np.float16), W.astype(np.float16), 1.0).dtype == np.float16
    assert fc.conv2d(np.ones((1, 1, 3, 3), int), np.ones((1, 1, 1, 1), int), 1).dtype == np.float64


def test_biases_that_do_not_fit():
    for b in (np.ones(5), np.ones((6, 2)), np.ones((1, 1, 6)), np.ones((2, 3)), np.ones(1)):
        with pytest.raises(ValueError, match=r"b: expected a scalar or shape \(6,\)"):
            fc.conv2d(X, W, b)
    with pytest.raises(ValueError, match="running_mean: expected shape"):
        fc.batch_norm(X, None, None, np.zeros((4, 1)), np.ones((4, 1)))
    with pytest.raises(TypeError, match="b: "):
        fc.conv2d(X, W, "1")


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_same_is_upper(data):
    """TensorFlow's rule, written out: pad, then take what "valid" takes."""
    H, W_, FH, FW = (data.draw(st.integers(1, 12)) for _ in range(4))
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x, w = rng.standard_normal((2, 3, H, W_)), rng.standard_normal((4, 3, FH, FW))
    pads = []
    for n, k, s, d in zip((H, W_), (FH, FW), stride, dilation, strict=True):
        reach = (k - 1) * d + 1
        along = max(reach - s, 0) if n % s == 0 else max(reach - n % s, 0)  # TensorFlow's documentation
        pads.append((along // 2, along - along // 2))
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    y = fc.conv2d(x, w, None, stride, "same", dilation)
    assert y.shape[2:] == (-(-H // stride[0]), -(-W_ // stride[1]))
    expected = F.conv2d(torch.tensor(padded), torch.tensor(w), None, stride, 0, dilation).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)
    dx, dw, _ = fc.conv2d_backward(y, x, w, stride, "same", dilation)
    explicit = fc.conv2d_backward(y, x, w, stride, tuple(pads), dilation)
    np.testing.assert_array_equal(dx, explicit[0])
    np.testing.assert_array_equal(dw, explicit[1])


def test_same_is_pytorchs_for_stride_one():
    for kernel in ((3, 3), (4, 3), (2, 5), (1, 6)):
        w = normal((6, 4, *kernel), np.float64)
        expected = F.conv2d(torch.tensor(X, dtype=torch.float64), torch.tensor(w), padding="same", dilation=2).numpy()
        np.testing.assert_allclose(fc.conv2d(X, w, None, 1, "same", 2), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", ["cython", "numba", "numpy"])
def test_the_shape_of_filters_is_enough_without_dx(backend):
    if fc.backends()[backend]:
        pytest.skip(fc.backends()[backend])
    for w in (W, normal((4, 1, 3, 3), np.float32), normal((6, 4, 1, 1), np.float32)):
        groups = X.shape[1] // w.shape[1]
        y = fc.conv2d(X, w, groups=groups)
        with fc.backend(backend):
            for shape in (w.shape, list(w.shape)):
                _, dw, db = fc.conv2d_backward(y, X, w, groups=groups, needs=(False, True, True))
                got = fc.conv2d_backward(y, X, shape, groups=groups, needs=(False, True, True))
                assert got[0] is None
                np.testing.assert_array_equal(got[1], dw)
                np.testing.assert_array_equal(got[2], db)
    with pytest.raises(ValueError, match="w: expected the filters, since dx is needed, got a shape"):
        fc.conv2d_backward(fc.conv2d(X, W), X, W.shape)
    with pytest.raises(ValueError, match=r"w: expected .*C/groups = 4/1"):
        fc.conv2d_backward(fc.conv2d(X, W), X, (6, 3, 3, 3), needs=(False, True, True))
    nested = W.tolist()  # filters as nested lists are filters
    np.testing.assert_allclose(
        fc.conv2d_backward(fc.conv2d(X, W), X, nested)[0],
        fc.conv2d_backward(fc.conv2d(X, W), X, W)[0],
        rtol=1e-4,
        atol=1e-4,
    )
