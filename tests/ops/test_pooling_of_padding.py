"""Pooling with padding of any size, also windows of padding alone, and windows larger than the padded image.

PyTorch decides where it takes the call, else the definition, written out here window by window.
"""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastconv as fc
from fastconv import layers

BACKENDS = [name for name, reason in fc.backends().items() if not reason and name != "cuda"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    with fc.backend(request.param):
        yield request.param


def seen(window, stride, pad, dilation, taps, extent):
    """The positions in the image, along one axis, that a window sees."""
    first = window * stride - pad
    return [i for i in range(extent) if i in range(first, first + taps * dilation, dilation)]


def pooled(x, kernel, stride, padding, dilation, shape, of_window):
    """of_window(rows, columns, i, j, plane) for every window; planes are of x."""
    (top, _), (left, _) = padding
    results = np.empty((*x.shape[:2], *shape), object)
    for n, c, i, j in np.ndindex(results.shape):
        rows = seen(i, stride[0], top, dilation[0], kernel[0], x.shape[2])
        columns = seen(j, stride[1], left, dilation[1], kernel[1], x.shape[3])
        results[n, c, i, j] = of_window(rows, columns, i, j, x[n, c])
    return results


def maximum(rows, columns, i, j, plane):
    best, at = -math.inf, -1
    for h, w in itertools.product(rows, columns):
        if plane[h, w] > best or math.isnan(plane[h, w]) or at < 0:
            best, at = plane[h, w], h * plane.shape[1] + w
    return best, at


GEOMETRIES = [
    # image, kernel, stride, ((top, bottom), (left, right)), dilation
    ((2, 2), (2, 2), (1, 1), ((2, 2), (2, 2)), (4, 4)),
    ((4, 5), (2, 2), (2, 2), ((3, 3), (3, 3)), (1, 1)),
    ((4, 5), (2, 2), (2, 2), ((0, 4), (0, 9)), (1, 1)),
    ((4, 21), (3, 3), (2, 2), ((0, 5), (0, 40)), (1, 1)),
    ((7, 9), (3, 3), (2, 2), ((1, 7), (1, 7)), (1, 1)),
    ((5, 6), (3, 3), (1, 1), ((6, 0), (0, 7)), (1, 1)),
    ((5, 6), (3, 2), (3, 4), ((4, 9), (8, 3)), (1, 1)),
    ((3, 40), (3, 3), (2, 2), ((3, 3), (20, 20)), (1, 1)),
    ((6, 6), (3, 3), (1, 1), ((9, 9), (9, 9)), (1, 1)),
    ((6, 7), (2, 3), (2, 1), ((5, 3), (2, 8)), (3, 2)),
    ((3, 3), (4, 1), (7, 1), ((9, 9), (0, 0)), (2, 1)),
    ((8, 8), (3, 3), (1, 1), ((10_000, 10_000), (10_000, 10_000)), (10_000, 10_000)),
    ((8, 8), (2, 2), (9_999, 10_000), ((10_000, 10_000), (10_000, 9_000)), (10_000, 9_999)),
    ((8, 8), (20_000, 9), (10_000, 3), ((20_000, 20_000), (9, 9)), (1, 1)),
]
PLANES = [(1, 1), (4, 5)]  # one, and enough for kernels that put planes side by side


def numbers(planes, image, dtype):
    """Whole numbers, which tie often, with some NaN and -inf among them."""
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, (*planes, *image)).astype(dtype)
    x[rng.random(x.shape) < 0.05], x[rng.random(x.shape) > 0.9] = np.nan, -np.inf
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("planes", PLANES, ids=str)
@pytest.mark.parametrize("image, kernel, stride, padding, dilation", GEOMETRIES, ids=str)
def test_maxima_and_minima(backend, image, kernel, stride, padding, dilation, planes, dtype):
    x = numbers(planes, image, dtype)
    for call, sign in ((fc.max_pool2d, 1), (fc.min_pool2d, -1)):
        y, indices = call(x, kernel, stride, padding, dilation)
        expected = pooled(sign * x, kernel, stride, padding, dilation, y.shape[2:], maximum)
        np.testing.assert_array_equal(y, [[[[sign * v for v, _ in r] for r in p] for p in n] for n in expected])
        np.testing.assert_array_equal(indices, [[[[at for _, at in r] for r in p] for p in n] for n in expected])
    dout = np.arange(1, y.size + 1, dtype=dtype).reshape(y.shape)
    dx = fc.min_pool2d_backward(dout, indices, x.shape, kernel, stride, padding, dilation)
    gathered = np.zeros((*planes, image[0] * image[1]))
    for at in np.ndindex(y.shape):
        if indices[at] >= 0:
            gathered[at[0], at[1], indices[at]] += dout[at]
    np.testing.assert_array_equal(dx, gathered.reshape(x.shape))


