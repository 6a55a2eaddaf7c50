"""Local response, layer, group and instance normalisation against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from fastconv import _check as check
from fastconv.testing import DTYPES, assert_close, kernels, normal, tolerance

SHAPES = [(1, 1, 1, 1), (2, 7, 3, 5), (3, 16, 13, 13), (2, 5, 70), (0, 3, 4, 4), (2, 33, 1, 1), (1, 96, 9, 9)]
BACKENDS = ["cython", "numba", "numpy"]


def on(backend):
    if fc.backends()[backend]:
        pytest.skip(fc.backends()[backend])
    return fc.backend(backend)


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("numbers", [(5, 1e-4, 0.75, 1.0), (4, 0.3, 0.75, 2.0), (3, 0.7, 0.5, 1.0), (1, 1.0, 1.3, 0.5)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kernel", kernels("local_response_forward", "local_response_backward"), ids=str)
def test_local_response(kernel, shape, numbers, dtype):
    x, dout = normal(shape, dtype) * 3, normal(shape, dtype, 1)
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ty = F.local_response_norm(tx, *numbers)
    out = np.full(shape, np.nan, dtype)
    if kernel.op == "local_response_forward":
        p, x = check.local_response_norm(x, *numbers)
        expected, arrays = ty.detach().numpy(), (x,)
    else:
        ty.backward(torch.tensor(dout, dtype=torch.float64))
        p, *arrays = check.local_response_norm_backward(dout, x, *numbers)
        expected = tx.grad.numpy()
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    kernel(out, *arrays, p)
    assert_close(out, expected, tolerance(dtype, numbers[0], 3))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 15), st.integers(0, 2**32))
def test_local_response_equals_the_reference(C, P, size, seed):
    rng = np.random.default_rng(seed)
    x, dout = rng.standard_normal((2, 2, C, P))
    numbers = size, rng.uniform(0, 2), rng.uniform(0, 2), rng.uniform(0.5, 2)
    results = []
    for backend in ("cython", "numpy"):
        with fc.backend(backend):
            y = fc.local_response_norm(x, *numbers)
            results.append((y, fc.local_response_norm_backward(dout, x, *numbers)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_infinity_stays_in_its_windows(backend):
    """Sums that are carried along the channels would keep it."""
    x = np.ones((1, 9, 1, 4))
    x[0, 4, 0, 1], x[0, 4, 0, 2] = np.inf, np.nan
    with on(backend):
        y = fc.local_response_norm(x, 3)
    expected = F.local_response_norm(torch.tensor(x), 3).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert np.isfinite(y[0, [0, 1, 2, 6, 7, 8]]).all()


def test_local_response_in_out_and_bad_arguments():
    x = normal((2, 6, 4, 4), np.float32)
    expected = fc.local_response_norm(x, 5)
    wide = np.zeros((2, 9, 4, 4), np.float32)
    fc.local_response_norm(x, 5, out=wide[:, 2:8])
    np.testing.assert_array_equal(wide[:, 2:8], expected)
    fc.local_response_norm(x, 5, out=x)
    np.testing.assert_array_equal(x, expected)
    for call, error, name in (
        (lambda: fc.local_response_norm(np.ones(3), 5), ValueError, "x"),
        (lambda: fc.local_response_norm(x, 0), ValueError, "size"),
        (lambda: fc.local_response_norm(x, 2.5), TypeError, "size"),
        (lambda: fc.local_response_norm(x, 2, "a"), TypeError, "alpha"),
        (lambda: fc.local_response_norm_backward(x[:1], x, 2), ValueError, "dout"),
    ):
        with pytest.raises(error, match=f"{name}: expected"):
            call()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [(True, True), (True, False), (False, True), (False, False)])
def test_layer_group_and_instance_norm(affine, dtype, backend):
    def some(shape):
        return [normal(shape, dtype, i) if there else None for i, there in enumerate(affine)]

    def exact(arrays):
        return [None if a is None else torch.tensor(a, dtype=torch.float64) for a in arrays]

    with on(backend):
        for shape, last in (((3, 5, 8), 8), ((3, 5, 8), (5, 8)), ((7, 33), (33,)), ((4,), 4), ((2, 3, 70, 5), (70, 5))):
            x, w = normal(shape, dtype) * 3 + 1, some(last)
            expected = F.layer_norm(exact([x])[0], (last,) if isinstance(last, int) else last, *exact(w))
            assert_close(fc.layer_norm(x, last, *w), expected.numpy(), tolerance(dtype, x.size))
        for shape in ((3, 6, 5, 7), (2, 6, 40), (5, 6)):
            x, w = normal(shape, dtype) * 3 + 1, some((6,))
            for groups in (1, 2, 3):
                expected = F.group_norm(exact([x])[0], groups, *exact(w))
                assert_close(fc.group_norm(x, groups, *w), expected.numpy(), tolerance(dtype, x.size))
            if len(shape) == 2:
                continue
            expected = F.instance_norm(exact([x])[0], None, None, *exact(w))
            assert_close(fc.instance_norm(x, None, None, *w), expected.numpy(), tolerance(dtype, x.size))
            for own in (True, False):
                mean, var = normal(6, dtype, 3), np.abs(normal(6, dtype, 4)) + dtype(1)
                tm, tv = exact([mean, var])
                expected = F.instance_norm(exact([x])[0], tm, tv, *exact(w), own, 0.3)
                y = fc.instance_norm(x, mean, var, *w, own, 0.3)
                assert_close(y, expected.numpy(), tolerance(dtype, x.size))
                assert_close(mean, tm.numpy(), tolerance(dtype, x.size))
                assert_close(var, tv.numpy(), tolerance(dtype, x.size))


def test_norms_of_empty_batches_other_layouts_and_bad_arguments():
    x = normal((2, 6, 4, 4), np.float32)
    assert fc.layer_norm(x[:0], (4, 4)).shape == fc.group_norm(x[:0], 2).shape == fc.instance_norm(x[:0]).shape
    np.testing.assert_array_equal(
        fc.group_norm(np.asfortranarray(x), 2, 2.0), fc.group_norm(x, 2, np.full(6, 2.0, "f"))
    )
    assert fc.layer_norm(x.astype(np.float16), 4).dtype == np.float16
    for call, error, name in (
        (lambda: fc.layer_norm(x, 5), ValueError, "normalized_shape"),
        (lambda: fc.layer_norm(x, ()), ValueError, "normalized_shape"),
        (lambda: fc.layer_norm(x, 4, np.ones(5)), ValueError, "weight"),
        (lambda: fc.group_norm(x, 4), ValueError, "num_groups"),
        (lambda: fc.group_norm(x, 2, None, np.ones(4)), ValueError, "bias"),
        (lambda: fc.instance_norm(x[:, :, :1, :1]), ValueError, "x"),
        (lambda: fc.instance_norm(x, np.zeros(6)), ValueError, "running_mean, running_var"),
        (lambda: fc.instance_norm(x, [0] * 6, [1] * 6), TypeError, "running_mean"),
    ):
        with pytest.raises(error, match=f"^{name}: expected"):
            call()
