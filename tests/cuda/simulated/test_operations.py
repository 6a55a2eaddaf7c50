"""Every operation with backend "cuda" in the simulator, against the NumPy reference, on tiny arrays with remainders."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.layers import Relu
from fastconv.ops.activations import relu_masked, relu_masked_backward
from fastconv.testing import DTYPES, normal, whole

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning", "ignore:invalid value")


def flattened(result):
    """The arrays and numbers in a result, in order."""
    if isinstance(result, (tuple, list)):
        return [a for item in result for a in flattened(item)]
    return [] if result is None or isinstance(result, fc.ops.batch_norm.__globals__["Cache"]) else [np.asarray(result)]


def compare(call, *args, exact=False, **options):
    """The same call on both backends; returns the reference's result."""
    with fc.backend("cuda"):
        got = call(*args, **options)
    with fc.backend("numpy"):
        expected = call(*args, **options)
    pairs = list(zip(flattened(got), flattened(expected), strict=True))
    assert pairs
    for a, b in pairs:
        assert a.dtype == b.dtype and a.shape == b.shape
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            tol = 1e-12 if args[0].dtype == np.float64 else 1e-5
            np.testing.assert_allclose(a, b, rtol=tol, atol=tol)
    return expected


def test_the_backend_is_there():
    assert fc.backends()["cuda"] == ""


CONVOLUTIONS = {
    "remainders": (2, 3, 5, 6, 9, (3, 3), {"padding": 1}),
    "first layer": (2, 1, 7, 6, 5, (5, 5), {}),
    "1x1": (1, 9, 3, 3, 10, (1, 1), {}),
    "1x1, steps": (2, 5, 4, 5, 3, (1, 1), {"stride": 2}),
    "stride, groups, asymmetric": (1, 4, 7, 8, 6, (3, 2), {"stride": (2, 3), "padding": ((0, 1), (2, 1)), "groups": 2}),
    "stride beyond the filter": (1, 2, 7, 8, 3, (2, 2), {"stride": 3}),
    "dilation": (1, 2, 6, 5, 3, (2, 3), {"dilation": (2, 1), "padding": 2, "stride": 2}),
    "more padding than filter": (1, 1, 2, 3, 2, (2, 2), {"padding": 3}),
    "one pixel": (3, 2, 1, 1, 2, (3, 3), {"padding": 1}),
    "no images": (0, 2, 5, 5, 3, (3, 3), {}),
    "depthwise": (2, 3, 5, 6, 3, (3, 3), {"padding": 1, "groups": 3}),
    "depthwise, two filters each": (
        1,
        2,
        6,
        5,
        4,
        (3, 2),
        {"stride": 2, "dilation": (1, 2), "padding": 1, "groups": 2},
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name, dtype):
    N, C, H, W, FN, kernel, options = CONVOLUTIONS[name]
    x, w, b = (
        whole((N, C, H, W), dtype),
        whole((FN, C // options.get("groups", 1), *kernel), dtype, 1),
        whole(FN, dtype, 2),
    )
    y = compare(fc.conv2d, x, w, b, activation="relu", exact=True, **options)
    compare(fc.conv2d, x, w, exact=True, **options)
    compare(fc.conv2d_backward, whole(y.shape, dtype, 3), x, w, exact=True, **options)


def test_transposed_convolution():
    x, w = whole((2, 4, 3, 3), np.float32), whole((4, 3, 3, 2), np.float32, 1)
    options = {"stride": 2, "padding": 1, "output_padding": 1}
    y = compare(fc.conv_transpose2d, x, w, whole(3, np.float32), exact=True, **options)
    compare(fc.conv_transpose2d_backward, whole(y.shape, np.float32, 2), x, w, exact=True, **options)


def test_a_nan_in_x_reaches_the_windows_that_hold_it():
    x, w = normal((1, 2, 6, 6), np.float32), normal((3, 2, 3, 3), np.float32, 1)
    x[0, 1, 2, 3] = np.nan
    y = compare(fc.conv2d, x, w, padding=1, activation="relu")
    assert np.isnan(y).sum() == 3 * 9


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("N", "K", "M"), [(1, 1, 1), (5, 33, 9), (9, 8, 7), (3, 70, 4), (0, 5, 6), (17, 3, 2)])
def test_affine(N, K, M, dtype):
    x, w, b, dout = whole((N, K), dtype), whole((K, M), dtype, 1), whole(M, dtype, 2), whole((N, M), dtype, 3)
    compare(fc.affine, x, w, b, activation="relu", exact=True)
    compare(fc.affine_backward, dout, x, w, exact=True)
    compare(fc.linear, x, w.T.copy(), b, exact=True)
    compare(fc.linear_backward, dout, x, w.T.copy(), exact=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": ((1, 0), (0, 1))},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 2, "stride": 4},
    ],
    ids=str,
)
def test_pooling(options, dtype):
    x = whole((2, 2, 7, 6), dtype)
    x[0, 1, 2, 3] = np.nan
    rest = {k: v for k, v in options.items() if k != "ceil_mode"}
    y, indices = compare(fc.max_pool2d, x, exact=True, **options)
    compare(fc.min_pool2d, x, exact=True, **options)
    dout = whole(y.shape, dtype, 1)
    compare(fc.max_pool2d_backward, dout, indices, x.shape, exact=True, **options)
    x = normal(x.shape, dtype)
    for more in ({}, {"count_include_pad": False}, {"divisor_override": 3}):
        compare(fc.avg_pool2d, x, **options, **more)
        compare(fc.avg_pool2d_backward, dout, x.shape, **options, **more)
    compare(fc.stochastic_pool2d, x, **rest, rng=3)
    compare(fc.stochastic_pool2d, -np.abs(x), **rest, rng=4)
    compare(fc.stochastic_pool2d, x, **rest, training=False)


def test_dilated_maxima():
    x = normal((1, 2, 8, 9), np.float32)
    y, indices = compare(fc.max_pool2d, x, 3, 1, 1, 2, exact=True)
    compare(fc.max_pool2d_backward, normal(y.shape, np.float32, 1), indices, x.shape, 3, 1, 1, 2)


def test_an_index_outside_of_its_plane_is_an_error():
    with fc.backend("cuda"), pytest.raises(ValueError, match="indices: expected 0 to 15"):
        fc.max_pool2d_backward(np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), 16), (1, 1, 4, 4), 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 9)])