@pytest.mark.parametrize("planes", PLANES, ids=str)
@pytest.mark.parametrize("image, kernel, stride, padding", [g[:4] for g in GEOMETRIES if g[4] == (1, 1)], ids=str)
@pytest.mark.parametrize("options", [{}, {"count_include_pad": False}, {"divisor_override": -3}], ids=str)
def test_averages(backend, image, kernel, stride, padding, planes, options):
    x = np.random.default_rng(0).standard_normal((*planes, *image))

    def count(rows, columns, i, j, plane):
        if "divisor_override" in options:
            return options["divisor_override"]
        if "count_include_pad" in options:
            return max(len(rows) * len(columns), 1)
        return kernel[0] * kernel[1]

    y = fc.avg_pool2d(x, kernel, stride, padding, **options)
    args = x, kernel, stride, padding, (1, 1), y.shape[2:]
    sums = pooled(*args, lambda rows, columns, i, j, plane: plane[np.ix_(rows, columns)].sum()).astype(float)
    counts = pooled(*args, count).astype(float)
    np.testing.assert_allclose(y, sums / counts, rtol=1e-12, atol=1e-12)
    dout = np.random.default_rng(1).standard_normal(y.shape)
    dx = fc.avg_pool2d_backward(dout, x.shape, kernel, stride, padding, **options)
    assert np.vdot(dx, x) == pytest.approx(np.vdot(dout, y), rel=1e-10, abs=1e-12)
    for n, c, h, w in [(0, 0, 0, 0), (-1, -1, image[0] // 2, image[1] - 1)]:
        unit = np.zeros_like(x)
        unit[n, c, h, w] = 1
        assert dx[n, c, h, w] == pytest.approx(np.vdot(dout, fc.avg_pool2d(unit, kernel, stride, padding, **options)))


@pytest.mark.parametrize("image, kernel, stride, padding", [g[:4] for g in GEOMETRIES if g[4] == (1, 1)], ids=str)
def test_draws(backend, image, kernel, stride, padding):
    """Every draw is of its window; a window of padding alone gives 0 and takes no gradient."""
    x = np.random.default_rng(0).standard_normal((2, 3, *image))
    y, indices = fc.stochastic_pool2d(x, kernel, stride, padding, rng=1)
    args = x, kernel, stride, padding, (1, 1), y.shape[2:]

    def expectation(rows, columns, i, j, plane):
        values = plane[np.ix_(rows, columns)]
        weights = np.maximum(values, 0)
        weights = weights if weights.sum() else np.ones_like(weights)
        return (weights * values).sum() / weights.sum() if weights.size else 0.0

    places = pooled(*args, lambda rows, columns, i, j, plane: {h * image[1] + w for h in rows for w in columns})
    for at in np.ndindex(y.shape):
        assert indices[at] in (places[at] or {-1})
        assert y[at] == (x[at[0], at[1]].flat[indices[at]] if places[at] else 0)
    mean, nothing = fc.stochastic_pool2d(x, kernel, stride, padding, training=False)
    assert nothing is None
    np.testing.assert_allclose(mean, pooled(*args, expectation).astype(float), rtol=1e-12, atol=1e-12)
    dx = fc.stochastic_pool2d_backward(np.ones_like(y), indices, x.shape, kernel, stride, padding)
    assert dx.sum() == (indices >= 0).sum()


def test_every_window_of_padding_alone(backend):
    x = np.ones((1, 1, 2, 2))
    y, indices = fc.max_pool2d(x, 2, 1, 2, 4)
    assert y.shape == (1, 1, 2, 2) and (y == -np.inf).all() and (indices == -1).all()
    assert not fc.max_pool2d_backward(np.ones_like(y), indices, x.shape, 2, 1, 2, 4).any()
    y, indices = fc.min_pool2d(x, 2, 1, 2, 4)
    assert (y == np.inf).all() and (indices == -1).all()


def test_minus_one_is_refused_where_a_window_sees_the_image(backend):
    indices = np.full((1, 1, 3, 3), -1)
    indices[0, 0, 1, 1] = 3
    dout, window = np.ones((1, 1, 3, 3)), ((1, 1, 2, 2), 2, 2, 2)
    np.testing.assert_array_equal(fc.max_pool2d_backward(dout, indices, *window), [[[[0, 0], [0, 1]]]])
    for wrong in (-1, -2, 4):
        indices[0, 0, 1, 1] = wrong
        with pytest.raises(ValueError, match=rf"^indices: expected 0 to 3 .*got {wrong}"):
            fc.max_pool2d_backward(dout, indices, *window)


def test_layers_take_the_same_padding(backend):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    layer = layers.Pooling(2, 2, stride=2, pad=4)
    y = layer.forward(x)
    np.testing.assert_array_equal(y[:, :, 2:4, 2:4], F.max_pool2d(torch.tensor(x), 2).numpy())
    assert np.isinf(y).sum() == y.size - 2 * 3 * 4
    dx = layer.backward(np.ones_like(y))
    assert set(np.unique(dx)) == {0, 1} and dx.sum() == 2 * 3 * 4
    mean = layers.AveragePooling(2, 2, stride=2, pad=4, count_include_pad=False)
    y = mean.forward(x)
    np.testing.assert_allclose(y[:, :, 2:4, 2:4], F.avg_pool2d(torch.tensor(x), 2).numpy(), rtol=1e-12)
    assert y.sum() == pytest.approx(x.sum() / 4) and mean.backward(np.ones_like(y)) == pytest.approx(0.25)


CEIL = [(h, k, s, p) for h in (1, 2, 3, 5) for k in (1, 2, 3, 4, 6) for s in (1, 2, 3, 7) for p in {0, k // 2}]


def test_ceil_mode_as_pytorch_has_it(backend):
    """Among them windows larger than the padded image."""
    larger = 0
    for (h, k, s, p), w in itertools.product(CEIL, (2, 5)):
        x = np.random.default_rng(0).standard_normal((1, 2, h, w))
        try:
            expected, places = F.max_pool2d(torch.tensor(x), k, s, p, ceil_mode=True, return_indices=True)
        except RuntimeError:
            with pytest.raises(ValueError, match=r"^kernel size"):
                fc.max_pool2d(x, k, s, p, ceil_mode=True)
            continue
        larger += k > min(h, w) + 2 * p
        y, indices = fc.max_pool2d(x, k, s, p, ceil_mode=True)
        np.testing.assert_array_equal(y, expected.numpy())
        np.testing.assert_array_equal(indices, places.numpy())
        for counted in (True, False):
            t = torch.tensor(x, requires_grad=True)
            expected = F.avg_pool2d(t, k, s, p, True, counted)
            y = fc.avg_pool2d(x, k, s, p, True, counted)
            np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
            expected.sum().backward()
            dx = fc.avg_pool2d_backward(np.ones_like(y), x.shape, k, s, p, True, counted)
            np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-12, atol=1e-14)
    assert larger > 10
    assert fc.max_pool2d(np.arange(4.0).reshape(1, 1, 2, 2), 3, 2, ceil_mode=True)[0].item() == 3


@pytest.mark.parametrize("divisor", [-3, 1, 7, 2**40, -(2**63 - 1)])
def test_divisors_as_pytorch_has_them(backend, divisor):
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 7))
    for k, s, p in ((2, 2, 0), (3, 2, 1), (3, 1, 0)):
        t = torch.tensor(x, requires_grad=True)
        expected = F.avg_pool2d(t, k, s, p, divisor_override=divisor)
        y = fc.avg_pool2d(x, k, s, p, divisor_override=divisor)
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12)
        expected.sum().backward()
        dx = fc.avg_pool2d_backward(np.ones_like(y), x.shape, k, s, p, divisor_override=divisor)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-12)


