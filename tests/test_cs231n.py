"""fastconv.cs231n against plain loops and numeric gradients, as the notebooks of the course check it."""

import importlib

import numpy as np
import pytest

from fastconv import cs231n
from fastconv.cs231n import fast_layers, im2col, im2col_cython, layer_utils, layers

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def numeric_gradient(f, x, df, h=1e-5):
    """Of sum(f(x) * df) with respect to x, by central differences; x is changed and restored, as by the course."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + h
        above = f(x).copy()
        x[index] = kept - h
        below = f(x).copy()
        x[index] = kept
        gradient[index] = np.sum((above - below) * df) / (2 * h)
    return gradient


def conv_by_loops(x, w, b, stride, pad):
    N, C, H, W = x.shape
    F, _, FH, FW = w.shape
    padded = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    padded[:, :, pad : pad + H, pad : pad + W] = x
    out = np.zeros((N, F, 1 + (H + 2 * pad - FH) // stride, 1 + (W + 2 * pad - FW) // stride))
    for n, f, i, j in np.ndindex(out.shape):
        top, left = i * stride, j * stride
        out[n, f, i, j] = np.sum(padded[n, :, top : top + FH, left : left + FW] * w[f]) + b[f]
    return out


def conv_gradients_by_loops(dout, x, w, stride, pad):
    N, C, H, W = x.shape
    F, _, FH, FW = w.shape
    padded = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    padded[:, :, pad : pad + H, pad : pad + W] = x
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    for n, f, i, j in np.ndindex(dout.shape):
        window = (n, slice(None), slice(i * stride, i * stride + FH), slice(j * stride, j * stride + FW))
        dpadded[window] += dout[n, f, i, j] * w[f]
        dw[f] += dout[n, f, i, j] * padded[window]
    return dpadded[:, :, pad : pad + H, pad : pad + W], dw, dout.sum(axis=(0, 2, 3))


def pool_by_loops(x, height, width, stride):
    """The maxima, and for every window the flat places (in the window) of all elements equal to its maximum."""
    N, C, H, W = x.shape
    out = np.zeros((N, C, 1 + (H - height) // stride, 1 + (W - width) // stride))
    places = {}
    for n, c, i, j in np.ndindex(out.shape):
        window = x[n, c, i * stride : i * stride + height, j * stride : j * stride + width]
        out[n, c, i, j] = window.max()
        places[n, c, i, j] = np.argwhere(window == window.max())
    return out, places


CONVOLUTIONS = [  # x, w, stride, pad: those of the notebooks, and others
    ((2, 3, 4, 4), (3, 3, 4, 4), 2, 1),
    ((4, 3, 5, 5), (2, 3, 3, 3), 1, 1),
    ((3, 3, 31, 31), (5, 3, 3, 3), 2, 1),
    ((2, 3, 8, 7), (4, 3, 2, 3), 1, 0),
    ((2, 2, 9, 9), (3, 2, 3, 3), 3, 0),
]
CONV_NAMES = ["fast", "strides", "im2col"]


@pytest.mark.parametrize("name", CONV_NAMES)
@pytest.mark.parametrize("x_shape, w_shape, stride, pad", CONVOLUTIONS)
def test_convolution(name, x_shape, w_shape, stride, pad, rng):
    x, w, b = rng.normal(size=x_shape), rng.normal(size=w_shape), rng.normal(size=w_shape[0])
    conv_param = {"stride": stride, "pad": pad}
    out, cache = getattr(fast_layers, f"conv_forward_{name}")(x, w, b, conv_param)
    expected = conv_by_loops(x, w, b, stride, pad)
    np.testing.assert_allclose(out, expected, **CLOSE)
    dout = rng.normal(size=out.shape)
    found = getattr(fast_layers, f"conv_backward_{name}")(dout, cache)
    for gradient, by_loops in zip(found, conv_gradients_by_loops(dout, x, w, stride, pad), strict=True):
        np.testing.assert_allclose(gradient, by_loops, **CLOSE)
    assert all(a is b for a, b in zip(cache[:4], (x, w, b, conv_param), strict=True))


def test_the_convolutions_of_layers_round_down(rng):
    x, w, b = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    out, cache = layers.conv_forward_naive(x, w, b, {"stride": 2, "pad": 0})
    np.testing.assert_allclose(out, conv_by_loops(x, w, b, 2, 0), **CLOSE)
    dout = rng.normal(size=out.shape)
    for a, e in zip(layers.conv_backward_naive(dout, cache), conv_gradients_by_loops(dout, x, w, 2, 0), strict=True):
        np.testing.assert_allclose(a, e, **CLOSE)
    with pytest.raises(ValueError, match=r"conv_param.*do not fit evenly"):
        fast_layers.conv_forward_fast(x, w, b, {"stride": 2, "pad": 0})


def test_gradients_of_a_convolution_by_differences(rng):
    x, w, b = rng.normal(size=(2, 2, 5, 5)), rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)
    param = {"stride": 2, "pad": 1}
    out, cache = fast_layers.conv_forward_fast(x, w, b, param)
    dout = rng.normal(size=out.shape)
    numeric = [numeric_gradient(lambda _: fast_layers.conv_forward_fast(x, w, b, param)[0], a, dout) for a in (x, w, b)]
    for found, expected in zip(fast_layers.conv_backward_fast(dout, cache), numeric, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_x_cols_have_the_orders_of_the_course(rng):
    x, w = rng.normal(size=(4, 2, 5, 5)), rng.normal(size=(3, 2, 3, 3))
    by_strides = np.asarray(fast_layers.conv_forward_strides(x, w, np.zeros(3), {"stride": 1, "pad": 0})[1][4])
    by_im2col = np.asarray(fast_layers.conv_forward_im2col(x, w, np.zeros(3), {"stride": 1, "pad": 0})[1][4])
    for c, u, v, n, i, j in np.ndindex(2, 3, 3, 4, 3, 3):
        row, pixel = (c * 3 + u) * 3 + v, x[n, c, i + u, j + v]
        assert by_strides[row, (n * 3 + i) * 3 + j] == pixel
        assert by_im2col[row, (i * 3 + j) * 4 + n] == pixel


def test_an_input_that_has_changed_is_refused(rng):
    """The course's cache holds copies in x_cols, so its gradient would be another."""
    x, w = rng.normal(size=(2, 2, 5, 5)), rng.normal(size=(3, 2, 3, 3))
    out, cache = fast_layers.conv_forward_fast(x, w, np.zeros(3), {"stride": 1, "pad": 0})
    x += 1
    with pytest.raises(RuntimeError, match="x was changed in place"):
        fast_layers.conv_backward_fast(out, cache)
    x -= x  # a strided input was copied
    kept = rng.normal(size=(2, 2, 5, 5))
    strided = np.repeat(kept, 2, axis=3)[..., ::2]
    out, cache = fast_layers.conv_forward_fast(strided, w, np.zeros(3), {"stride": 1, "pad": 0})
    strided[...] = 7
    found = fast_layers.conv_backward_fast(out, cache)
    np.testing.assert_allclose(found[1], conv_gradients_by_loops(out, kept, w, 1, 0)[1], **CLOSE)


