"""max_pool2d with a value for the padding, against images that are padded with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from fastconv.testing import normal, whole


def by_loops(x, kernel, stride, pads, dilation, value):
    """Maxima, and the flat place of the first one in x, -1 where it is in the padding; then the gradient of sum(y * d)."""
    (top, bottom), (left, right) = pads
    padded = np.pad(x, ((0, 0), (0, 0), *pads), constant_values=value)
    H, W = x.shape[2:]
    OH, OW = (
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(padded.shape[2:], kernel, stride, dilation, strict=True)
    )
    y = np.empty((*x.shape[:2], OH, OW), x.dtype)
    indices = np.empty(y.shape, np.int64)
    for n, c, i, j in np.ndindex(y.shape):
        window = padded[
            n, c,
            i * stride[0] : i * stride[0] + dilation[0] * (kernel[0] - 1) + 1 : dilation[0],
            j * stride[1] : j * stride[1] + dilation[1] * (kernel[1] - 1) + 1 : dilation[1],
        ]  # fmt: skip
        u, v = np.unravel_index(np.argmax(window), window.shape)
        y[n, c, i, j] = window[u, v]
        row, column = i * stride[0] + u * dilation[0] - top, j * stride[1] + v * dilation[1] - left
        indices[n, c, i, j] = row * W + column if 0 <= row < H and 0 <= column < W else -1
    return y, indices


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(3, 7), st.integers(3, 7)),
    kernel=sizes,
    stride=sizes,
    dilation=st.sampled_from([(1, 1), (1, 2)]),
    pads=st.tuples(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.tuples(st.integers(2, 3), st.integers(0, 3))),
    value=st.sampled_from([0.0, -1.0, 2.5, -np.inf, 100]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_against_padded_images(shape, kernel, stride, dilation, pads, value, dtype):
    x = whole(shape, dtype)  # with equal numbers
    expected, places = by_loops(x, kernel, stride, pads, dilation, value)
    y, indices = fc.max_pool2d(x, kernel, stride, pads, dilation, pad_value=value)
    np.testing.assert_array_equal(y, expected)
    if np.isfinite(value):  # of -inf alone there is no first one
        np.testing.assert_array_equal(indices, places)
    dout = normal(y.shape, dtype)
    dx = fc.max_pool2d_backward(dout, indices, shape, kernel, stride, pads, dilation, pad_value=value)
    gradient = np.zeros((*shape[:2], shape[2] * shape[3] + 1))
    for n, c, i, j in np.ndindex(y.shape):
        gradient[n, c, indices[n, c, i, j]] += dout[n, c, i, j]
    np.testing.assert_allclose(dx.reshape(*shape[:2], -1), gradient[..., :-1], rtol=1e-5, atol=1e-5)


def test_layouts_unbatched_and_out():
    x = normal((2, 3, 6, 5), np.float64)
    y, indices = fc.max_pool2d(x, 3, 2, 1, pad_value=0)
    out = np.empty_like(y)
    assert fc.max_pool2d(x, 3, 2, 1, pad_value=0, out=out)[0] is out
    np.testing.assert_array_equal(out, y)
    alone, places = fc.max_pool2d(x[1], 3, 2, 1, pad_value=0)
    np.testing.assert_array_equal(alone, y[1])
    np.testing.assert_array_equal(places, indices[1])
    last, places = fc.max_pool2d(x.transpose(0, 2, 3, 1), 3, 2, 1, pad_value=0, layout="NHWC")
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), y)
    np.testing.assert_array_equal(places.transpose(0, 3, 1, 2), indices)
    dx = fc.max_pool2d_backward(y, indices, x.shape, 3, 2, 1, pad_value=0)
    dx_last = fc.max_pool2d_backward(last, places, (2, 6, 5, 3), 3, 2, 1, pad_value=0, layout="NHWC")
    np.testing.assert_array_equal(dx_last.transpose(0, 3, 1, 2), dx)
    half = fc.max_pool2d(x.astype(np.float16), 3, 2, 1, pad_value=0)[0]
    assert half.dtype == np.float16


def test_what_ceil_mode_adds_is_no_padding():
    x = -np.ones((1, 1, 4, 4))
    y, indices = fc.max_pool2d(x, 3, 2, 0, ceil_mode=True, pad_value=0)
    np.testing.assert_array_equal(y, fc.max_pool2d(x, 3, 2, 0, ceil_mode=True)[0])
    assert y.max() == -1 and indices.min() >= 0


def test_refusals():
    x = normal((1, 1, 4, 4), np.float64)
    with pytest.raises(TypeError, match="pad_value: expected a number"):
        fc.max_pool2d(x, 2, 2, 1, pad_value="zero")
    with pytest.raises(ValueError, match="pad_value: expected a number, got nan"):
        fc.max_pool2d(x, 2, 2, 1, pad_value=np.nan)
    y, indices = fc.max_pool2d(-np.abs(x), 2, 2, 1, pad_value=0)
    assert (indices == -1).sum() == 8  # but for the window in the middle
    with pytest.raises(ValueError, match="indices"):  # without a value, no maximum is in the padding
        fc.max_pool2d_backward(y, indices, x.shape, 2, 2, 1)
    indices[...] = -2
    with pytest.raises(ValueError, match="indices"):
        fc.max_pool2d_backward(y, indices, x.shape, 2, 2, 1, pad_value=0)
