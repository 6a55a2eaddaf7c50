"""Results are of the caller's family: made by its library's own pool, on its current stream.

The libraries are stand-ins with the interface of CuPy's and PyTorch's that is used; arrays lie in the host's memory.
"""

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import fastconv as fc
from fastconv import _families, optim
from fastconv.kernels._cuda import arrays
from fastconv.kernels._cuda.arrays import DeviceArray
from fastconv.networks import TwoLayerNet
from fastconv.testing import normal

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

X, W, B = normal((2, 3, 5, 4), np.float32), normal((4, 3, 3, 3), np.float32, 1), normal(4, np.float32, 2)
ROWS, WEIGHT = normal((3, 7), np.float32), normal((7, 5), np.float32, 1)
STREAM = 0xC0


def stand_in(name):
    """A module with arrays of its own, which counts those that it makes."""

    class Array:
        def __init__(self, numbers, owner=None):
            self.numbers, self.owner = numbers, owner

        shape = property(lambda self: self.numbers.shape)
        ndim = property(lambda self: self.numbers.ndim)
        dtype = property(lambda self: self.numbers.dtype)

        @property
        def __cuda_array_interface__(self):
            return {
                "version": 3,
                "shape": self.shape,
                "typestr": self.dtype.str,
                "data": (self.numbers.ctypes.data, False),
            }

        def reshape(self, *shape):
            return Array(self.numbers.reshape(*shape), self.owner)

    Array.__module__ = f"{name}._core"
    module = ModuleType(name)
    module.made, module.current = 0, 0

    def empty(shape, dtype, device="cuda"):
        module.made += 1
        return Array(np.full(shape, 7, dtype))

    def view(a, device="cuda"):
        of_a = a.__cuda_array_interface__
        dtype = np.dtype(of_a["typestr"])
        size = dtype.itemsize * int(np.prod(of_a["shape"]))
        raw = (ctypes.c_char * size).from_address(of_a["data"][0])
        return Array(np.frombuffer(raw, dtype).reshape(of_a["shape"]), owner=a)

    module.Array, module.empty, module.asarray, module.as_tensor = Array, empty, view, view
    for dtype in (np.float16, np.float32, np.float64, np.int64, np.bool_):
        setattr(module, np.dtype(dtype).name, dtype)

    def current_stream():
        return SimpleNamespace(ptr=module.current, cuda_stream=module.current)

    module.cuda = SimpleNamespace(get_current_stream=current_stream, current_stream=current_stream)
    return module


@pytest.fixture(params=sorted(_families.FAMILIES))
def library(request, monkeypatch):
    module = stand_in(request.param)
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


