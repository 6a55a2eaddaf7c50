"""The gradient of a maximum that equal maxima of a window share, against PyTorch's amax, which does so too."""

import numpy as np
import pytest
import torch

from fastconv import _check as check
from fastconv.ops.pool2d import shared_gradient
from fastconv.testing import DTYPES, assert_close, kernels, normal, tolerance

SHAPES = [((2, 3, 8, 2 * w), 2) for w in (1, 7, 8, 9, 15, 16, 17, 33)] + [
    ((2, 2, 9, 12), 3),
    ((1, 2, 5, 5), 5),
    ((0, 2, 4, 4), 2),
    ((1, 1, 3, 4), 1),
]


def drawn(shape, dtype, seed=0):
    """Few different numbers, so that many maxima are equal."""
    return np.random.default_rng(seed).integers(0, 3, shape).astype(dtype)


@pytest.mark.against_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, size", SHAPES, ids=str)
@pytest.mark.parametrize("kernel", kernels("max_pool2d_shared_backward"), ids=str)
def test_against_torch(kernel, shape, size, dtype):
    N, C, H, W = shape
    x = drawn(shape, dtype)
    windows = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = windows.reshape(N, C, H // size, size, W // size, size).amax(dim=(3, 5))
    dout = normal(tuple(y.shape), dtype)
    y.backward(torch.tensor(dout, dtype=torch.float64))
    p, x = check.max_pool2d(x, size)
    if kernel.refuses(p):
        pytest.skip(kernel.refuses(p))
    dx = np.full(shape, np.nan, dtype)
    kernel(dx, dout, x, y.detach().numpy().astype(dtype), p)
    assert_close(dx, windows.grad.numpy(), tolerance(dtype))


def test_nan_infinity_and_what_does_not_fit():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 0, 0] = np.nan
    y = np.array([[[[np.nan, 7], [13, 15]]]])
    dx = shared_gradient(np.array([[[[1, np.inf], [2, -3]]]]), x, y, 2)
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(dx[0, 0], [[nan, nan, 0, 0], [nan, nan, 0, inf], [0, 0, 0, 0], [0, 2, 0, -3]])
    with pytest.raises(ValueError, match="x: expected shape"):
        shared_gradient(y, np.ones((1, 1, 5, 4)), y, 2)
    with pytest.raises(ValueError, match="dout: expected shape"):
        shared_gradient(y[..., :1], x, y, 2)