def test_adaptive_pooling(size, dtype):
    x = normal((2, 3, 5, 7), dtype)
    y = compare(fc.adaptive_avg_pool2d, x, size)
    compare(fc.adaptive_avg_pool2d_backward, normal(y.shape, dtype, 1), x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 3), (19, 5), (2, 3, 4, 5), (2, 2, 13, 11), (5, 2, 6, 6)], ids=str)
def test_batch_norm(shape, dtype):
    """The mean is far from zero: sums of squares alone would lose the variance."""
    C = shape[1]
    x, dout = normal(shape, dtype) + dtype(300), normal(shape, dtype, 1)
    gamma, beta = normal(C, dtype, 2), normal(C, dtype, 3)
    runs = {}
    for name in ("cuda", "numpy"):
        running = [np.zeros(C, dtype), np.ones(C, dtype)]
        with fc.backend(name):
            y, cache = fc.batch_norm(x, gamma, beta, *running, training=True)
            at_inference, inference_cache = fc.batch_norm(x, gamma, None, *running)
            gradients = fc.batch_norm_backward(dout, cache), fc.batch_norm_backward(dout, inference_cache)
            plain, _ = fc.batch_norm(x, None, None, None, None, training=True)
        runs[name] = flattened((y, at_inference, gradients, running, plain))
    tol = 2e-4 if dtype == np.float32 else 1e-10
    for a, b in zip(*runs.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1, np.abs(b).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "sigmoid", "tanh", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu"]
)
def test_activations(name, dtype):
    x = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 50, -50, *normal(70, dtype)], dtype)
    y = compare(getattr(fc, name), x)
    compare(getattr(fc, f"{name}_backward"), normal(x.shape, dtype, 1), y if name in ("sigmoid", "tanh") else x)
    compare(getattr(fc, name), x[:0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 131, 1000])
def test_relu_with_bits(count, dtype):
    x = np.array([*[0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan][:count], *normal(max(count - 7, 0), dtype)], dtype)
    _, bits = compare(relu_masked, x, exact=True)
    compare(relu_masked_backward, normal(x.shape, dtype, 1), bits, x.shape, exact=True)


def test_a_relu_layer_keeps_bits_on_the_device():
    x, dout = normal((3, 5, 7), np.float32), normal((3, 5, 7), np.float32, 1)
    layer, given = Relu(), fc.to_device(x)
    y = layer.forward(given)
    np.testing.assert_array_equal(layer.mask, x <= 0)
    y[...] = given[...] = fc.to_device(np.ones_like(x))
    np.testing.assert_array_equal(fc.to_host(layer.backward(fc.to_device(dout))), np.where(x <= 0, 0, dout))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [(5, 0.3, 0.75, 2.0), (2, 0.5, 1.2)])