CALLS = {
    "conv2d": (fc.conv2d, X, W, B),
    "of one image": (fc.conv2d, X[0], W, B),
    "conv2d_backward": (fc.conv2d_backward, normal((2, 4, 3, 2), np.float32), X, W),
    "conv_transpose2d": (fc.conv_transpose2d, normal((2, 4, 3, 2), np.float32), W, B[:3]),
    "max_pool2d": (fc.max_pool2d, X, 2),
    "min_pool2d": (fc.min_pool2d, X, 2),
    "avg_pool2d": (fc.avg_pool2d, X, 2),
    "affine_backward": (fc.affine_backward, normal((3, 5), np.float32), ROWS, WEIGHT),
    "linear": (fc.linear, ROWS, WEIGHT.T.copy()),
    "relu": (fc.relu, X),
    "of float16": (fc.relu, X.astype(np.float16)),
    "softmax": (fc.softmax, ROWS),
    "cross entropy": (fc.softmax_cross_entropy, ROWS, np.array([1, 4, 0])),
    "squared error": (fc.mean_squared_error, ROWS, ROWS[::-1].copy()),
    "likelihood": (fc.nll_loss, ROWS, np.array([1, 4, 0])),
    "im2col": (fc.im2col, X, 3, 3),
    "dropout": (lambda x: fc.dropout(x, 0.4, 3), X),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_are_of_the_callers_family(name, library):
    call, *args = CALLS[name]
    with fc.backend("numpy"):
        expected = call(*args)
    expected = expected if isinstance(expected, tuple) else (expected,)
    given = [library.Array(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
    got = call(*given)
    got = got if isinstance(got, tuple) else (got,)
    for a, b in zip(got, expected, strict=True):
        assert type(a) is library.Array and a.shape == np.shape(b)
        np.testing.assert_allclose(fc.to_host(a), b, rtol=2e-3 if name == "of float16" else 1e-4, atol=1e-5)
    if name in ("conv2d", "relu", "softmax"):
        assert library.made == len(got)


def test_batch_norm_keeps_the_statistics_in_place(library):
    x, dout = library.Array(X.copy()), library.Array(X[::-1].copy())
    given = [library.Array(v) for v in (B[:3].copy(), B[1:].copy(), np.zeros(3, np.float32), np.ones(3, np.float32))]
    expected = [v.numbers.copy() for v in given]
    y, cache = fc.batch_norm(x, *given, True)
    plain, plain_cache = fc.batch_norm(X.copy(), *expected, True)
    results = y, given[2], given[3], *fc.batch_norm_backward(dout, cache)
    wanted = plain, expected[2], expected[3], *fc.batch_norm_backward(X[::-1].copy(), plain_cache)
    for a, b in zip(results, wanted, strict=True):
        assert type(a) is library.Array
        np.testing.assert_allclose(a.numbers, b, rtol=1e-4, atol=1e-5)


def test_updates_are_in_place(library):
    p, g = library.Array(B.copy()), library.Array(np.ones(4, np.float32))
    fc.sgd_update([p], [g], lr=0.5)
    np.testing.assert_allclose(p.numbers, B - 0.5)


def test_the_first_array_decides_and_to_device_makes_our_own(library):
    x = library.Array(X.copy())
    assert type(fc.to_device(x)) is DeviceArray and fc.to_device(x).family == "cuda"
    assert type(fc.conv2d(fc.to_device(X), library.Array(W.copy()))) is DeviceArray
    assert type(fc.conv2d(x, fc.to_device(W))) is library.Array
    with pytest.raises(TypeError, match="one device"):
        fc.conv2d(x, W)


def test_a_network_answers_in_the_family_of_its_question(library):
    net = TwoLayerNet(7, 4, 3, 0.5, np.float32, rng=0).to("cuda")
    x, t = library.Array(ROWS.copy()), np.array([0, 2, 1])
    scores = net.predict(x)
    assert type(scores) is library.Array and library.made == 0
    np.testing.assert_array_equal(scores.numbers, fc.to_host(net.predict(ROWS)))
    assert all(type(g) is DeviceArray for g in net.gradient(x, t).values())
    step = net.capture(x, t, optim.SGD())
    for _ in range(4):
        step(x, library.Array(t.copy()))
    assert step.captured and type(step.loss) is DeviceArray


def test_another_stream_of_theirs_is_waited_for_and_waits(library, monkeypatch):
    """Ours waits for theirs before the kernel reads, and theirs for ours before anybody reads the result."""
    waits = []
    monkeypatch.setattr(arrays, "_in_order", lambda first, then: waits.append((first, then)) if first != then else None)
    x = library.Array(X.copy())
    fc.relu(x)
    assert waits == []
    library.current = STREAM
    fc.relu(x)
    assert waits[0] == (STREAM, 0) and waits[-1] == (0, STREAM)
    del waits[:]
    with fc.cuda_stream(SimpleNamespace(handle=STREAM)):
        fc.relu(x)
    assert waits == []


def test_streams_are_put_in_order_by_an_event(monkeypatch):
    calls = []
    event = SimpleNamespace(record=lambda s: calls.append(("record", s)), wait=lambda s: calls.append(("wait", s)))
    monkeypatch.setattr(arrays, "_event", lambda: event)
    monkeypatch.setattr(arrays, "numba_stream", lambda address: f"stream {address}")
    arrays._in_order(5, 5)
    arrays._in_order(5, 0)
    assert calls == [("record", "stream 5"), ("wait", "stream 0")]
