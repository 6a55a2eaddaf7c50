"""Any array NumPy can hold: strides, byte order, read-only, zero-size, dtypes; inputs are never modified."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.testing import normal

X = normal((2, 4, 8, 8), np.float64)
W4 = normal((6, 4, 3, 3), np.float64, 1)
B = normal(6, np.float64, 2)
DOUT = normal((2, 6, 6, 6), np.float64, 3)
Y, INDICES = fc.max_pool2d(X, 2)
M, W2 = normal((5, 7), np.float64, 4), normal((7, 3), np.float64, 5)
LABELS = np.array([0, 2, 1, 0, 2])

CALLS = {
    "conv2d": (fc.conv2d, X, W4, B),
    "conv2d_backward": (fc.conv2d_backward, DOUT, X, W4),
    "conv_transpose2d": (fc.conv_transpose2d, DOUT, W4),
    "im2col": (lambda x: fc.im2col(x, 3, 3), X),
    "col2im": (lambda c: fc.col2im(c, X.shape, 3, 3), fc.im2col(X, 3, 3)),
    "max_pool2d": (lambda x: fc.max_pool2d(x, 2), X),
    "max_pool2d_backward": (lambda d, i: fc.max_pool2d_backward(d, i, X.shape, 2), Y, INDICES),
    "avg_pool2d": (lambda x: fc.avg_pool2d(x, 2), X),
    "avg_pool2d_backward": (lambda d: fc.avg_pool2d_backward(d, X.shape, 2), Y),
    "adaptive_avg_pool2d": (lambda x: fc.adaptive_avg_pool2d(x, 3), X),
    "affine": (fc.affine, M, W2),
    "affine_backward": (fc.affine_backward, normal((5, 3), np.float64), M, W2),
    "batch_norm": (lambda x, g, b: fc.batch_norm(x, g, b, None, None, True)[0], X, B[:4], B[2:]),
    "relu": (fc.relu, X),
    "relu_backward": (fc.relu_backward, X, X + 1),
    "leaky_relu": (fc.leaky_relu, X),
    "sigmoid": (fc.sigmoid, X),
    "tanh": (fc.tanh, X),
    "relu6": (fc.relu6, X),
    "hard_sigmoid": (fc.hard_sigmoid, X),
    "hard_swish": (fc.hard_swish, X),
    "silu": (fc.silu, X),
    "silu_backward": (fc.silu_backward, X, X + 1),
    "gelu": (fc.gelu, X),
    "gelu_backward": (fc.gelu_backward, X, X + 1),
    "softmax": (fc.softmax, M),
    "log_softmax": (lambda x: fc.log_softmax(x, 0), M),
    "softmax_cross_entropy": (fc.softmax_cross_entropy, M, LABELS),
    "dropout": (lambda x: fc.dropout(x, 0.5, 0), X),
    "mean_squared_error": (fc.mean_squared_error, M, M + 1),
}


def flat(result):
    """A call's results as a flat list of arrays."""
    return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,)) if r is not None]


def same(actual, expected):
    for a, e in zip(flat(actual), flat(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


def strided(a):
    """The same numbers behind reversed, gapped strides."""
    wide = np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::-2] = a
    return wide[..., ::-2]


def frozen(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    """The same numbers at an odd address."""
    raw = np.empty(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


LAYOUTS = {
    "strided": strided,
    "fortran": np.asfortranarray,
    "read-only": frozen,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder(">")) if a.dtype.kind == "f" else a,
    "unaligned": unaligned,
    "broadcast": lambda a: np.broadcast_to(a, a.shape),
    "list": lambda a: a.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("call", CALLS)
def test_every_layout_gives_the_same(call, layout):
    function, *arrays = CALLS[call]
    if layout == "list" and call == "affine_backward":
        arrays = [LAYOUTS[layout](arrays[0]), *arrays[1:]]
    else:
        arrays = [LAYOUTS[layout](a) for a in arrays]
    same(function(*arrays), CALLS[call][0](*CALLS[call][1:]))


@pytest.mark.parametrize("call", CALLS)
def test_inputs_are_not_modified(call):
    function, *arrays = CALLS[call]
    copies = [a.copy() for a in arrays]
    results = flat(function(*arrays))
    for a, c in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, c)
    for r in results:
        assert not any(np.shares_memory(r, a) for a in arrays)
        if r.ndim:
            r[...] = 0  # results belong to the caller
    for a, c in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("dtypes, expected", [
    (("f4", "f4"), "f4"), (("f4", "f8"), "f8"), (("f8", "f4"), "f8"), (("f2", "f2"), "f2"), (("f2", "f4"), "f4"),
    (("i4", "f4"), "f8"), (("u1", "f4"), "f4"), (("?", "f4"), "f4"), (("i8", "i8"), "f8"),
])  # fmt: skip
def test_dtype_promotion_is_numpys(dtypes, expected):
    x, w = np.ones((1, 2, 5, 5), dtypes[0]), np.ones((3, 2, 3, 3), dtypes[1])
    y = fc.conv2d(x, w)
    assert y.dtype == expected
    np.testing.assert_array_equal(y, np.full((1, 3, 3, 3), 18, expected))
    assert fc.affine(np.ones((2, 3), dtypes[0]), np.ones((3, 4), dtypes[1])).dtype == expected


def test_float16_computes_in_float32():
    x = np.full((1, 1, 1, 3000), 0.1, np.float16)
    w = np.ones((1, 1, 1, 3000), np.float16)
    y = fc.conv2d(x, w)
    assert y.dtype == np.float16
    assert abs(float(y[0, 0, 0, 0]) - 299.9) < 0.5
    for gradient in fc.conv2d_backward(y, x, w):
        assert gradient.dtype == np.float16


ZERO = np.zeros((0, 4, 8, 8), np.float32)


@pytest.mark.parametrize("call, shape", [
    (lambda: fc.conv2d(ZERO, W4), (0, 6, 6, 6)),
    (lambda: fc.conv2d_backward(np.zeros((0, 6, 6, 6)), ZERO, W4)[0], (0, 4, 8, 8)),
    (lambda: fc.max_pool2d(ZERO, 2)[0], (0, 4, 4, 4)),
    (lambda: fc.avg_pool2d(ZERO, 2), (0, 4, 4, 4)),
    (lambda: fc.im2col(ZERO, 3, 3), (0, 36)),
    (lambda: fc.affine(np.zeros((0, 7)), W2), (0, 3)),
    (lambda: fc.relu(ZERO), (0, 4, 8, 8)),
    (lambda: fc.softmax(np.zeros((0, 3))), (0, 3)),
    (lambda: fc.batch_norm(ZERO, None, None, np.zeros(4), np.ones(4))[0], (0, 4, 8, 8)),
])  # fmt: skip
def test_empty_batches(call, shape):
    assert call().shape == shape


def test_empty_batch_gradients_are_zero():
    _, dw, db = fc.conv2d_backward(np.zeros((0, 6, 6, 6)), ZERO, W4)
    assert not dw.any() and not db.any()
    _, dW, db = fc.affine_backward(np.zeros((0, 3)), np.zeros((0, 7)), W2)
    assert not dW.any() and not db.any()


def test_results_are_ordinary_arrays():
    y = fc.conv2d(X, W4)
    assert type(y) is np.ndarray and y.flags.owndata and y.flags.writeable and y.flags.c_contiguous
    y.resize((3, 3), refcheck=False)
    kept = [fc.conv2d(X, W4) for _ in range(50)]
    del y
    for k in kept[1:]:
        np.testing.assert_array_equal(k, kept[0])