def test_local_response_and_other_norms(options, dtype):
    x, dout = normal((2, 6, 3, 3), dtype) * 2, normal((2, 6, 3, 3), dtype, 1)
    compare(fc.local_response_norm, x, *options)
    compare(lambda x: fc.local_response_norm_backward(dout, x, *options), x)
    compare(fc.layer_norm, x, 3, x[0, 0, 0], x[0, 0, 1])
    compare(fc.group_norm, x, 2, x[0, :, 0, 0])
    compare(fc.instance_norm, x, None, None, 2.0, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_last(dtype):
    compare(lambda x: fc.avg_pool2d(x, 2, layout="NHWC"), normal((2, 5, 4, 3), dtype), exact=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu6", "leaky_relu", "silu"])
def test_second_passes(activation, dtype):
    x, w, residual = normal((2, 3, 4, 4), dtype), normal((4, 3, 3, 3), dtype, 1), normal((2, 4, 4, 4), dtype, 2)
    compare(lambda x: fc.conv2d(x, w, 0.5, 1, 1, activation=activation), x)
    compare(lambda x: fc.conv2d(x, w, padding=1, activation=activation, add=residual), x)
    compare(lambda x: fc.affine(x, w.reshape(12, 9)[:, :5], activation=activation), x.reshape(8, 12))
    running = np.zeros(3, dtype), np.ones(3, dtype)
    compare(lambda x: fc.batch_norm(x, 2.0, 0.5, *running, activation=activation)[0], x)
    compare(lambda x: fc.batch_norm(x, None, None, None, None, True, activation=activation, unbiased=False)[0], x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "axis"), [((1, 1), 1), ((3, 10), 1), ((2, 45), 1), ((2, 5, 3), 1), ((0, 4), 1), ((3, 0), 1)]
)
def test_softmax(shape, axis, dtype):
    x, dout = normal(shape, dtype) * 10, normal(shape, dtype, 1)
    for name in ("softmax", "log_softmax"):
        y = compare(getattr(fc, name), x, axis)
        compare(getattr(fc, f"{name}_backward"), dout, y, axis)


def test_softmax_of_infinities():
    x = normal((4, 5), np.float32)
    x[0, 1], x[1, 2], x[2, 3], x[3] = np.inf, -np.inf, np.nan, -np.inf
    compare(fc.softmax, x)
    compare(fc.log_softmax, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 10), (19, 3), (2, 40)])
def test_cross_entropy(shape, dtype):
    x = normal(shape, dtype) * 5
    labels, soft = np.arange(shape[0]) % shape[1], np.abs(normal(shape, dtype, 1))
    soft[soft < 0.3] = 0
    for t in (labels, soft):
        compare(fc.softmax_cross_entropy, x, t, offset=1e-7)
        _, y = compare(fc.softmax_cross_entropy, x, t)
        compare(fc.softmax_cross_entropy_backward, y, t)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout(dtype):
    x, planes = normal((9, 9), dtype), normal((2, 5, 3, 3), dtype)
    for ratio in (0.0, 0.3, 1.0):
        _, mask = compare(fc.dropout, x, ratio, 1, exact=True)
        compare(fc.dropout_backward, x, mask, ratio, exact=True)
        _, mask = compare(fc.dropout2d, planes, ratio, 2, exact=True)
        compare(fc.dropout2d_backward, planes, mask, ratio, exact=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_im2col(dtype):
    x = whole((2, 2, 5, 6), dtype)
    for kernel, options in (
        ((3, 2), {}),
        ((2, 3), {"stride": (2, 1), "pad": ((1, 0), (2, 1))}),
        ((1, 1), {"stride": 4}),
    ):
        col = compare(fc.im2col, x, *kernel, exact=True, **options)
        compare(fc.col2im, col, x.shape, *kernel, exact=True, **options)
        for layout in ("columns", "columns_n_last", "unfold", "rows_nhwc"):
            shape = (2, 5, 6, 2) if layout == "rows_nhwc" else x.shape
            col = compare(fc.im2col, x.reshape(shape), *kernel, exact=True, layout=layout, **options)
            compare(fc.col2im, col, shape, *kernel, exact=True, layout=layout, **options)


RATES = {
    "sgd": (0, {"lr": 0.1}),
    "momentum": (1, {"lr": 0.1, "momentum": 0.9}),
    "nesterov": (1, {"lr": 0.1, "momentum": 0.9}),
    "adagrad": (1, {"lr": 0.1}),
    "rmsprop": (1, {"lr": 0.1, "decay": 0.9}),
    "adadelta": (2, {"lr": 1.0}),
    "adam": (2, {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 2}),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", RATES)
def test_updates(name, weight_decay):
    """A list whose arrays fill no block, one, and several; and one with nothing in it."""
    states, rates = RATES[name]
    for dtype in DTYPES:
        runs = {}
        for backend in ("cuda", "numpy"):
            shapes = [(3, 4), (64,), (0,), (70,), (1,)]
            lists = [[np.abs(normal(s, dtype, 7 * j + i)) for i, s in enumerate(shapes)] for j in range(2 + states)]
            with fc.backend(backend):
                getattr(fc, f"{name}_update")(*lists, **rates, weight_decay=weight_decay)
            runs[backend] = flattened(lists)
        for a, b in zip(*runs.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=3e-6 if dtype == np.float32 else 1e-12)
