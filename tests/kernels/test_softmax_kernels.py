"""The compiled softmax family against the reference: every width of a line, NaN and infinities, soft targets."""

import numpy as np
import pytest

from fastconv import get_num_threads, set_num_threads
from fastconv._problem import CrossEntropy, Softmax
from fastconv.kernels.softmax import ref
from fastconv.testing import DTYPES, normal

LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 100, 1000]
SHAPES = [
    *((37, n, 1) for n in LENGTHS),
    *((3, 7, inner) for inner in [2, 3, 7, 8, 9, 15, 16, 17, 64, 127, 128, 129, 300]),
    (2, 500, 5),
    (1, 1, 40),
    (2000, 33, 1),
    (0, 3, 1),
    (3, 0, 1),
    (3, 0, 5),
    (3, 5, 0),
]


@pytest.fixture(params=[1, 3])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def nans(like):
    return np.full_like(like, np.nan)


def softmax_problem(shape, dtype):
    outer, n, inner = shape
    return Softmax(dtype=np.dtype(dtype), result_dtype=np.dtype(dtype), outer=outer, n=n, inner=inner)


def cross_entropy_problem(shape, dtype, labels):
    return CrossEntropy(dtype=np.dtype(dtype), result_dtype=np.dtype(dtype), N=shape[0], C=shape[1], labels=labels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax(compiled, shape, dtype, threads):
    x, dout, p = normal(shape, dtype) * 10, normal(shape, dtype, 1), softmax_problem(shape, dtype)
    eps = np.finfo(dtype).eps
    for log in ("", "log_"):
        got, expected = nans(x), nans(x)
        getattr(compiled, f"{log}forward")(got, x, p)
        getattr(ref, f"{log}forward")(expected, x, p)
        np.testing.assert_allclose(got, expected, rtol=16 * eps, atol=eps * (4 + np.sqrt(shape[1])) if log else 1e-37)
        dgot, dexpected = nans(x), nans(x)
        getattr(compiled, f"{log}backward")(dgot, dout, expected, p)
        getattr(ref, f"{log}backward")(dexpected, dout, expected, p)
        np.testing.assert_allclose(dgot, dexpected, rtol=16 * eps, atol=8 * eps * np.sqrt(1 + shape[1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [*((37, C) for C in LENGTHS), (1, 10), (4, 10), (16, 10), (33, 3), (3000, 10)], ids=str
)
def test_cross_entropy(compiled, shape, dtype, threads):
    N, C = shape
    x = normal(shape, dtype) * 10
    rng = np.random.default_rng(1)
    soft = rng.random(shape).astype(dtype)
    soft[soft < 0.3] = 0
    eps = np.finfo(dtype).eps
    for t in (rng.integers(0, C, N), soft):
        p = cross_entropy_problem(shape, dtype, t.ndim == 1)
        y, expected = nans(x), nans(x)
        loss = compiled.cross_entropy_forward(y, x, t, p)
        np.testing.assert_allclose(loss, ref.cross_entropy_forward(expected, x, t, p), rtol=16 * eps, atol=eps)
        np.testing.assert_allclose(y, expected, rtol=32 * eps, atol=1e-37)
        dx, dexpected = nans(x), nans(x)
        compiled.cross_entropy_backward(dx, expected, t, p)
        ref.cross_entropy_backward(dexpected, expected, t, p)
        np.testing.assert_allclose(dx, dexpected, rtol=8 * eps, atol=4 * eps * C / N)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("rows", [1, 5, 8, 16, 21])
def test_rows_are_written_alone_and_do_not_depend_on_others(compiled, rows, n):
    x = normal((rows, n), np.float32)
    memory = np.full(rows * n + 2 * 64, 7, np.float32)
    y = memory[64:-64].reshape(rows, n)
    compiled.forward(y, x, softmax_problem((rows, n, 1), np.float32))
    assert (memory[:64] == 7).all()
    assert (memory[-64:] == 7).all()
    for row in range(rows):
        alone = nans(x[row])
        compiled.forward(alone, x[row], softmax_problem((1, n, 1), np.float32))
        np.testing.assert_array_equal(y[row], alone)


def test_no_rows(compiled):
    empty, labels = np.empty((0, 5), np.float32), np.empty(0, np.int64)
    p = cross_entropy_problem((0, 5), np.float32, True)
    assert np.isnan(compiled.cross_entropy_forward(empty, empty, labels, p))
    compiled.cross_entropy_backward(empty, empty, labels, p)


@pytest.mark.parametrize("C", [3, 20, 200])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_as_in_the_reference(compiled, value, C):
    x = normal((20, C), np.float32)
    x[3, C // 2] = value
    x[7] = -np.inf
    results = []
    for kernels in (compiled, ref):
        with np.errstate(invalid="ignore", divide="ignore"):
            y, log_y = nans(x), nans(x)
            kernels.forward(y, x, softmax_problem((20, C, 1), np.float32))
            kernels.log_forward(log_y, x, softmax_problem((20, C, 1), np.float32))
            across = nans(x)
            kernels.forward(across, x, softmax_problem((1, 20, C), np.float32))
        results.append((y, log_y, across))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_target_of_zero_meets_minus_infinity(compiled):
    """A class that cannot be, and is not wanted, adds nothing to the loss; a wanted one makes it infinite."""
    x = np.array([[0, -np.inf, 0]], np.float64)
    y, p = nans(x), cross_entropy_problem((1, 3), np.float64, False)
    np.testing.assert_allclose(compiled.cross_entropy_forward(y, x, np.array([[1.0, 0, 0]]), p), np.log(2))
    assert compiled.cross_entropy_forward(y, x, np.array([[0.5, 0.5, 0]]), p) == np.inf


def test_confident_rows_keep_small_losses(compiled):
    x = np.array([[30.0, 0.0], [0.0, 30.0]])
    y, p = nans(x), cross_entropy_problem((2, 2), np.float64, True)
    np.testing.assert_allclose(
        compiled.cross_entropy_forward(y, x, np.array([0, 1]), p), np.log1p(np.exp(-30.0)), rtol=1e-2, atol=1e-15
    )
