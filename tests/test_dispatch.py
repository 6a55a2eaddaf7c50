"""Choosing a kernel: order, forcing, reasons, threads."""

import threading

import numpy as np
import pytest

import fastconv as fc
from fastconv import _check as check
from fastconv import _dispatch, _table
from fastconv._settings import settings
from fastconv.testing import normal

X, W = normal((1, 4, 9, 9), np.float32), normal((8, 4, 3, 3), np.float32, 1)
W16 = normal((16, 16, 3, 3), np.float32)


def test_the_compiled_kernel_is_the_default():
    p = check.conv2d(X, W)[0]
    assert _dispatch.kernel("conv2d_forward", p).__module__ != "fastconv.kernels.conv2d.ref"
    assert fc.backends()["cython"] == "" and fc.backends()["numpy"] == ""
    assert set(fc.backends()) == {"cython", "numba", "cuda", "numpy"}


def test_context_forces_and_restores():
    p = check.conv2d(X, W)[0]
    with fc.backend("numpy"):
        assert _dispatch.kernel("conv2d_forward", p).__module__ == "fastconv.kernels.conv2d.ref"
        with fc.backend(None):
            assert settings.backend is None
        assert settings.backend == "numpy"
    assert settings.backend is None


def test_set_backend_is_for_the_process_and_a_context_for_its_thread():
    seen = []
    fc.set_backend("numpy")
    try:
        with fc.backend("cython"):
            thread = threading.Thread(target=lambda: seen.append(settings.backend))
            thread.start()
            thread.join()
            assert settings.backend == "cython"
    finally:
        fc.set_backend(None)
    assert seen == ["numpy"]