POOLS = [((3, 2, 8, 8), 2, 2, 2), ((2, 3, 6, 9), 3, 3, 3), ((2, 2, 7, 7), 3, 3, 2), ((2, 2, 6, 8), 2, 4, 2)]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("x_shape, height, width, stride", POOLS)
def test_max_pooling(x_shape, height, width, stride, ties, rng):
    x = rng.integers(0, 3, x_shape).astype(float) if ties else rng.normal(size=x_shape)
    param = {"pool_height": height, "pool_width": width, "stride": stride}
    out, cache = fast_layers.max_pool_forward_fast(x, param)
    expected, places = pool_by_loops(x, height, width, stride)
    np.testing.assert_array_equal(out, expected)
    tiles = height == width == stride
    assert cache[0] == ("reshape" if tiles else "im2col")
    dout = rng.normal(size=out.shape)
    dx = np.zeros_like(x)
    for (n, c, i, j), at in places.items():
        sharers = at if tiles else at[:1]
        for u, v in sharers:
            dx[n, c, i * stride + u, j * stride + v] += dout[n, c, i, j] / len(sharers)
    np.testing.assert_allclose(fast_layers.max_pool_backward_fast(dout, cache), dx, **CLOSE)
    if not ties:
        out, cache = layers.max_pool_forward_naive(x, param)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_allclose(layers.max_pool_backward_naive(dout, cache), dx, **CLOSE)


