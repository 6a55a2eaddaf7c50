"""Dropout: the same bits on every kernel, the right share, the same mask backward."""

import numpy as np
import pytest
import torch

import fastconv as fc
from fastconv import _check as check
from fastconv.kernels.dropout.ref import random_bits
from fastconv.testing import DTYPES, kernels, normal

SHAPES = [(1,), (7,), (16,), (33,), (3, 5), (2, 3, 4, 5), (0, 3), (40001,)]


def torch_dropout(x, mask, p):
    """PyTorch's own product of a mask and a scale."""
    return (torch.tensor(x) * torch.tensor(mask) * p.scale).numpy()


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kernel", kernels("dropout_forward", "dropout_backward"), ids=lambda k: f"{k.op}-{k}")
def test_kernels(kernel, shape, inverted, planes, dtype):
    if planes:
        shape = (3, shape[0], 5, 7)
    p, x = check.dropout(normal(shape, dtype), 0.3, inverted, planes)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    mask_shape = (*shape[:2], 1, 1) if planes else shape
    kept = (random_bits(12345678901234567890, p.size) >= p.threshold).reshape(mask_shape)
    y = np.full(shape, np.nan, dtype)
    if kernel.op == "dropout_forward":
        mask = np.zeros(mask_shape, bool)
        kernel(y, mask, x, 12345678901234567890, p)
        np.testing.assert_array_equal(mask, kept)
    else:
        kernel(y, x, kept, p)
    np.testing.assert_allclose(y, torch_dropout(x, kept, p), rtol=2e-7)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_share_and_expectation(ratio):
    x = np.ones(200_000)
    y, mask = fc.dropout(x, ratio, rng=0)
    assert mask.dtype == bool
    assert abs(mask.mean() - (1 - ratio)) < 0.005
    if ratio < 1:
        assert abs(y.mean() - 1) < 0.02
    plain, _ = fc.dropout(x, ratio, rng=0, inverted=False)
    np.testing.assert_array_equal(plain, mask.astype(float))


def test_seeds_and_mask_reuse():
    x = normal((4, 5, 6, 7), np.float64)
    y, mask = fc.dropout(x, 0.4, rng=3)
    np.testing.assert_array_equal(fc.dropout(x, 0.4, rng=3)[1], mask)
    assert (fc.dropout(x, 0.4, rng=4)[1] != mask).any()
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(fc.dropout(x, 0.4, generator)[1], mask)
    assert (fc.dropout(x, 0.4, generator)[1] != mask).any()
    np.testing.assert_array_equal(fc.dropout_backward(x, mask, 0.4), y)


def test_planes():
    x = np.ones((50, 40, 3, 3))
    y, mask = fc.dropout2d(x, 0.25, rng=0)
    assert mask.shape == (50, 40, 1, 1)
    np.testing.assert_allclose(y, np.broadcast_to(mask / 0.75, x.shape))
    np.testing.assert_array_equal(fc.dropout2d_backward(x, mask, 0.25), y)
    assert abs(mask.mean() - 0.75) < 0.03


def test_bits_are_uniform_and_independent_of_their_neighbours():
    bits = random_bits(42, 1 << 16)
    assert abs(bits.mean() / 2**32 - 0.5) < 0.005
    high = (bits >> np.uint32(31)).astype(float)
    assert abs(np.corrcoef(high[:-1], high[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("backend", ["cython", pytest.param("numba", marks=pytest.mark.numba), "numpy"])
def test_planes_without_pixels_have_masks(backend):
    with fc.backend(backend):
        expected = fc.dropout2d(np.ones((3, 4, 1, 1)), 0.5, rng=0)[1]
        y, mask = fc.dropout2d(np.ones((3, 4, 0, 2)), 0.5, rng=0)
        assert y.shape == (3, 4, 0, 2)
        np.testing.assert_array_equal(mask, expected)
        assert fc.dropout2d_backward(y, mask, 0.5).shape == (3, 4, 0, 2)
