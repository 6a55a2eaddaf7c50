"""Integers of any size: a right result in little memory, or an error that names the argument. Never a crash."""

import tracemalloc

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers

BACKENDS = [name for name, reason in fc.backends().items() if not reason and name != "cuda"]
X = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((4, 2, 3, 3)).astype(np.float32)
ROW = np.ones((1, 1, 1, 3), np.float32)
POOLED = np.ones((1, 2, 4, 4), np.float32)


@pytest.fixture(params=BACKENDS)
def backend(request):
    with fc.backend(request.param):
        yield request.param


CALLS = [
    # call of one integer, the argument that the error names
    (lambda n: fc.conv2d(X, W, stride=n), "stride"),
    (lambda n: fc.conv2d(X, W, stride=(1, n)), r"stride\[1\]"),
    (lambda n: fc.conv2d(X, W, padding=n), "padding"),
    (lambda n: fc.conv2d(X, W, padding=((0, 1), (n, 0))), r"padding\[1\]\[0\]"),
    (lambda n: fc.conv2d(X, W, dilation=n), "dilation"),
    (lambda n: fc.conv2d(X, W, groups=n), "groups"),
    (lambda n: fc.conv2d(X[:, :1], ROW, padding=(0, n), dilation=(1, n)), r"dilation\[1\]"),
    (lambda n: fc.conv2d_backward(POOLED, X, W, padding=n), "padding"),
    (lambda n: fc.conv2d_backward(POOLED, X, W, groups=n), "groups"),
    (lambda n: fc.conv_transpose2d(X, W[:2], stride=n), "stride"),
    (lambda n: fc.conv_transpose2d(X, W[:2], padding=n), "padding"),
    (lambda n: fc.conv_transpose2d(X, W[:2], dilation=n), "dilation"),
    (lambda n: fc.conv_transpose2d(X, W[:2], output_padding=n), "output_padding"),
    (lambda n: fc.conv_transpose2d(X, W[:2], groups=n), "groups"),
    (lambda n: fc.conv_transpose2d_backward(POOLED, X, W[:2], dilation=n), "dilation"),
    (lambda n: fc.im2col(X, n, 3), "filter_h"),
    (lambda n: fc.im2col(X, 3, n), "filter_w"),
    (lambda n: fc.im2col(X, 3, 3, n), "stride"),
    (lambda n: fc.im2col(X, 3, 3, 1, n), "pad"),
    (lambda n: fc.col2im(POOLED[0, 0], (1, 1, n, 8), 2, 2), r"input_shape\[2\]"),
    (lambda n: fc.max_pool2d(X, n), "kernel_size"),
    (lambda n: fc.max_pool2d(X, (n, 2), padding=(n // 2, 0), stride=(n, 2)), r"kernel_size\[0\]"),
    (lambda n: fc.max_pool2d(X, 2, n), "stride"),
    (lambda n: fc.max_pool2d(X, 2, 1, n), "padding"),
    (lambda n: fc.max_pool2d(X, 2, 1, 0, n), "dilation"),
    (lambda n: fc.min_pool2d(X, 2, 1, n), "padding"),
    (lambda n: fc.avg_pool2d(X, 2, 1, n), "padding"),
    (lambda n: fc.stochastic_pool2d(X, 2, 1, n), "padding"),
    (lambda n: fc.max_pool2d_backward(POOLED, POOLED.astype(int), (1, 2, n, 8), 2), r"input_shape\[2\]"),
    (lambda n: fc.avg_pool2d_backward(POOLED, (1, 2, 8, n), 2), r"input_shape\[3\]"),
    (lambda n: fc.adaptive_avg_pool2d(X, n), "output_size"),
    (lambda n: fc.adaptive_avg_pool2d_backward(POOLED, (1, 2, n, n)), r"input_shape\[2\]"),
    (lambda n: fc.softmax(X, n), "axis"),
    (lambda n: fc.log_softmax_backward(X, X, -n), "axis"),
    (lambda n: fc.softmax_cross_entropy(np.ones((1, 3)), [n]), "t"),
    (lambda n: fc.nll_loss(np.ones((2, 3)), [0, -n]), "t"),
    (lambda n: fc.max_pool2d_backward(POOLED[:, :1, :1, :1], [[[[n]]]], (1, 1, 2, 2), 2), "indices"),
    (lambda n: fc.set_num_threads(n), "n"),
    (lambda n: layers.Pooling(n, 2).forward(X), r"kernel_size\[0\]"),
    (lambda n: layers.Pooling(2, 2, pad=n).forward(X), "padding"),
    (lambda n: layers.AveragePooling(2, 2, stride=n).forward(X), "stride"),
    (lambda n: layers.StochasticPooling(2, 2, pad=n).forward(X), "padding"),
    (lambda n: layers.AdaptiveAveragePooling(n).forward(X), "output_size"),
    (lambda n: layers.Convolution(W, np.zeros(4), pad=n).forward(X), "padding"),
    (lambda n: layers.Convolution(W, np.zeros(4), stride=n).forward(X), "stride"),
]


@pytest.mark.parametrize(
    "size", [2**31, 2**57, 2**59, 2**62, 2**63 - 1, 2**63, 2**64, 2**200, 10**5000], ids=lambda n: n.bit_length()
)
def test_an_integer_too_large_is_refused_by_name(size):
    for call, name in CALLS:
        with pytest.raises(ValueError, match=rf"^{name}: expected "):
            call(size)


def test_the_largest_integers_as_numpy_has_them():
    for n in (np.int64(2**60), np.uint64(2**63), np.array(2**40)):
        for call, name in CALLS[:3] + CALLS[20:26]:
            with pytest.raises(ValueError, match=rf"^{name}: expected "):
                call(n)
    with pytest.raises(ValueError, match=r"^t: .*got 9223372036854775808"):
        fc.nll_loss(np.ones((1, 3)), np.array([2**63], np.uint64))
    with pytest.raises(ValueError, match=r"^indices: .*got 18446744073709551615"):
        fc.max_pool2d_backward(POOLED[:, :1, :1, :1], np.full((1, 1, 1, 1), 2**64 - 1, np.uint64), (1, 1, 2, 2), 2)


@pytest.mark.parametrize("number", [2**63, -(2**63)])
def test_divisors_of_more_than_64_bits(number):
    with pytest.raises(ValueError, match=r"^divisor_override: expected at "):
        fc.avg_pool2d(X, 2, divisor_override=number)


@pytest.mark.parametrize("call, name", [
    (lambda n: fc.leaky_relu(X, n), "negative_slope"),
    (lambda n: fc.dropout(X, n), "ratio"),
    (lambda n: fc.batch_norm(X, None, None, None, None, True, n), "momentum"),
    (lambda n: fc.batch_norm(X, None, None, None, None, True, 0.1, n), "eps"),
])  # fmt: skip
def test_an_integer_beyond_the_floats(call, name):
    with pytest.raises(ValueError, match=rf"^{name}: expected a number that a float can hold"):
        call(10**400)


MOST = 2**31 - 1


@pytest.mark.parametrize("call, message", [
    (lambda: fc.conv2d(X, W, padding=MOST), r"^padding: a result of shape \(1, 4, 4294967300, 4294967300\)"),
    (lambda: fc.conv2d(X[:0], W, padding=MOST), r"^padding: a result of shape \(0, "),
    (lambda: fc.conv_transpose2d(X, W[:2], stride=MOST), r"^stride, dilation or output_padding: a result of shape "),
    (lambda: fc.max_pool2d(X, 2, 1, MOST), r"^padding: a result of shape \(1, 2, 4294967301, 4294967301\)"),
    (lambda: fc.avg_pool2d_backward(X[:0], (0, 2, MOST, MOST), 2), r"^(padding|input_shape): "),
    (lambda: fc.adaptive_avg_pool2d(X, MOST), r"^output_size: a result of shape \(1, 2, 2147483647, 2147483647\)"),
    (lambda: fc.adaptive_avg_pool2d_backward(POOLED, (1, 2, MOST, MOST)), r"^input_shape: "),
    (lambda: fc.im2col(X, 3, 3, 1, MOST), r"^pad: a result of shape \("),
])  # fmt: skip
def test_results_beyond_the_address_space(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_result_that_there_is_no_memory_for():
    with pytest.raises(MemoryError, match=r"shape \(1, 2, 2000000, 2000000\) and dtype float32"):
        fc.adaptive_avg_pool2d(X, 2_000_000)


def test_the_largest_integers_that_are_taken(backend):
    """Where windows meet the image in one tap, or none, a small call gives the right result."""
    corner = fc.conv2d(X[:, :, :1, :1], W[:, :, 1:2, 1:2].copy())
    np.testing.assert_allclose(fc.conv2d(X, W, stride=MOST, padding=2**30, dilation=2**30), corner, atol=1e-5)
    y, indices = fc.max_pool2d(X, MOST, MOST, 2**30)
    np.testing.assert_array_equal(y[..., 0, 0], X.max(axis=(2, 3)))
    np.testing.assert_array_equal(fc.max_pool2d_backward(y, indices, X.shape, MOST, MOST, 2**30).sum(), y.sum())
    y, indices = fc.max_pool2d(X, 3, MOST, 2**30, 2**30)
    assert (y[..., 0, 0] == X[..., 0, 0]).all() and (indices == 0).all()
    mean = fc.avg_pool2d(X, MOST, MOST, 2**30, count_include_pad=False)
    np.testing.assert_allclose(mean[..., 0, 0], X.mean(axis=(2, 3)), rtol=1e-4, atol=1e-6)
    dx = fc.avg_pool2d_backward(mean, X.shape, MOST, MOST, 2**30, count_include_pad=False)
    np.testing.assert_allclose(dx.sum(), mean.sum(), rtol=1e-4)
    draw, indices = fc.stochastic_pool2d(X, MOST, MOST, 2**30, rng=0)
    assert draw[0, 1, 0, 0] == X[0, 1].flat[indices[0, 1, 0, 0]]
    np.testing.assert_array_equal(fc.im2col(X, 3, 3, MOST), fc.im2col(X[:, :, :3, :3], 3, 3))
    np.testing.assert_array_equal(fc.im2col(X, 1, 1, 2**30, 2**30)[4], X[0, :, 0, 0])


@pytest.mark.parametrize("far", [10_000, 1_000_000])
def test_taps_far_apart_take_little_memory(backend, far):
    """Only the filter's middle meets the image: the results are those of a 1 x 1 convolution, with little more memory."""
    options = {"padding": far, "dilation": far}
    middle = np.ascontiguousarray(W[:, :, 1:2, 1:2])

    def calls():
        y = fc.conv2d(X, W, **options)
        return (
            y,
            *fc.conv2d_backward(y, X, W, **options),
            fc.conv_transpose2d(X, W[:2], **options),
            *fc.max_pool2d(X, 3, 1, far, far),
        )

    calls()
    tracemalloc.start()
    y, dx, dw, db, transposed, maxima, indices = calls()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    for got, expected in zip((y, dx, db), (fc.conv2d(X, middle), *fc.conv2d_backward(y, X, middle)[::2]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dw[:, :, 1:2, 1:2], fc.conv2d_backward(y, X, middle)[1], rtol=1e-4, atol=1e-4)
    dw[:, :, 1, 1] = 0
    assert not dw.any()
    np.testing.assert_allclose(transposed, fc.conv_transpose2d(X, middle[:2]), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(maxima, X)
    np.testing.assert_array_equal(indices, np.broadcast_to(np.arange(64).reshape(8, 8), X.shape))


def test_windows_far_apart(backend):
    """Also the groups, the bias and the activation, and windows that meet the image here and there."""
    w, b = W[:, :1], np.arange(4, dtype=np.float32)
    options = {"stride": (999, 2500), "padding": ((2000, 1996), (5000, 5000)), "dilation": (1001, 2500), "groups": 2}
    y = fc.conv2d(X, w, b, **options, activation="relu")
    padded = np.pad(X, ((0, 0), (0, 0), (2000, 1996), (5000, 5000)))
    expected = np.empty(y.shape)
    for f, i, j in np.ndindex(y.shape[1:]):
        window = padded[0, f // 2, i * 999 : i * 999 + 2003 : 1001, j * 2500 : j * 2500 + 5001 : 2500]
        expected[0, f, i, j] = max(b[f] + (window * w[f, 0]).sum(), 0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    dout = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    linear = fc.conv2d(X, w, **options)
    dx, dw, _ = fc.conv2d_backward(dout, X, w, **options)
    assert np.vdot(dx, X) == pytest.approx(np.vdot(dout, linear), rel=1e-4)
    assert np.vdot(dw, w) == pytest.approx(np.vdot(dout, linear), rel=1e-4)
    col = fc.im2col(X, 2, 2, 3000, 3000)
    assert col.shape == (9, 8) and col[4, 0] == X[0, 0, 0, 0] and not col[:4].any()
    np.testing.assert_array_equal(fc.col2im(col, X.shape, 2, 2, 3000, 3000)[..., :2, :2], X[..., :2, :2])
