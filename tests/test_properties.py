"""Properties that hold for any problem: linearity, adjointness, bounds, gradients by central differences (float64)."""

from functools import partial

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fastconv as fc

settings.register_profile("fastconv", deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
settings.load_profile("fastconv")

SIZE = st.integers(1, 9)
PAD = st.integers(0, 3)


@st.composite
def convolutions(draw):
    """(x, w, b, options) of a random convolution that fits."""
    groups = draw(st.integers(1, 3))
    C, FN = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 10))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    options = {
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": draw(st.one_of(PAD, st.tuples(PAD, PAD), st.tuples(st.tuples(PAD, PAD), st.tuples(PAD, PAD)))),
        "dilation": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "groups": groups,
    }
    least = [d * (k - 1) + 1 for d, k in zip(options["dilation"], kernel, strict=True)]
    H, W = (n + draw(st.integers(0, 20)) for n in least)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.standard_normal((draw(st.integers(1, 3)), C, H, W))
    return x, rng.standard_normal((FN, C // groups, *kernel)), rng.standard_normal(FN), options


def inner(a, b):
    return float(np.vdot(a, b))


def close(a, b, scale=1.0):
    assert abs(a - b) <= 1e-9 * (1 + abs(scale))


@given(convolutions())
def test_convolution_equals_the_reference(problem):
    x, w, b, options = problem
    with fc.backend("cython"):
        y = fc.conv2d(x, w, b, **options)
        gradients = fc.conv2d_backward(y, x, w, **options)
    with fc.backend("numpy"):
        np.testing.assert_allclose(y, fc.conv2d(x, w, b, **options), rtol=1e-10, atol=1e-10)
        for got, expected in zip(gradients, fc.conv2d_backward(y, x, w, **options), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9 * (1 + np.abs(expected).max()))


@given(convolutions(), st.floats(-3, 3), st.floats(-3, 3))
def test_convolution_is_linear(problem, p, q):
    x, w, _, options = problem
    u = np.flip(x).copy()
    left = fc.conv2d(p * x + q * u, w, **options)
    right = p * fc.conv2d(x, w, **options) + q * fc.conv2d(u, w, **options)
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)


@given(convolutions())
def test_backward_is_the_adjoint(problem):
    """<conv(x, w), g> = <x, dx> = <w, dw>, and db sums g."""
    x, w, _, options = problem
    y = fc.conv2d(x, w, **options)
    g = np.random.default_rng(0).standard_normal(y.shape)
    dx, dw, db = fc.conv2d_backward(g, x, w, **options)
    scale = np.linalg.norm(y) * np.linalg.norm(g)
    close(inner(y, g), inner(x, dx), scale)
    close(inner(y, g), inner(w, dw), scale)
    np.testing.assert_allclose(db, g.sum(axis=(0, 2, 3)), atol=1e-9)


@given(convolutions())
def test_float32_follows_float64(problem):
    x, w, b, options = problem
    exact = fc.conv2d(x, w, b, **options)
    y = fc.conv2d(x.astype(np.float32), w.astype(np.float32), b.astype(np.float32), **options)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, exact, rtol=1e-3, atol=1e-3 * (1 + np.abs(exact).max()) * 0.05)


@given(convolutions())
def test_im2col_times_the_filters_is_the_convolution_and_col2im_its_adjoint(problem):
    x, w, _, options = problem
    assume(options["dilation"] == (1, 1) and options["groups"] == 1)
    col = fc.im2col(x, *w.shape[2:], options["stride"], options["padding"])
    y = fc.conv2d(x, w, **options)
    rows = y.transpose(0, 2, 3, 1).reshape(-1, y.shape[1])
    np.testing.assert_allclose(col @ w.reshape(len(w), -1).T, rows, rtol=1e-9, atol=1e-9)
    other = np.random.default_rng(0).standard_normal(col.shape)
    back = fc.col2im(other, x.shape, *w.shape[2:], options["stride"], options["padding"])
    close(inner(col, other), inner(x, back), np.linalg.norm(col) * np.linalg.norm(other))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.booleans(), st.integers(0, 2**32))
