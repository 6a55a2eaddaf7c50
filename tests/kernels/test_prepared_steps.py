"""Prepared steps against the kernels that they are prepared from, and chains of them."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import _check as check
from fastconv import _dispatch
from fastconv._table import TABLE
from fastconv.kernels.chain.cy import Chain
from fastconv.testing import CASES, DTYPES, assert_close, kernels, normal, tolerance

PREPARED = [row.prepare for rows in TABLE.values() for row in rows if row.prepare]


@pytest.mark.parametrize("prepare", sorted(set(PREPARED)))
def test_what_the_table_names_exists(prepare):
    assert callable(_dispatch.load(prepare))


def run(kernel, weights, p, x, shape):
    step = _dispatch.load(kernel.row.prepare)(*weights, p)
    return Chain([step], x, shape)(x)


def kernels_with_steps(op):
    return [k for k in kernels(op) if k.row.prepare]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES["conv2d"], ids=str)
@pytest.mark.parametrize("kernel", kernels_with_steps("conv2d_forward"), ids=str)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_convolution(kernel, case, dtype, activation):
    x, w, b = case.arrays(dtype)
    p, x, w, b = check.conv2d(x, w, b, **case.options, activation=activation)
    if kernel.refuses(p) or p.N == 0:
        pytest.skip(kernel.refuses(p) or "a chain is prepared from some images")
    expected = np.full(p.out_shape, np.nan, dtype)
    kernel(expected, x, w, b, p)
    assert_close(run(kernel, (w, b), p, x, p.out_shape), expected, tolerance(dtype, np.prod(w.shape[1:])))
    kernel(expected, x, w, None, p)
    assert_close(run(kernel, (w, None), p, x, p.out_shape), expected, tolerance(dtype, np.prod(w.shape[1:])))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(3, 4, 8, 8), (2, 3, 9, 7), (1, 2, 33, 34), (5, 1, 2, 2), (2, 2, 40, 66), (2, 5, 3, 3)]
)
@pytest.mark.parametrize(
    "window",
    [(2,), (2, 2, 1), (2, 1), (3, 2, 1), (3,), ((2, 3), (2, 1)), (2, 3), (2, 2, 0, 1, True), (2, 2, 0, 2)],
    ids=str,
)
def test_maxima_are_those_with_indices(window, shape, dtype):
    x = normal(shape, dtype)
    x.reshape(-1)[::7] = np.nan
    x.reshape(-1)[::5] = -np.inf
    x.reshape(-1)[::11] = np.inf
    try:
        p, x = check.max_pool2d(x, *window)
    except ValueError as error:
        pytest.skip(str(error))
    (kernel,) = kernels_with_steps("max_pool2d_forward")
    expected, _ = fc.max_pool2d(x, *window)
    np.testing.assert_array_equal(run(kernel, (), p, x, p.out_shape), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 0.25, 0.3])
@pytest.mark.parametrize("N", [1, 7, 100])
def test_affine_maps_with_a_scale(N, scale, dtype):
    x, w, b = normal((N, 37), dtype), normal((37, 21), dtype, 1), normal(21, dtype, 2)
    p, x, w, b = check.affine(x, w, b, "relu")
    step = _dispatch.prepare("affine_forward", p)(w, b, p, scale)
    np.testing.assert_array_equal(Chain([step], x, (N, 21))(x), fc.affine(x, w, b, activation="relu") * dtype(scale))
    w *= 2  # read in place
    np.testing.assert_array_equal(Chain([step], x, (N, 21))(x), fc.affine(x, w, b, activation="relu") * dtype(scale))


def stages(dtype, N):
    """An input, the operations' result, and the same operations as steps: planes shrink, so there are several stages."""
    x = y = normal((N, 3, 40, 40), dtype)
    steps = []
    for C, FN in ((3, 24), (24, 40)):
        w, b = normal((FN, C, 3, 3), dtype, C) / dtype(5), normal(FN, dtype, FN)
        p = check.conv2d(y, w, b, activation="relu")[0]
        steps.append(_dispatch.prepare("conv2d_forward", p)(w, b, p))
        p = check.max_pool2d(y := fc.conv2d(y, w, b, activation="relu"), 2)[0]
        steps.append(_dispatch.prepare("max_pool2d_forward", p)(p))
        y = fc.max_pool2d(y, 2)[0]
    p = check.elementwise(y)[0]
    steps.append(_dispatch.prepare("tanh_forward", p)(p, y[0].size))
    y = fc.tanh(y)
    for M in (30, 6):
        w, b = normal((y[0].size, M), dtype, M) / dtype(50), normal(M, dtype, 3)
        p = check.affine(y, w, b)[0]
        steps.append(_dispatch.prepare("affine_forward", p)(w, b, p))
        y = fc.affine(y, w, b)
    return x, y, steps


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("N", [1, 2, 7, 8, 9, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_chains_of_any_number_of_images_and_threads(N, dtype, threads):
    before = fc.get_num_threads()
    try:
        fc.set_num_threads(threads)
        x, expected, steps = stages(dtype, N)
        for _ in range(3):
            assert_close(Chain(steps, x, expected.shape)(x), expected, tolerance(dtype, 3000))
    finally:
        fc.set_num_threads(before)


def test_a_chain_takes_what_it_was_made_for():
    x, expected, steps = stages(np.float32, 2)
    chain = Chain(steps, x, expected.shape)
    frozen = x.copy()
    frozen.flags.writeable = False
    assert_close(chain(frozen), expected, 1e-4)
    for other in (x.astype(np.float64), x[:1], x[:, :, ::-1], x[0], x.tolist(), None):
        assert chain(other) is None
