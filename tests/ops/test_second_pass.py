"""Activations behind convolutions, affine maps and batch normalisations, residuals, and results in `out`."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from fastconv import _check as check
from fastconv import _dispatch
from fastconv._check.activations import FUSED
from fastconv.testing import DTYPES, assert_close, normal, tolerance

TORCH = {
    None: lambda y: y,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
    "silu": F.silu,
}
ACTIVATIONS = [None, *FUSED]
BACKENDS = ["cython", "numba", "numpy"]


def on(backend):
    if fc.backends()[backend]:
        pytest.skip(fc.backends()[backend])
    return fc.backend(backend)


def exact(*arrays):
    return [torch.tensor(a, dtype=torch.float64) for a in arrays]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("C", "FN", "kernel", "options"),
    [
        (5, 7, 3, {"padding": 1}),
        (32, 32, 3, {"padding": 1}),
        (40, 24, 1, {}),
        (6, 6, 3, {"padding": 1, "groups": 6}),
        (3, 16, 5, {"stride": 2}),
    ],
)
def test_conv2d(C, FN, kernel, options, residual, activation, dtype, backend):
    x, b = normal((2, C, 14, 13), dtype), normal(FN, dtype, 2)
    w = normal((FN, C // options.get("groups", 1), kernel, kernel), dtype, 1) / dtype(kernel * C**0.5)
    tx, tw, tb = exact(x, w, b)
    expected = F.conv2d(tx, tw, tb, **options)
    add = normal(tuple(expected.shape), dtype, 3) if residual else None
    expected = TORCH[activation](expected + exact(add)[0] if residual else expected).numpy()
    with on(backend):
        for _ in range(2):  # checked, then remembered
            y = fc.conv2d(x, w, b, **options, activation=activation, add=add)
            assert_close(y, expected, tolerance(dtype, C * kernel**2, 4))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_affine_and_batch_norm(activation, dtype, backend):
    x, W, b = normal((17, 33), dtype), normal((33, 9), dtype, 1), normal(9, dtype, 2)
    tx, tW, tb = exact(x, W, b)
    with on(backend):
        for _ in range(2):
            y = fc.affine(x, W, b, activation=activation)
            assert_close(y, TORCH[activation](tx @ tW + tb).numpy(), tolerance(dtype, 33, 4))
        for shape in ((17, 9), (4, 9, 3, 3), (4, 9, 8, 9)):
            x, gamma, mean, var = normal(shape, dtype) * 4, normal(9, dtype, 1), normal(9, dtype, 3), np.ones(9, dtype)
            for training in (True, False):
                y, _ = fc.batch_norm(x, gamma, b, mean.copy(), var.copy(), training, activation=activation)
                tx, tg, tb, tm, tv = exact(x, gamma, b, mean, var)
                expected = TORCH[activation](F.batch_norm(tx, tm, tv, tg, tb, training)).numpy()
                assert_close(y, expected, tolerance(dtype, x.size // 9, 4))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_and_infinity_are_those_of_the_activation(activation, backend):
    x = np.array([[np.nan, np.inf, -np.inf, 1, -1]] * 5, np.float32)
    expected = TORCH[activation](torch.tensor(x)).numpy()
    with on(backend):
        images = fc.conv2d(x[None, None], np.ones((1, 1, 1, 1), np.float32), activation=activation)[0, 0]
        y, _ = fc.batch_norm(x.T.copy(), None, None, np.zeros(5), np.ones(5), eps=0.0, activation=activation)
    np.testing.assert_allclose(images, expected, rtol=1e-6)
    np.testing.assert_allclose(y.T, expected, rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(ACTIVATIONS), st.booleans(), st.integers(0, 2), st.integers(0, 2**32), st.booleans())
def test_compiled_equals_the_reference(activation, residual, batch, seed, unbatched):
    rng = np.random.default_rng(seed)
    C, FN, H, W = rng.integers(1, 9, 4)
    shape = (C, H, W) if unbatched else (batch, C, H, W)
    x, w = rng.standard_normal(shape), rng.standard_normal((FN, C, 3, 3))
    add = rng.standard_normal((*shape[:-3], FN, H, W)) if residual else None
    results = []
    for backend in ("cython", "numpy"):
        with fc.backend(backend):
            results.append(fc.conv2d(x, w, padding=1, activation=activation, add=add))
    np.testing.assert_allclose(*results, rtol=1e-10, atol=1e-10)


def test_residuals_of_other_dtypes_and_places():
    x, w = normal((2, 3, 6, 6), np.float32), normal((3, 3, 3, 3), np.float32, 1)
    plain = fc.conv2d(x, w, padding=1)
    kept = x.copy()
    np.testing.assert_array_equal(fc.conv2d(x, w, padding=1, add=x), plain + x)  # the identity as shortcut
    np.testing.assert_array_equal(x, kept)
    y = fc.conv2d(x, w, padding=1, add=x.astype(np.float64))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, plain + x, rtol=1e-5, atol=1e-5)
    strided = np.asfortranarray(x)
    np.testing.assert_array_equal(fc.conv2d(x, w, padding=1, add=strided), plain + x)
    half = fc.conv2d(x.astype(np.float16), w.astype(np.float16), padding=1, add=x.astype(np.float16), activation="silu")
    assert half.dtype == np.float16
    with pytest.raises(ValueError, match=r"add: expected shape \(2, 3, 6, 6\)"):
        fc.conv2d(x, w, padding=1, add=x[:1])
    with pytest.raises(ValueError, match="activation: expected None or one of 'relu'"):
        fc.conv2d(x, w, activation="gelu")
    with pytest.raises(ValueError, match="activation"):
        fc.affine(x, normal((108, 2), np.float32), activation=["relu"])


def test_prepared_forms_are_of_the_kernel_alone():
    """A prepared kernel has no second pass, so none is made for an activation that needs one."""
    x, w = normal((2, 16, 9, 9), np.float32), normal((16, 16, 3, 3), np.float32)
    for activation, add, there in ((None, None, True), ("relu", None, True), ("silu", None, False), ("relu", x, False)):
        p, *_ = check.conv2d(x, w, None, 1, 1, 1, 1, activation, add)
        assert (_dispatch.prepare("conv2d_forward", p) is not None) == there


def test_explain_names_the_second_pass(capsys):
    x, w = normal((2, 3, 6, 6), np.float32), normal((3, 3, 3, 3), np.float32, 1)
    fc.explain("conv2d", x, w, activation="silu")
    assert "silu_forward in a second pass" in capsys.readouterr().out
    fc.explain("conv2d", x, w, activation="relu")
    assert "second pass" not in capsys.readouterr().out
    fc.explain("conv2d", x, w, padding=1, activation="relu", add=x)
    assert "add_activation in a second pass" in capsys.readouterr().out


@pytest.mark.parametrize("backend", BACKENDS)
def test_running_variance_unbiased_or_not(backend):
    x = normal((5, 3, 2, 2), np.float64)
    for shape in ((5, 3, 2, 2), (20, 3)):
        images = x if shape == x.shape else np.moveaxis(x, 1, -1).reshape(20, 3)
        for unbiased in (True, False):
            mean, var = np.zeros(3), np.ones(3)
            with on(backend):
                fc.batch_norm(images, None, None, mean, var, True, 0.25, unbiased=unbiased)
            expected = x.var(axis=(0, 2, 3), ddof=int(unbiased))
            np.testing.assert_allclose(var, 0.75 + 0.25 * expected, rtol=1e-12)
            np.testing.assert_allclose(mean, 0.25 * x.mean(axis=(0, 2, 3)), rtol=1e-10)


IMAGES = normal((2, 3, 8, 8), np.float32)
FILTERS = normal((4, 3, 3, 3), np.float32, 1)
ROWS = normal((5, 6), np.float32, 2)
MATRIX = normal((6, 4), np.float32, 3)
CALLS = {
    "conv2d": lambda out: fc.conv2d(IMAGES, FILTERS, padding=1, out=out),
    "conv2d, silu": lambda out: fc.conv2d(IMAGES, FILTERS, padding=1, activation="silu", out=out),
    "conv2d, unbatched": lambda out: fc.conv2d(IMAGES[0], FILTERS, out=out),
    "affine": lambda out: fc.affine(ROWS, MATRIX, activation="tanh", out=out),
    "affine, unbatched": lambda out: fc.affine(ROWS[0], MATRIX, out=out),
    "batch_norm, training": lambda out: fc.batch_norm(IMAGES, None, None, None, None, True, out=out)[0],
    "batch_norm": lambda out: fc.batch_norm(IMAGES, None, None, np.zeros(3), np.ones(3), activation="relu", out=out)[0],
    "max_pool2d": lambda out: fc.max_pool2d(IMAGES, 2, out=out)[0],
    "max_pool2d, unbatched": lambda out: fc.max_pool2d(IMAGES[1], 3, 2, 1, out=out)[0],
    "min_pool2d": lambda out: fc.min_pool2d(IMAGES, 2, out=out)[0],
    "avg_pool2d": lambda out: fc.avg_pool2d(IMAGES, 3, 2, 1, out=out),
    "adaptive_avg_pool2d": lambda out: fc.adaptive_avg_pool2d(IMAGES, (3, 2), out=out),
    "global_avg_pool2d": lambda out: fc.global_avg_pool2d(IMAGES, out=out),
    "stochastic_pool2d": lambda out: fc.stochastic_pool2d(IMAGES, 2, rng=1, out=out)[0],
    "stochastic_pool2d, inference": lambda out: fc.stochastic_pool2d(IMAGES, 2, training=False, out=out)[0],
}


@pytest.mark.parametrize("name", CALLS)
def test_results_in_out(name):
    call = CALLS[name]
    expected = call(None)
    out = np.full_like(expected, np.nan)
    for _ in range(2):
        assert call(out) is out
        np.testing.assert_array_equal(out, expected)
    wide = np.full((*expected.shape[:-1], 3 * expected.shape[-1]), 7, np.float64)  # another dtype, and not dense
    target = wide[..., 1 : 1 + expected.shape[-1]]
    assert call(target) is target
    np.testing.assert_array_equal(target, expected)
    assert (wide[..., 0] == 7).all() and (wide[..., 1 + expected.shape[-1] :] == 7).all()
    with pytest.raises(ValueError, match="out: expected shape"):
        call(np.empty((*expected.shape, 1), np.float32))
    with pytest.raises(TypeError, match="out: cannot hold"):
        call(np.empty(expected.shape, np.int64))


def test_a_concatenation_written_in_place():
    y = np.full((2, 9, 6, 6), np.nan, np.float32)
    a, b = normal((4, 3, 3, 3), np.float32), normal((5, 3, 3, 3), np.float32, 1)
    fc.conv2d(IMAGES, a, activation="relu6", out=y[:, :4])
    fc.conv2d(IMAGES, b, out=y[:, 4:])
    np.testing.assert_array_equal(
        y, np.concatenate([np.clip(fc.conv2d(IMAGES, a), 0, 6), fc.conv2d(IMAGES, b)], axis=1)
    )


def test_out_that_shares_memory_with_an_input():
    x = normal((2, 4, 6, 6), np.float32)
    w, residual = normal((4, 4, 3, 3), np.float32, 1), normal((2, 4, 6, 6), np.float32, 2)
    expected = fc.conv2d(x, w, padding=1, add=residual, activation="silu")
    for place in ("x", "add"):
        arrays = {"x": x.copy(), "add": residual.copy()}
        fc.conv2d(arrays["x"], w, padding=1, add=arrays["add"], activation="silu", out=arrays[place])
        np.testing.assert_array_equal(arrays[place], expected)
    in_place = x.copy()
    expected, cache = fc.batch_norm(x, None, None, None, None, True)
    y, own_cache = fc.batch_norm(in_place, None, None, None, None, True, out=in_place)
    np.testing.assert_array_equal(y, expected)
    for a, b in zip(fc.batch_norm_backward(residual, own_cache), fc.batch_norm_backward(residual, cache), strict=True):
        np.testing.assert_array_equal(a, b)
    pooled = x.copy()
    expected, _ = fc.max_pool2d(x, 3, 1, 1)
    fc.max_pool2d(pooled, 3, 1, 1, out=pooled)
    np.testing.assert_array_equal(pooled, expected)
