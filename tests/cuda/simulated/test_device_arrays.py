"""Device arrays through the same operations: results stay on the device, and nothing mixes."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.kernels._cuda import arrays, pool
from fastconv.testing import normal

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

X, W, B = normal((2, 3, 6, 5), np.float32), normal((4, 3, 3, 3), np.float32, 1), normal(4, np.float32, 2)
DOUT = normal((2, 4, 6, 5), np.float32, 3)
ROWS, WEIGHT, BIAS = normal((3, 7), np.float32), normal((7, 5), np.float32, 1), normal(5, np.float32, 2)
TARGETS = np.array([1, 4, 0])
with fc.backend("numpy"):
    Y, INDICES = fc.max_pool2d(X, 2)
    COL = fc.im2col(X, 3, 2)
C3 = normal(3, np.float32, 4), normal(3, np.float32, 5), np.zeros(3, np.float32), np.ones(3, np.float32)

CALLS = {
    "im2col": (fc.im2col, X, 3, 2),
    "col2im": (fc.col2im, COL, X.shape, 3, 2),
    "conv2d": (fc.conv2d, X, W, B, 1, 1),
    "conv2d unbatched": (fc.conv2d, X[0], W, B, 1, 1),
    "conv2d_backward": (fc.conv2d_backward, DOUT, X, W, 1, 1),
    "depthwise": (fc.conv2d, X, W[:3, :1].copy(), None, 1, 1, 1, 3),
    "conv_transpose2d": (fc.conv_transpose2d, DOUT, W, C3[0], 1, 1),
    "conv_transpose2d_backward": (fc.conv_transpose2d_backward, X, DOUT, W, 1, 1),
    "max_pool2d": (fc.max_pool2d, X, 2),
    "max_pool2d_backward": (fc.max_pool2d_backward, Y, INDICES, X.shape, 2),
    "min_pool2d": (fc.min_pool2d, X, 2),
    "avg_pool2d": (fc.avg_pool2d, X, 2),
    "avg_pool2d_backward": (fc.avg_pool2d_backward, Y, X.shape, 2),
    "global_avg_pool2d": (fc.global_avg_pool2d, X),
    "adaptive_avg_pool2d_backward": (fc.adaptive_avg_pool2d_backward, Y, X.shape),
    "stochastic_pool2d": (lambda x: fc.stochastic_pool2d(x, 2, rng=1), X),
    "affine": (fc.affine, ROWS, WEIGHT, BIAS),
    "affine of images": (fc.affine, X, normal((90, 4), np.float32)),
    "affine_backward": (fc.affine_backward, normal((3, 5), np.float32), ROWS, WEIGHT),
    "linear": (fc.linear, ROWS, WEIGHT.T.copy()),
    "relu": (fc.relu, X),
    "sigmoid_backward": (fc.sigmoid_backward, X, X),
    "softmax": (fc.softmax, X, 1),
    "log_softmax_backward": (fc.log_softmax_backward, X, X),
    "softmax_cross_entropy": (fc.softmax_cross_entropy, ROWS, TARGETS),
    "softmax_cross_entropy_backward": (fc.softmax_cross_entropy_backward, np.abs(ROWS), TARGETS),
    "softmax_cross_entropy, soft": (fc.softmax_cross_entropy, ROWS, np.abs(ROWS)),
    "dropout": (lambda x: fc.dropout(x, 0.4, 3), X),
    "dropout_backward": (fc.dropout_backward, X, X > 0, 0.4),
}


def moved(a):
    return fc.to_device(a) if isinstance(a, np.ndarray) else a


def everything(result):
    return [r for r in (result if isinstance(result, tuple) else (result,)) if r is not None]


@pytest.mark.parametrize("name", CALLS)
def test_results_stay_on_the_device(name):
    call, *args = CALLS[name]
    with fc.backend("numpy"):
        expected = everything(call(*args))
    got = everything(call(*map(moved, args)))
    for a, b in zip(got, expected, strict=True):
        assert isinstance(a, arrays.DeviceArray)
        assert a.shape == np.shape(b) and a.dtype == np.asarray(b).dtype
        np.testing.assert_allclose(fc.to_host(a), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training):
    dout, results = normal(X.shape, np.float32, 6), []
    for move in (lambda a: a.copy(), fc.to_device):
        x, gamma, beta, *running = map(move, (X, *C3))
        y, cache = fc.batch_norm(x, gamma, beta, *running, training)
        results.append([fc.to_host(a).copy() for a in (y, *running, *fc.batch_norm_backward(move(dout), cache))])
        plain, _ = fc.batch_norm(x, None, None, *running, training)
        results[-1].append(fc.to_host(plain))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_updates_in_place():
    shapes = [(3, 4), (70,)]
    lists = [[np.abs(normal(s, np.float32, 5 * j + i)) for i, s in enumerate(shapes)] for j in range(4)]
    there = [[fc.to_device(a) for a in group] for group in lists]
    rates = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 1}
    fc.adam_update(*lists, **rates)
    fc.adam_update(*there, **rates)
    for group, moved_group in zip(lists, there, strict=True):
        for a, b in zip(group, moved_group, strict=True):
            np.testing.assert_allclose(fc.to_host(b), a, rtol=1e-5)


def test_arrays_on_two_devices_are_an_error():
    for call in (
        lambda: fc.conv2d(fc.to_device(X), W),
        lambda: fc.conv2d_backward(DOUT, fc.to_device(X), fc.to_device(W), 1, 1),
        lambda: fc.batch_norm(fc.to_device(X), *C3),
        lambda: fc.max_pool2d_backward(fc.to_device(Y), INDICES, X.shape, 2),
        lambda: fc.softmax_cross_entropy(ROWS, fc.to_device(TARGETS)),
        lambda: fc.sgd_update([fc.to_device(B)], [B], lr=0.1),
    ):
        with pytest.raises(TypeError, match=r"one device.*fastconv.to_device"):
            call()


def test_what_a_device_array_refuses():
    a = fc.to_device(X)
    with pytest.raises(TypeError, match="to_host"):
        np.asarray(a)
    with pytest.raises(TypeError, match="out: expected None"):
        fc.conv2d(a, fc.to_device(W), padding=1, out=np.empty(DOUT.shape, np.float32))
    with pytest.raises(ValueError, match="cannot reshape"):
        a.reshape(7, 7)
    with pytest.raises(IndexError, match="without steps"):
        a[::2]
    with pytest.raises(IndexError, match="outside"):
        a[2]
    with fc.backend("cython"), pytest.raises(RuntimeError, match="the arrays are on cuda"):
        fc.relu(a)


def test_views_and_arithmetic():
    a = fc.to_device(X)
    for view, expected in ((a[1], X[1]), (a[0:1], X[:1]), (a[None], X[None]), (a.reshape(2, -1), X.reshape(2, -1))):
        np.testing.assert_array_equal(fc.to_host(view), expected)
    np.testing.assert_array_equal(fc.to_host(-a), -X)
    np.testing.assert_array_equal(fc.to_host(2 * a + a), 2 * X + X)
    np.testing.assert_array_equal(fc.to_host(a.astype(np.float64)), X.astype(np.float64))
    assert a.astype(np.float32, copy=False) is a and len(a) == 2 and a.nbytes == X.nbytes
    b = a.copy()
    b[...] = -a
    np.testing.assert_array_equal(fc.to_host(b), -X)
    assert "float32" in repr(a) and float(fc.to_device(np.float64(3))) == 3
    assert fc.to_device(np.empty((0, 3))).copy_to_host().shape == (0, 3)


def test_memory_goes_back_to_the_pool_when_its_last_view_is_gone():
    pool.empty_cache()
    a = arrays.empty((100,), np.float32)
    view, buffer = a.reshape(10, 10), a.block.buffer
    del a
    assert arrays.empty((100,), np.float32).block.buffer is not buffer
    del view
    assert arrays.empty((90,), np.float32).block.buffer is buffer


def test_launches_on_another_stream():
    from fastconv.kernels._cuda.shim import cuda

    a = fc.to_device(X)
    with fc.cuda_stream(cuda.stream()):
        np.testing.assert_array_equal(fc.to_host(fc.relu(a)), np.maximum(X, 0))
    assert arrays.stream.get() == 0


def test_items_by_number():
    a = fc.to_device(ROWS)
    np.testing.assert_array_equal(fc.to_host(a[np.array([2, 0, 2])]), ROWS[[2, 0, 2]])
    with pytest.raises(IndexError, match="from 0 to 2"):
        a[np.array([3])]
