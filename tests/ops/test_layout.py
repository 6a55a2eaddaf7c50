"""layout="NHWC": the same numbers as with channels first, laid out otherwise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from fastconv._problem import Interchange
from fastconv.testing import DTYPES, kernels, normal

LAST = {"layout": "NHWC"}


def last(a):
    return np.ascontiguousarray(np.moveaxis(a, -3, -1))


def filters(w):
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0))


def same(got, expected):
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 3, 5), (1, 16, 16), (2, 17, 33), (3, 64, 196), (0, 4, 4), (2, 0, 4), (1, 70, 2)]
)
@pytest.mark.parametrize("kernel", kernels("interchange"), ids=str)
def test_interchange(kernel, shape, dtype):
    x = normal(shape, dtype)
    p = Interchange(dtype=np.dtype(dtype), result_dtype=np.dtype(dtype), N=shape[0], A=shape[1], B=shape[2])
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    out = np.full((shape[0], shape[2], shape[1]), np.nan, dtype)
    kernel(out, x, p)
    np.testing.assert_array_equal(out, x.swapaxes(1, 2))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_convolution(data):
    draw = data.draw
    groups = draw(st.integers(1, 3))
    C, FN = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 9))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    H, W = (k + draw(st.integers(0, 12)) for k in kernel)
    options = {"stride": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), "groups": groups}
    options["padding"] = draw(st.sampled_from([0, 1, (1, 0), "same", ((0, 1), (2, 0))]))
    batch = draw(st.sampled_from([(), (0,), (1,), (3,)]))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((*batch, C, H, W), (FN, C // groups, *kernel)))
    b = rng.standard_normal(FN).astype(dtype)
    y = fc.conv2d(x, w, b, **options)
    same(fc.conv2d(last(x), filters(w), b, **options, **LAST), last(y))
    add = rng.standard_normal(y.shape).astype(dtype)
    expected = fc.conv2d(x, w, b, **options, add=add, activation="silu")
    same(fc.conv2d(last(x), filters(w), b, **options, add=last(add), activation="silu", **LAST), last(expected))
    dx, dw, db = fc.conv2d_backward(add, x, w, **options)
    got = fc.conv2d_backward(last(add), last(x), filters(w), **options, **LAST)
    for a, e in zip(got, (last(dx), filters(dw), db), strict=True):
        same(a, e)
    none, dw, _ = fc.conv2d_backward(
        last(add), last(x), filters(w).shape, **options, needs=(False, True, False), **LAST
    )
    assert none is None
    same(dw, got[1])


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (3, 9, 8), (1, 20, 7, 7)])
def test_pooling(shape, dtype):
    x = normal(shape, dtype)
    for pool in ("max_pool2d", "min_pool2d"):
        f, backward = getattr(fc, pool), getattr(fc, f"{pool}_backward")
        y, indices = f(x, 3, 2, 1)
        got, places = f(last(x), 3, 2, 1, **LAST)
        same(got, last(y))
        same(places, last(indices))
        dx = backward(y, indices, x.shape, 3, 2, 1)
        same(backward(got, places, last(x).shape, 3, 2, 1, **LAST), last(dx))
        same(backward(got, places.astype(np.int32), last(x).shape, 3, 2, 1, **LAST), last(dx))
    options = 3, 2, 1, True, False
    y = fc.avg_pool2d(x, *options)
    same(fc.avg_pool2d(last(x), *options, **LAST), last(y))
    same(
        fc.avg_pool2d_backward(last(y), last(x).shape, *options, **LAST),
        last(fc.avg_pool2d_backward(y, x.shape, *options)),
    )
    y = fc.adaptive_avg_pool2d(x, (3, 2))
    same(fc.adaptive_avg_pool2d(last(x), (3, 2), **LAST), last(y))
    dx = fc.adaptive_avg_pool2d_backward(y, x.shape)
    same(fc.adaptive_avg_pool2d_backward(last(y), last(x).shape, **LAST), last(dx))
    y = fc.global_avg_pool2d(x)
    same(fc.global_avg_pool2d(last(x), **LAST), last(y))
    same(fc.global_avg_pool2d_backward(last(y), last(x).shape, **LAST), last(fc.global_avg_pool2d_backward(y, x.shape)))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training):
    x, dout = normal((3, 5, 4, 6), np.float64), normal((3, 5, 4, 6), np.float64, 1)
    gamma, beta = normal(5, np.float64, 2), normal(5, np.float64, 3)
    results = []
    for images, gradient, options in ((x, dout, {}), (last(x), last(dout), LAST)):
        mean, var = np.zeros(5), np.ones(5)
        y, cache = fc.batch_norm(images, gamma, beta, mean, var, training, activation="relu", unbiased=False, **options)
        dx, dgamma, dbeta = fc.batch_norm_backward(gradient, cache)
        y, dx = (y, dx) if options else (last(y), last(dx))
        results.append((y, dx, dgamma, dbeta, mean, var))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    _, cache = fc.batch_norm(last(x), gamma, beta, mean, var, training, **LAST)
    with pytest.raises(ValueError, match="dout: expected shape"):
        fc.batch_norm_backward(dout, cache)
    y, _ = fc.batch_norm(last(x)[:0], gamma, beta, np.zeros(5), np.ones(5), **LAST)
    assert y.shape == (0, 4, 6, 5)


def test_results_in_out():
    x, w = normal((2, 3, 6, 6), np.float32), normal((4, 3, 3, 3), np.float32, 1)
    wide = np.zeros((2, 6, 6, 9), np.float32)
    part = wide[..., 2:6]
    assert fc.conv2d(last(x), filters(w), padding=1, out=part, **LAST) is part
    np.testing.assert_array_equal(part, last(fc.conv2d(x, w, padding=1)))
    assert not wide[..., :2].any() and not wide[..., 6:].any()
    own = last(x)
    fc.max_pool2d(own, 3, 1, 1, out=own, **LAST)
    np.testing.assert_array_equal(own, last(fc.max_pool2d(x, 3, 1, 1)[0]))
    own = last(x)
    y, cache = fc.batch_norm(own, None, None, None, None, True, out=own, **LAST)
    assert y is own
    expected, first = fc.batch_norm(x, None, None, None, None, True)
    np.testing.assert_allclose(y, last(expected), rtol=1e-5, atol=1e-5)
    dout = normal(x.shape, np.float32, 2)
    np.testing.assert_allclose(
        fc.batch_norm_backward(last(dout), cache)[0], last(fc.batch_norm_backward(dout, first)[0]), rtol=1e-4, atol=1e-5
    )


def test_any_memory_layout_and_no_copy_of_images_that_are_channels_first():
    x, w = normal((2, 3, 6, 6), np.float32), normal((4, 3, 3, 3), np.float32, 1)
    expected = last(fc.conv2d(x, w))
    kept = x.copy()
    for images in (np.moveaxis(x, 1, -1), np.asfortranarray(last(x)), last(x)[::1, ::1], last(x).astype(">f4")):
        np.testing.assert_array_equal(fc.conv2d(images, filters(w), **LAST), expected)
    np.testing.assert_array_equal(x, kept)


def test_a_call_is_never_taken_for_one_of_the_other_layout():
    """Square shapes that fit both ways, remembered or not."""
    x, w = normal((2, 3, 3, 3), np.float32), normal((3, 3, 3, 3), np.float32, 1)
    for _ in range(3):
        first, channels_last = fc.conv2d(x, w), fc.conv2d(x, w, layout="NHWC")
        np.testing.assert_array_equal(channels_last, last(fc.conv2d(np.moveaxis(x, -1, 1), w.transpose(3, 2, 0, 1))))
        assert not np.array_equal(first, channels_last)
        assert not np.array_equal(fc.avg_pool2d(x, 2), fc.avg_pool2d(x, 2, layout="NHWC"))
        assert not np.array_equal(fc.avg_pool2d(x, 2, layout="NCHW"), fc.avg_pool2d(x, 2, layout="NHWC"))


def test_bad_arguments():
    x, w = normal((2, 6, 6, 3), np.float32), normal((3, 3, 3, 4), np.float32)
    for call, match in (
        (lambda: fc.conv2d(x, w, layout="CHWN"), "layout: expected 'NCHW' or 'NHWC', got 'CHWN'"),
        (lambda: fc.max_pool2d(x, 2, layout=None), "layout: expected"),
        (lambda: fc.avg_pool2d_backward(x, x.shape, 1, layout="nhwc"), "layout: expected"),
        (lambda: fc.batch_norm(x, None, None, None, None, True, layout="NCWH"), "layout: expected"),
        (lambda: fc.conv2d(x, w[:, :, :2], **LAST), r"w: expected .* \(shapes as with layout='NCHW'"),
        (lambda: fc.conv2d(x[0, 0], w, **LAST), r"x: expected \(N, H, W, C\)"),
        (lambda: fc.max_pool2d(x, 9, **LAST), "kernel size"),
        (lambda: fc.avg_pool2d_backward(x, 3, 1, **LAST), "input_shape: expected"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