def test_a_window_with_a_nan_has_no_gradient_and_an_infinite_one_stays_at_the_maximum():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 0, 0] = np.nan
    out, cache = fast_layers.max_pool_forward_fast(x, {"pool_height": 2, "pool_width": 2, "stride": 2})
    dx = fast_layers.max_pool_backward_fast(np.array([[[[1, np.inf], [2, -3]]]]), cache)
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(dx[0, 0], [[nan, nan, 0, 0], [nan, nan, 0, inf], [0, 0, 0, 0], [0, 2, 0, -3]])


def test_pooling_refuses_what_the_course_refuses(rng):
    with pytest.raises(ValueError, match=r"pool_height.*do not fit evenly into 7"):
        fast_layers.max_pool_forward_fast(
            rng.normal(size=(1, 1, 7, 8)), {"pool_height": 2, "pool_width": 2, "stride": 2}
        )
    with pytest.raises(ValueError, match="tile x"):
        fast_layers.max_pool_forward_reshape(np.ones((1, 1, 8, 8)), {"pool_height": 3, "pool_width": 3, "stride": 2})
    with pytest.raises(ValueError, match="cache"):
        fast_layers.max_pool_backward_fast(np.ones(3), ("mask", ()))


def test_im2col_and_its_adjoint(rng):
    x = rng.normal(size=(3, 2, 6, 5))
    k, i, j = im2col.get_im2col_indices(x.shape, 2, 3, padding=1, stride=2)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = padded[:, k, i, j].transpose(1, 2, 0).reshape(12, -1)
    for cols in (im2col.im2col_indices(x, 2, 3, 1, 2), im2col_cython.im2col_cython(x, 2, 3, 1, 2)):
        np.testing.assert_array_equal(cols, expected)
    weights = rng.normal(size=expected.shape)
    image = np.zeros_like(padded)
    np.add.at(image, (slice(None), k, i, j), weights.reshape(12, -1, 3).transpose(2, 0, 1))
    image = image[:, :, 1:-1, 1:-1]
    np.testing.assert_allclose(im2col.col2im_indices(weights, x.shape, 2, 3, 1, 2), image, **CLOSE)
    np.testing.assert_allclose(im2col_cython.col2im_cython(weights, *x.shape, 2, 3, 1, 2), image, **CLOSE)
    OH, OW = 4, 3
    six = weights.reshape(2, 2, 3, OH, OW, 3).transpose(0, 1, 2, 5, 3, 4)
    np.testing.assert_allclose(im2col_cython.col2im_6d_cython(six, *x.shape, 2, 3, 1, 2), image, **CLOSE)
    with pytest.raises(ValueError, match=r"field_height: windows of 3 .* into 6"):
        im2col.im2col_indices(x, 3, 3, 0, 2)
    with pytest.raises(ValueError, match="cols"):
        im2col_cython.col2im_6d_cython(weights, *x.shape, 2, 3, 1, 2)


def check(forward, backward, arrays, rng, tol=1e-6):
    """The gradients of backward(dout, cache) against differences of forward(*arrays)."""
    out, cache = forward(*arrays)
    dout = rng.normal(size=out.shape)
    found = backward(dout, cache)
    for a, gradient in zip(arrays, found if isinstance(found, tuple) else (found,), strict=True):
        expected = numeric_gradient(lambda _: forward(*arrays)[0], a, dout)
        assert gradient.shape == a.shape
        np.testing.assert_allclose(gradient, expected, rtol=tol, atol=tol)


def test_affine(rng):
    x, w, b = rng.normal(size=(4, 2, 3)), rng.normal(size=(6, 5)), rng.normal(size=5)
    out, cache = layers.affine_forward(x, w, b)
    np.testing.assert_allclose(out, x.reshape(4, 6) @ w + b, **CLOSE)
    assert all(a is b for a, b in zip(cache, (x, w, b), strict=True))
    check(layers.affine_forward, layers.affine_backward, (x, w, b), rng)


def test_relu():
    x = np.linspace(-0.5, 0.5, 12).reshape(3, 4)
    out, cache = layers.relu_forward(x)
    np.testing.assert_array_equal(out, np.where(x > 0, x, 0))
    np.testing.assert_array_equal(layers.relu_backward(x + 7, cache), np.where(x > 0, x + 7, 0))