def test_pooling_bounds(kernel, stride, padding, ceil_mode, seed):
    assume(padding <= kernel // 2)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *rng.integers(kernel, 20, 2)))
    y, indices = fc.max_pool2d(x, kernel, stride, padding, 1, ceil_mode)
    low, _ = fc.min_pool2d(x, kernel, stride, padding, 1, ceil_mode)
    mean = fc.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad=False)
    assert (low <= mean + 1e-12).all() and (mean <= y + 1e-12).all()
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 3, -1), indices.reshape(2, 3, -1), 2), y.reshape(2, 3, -1)
    )
    g = rng.standard_normal(y.shape)
    dx = fc.max_pool2d_backward(g, indices, x.shape, kernel, stride, padding, 1, ceil_mode)
    close(dx.sum(), g.sum(), np.abs(g).sum())
    close(inner(x, dx), inner(y, g), np.linalg.norm(y) * np.linalg.norm(g))
    spread = fc.avg_pool2d_backward(g, x.shape, kernel, stride, padding, ceil_mode)
    average = fc.avg_pool2d(x, kernel, stride, padding, ceil_mode)
    close(inner(x, spread), inner(average, g), np.linalg.norm(x) * np.linalg.norm(g))


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32))
def test_softmax_is_a_distribution_and_shift_invariant(rows, n, seed):
    x = np.random.default_rng(seed).standard_normal((rows, n)) * 10
    y = fc.softmax(x)
    np.testing.assert_allclose(y.sum(axis=1), 1)
    assert (y >= 0).all()
    np.testing.assert_allclose(fc.softmax(x + 123.0), y, rtol=1e-9)
    np.testing.assert_allclose(np.exp(fc.log_softmax(x)), y, rtol=1e-9)


@given(st.integers(2, 20), st.integers(1, 20), st.integers(0, 2**32))
def test_batch_norm_normalises(n, c, seed):
    x = np.random.default_rng(seed).standard_normal((n, c)) * 5 + 3
    y, cache = fc.batch_norm(x, None, None, None, None, True, eps=0.0)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(y.std(axis=0), 1, rtol=1e-6)
    dx, _, _ = fc.batch_norm_backward(np.ones_like(x), cache)
    np.testing.assert_allclose(dx, 0, atol=1e-9)


def central_difference(f, a, g, h=1e-6):
    """Gradient of <f(a), g> by central differences."""
    gradient = np.empty_like(a)
    for i in np.ndindex(a.shape):
        keep = a[i]
        a[i] = keep + h
        up = inner(f(), g)
        a[i] = keep - h
        gradient[i] = (up - inner(f(), g)) / (2 * h)
        a[i] = keep
    return gradient


def test_gradients_by_central_differences():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((6, 2, 3, 2)), rng.standard_normal(6)
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2), "groups": 2}
    y = fc.conv2d(x, w, b, **options)
    g = rng.standard_normal(y.shape)
    for got, a in zip(fc.conv2d_backward(g, x, w, **options), (x, w, b), strict=True):
        expected = central_difference(lambda: fc.conv2d(x, w, b, **options), a, g)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)

    gamma, beta = rng.standard_normal(4), rng.standard_normal(4)
    y, cache = fc.batch_norm(x, gamma, beta, None, None, True)
    g = rng.standard_normal(y.shape)
    for got, a in zip(fc.batch_norm_backward(g, cache), (x, gamma, beta), strict=True):
        expected = central_difference(lambda: fc.batch_norm(x, gamma, beta, None, None, True)[0], a, g)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)

    m, W, c = rng.standard_normal((3, 5)), rng.standard_normal((5, 4)), rng.standard_normal(4)
    g = rng.standard_normal((3, 4))
    for got, a in zip(fc.affine_backward(g, m, W), (m, W, c), strict=True):
        np.testing.assert_allclose(got, central_difference(lambda: fc.affine(m, W, c), a, g), rtol=1e-6, atol=1e-7)

    smooth = [(name, ()) for name in ("relu", "sigmoid", "tanh", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu")]
    for name, extra in (*smooth, ("leaky_relu", (0.2,)), ("gelu", ("tanh",))):
        f, backward = getattr(fc, name), getattr(fc, f"{name}_backward")
        saved = f(m, *extra) if name in ("sigmoid", "tanh") else m
        g = rng.standard_normal(m.shape)
        expected = central_difference(partial(f, m, *extra), m, g)
        np.testing.assert_allclose(backward(g, saved, *extra), expected, atol=1e-6)

    t = np.array([0, 3, 4])
    loss, y = fc.softmax_cross_entropy(m, t)
    expected = central_difference(lambda: fc.softmax_cross_entropy(m, t)[0], m, 1.0)
    np.testing.assert_allclose(fc.softmax_cross_entropy_backward(y, t), expected, atol=1e-7)