def test_backends_agree():
    with fc.backend("numpy"):
        expected = fc.conv2d(X, W, padding=1)
    with fc.backend("cython"):
        np.testing.assert_allclose(fc.conv2d(X, W, padding=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mkl", "", 3])
def test_unknown_backend(name):
    with pytest.raises(ValueError, match="backend"):
        fc.set_backend(name)


def test_a_forced_backend_never_falls_back(monkeypatch):
    rows = [_table.Row("cython", "conv2d.cy:forward", lambda p: "not today"), _table.TABLE["conv2d_forward"][-1]]
    monkeypatch.setitem(_table.TABLE, "conv2d_forward", rows)
    x = normal((1, 4, 9, 10), np.float32)
    check.conv2d.forget()
    with fc.backend("cython"), pytest.raises(RuntimeError, match="not today"):
        fc.conv2d(x, W)
    assert fc.conv2d(x, W).shape == (1, 8, 7, 8)
    check.conv2d.forget()


def test_a_backend_that_cannot_be_used_says_why(monkeypatch):
    rows = [_table.Row("cuda", "conv2d.nowhere:forward", _table.anything), _table.TABLE["conv2d_forward"][-1]]
    monkeypatch.setattr(_table, "TABLE", {"conv2d_forward": rows})
    with pytest.raises(RuntimeError, match="cannot be imported"):
        fc.set_backend("cuda")


def test_explain(capsys):
    fc.explain("conv2d", X, W, padding=1)
    text = capsys.readouterr().out
    assert "conv2d_forward" in text and "-> " in text and ": chosen" in text
    with fc.backend("numpy"):
        fc.explain("conv2d", X, W, padding=1)
    text = capsys.readouterr().out
    assert "backend 'numpy' is forced" in text and "-> numpy conv2d.ref:forward: chosen" in text
    fc.explain("conv2d_backward", normal((1, 8, 9, 9), np.float32), X, W, padding=1)
    assert "would raise" not in capsys.readouterr().out
    fc.explain("conv2d_backward", normal((9, 16, 9, 9), np.float32), normal((9, 16, 9, 9), np.float32), W16, padding=1)
    text = capsys.readouterr().out
    assert (
        "conv2d_backward, where all of it is needed\n  -> cython winograd.cy:backward: chosen\nconv2d_backward_data"
        in text
    )


def test_explain_every_operation(capsys):
    y, indices = fc.max_pool2d(X, 3)
    dout = np.ones((1, 8, 7, 7), np.float32)
    calls = {
        "im2col": (X, 3, 3),
        "col2im": (np.ones((49, 36)), X.shape, 3, 3),
        "conv2d": (X, W),
        "conv2d_backward": (dout, X, W),
        "conv_transpose2d": (dout, W),
        "conv_transpose2d_backward": (X, dout, W),
        "max_pool2d": (X, 3),
        "min_pool2d": (X, 3),
        "max_pool2d_backward": (y, indices, X.shape, 3),
        "avg_pool2d": (X, 3),
        "avg_pool2d_backward": (y, X.shape, 3),
        "adaptive_avg_pool2d": (X, 2),
        "adaptive_avg_pool2d_backward": (np.ones((1, 4, 2, 2)), X.shape),
        "stochastic_pool2d": (X, 3),
        "affine": (np.ones((2, 3)), np.ones((3, 4))),
        "affine_backward": (np.ones((2, 4)), np.ones((2, 3)), np.ones((3, 4))),
        "batch_norm": (X, None, None, np.zeros(4), np.ones(4)),
        "local_response_norm": (X, 5),
        "local_response_norm_backward": (X, X, 5, 1e-4),
        "layer_norm": (X, 9),
        "group_norm": (X, 2),
        "relu": (X,),
        "leaky_relu": (X,),
        "sigmoid_backward": (X, X),
        "hard_swish": (X,),
        "gelu": (X, "tanh"),
        "gelu_backward": (X, X, "tanh"),
        "leaky_relu_backward": (X, X, 0.5),
        "softmax": (X,),
        "log_softmax_backward": (X, X, 1),
        "softmax_cross_entropy": (np.ones((2, 3)), np.array([0, 1])),
        "softmax_cross_entropy_backward": (np.ones((2, 3)), np.array([0, 1])),
        "dropout": (X, 0.5),
        "dropout_backward": (X, X > 0),
    }
    for op, args in calls.items():
        fc.explain(op, *args)
        text = capsys.readouterr().out
        assert text.startswith(f"{op}: ") and ": chosen" in text, op
    with pytest.raises(ValueError, match="expected one of"):
        fc.explain("conv3d", X)
    with pytest.raises(ValueError, match="w: expected"):
        fc.explain("conv2d", X, W[:, :1])


def test_show_config(capsys):
    fc.show_config()
    text = capsys.readouterr().out
    assert fc.__version__ in text and "backend cython" in text and "threads" in text


def test_threads():
    before = fc.get_num_threads()
    try:
        fc.set_num_threads(1)
        assert fc.get_num_threads() == 1
        one = fc.conv2d(X, W)
        fc.set_num_threads(2)
        np.testing.assert_allclose(fc.conv2d(X, W), one, rtol=1e-5, atol=1e-6)
    finally:
        fc.set_num_threads(before)
    for bad, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(error, match="n: expected"):
            fc.set_num_threads(bad)


def test_calls_from_many_threads_agree():
    x, w = normal((4, 16, 20, 20), np.float32), normal((32, 16, 3, 3), np.float32, 1)
    expected = fc.conv2d(x, w, padding=1)
    wrong = []

    def work():
        wrong.extend(1 for _ in range(20) if (fc.conv2d(x, w, padding=1) != expected).any())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_reshaped_input_is_remembered_and_read_anew():
    """The second call with images for an affine map goes straight to the kernel, and reads the array it is given."""
    x, w = normal((2, 3, 4, 4), np.float32), normal((48, 5), np.float32, 1)
    for images in (x, x + 1, x - 1):
        np.testing.assert_allclose(fc.affine(images, w), images.reshape(2, 48) @ w, rtol=1e-4, atol=1e-5)


def test_calls_without_a_straight_way_stay_right():
    x = normal((4, 9, 9), np.float32)  # unbatched
    for image in (x, x + 1, x - 1):
        np.testing.assert_array_equal(fc.conv2d(image, W), fc.conv2d(image[None], W)[0])
