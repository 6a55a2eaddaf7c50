"""What is not finite, denormal, tiny or huge, through every operation of every backend, against float64: NaN and
infinities in the same places, everything else right. docs/numerics.md is the promise. The instruction set is the one
that FASTCONV_ISA names; Winograd's kernels have more in kernels/test_winograd_numbers.py."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv import ops

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

BACKENDS = ["cython", "numpy", pytest.param("numba", marks=pytest.mark.numba)]
LANES = [7, 8, 9, 15, 16, 17]  # channels: the lane counts of float32 and float64, and one more and less
NOT_FINITE = ["nan", "inf", "-inf", "mixed"]
IN_RANGE = ["denormal", "tiny", "small", "large", "zeros", "offset"]


def filled(kind, shape, dtype, rng):
    x = rng.standard_normal(shape)
    single = dtype == np.float32
    flat = x.reshape(-1)
    some = max(1, x.size // 40)
    if kind == "mixed":
        for value in (np.nan, np.inf, -np.inf):
            flat[rng.integers(0, x.size, some)] = value
    elif kind in NOT_FINITE:
        flat[rng.integers(0, x.size, some)] = float(kind)
    elif kind == "zeros":
        x = np.where(x > 0, 0.0, -0.0)
    elif kind == "offset":
        x = x + np.sign(rng.standard_normal(shape)) * 1e4
    elif kind == "largest":
        x = np.sign(x) * float(np.finfo(dtype).max)
    elif kind != "normal":
        scale = {"denormal": (1e-40, 1e-310), "tiny": (1e-38, 1e-307), "small": (1e-20, 1e-150), "large": (1e30, 1e290)}
        x = x * scale[kind][0 if single else 1]
    return x.astype(dtype)


@dataclass
class Op:
    """shapes: of its arrays, for a number of channels. bad: which of them hold what is not finite; the first of these
    alone is large or small, so that products stay in range. exact: it adds nothing up, and takes numbers of any size."""

    shapes: Any
    call: Any
    bad: tuple[int, ...] = (0,)
    exact: bool = False


def arrays(*shapes):
    return lambda C: [tuple(C if n == "C" else C + 1 if n == "C+1" else n for n in shape) for shape in shapes]


def convolution(size, stride=1, padding=0, dilation=1, depthwise=False):
    """Forward with and without ReLU, and the gradients."""
    geometry = stride, padding, dilation
    OH, OW = ((n + 2 * padding - dilation * (size - 1) - 1) // stride + 1 for n in (12, 11))
    FN, image = "C" if depthwise else "C+1", (1, "C", 12, 11)
    filters, dout = (FN, 1 if depthwise else "C", size, size), (1, FN, OH, OW)

    def groups(x):
        return x.shape[1] if depthwise else 1

    forward = arrays(image, filters, (FN,))
    backward = arrays(dout, image, filters)

    def gradients(d, x, w):
        return fc.conv2d_backward(d, x, w, *geometry, groups(x))

    return {
        "": Op(forward, lambda x, w, b: fc.conv2d(x, w, b, *geometry, groups(x))),
        " relu": Op(forward, lambda x, w, b: fc.conv2d(x, w, b, *geometry, groups(x), activation="relu")),
        " backward": Op(backward, gradients, (0, 1)),
        " backward of x": Op(backward, gradients, (1,)),
    }


def update(name, states, **hyper):
    def call(param, grad):
        param = param.copy()
        state = [np.zeros_like(param) for _ in range(states)]
        getattr(ops, f"{name}_update")([param], [grad], *([s] for s in state), **hyper)
        return (param, *state)

    return Op(arrays((3, "C"), (3, "C")), call, (1,))


def labels(x):
    return np.arange(len(x)) % x.shape[1]


def probabilities(y):
    return np.abs(y) / 9  # magnitudes of a softmax's result; what is not finite stays so


ONE, TWO = arrays((5, "C")), arrays((5, "C"), (5, "C"))
IMAGES = arrays((2, 3, 9, "C"))
OPS = {
    **{name: Op(ONE, getattr(fc, name), exact=True) for name in ("relu", "leaky_relu", "sigmoid", "tanh")},
    **{
        f"{name} backward": Op(TWO, getattr(fc, f"{name}_backward"), (0, 1), exact=True)
        for name in ("relu", "leaky_relu")
    },
    "sigmoid backward": Op(TWO, lambda d, y: fc.sigmoid_backward(d, probabilities(y)), (0, 1)),
    "tanh backward": Op(TWO, lambda d, y: fc.tanh_backward(d, probabilities(y)), (0, 1)),
    "softmax": Op(ONE, fc.softmax),
    "softmax of columns": Op(ONE, lambda x: fc.softmax(x, 0)),
    "softmax backward": Op(TWO, lambda d, y: fc.softmax_backward(d, probabilities(y)), (0, 1)),
    "log_softmax": Op(ONE, fc.log_softmax),
    "log_softmax backward": Op(TWO, lambda d, y: fc.log_softmax_backward(d, -np.abs(y)), (0, 1)),
    "softmax_cross_entropy": Op(ONE, lambda x: fc.softmax_cross_entropy(x, labels(x))),
    "softmax_cross_entropy, one-hot": Op(
        ONE, lambda x: fc.softmax_cross_entropy(x, np.eye(x.shape[1], dtype=x.dtype)[labels(x)])
    ),
    "softmax_cross_entropy backward": Op(ONE, lambda y: fc.softmax_cross_entropy_backward(y, labels(y))),
    "nll_loss": Op(ONE, lambda y: fc.nll_loss(y, labels(y))),
    "mean_squared_error backward": Op(TWO, lambda y, t: fc.mean_squared_error_backward(y, t, "mean"), (0, 1)),
    "dropout": Op(ONE, lambda x: fc.dropout(x, 0.25, 3)),
    "dropout backward": Op(ONE, lambda d: fc.dropout_backward(d, np.arange(d.size).reshape(d.shape) % 3 > 0, 0.25)),
    "max_pool2d 2": Op(IMAGES, lambda x: fc.max_pool2d(x, 2), exact=True),
    "max_pool2d 3/2": Op(IMAGES, lambda x: fc.max_pool2d(x, 3, 2, 1), exact=True),
    "min_pool2d": Op(IMAGES, lambda x: fc.min_pool2d(x, 3, 1), exact=True),
    "avg_pool2d 2": Op(IMAGES, lambda x: fc.avg_pool2d(x, 2)),
    "avg_pool2d 3/2": Op(IMAGES, lambda x: fc.avg_pool2d(x, 3, 2, 1)),
    "avg_pool2d backward 2": Op(
        arrays((2, 3, 4, "C")), lambda d: fc.avg_pool2d_backward(d, (2, 3, 8, 2 * d.shape[3]), 2)
    ),
    "avg_pool2d backward 3/2": Op(
        arrays((2, 3, 5, "C")), lambda d: fc.avg_pool2d_backward(d, (2, 3, 9, 2 * d.shape[3] - 1), 3, 2, 1)
    ),
    "global_avg_pool2d": Op(IMAGES, fc.global_avg_pool2d),
    "adaptive_avg_pool2d": Op(IMAGES, lambda x: fc.adaptive_avg_pool2d(x, 3)),
    "affine": Op(arrays((5, "C"), ("C", "C+1"), ("C+1",)), fc.affine, (0, 1)),
    "affine relu": Op(arrays((5, "C"), ("C", "C+1")), lambda x, w: fc.affine(x, w, activation="relu"), (0, 1)),
    "affine backward": Op(arrays((5, "C+1"), (5, "C"), ("C", "C+1")), fc.affine_backward, (0, 1, 2)),
    "im2col": Op(arrays((1, "C", 8, 9)), lambda x: fc.im2col(x, 3, 3, 1, 1), exact=True),
    "sgd": update("sgd", 0, lr=0.1, weight_decay=0.1),
    "momentum": update("momentum", 1, lr=0.1, momentum=0.9),
    "nesterov": update("nesterov", 1, lr=0.1, momentum=0.9),
    "adagrad": update("adagrad", 1, lr=0.1),
    "rmsprop": update("rmsprop", 1, lr=0.1, decay=0.9),
    "adadelta": update("adadelta", 2),
    "adam": update("adam", 2, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, step=1),
    **{
        f"conv2d {name}{part}": op
        for name, family in {
            "1x1": convolution(1),
            "2x2": convolution(2),
            "3x3": convolution(3, 1, 1),
            "3x3/2": convolution(3, 2, 1),
            "3x3 dilated": convolution(3, 1, 2, 2),
            "5x5": convolution(5, 1, 2),
            "7x7/2": convolution(7, 2, 3),
            "depthwise": convolution(3, 1, 1, depthwise=True),
        }.items()
        for part, op in family.items()
    },
    "conv2d of bad filters": Op(
        arrays(("C+1", "C", 3, 3), (1, "C", 12, 11), ("C+1",)), lambda w, x, b: fc.conv2d(x, w, b), (0, 2)
    ),
    "conv_transpose2d": Op(
        arrays((1, "C", 6, 7), ("C", "C+1", 3, 3)), lambda x, w: fc.conv_transpose2d(x, w, None, 2, 1), (0,)
    ),
}
SQUARES = ("adagrad", "rmsprop", "adadelta", "adam")  # of gradients, which overflow from 1.8e19 on


def results(op, given, backend):
    with fc.backend(backend):
        got = op.call(*given)
    return [np.asarray(a) for a in (got if isinstance(got, tuple) else (got,)) if a is not None]


@cache
def problem(name, kind, C, dtype):
    """Arrays, and what float64 makes of them."""
    op, rng = OPS[name], np.random.default_rng(C)
    which = op.bad if kind in NOT_FINITE else op.bad[:1]
    given = [filled(kind if i in which else "normal", s, dtype, rng) for i, s in enumerate(op.shapes(C))]
    return given, results(op, [a.astype(np.float64) for a in given], "numpy")


def compare(name, kind, C, dtype, backend):
    given, exact = problem(name, kind, C, dtype)
    single = dtype == np.float32
    for got, wide in zip(results(OPS[name], given, backend), exact, strict=True):
        expected = wide.astype(got.dtype)
        said = f"{kind}, {C} channels, {np.dtype(dtype)}"
        if got.dtype.kind != "f":
            np.testing.assert_array_equal(got, expected, said)
            continue
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), said)
        infinite = np.isinf(expected)
        np.testing.assert_array_equal(np.isinf(got), infinite, said)
        np.testing.assert_array_equal(got[infinite], expected[infinite], said)
        finite = np.isfinite(expected)
        if finite.any():
            largest = np.abs(wide[finite]).max() or 1.0
            scale = largest * np.sqrt(np.mean((wide[finite] / largest) ** 2))
            rounding = 1e-42 if single else 1e-320  # of denormal numbers, which are 1.4e-45 and 4.9e-324 apart
            error = np.abs(got[finite] - wide[finite]).max()
            assert error <= (1e-5 if single else 1e-10) * scale + rounding, said


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_against_float64(name, backend):
    reason = fc.backends()[backend]
    if reason:
        pytest.skip(reason)
    op = OPS[name]
    kinds = [k for k in (*NOT_FINITE, *IN_RANGE) if not (k == "large" and name in SQUARES)]
    for kind in [*kinds, "largest"] if op.exact else kinds:
        for C in LANES:
            compare(name, kind, C, np.float32, backend)
        for C in LANES[:3] if kind != "largest" else ():
            compare(name, kind, C, np.float64, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_scores_of_any_size(name, backend):
    """Largest and smallest numbers side by side: a probability of 1 and 0, and no NaN."""
    if fc.backends()[backend]:
        pytest.skip(fc.backends()[backend])
    for C in LANES:
        x = np.full((3, C), -np.finfo(np.float32).max, np.float32)
        x[:, 2] = np.finfo(np.float32).max
        with fc.backend(backend):
            y = getattr(fc, name)(x)
        likely = np.arange(C) == 2
        np.testing.assert_array_equal(y[:, likely], 1 if name == "softmax" else 0)
        np.testing.assert_array_equal(y[:, ~likely], 0 if name == "softmax" else -np.inf)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SQUARES)
def test_squares_of_gradients_that_overflow_give_no_nan(name, backend):
    """The step is too small then (0, or AdaDelta's), as float32's formula has it; the parameters stay finite."""
    if fc.backends()[backend]:
        pytest.skip(fc.backends()[backend])
    for C in LANES:
        for size in (1e20, 3e38):
            param, grad = np.ones((3, C), np.float32), np.full((3, C), size, np.float32)
            param, *states = results(OPS[name], (param, grad), backend)
            assert np.isfinite(param).all()
            assert not any(np.isnan(s).any() for s in states)


@pytest.mark.parametrize("backend", BACKENDS)
def test_denormal_numbers_are_kept(backend):
    if fc.backends()[backend]:
        pytest.skip(fc.backends()[backend])
    for dtype in (np.float32, np.float64):
        smallest = np.finfo(dtype).smallest_subnormal
        x = np.full((2, 17), smallest, dtype)
        with fc.backend(backend):
            np.testing.assert_array_equal(fc.relu(x), x)
            np.testing.assert_array_equal(fc.affine(x, np.ones((17, 3), dtype)), np.full((2, 3), 17 * smallest))
            image = x.reshape(1, 1, 2, 17)
            np.testing.assert_array_equal(
                fc.conv2d(image, np.ones((1, 1, 2, 2), dtype)), np.full((1, 1, 1, 16), 4 * smallest)
            )
            np.testing.assert_array_equal(fc.max_pool2d(image, 2)[0], np.full((1, 1, 1, 8), smallest))