def test_sequences_of_one_int():
    """PyTorch takes them for every pair."""
    x, w = (
        np.random.default_rng(0).standard_normal((1, 4, 9, 9)),
        np.random.default_rng(1).standard_normal((4, 4, 3, 3)),
    )
    for one in ((2,), [2], np.array([2]), np.array(2)):
        for call, name in [(fc.conv2d, n) for n in ("stride", "padding", "dilation")] + [
            (fc.conv_transpose2d, n) for n in ("stride", "padding", "dilation")
        ]:
            np.testing.assert_array_equal(call(x, w, **{name: one}), call(x, w, **{name: 2}))
        np.testing.assert_array_equal(
            fc.conv_transpose2d(x, w, stride=3, output_padding=one),
            fc.conv_transpose2d(x, w, stride=3, output_padding=2),
        )
        for call in (fc.max_pool2d, fc.min_pool2d):
            for a, b in zip(call(x, one, one, one, one), call(x, 2, 2, 2, 2), strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(fc.avg_pool2d(x, one, one, one), fc.avg_pool2d(x, 2, 2, 2))
        np.testing.assert_array_equal(fc.adaptive_avg_pool2d(x, one), fc.adaptive_avg_pool2d(x, 2))
        np.testing.assert_array_equal(fc.im2col(x, 3, 3, one, one), fc.im2col(x, 3, 3, 2, 2))
    np.testing.assert_array_equal(fc.max_pool2d(x, 2, [])[0], fc.max_pool2d(x, 2)[0])
    np.testing.assert_array_equal(fc.conv2d(x, w, padding=((1,), (2, 3))), fc.conv2d(x, w, padding=((1, 1), (2, 3))))
    with pytest.raises(ValueError, match=r"^stride: expected an int or"):
        fc.conv2d(x, w, stride=())