def bn(shape, rng):
    return rng.normal(size=shape) * 3 + 5, rng.normal(size=shape[1]) + 2, rng.normal(size=shape[1])


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 3, 2)], ids=str)
def test_batch_normalisation(shape, rng):
    x, gamma, beta = bn(shape, rng)
    forward, backward = (
        (layers.batchnorm_forward, layers.batchnorm_backward)
        if len(shape) == 2
        else (layers.spatial_batchnorm_forward, layers.spatial_batchnorm_backward)
    )
    axes, wide = (0, *range(2, len(shape))), (1, -1, *(1,) * (len(shape) - 2))
    param = {"mode": "train", "momentum": 0.8, "eps": 1e-3}
    mean, var = np.zeros(shape[1]), np.zeros(shape[1])
    for _ in range(2):
        out, _ = forward(x, gamma, beta, param)
        mean, var = 0.8 * mean + 0.2 * x.mean(axis=axes), 0.8 * var + 0.2 * x.var(axis=axes)
        normal = (x - x.mean(axis=axes).reshape(wide)) / np.sqrt(x.var(axis=axes).reshape(wide) + 1e-3)
        np.testing.assert_allclose(out, gamma.reshape(wide) * normal + beta.reshape(wide), **CLOSE)
        np.testing.assert_allclose(param["running_mean"], mean, **CLOSE)
        np.testing.assert_allclose(param["running_var"], var, **CLOSE)
        x = x * 1.5
    before = param["running_mean"], mean.copy()
    out, _ = forward(x, gamma, beta, param | {"mode": "test"})
    normal = (x - mean.reshape(wide)) / np.sqrt(var.reshape(wide) + 1e-3)
    np.testing.assert_allclose(out, gamma.reshape(wide) * normal + beta.reshape(wide), **CLOSE)
    np.testing.assert_allclose(*before, **CLOSE)  # test mode leaves them alone
    given = {"mode": "train", "running_mean": mean, "running_var": var}
    forward(x, gamma, beta, given)
    np.testing.assert_array_equal(mean, before[1])  # the array that was given is not written to
    assert given["running_mean"] is not mean
    check(lambda *a: forward(*a, {"mode": "train"}), backward, (x, gamma, beta), rng, 2e-6)
    assert layers.batchnorm_backward_alt is layers.batchnorm_backward
    with pytest.raises(ValueError, match="mode"):
        forward(x, gamma, beta, {"mode": "training"})


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)], ids=str)
def test_batch_normalisation_of_one_number_for_each_channel(shape, rng):
    x, gamma, beta = bn(shape, rng)
    param = {"mode": "train"}
    out, cache = layers.batchnorm_forward(x, gamma, beta, param)
    np.testing.assert_array_equal(out.ravel(), beta)
    np.testing.assert_allclose(param["running_mean"], 0.1 * x.ravel(), **CLOSE)
    np.testing.assert_array_equal(param["running_var"], np.zeros(3))
    dx, dgamma, dbeta = layers.batchnorm_backward(x, cache)
    np.testing.assert_array_equal(dx, np.zeros(shape))
    np.testing.assert_array_equal(dgamma, np.zeros(3))
    np.testing.assert_array_equal(dbeta, x.ravel())


def test_layer_and_group_normalisation(rng):
    x, gamma, beta = bn((4, 5), rng)
    out, _ = layers.layernorm_forward(x, gamma, beta, {"eps": 1e-3})
    normal = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(out, gamma * normal + beta, **CLOSE)
    check(lambda *a: layers.layernorm_forward(*a, {}), layers.layernorm_backward, (x, gamma, beta), rng)
    x, gamma, beta = rng.normal(size=(2, 6, 3, 2)), rng.normal(size=(1, 6, 1, 1)), rng.normal(size=(1, 6, 1, 1))
    groups = x.reshape(2, 2, -1)
    normal = (groups - groups.mean(axis=2, keepdims=True)) / np.sqrt(groups.var(axis=2, keepdims=True) + 1e-5)
    out, _ = layers.spatial_groupnorm_forward(x, gamma, beta, 2, {})
    np.testing.assert_allclose(out, gamma * normal.reshape(x.shape) + beta, **CLOSE)
    group = lambda *a: layers.spatial_groupnorm_forward(*a, 2, {})  # noqa: E731
    check(group, layers.spatial_groupnorm_backward, (x, gamma, beta), rng)
    with pytest.raises(ValueError, match="G: expected a divisor"):
        layers.spatial_groupnorm_forward(x, gamma, beta, 4, {})


