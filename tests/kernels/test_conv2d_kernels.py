"""Compiled convolution, forward and backward-data, against the reference (exactly, on integers) and PyTorch."""

import numpy as np
import pytest
import torch

import fastconv as fc
from fastconv import _check
from fastconv.kernels.conv2d import ref
from fastconv.testing import SPEED

DTYPES = (np.float32, np.float64)
ONE = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

# N, C, H, W, FN, (FH, FW) and what differs from ONE. Each line is there for one way through the kernels.
PROBLEMS = {
    "channels around one and two vectors": [(2, 5, 9, 9, f, (3, 3), {}) for f in (7, 8, 9, 15, 16, 17, 31, 32, 33, 65)],
    "half vectors": [
        (1, 3, 5, w, f, (k, k), {"padding": p, "stride": s})
        for f in (4, 8, 20, 24, 25, 39, 40)
        for w, k, s, p in ((8, 3, 1, 1), (13, 3, 1, 1), (16, 5, 1, 2), (17, 3, 2, 1), (9, 1, 1, 0), (30, 4, 1, 0))
    ],
    "widths around the tiles": [(1, 4, 5, w, 20, (3, 3), {"padding": 1}) for w in (1, 2, 3, 6, 7, 13, 14, 15, 28, 29)],
    "compiled filters": [(1, 3, 17, 19, 18, (k, k), {"padding": p}) for k, p in [(2, 1), (3, 2), (5, 4), (7, 3), (7, 6)]],
    "stride 2": [(1, 3, h, h, 18, (k, k), {"stride": 2, "padding": k // 2}) for h in (14, 15) for k in (1, 3, 5, 7)],
    "more padding than filter": [(1, 2, 4, 4, 20, (2, 3), {"padding": 5}), (1, 20, 4, 4, 2, (3, 3), {"padding": 4})],
    "asymmetric padding": [(2, 3, 8, 9, 20, (3, 3), {"padding": ((0, 2), (3, 1))})],
    "any stride and dilation": [
        (1, 3, 20, 23, 18, (3, 2), {"stride": s, "dilation": d, "padding": 2})
        for s in [(1, 3), (3, 1), (4, 2), (5, 7)]
        for d in [(1, 1), (2, 3), (4, 2)]
    ],
    "large strides": [(2, c, 40, 61, f, (k, k), {"stride": s, "padding": k // 2})
                      for c, f in ((5, 33), (4, 64), (40, 3)) for k in (1, 2, 3, 7) for s in (3, 4)],
    "few channels of the image with steps": [
        (1, c, 21, 37, 6, (k, 3), {"stride": s, "dilation": d, "padding": d})
        for c in (1, 2, 3) for k in (1, 2, 5) for s in (1, 2, 3, 4) for d in (1, 2, 3)
    ],
    "stride over size": [(1, 2, 3, 2, 18, (2, 2), {"stride": 6})],
    "one tap": [(2, 5, 7, 9, 33, (1, 1), {"stride": s, "padding": p}) for s in (1, 2, 3) for p in (0, 1)],
    "few channels": [(2, 4, 11, 13, f, (3, 5), {"padding": 1}) for f in range(1, 14)],
    "few channels with steps": [
        (1, 4, 11, 13, f, (3, 5), {"stride": s, "dilation": 2, "padding": 3}) for f in (2, 5) for s in (1, 2, 3)
    ],
    "one channel": [(1, c, h, 18, 1, (k, 3), {}) for c in (1, 5) for k in (2, 3, 5, 7) for h in (8, 22, 35)],
    "narrow with one channel": [(1, 3, 9, w, 1, (3, 3), {"padding": 1}) for w in (1, 2, 7, 15, 16, 17)],
    "groups": [
        (2, 12, 6, 7, 12, (3, 3), {"groups": g, "stride": s, "padding": 1}) for g in (2, 3, 12) for s in (1, 2)
    ],
    "blocks of rows": [(1, 64, 40, 40, 17, (3, 3), {"padding": 1}), (1, 64, 60, 40, 5, (3, 3), {"stride": 2})],
    "blocks of columns": [(1, 40, 4, 500, 17, (3, 3), {"padding": 1}), (1, 40, 4, 700, 4, (3, 3), {"stride": 3})],
    "passes over channels": [(1, 600, 4, 5, 40, (3, 3), {"padding": 1}), (1, 600, 4, 5, 40, (3, 3), {"dilation": 2, "padding": 2})],
    "rectangular": [(1, 3, 1, 40, 20, (1, 7), {}), (1, 3, 40, 1, 20, (7, 1), {})],
    "no images": [(0, 3, 8, 8, 20, (3, 3), {})],
}  # fmt: skip


def integers(shape, dtype, rng):
    return rng.integers(-4, 5, shape).astype(dtype)


def case(N, C, H, W, FN, kernel, options, dtype, activation=None, bias=True):
    """(Problem, x, w, b, dout) of small integers: every sum is exact in any order."""
    rng = np.random.default_rng(0)
    options = ONE | options
    x = integers((N, C, H, W), dtype, rng)
    w = integers((FN, C // options["groups"], *kernel), dtype, rng)
    b = integers(FN, dtype, rng) if bias else None
    p, x, w, b = _check.conv2d(x, w, b, *(options[k] for k in ONE), activation)
    return p, x, w, b, integers(p.out_shape, dtype, rng)


def forward(module, p, x, w, b):
    out = np.full(p.out_shape, np.nan, p.dtype)
    module.forward(out, x, w, b, p)
    return out


def backward_data(module, p, dout, w):
    dx = np.full(p.x_shape, np.nan, p.dtype)
    module.backward_data(dx, dout, w, p)
    return dx


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_against_reference(compiled, name, dtype):
    for index, problem in enumerate(PROBLEMS[name]):
        activation, bias = ("relu" if index % 2 else None), index % 3 > 0
        p, x, w, b, dout = case(*problem, dtype, activation, bias)
        np.testing.assert_array_equal(forward(compiled, p, x, w, b), forward(ref, p, x, w, b), str(problem))
        np.testing.assert_array_equal(backward_data(compiled, p, dout, w), backward_data(ref, p, dout, w), str(problem))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("N", [1, 3])
def test_split_among_threads(compiled, threads, N):
    before = fc.get_num_threads()
    fc.set_num_threads(threads)
    try:
        for problem in [(N, 24, 30, 30, 70, (3, 3), {"padding": 1}), (N, 200, 7, 7, 300, (3, 3), {"padding": 1}),
                        (N, 100, 30, 30, 100, (1, 1), {}), (N, 60, 30, 30, 3, (5, 5), {}),
                        (N, 60, 40, 40, 1, (5, 5), {}), (N, 40, 60, 60, 40, (3, 3), {"stride": 2})]:  # fmt: skip
            p, x, w, b, dout = case(*problem, np.float32)
            np.testing.assert_array_equal(forward(compiled, p, x, w, b), forward(ref, p, x, w, b))
            np.testing.assert_array_equal(backward_data(compiled, p, dout, w), backward_data(ref, p, dout, w))
    finally:
        fc.set_num_threads(before)


@pytest.mark.parametrize("shape", [s for s in SPEED["conv2d"] if s.N * s.H * s.C <= 100 * 32 * 16], ids=str)
def test_against_torch(compiled, shape):
    """Shapes of real networks, normal numbers."""
    x, w, b = shape.arrays(np.float32)
    p, x, w, b = _check.conv2d(x, w, b, **shape.options)
    tx, tw, tb = (torch.from_numpy(a).double().requires_grad_() for a in (x, w, b))
    ty = torch.nn.functional.conv2d(tx, tw, tb, shape.stride, shape.padding)
    np.testing.assert_allclose(forward(compiled, p, x, w, b), ty.detach(), rtol=1e-4, atol=2e-5)
    dout = np.random.default_rng(1).standard_normal(p.out_shape, np.float32)
    ty.backward(torch.from_numpy(dout).double())
    np.testing.assert_allclose(backward_data(compiled, p, dout, w), tx.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("FN", [1, 3, 40])
def test_nan_reaches_what_it_meets(compiled, FN):
    """A NaN in x makes every output NaN whose window holds it, ReLU or not, and no other."""
    p, x, w, b, dout = case(1, 3, 9, 20, FN, (3, 3), {"padding": 1}, np.float32, "relu")
    x[0, 1, 4, 10] = np.nan
    met = np.zeros((9, 20), bool)
    met[3:6, 9:12] = True
    assert (np.isnan(forward(compiled, p, x, w, b)) == met).all()


def test_arguments_are_left_alone(compiled):
    p, x, w, b, dout = case(2, 5, 9, 9, 20, (3, 3), {"padding": 1}, np.float32)
    copies = [a.copy() for a in (x, w, b, dout)]
    forward(compiled, p, x, w, b)
    backward_data(compiled, p, dout, w)
    for array, copy in zip((x, w, b, dout), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("problem", [(2, 3, 7, 5, 20, (3, 3), {"padding": 1}), (2, 3, 7, 5, 2, (3, 3), {"stride": 2}),
                                     (2, 20, 7, 5, 3, (1, 1), {}), (2, 3, 7, 5, 1, (3, 3), {})])  # fmt: skip
def test_nothing_is_written_or_read_beyond(compiled, problem):
    """Results and sources that lie between NaNs: neither touched nor used."""
    p, x, w, b, dout = case(*problem, np.float32)

    def between_nans(array):
        padded = np.full(array.size + 64, np.nan, array.dtype)
        inner = padded[32:-32].reshape(array.shape)
        inner[...] = array
        return inner, padded

    for module_call, shape, inputs in [
        (lambda out, x, w, b: compiled.forward(out, x, w, b, p), p.out_shape, (x, w, b)),
        (lambda dx, dout, w: compiled.backward_data(dx, dout, w, p), p.x_shape, (dout, w)),
    ]:
        inner, padded = between_nans(np.zeros(shape, np.float32))
        module_call(inner, *(between_nans(a)[0] for a in inputs))
        assert np.isnan(padded[:32]).all() and np.isnan(padded[-32:]).all()
        assert not np.isnan(inner).any()