def test_dropout_draws_the_masks_of_the_course(rng):
    x = rng.normal(size=(40, 50))
    out, cache = layers.dropout_forward(x, {"mode": "train", "p": 0.4, "seed": 123})
    np.random.seed(123)  # noqa: NPY002
    mask = (np.random.rand(40, 50) < 0.4) / 0.4  # noqa: NPY002
    np.testing.assert_array_equal(out, x * mask)
    np.testing.assert_array_equal(layers.dropout_backward(x, cache), x * mask)
    out, cache = layers.dropout_forward(x, {"mode": "test", "p": 0.4})
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(layers.dropout_backward(x, cache), x)
    with pytest.raises(ValueError, match="mode"):
        layers.dropout_forward(x, {"mode": "eval", "p": 0.4})
    with pytest.raises(ValueError, match="'p'"):
        layers.dropout_forward(x, {"mode": "train", "p": 0})


@pytest.mark.parametrize("loss", [layers.softmax_loss, layers.svm_loss])
def test_losses(loss, rng):
    x, y = rng.normal(size=(6, 4)) * 3, rng.integers(0, 4, 6)
    value, dx = loss(x, y)
    if loss is layers.softmax_loss:
        expected = np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(6), y])
    else:
        expected = np.mean(
            [sum(max(0, row[j] - row[k] + 1) for j in range(4) if j != k) for row, k in zip(x, y, strict=True)]
        )
    np.testing.assert_allclose(value, expected, **CLOSE)
    numeric = numeric_gradient(lambda x: np.asarray(loss(x, y)[0]), x, 1.0)
    np.testing.assert_allclose(dx, numeric, rtol=1e-6, atol=1e-8)


def test_layers_in_a_row(rng):
    x, w, b = rng.normal(size=(2, 3, 8, 8)), rng.normal(size=(3, 3, 3, 3)), rng.normal(size=3)
    conv, pool = {"stride": 1, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}
    a = conv_by_loops(x, w, b, 1, 1)
    np.testing.assert_allclose(layer_utils.conv_relu_forward(x, w, b, conv)[0], np.maximum(a, 0), **CLOSE)
    pooled = pool_by_loops(np.maximum(a, 0), 2, 2, 2)[0]
    np.testing.assert_allclose(layer_utils.conv_relu_pool_forward(x, w, b, conv, pool)[0], pooled, **CLOSE)
    check(lambda *a: layer_utils.conv_relu_forward(*a, conv), layer_utils.conv_relu_backward, (x, w, b), rng)
    check(
        lambda *a: layer_utils.conv_relu_pool_forward(*a, conv, pool),
        layer_utils.conv_relu_pool_backward,
        (x, w, b),
        rng,
    )
    gamma, beta = rng.normal(size=3), rng.normal(size=3)
    check(
        lambda *a: layer_utils.conv_bn_relu_forward(*a, conv, {"mode": "train"}),
        layer_utils.conv_bn_relu_backward,
        (x[:, :, :4, :4].copy(), w, b, gamma, beta),
        rng,
        1e-5,
    )
    x, w, b = rng.normal(size=(4, 2, 3)), rng.normal(size=(6, 5)), rng.normal(size=5)
    check(layer_utils.affine_relu_forward, layer_utils.affine_relu_backward, (x, w, b), rng)


def test_float32_stays_float32(rng):
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((2, 3, 8, 8), (4, 3, 3, 3), (4,)))
    param = {"stride": 1, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}
    out, cache = layer_utils.conv_relu_pool_forward(x, w, b, *param)
    gradients = layer_utils.conv_relu_pool_backward(out, cache)
    assert {a.dtype for a in (out, *gradients)} == {np.dtype(np.float32)}
    for seed in ({}, {"seed": 1}):
        out, cache = layers.dropout_forward(x, {"mode": "train", "p": 0.5, **seed})
        assert out.dtype == layers.dropout_backward(out, cache).dtype == np.float32


def test_every_name_is_where_the_course_has_it():
    for module in ("fast_layers", "layers", "layer_utils", "im2col", "im2col_cython"):
        found = importlib.import_module(f"fastconv.cs231n.{module}")
        for name in found.__all__:
            assert getattr(found, name).__doc__
            assert module == "im2col_cython" or getattr(cs231n, name) is getattr(found, name)
    assert set(cs231n.__all__) <= set(dir(cs231n))
