"""Print which kernel runs each operation on each backend: every one is loaded, run on a tiny problem with that backend
forced, and compared with the NumPy reference. Exits with 1 where a backend that can be used has a hole or is wrong.

    python tools/parity.py                 # every backend that can be used here
    python tools/parity.py numba cython
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import _dispatch, ops
from fastconv._settings import forget
from fastconv._table import ACTIVATIONS, TABLE
from fastconv.ops.pool2d import shared_gradient
from fastconv.testing import normal

DIRECTIONS = ("forward", "backward_data", "backward_weights", "backward", "training", "inference")


def calls() -> dict[str, Callable[[], Any]]:
    """For every operation of the table a call of the public function that needs its kernel."""
    x, w, b = normal((2, 4, 7, 9), np.float32), normal((6, 4, 3, 3), np.float32, 1), normal(6, np.float32, 2)
    dy, col = normal((2, 6, 7, 9), np.float32, 3), normal((2 * 7 * 9, 36), np.float32, 4)
    rows, matrix, dout = normal((5, 8), np.float32), normal((8, 3), np.float32, 1), normal((5, 3), np.float32, 2)
    packed = np.arange(5, dtype=np.uint8)
    labels, mask = np.array([0, 2, 1, 7, 3]), normal((5, 8), np.float32) > 0
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    with fc.backend("numpy"):
        y, indices = fc.max_pool2d(x, 2)
        cache = fc.batch_norm(x, one, zero, zero, one, training=True)[1]

    def update(rule: str, states: int, **rates: float) -> Callable[[], Any]:
        def call() -> Any:
            arrays = [[np.abs(normal((3, 5), np.float32, i))] for i in range(2 + states)]
            getattr(ops, f"{rule}_update")(*arrays, **rates)
            return arrays

        return call

    def backward(name: str) -> Callable[[], Any]:
        return lambda: getattr(fc, f"{name}_backward")(rows, rows)

    return {
        "conv2d_forward": lambda: fc.conv2d(x, w, b, padding=1),
        "conv2d_backward_data": lambda: fc.conv2d_backward(dy, x, w, padding=1, needs=(True, False, False))[0],
        "conv2d_backward_weights": lambda: fc.conv2d_backward(dy, x, w, padding=1, needs=(False, True, True))[1:],
        "im2col": lambda: fc.im2col(x, 3, 3, 1, 1),
        "col2im": lambda: fc.col2im(col, x.shape, 3, 3, 1, 1),
        "im2col_planes": lambda: fc.im2col(x, 3, 3, 1, 1, layout="columns"),
        "col2im_planes": lambda: fc.col2im(col.T, x.shape, 3, 3, 1, 1, layout="columns"),
        "interchange": lambda: fc.avg_pool2d(x, 2, layout="NHWC"),
        "max_pool2d_forward": lambda: fc.max_pool2d(x, 2),
        "max_pool2d_backward": lambda: fc.max_pool2d_backward(y, indices, x.shape, 2),
        "max_pool2d_shared_backward": lambda: shared_gradient(y, x, fc.max_pool2d(x, 2)[0], 2),
        "avg_pool2d_forward": lambda: fc.avg_pool2d(x, 2),
        "avg_pool2d_backward": lambda: fc.avg_pool2d_backward(y, x.shape, 2),
        "adaptive_avg_pool2d_forward": lambda: fc.adaptive_avg_pool2d(x, 3),
        "adaptive_avg_pool2d_backward": lambda: ops.adaptive_avg_pool2d_backward(y, x.shape),
        "stochastic_pool2d_forward": lambda: fc.stochastic_pool2d(x, 2, rng=1),
        "stochastic_pool2d_inference": lambda: fc.stochastic_pool2d(x, 2, training=False)[0],
        "affine_forward": lambda: fc.affine(rows, matrix),
        "affine_backward_data": lambda: fc.affine_backward(dout, rows, matrix, needs=(True, False, False))[0],
        "affine_backward_weights": lambda: fc.affine_backward(dout, rows, matrix, needs=(False, True, True))[1:],
        "batch_norm_training": lambda: fc.batch_norm(x, one, zero, zero.copy(), one.copy(), training=True)[0],
        "batch_norm_inference": lambda: fc.batch_norm(x, one, zero, zero, one)[0],
        "batch_norm_backward": lambda: fc.batch_norm_backward(x, cache),
        "local_response_forward": lambda: fc.local_response_norm(x, 3, 0.1),
        "local_response_backward": lambda: fc.local_response_norm_backward(x, x, 3, 0.1),
        **{f"{n}_forward": lambda n=n: getattr(fc, n)(rows) for n in ACTIVATIONS if n != "gelu_tanh"},
        **{f"{n}_backward": backward(n) for n in ACTIVATIONS if n != "gelu_tanh"},
        "gelu_tanh_forward": lambda: fc.gelu(rows, "tanh"),
        "gelu_tanh_backward": lambda: fc.gelu_backward(rows, rows, "tanh"),
        "add_activation": lambda: fc.conv2d(x, w, b, padding=1, activation="silu", add=dy),
        "relu_masked_forward": lambda: ops.activations.relu_masked(rows),
        "relu_masked_backward": lambda: ops.activations.relu_masked_backward(rows, packed, rows.shape),
        "softmax_forward": lambda: fc.softmax(rows),
        "softmax_backward": backward("softmax"),
        "log_softmax_forward": lambda: fc.log_softmax(rows),
        "log_softmax_backward": backward("log_softmax"),
        "cross_entropy_forward": lambda: fc.softmax_cross_entropy(rows, labels),
        "cross_entropy_backward": lambda: fc.softmax_cross_entropy_backward(rows, labels),
        "dropout_forward": lambda: fc.dropout(rows, 0.5, 3),
        "dropout_backward": lambda: fc.dropout_backward(rows, mask, 0.5),
        "sgd": update("sgd", 0, lr=0.1),
        "momentum": update("momentum", 1, lr=0.1, momentum=0.9),
        "nesterov": update("nesterov", 1, lr=0.1, momentum=0.9),
        "adagrad": update("adagrad", 1, lr=0.1),
        "rmsprop": update("rmsprop", 1, lr=0.1, decay=0.9),
        "adadelta": update("adadelta", 2),
        "adam": update("adam", 2, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, step=2),
    }


def arrays(result: Any) -> list[np.ndarray]:
    """All arrays and numbers of a result, flat."""
    if isinstance(result, (list, tuple)):
        return [a for part in result for a in arrays(part)]
    return [] if result is None else [np.asarray(result)]


def run(op: str, call: Callable[[], Any], backend: str) -> tuple[str, list[np.ndarray]]:
    """(the kernel that ran, the result), or ("-", []) where there is none."""
    ran: dict[str, str] = {}
    choose = _dispatch._choose

    def noted(name: str, p: Any) -> Callable[..., Any]:
        chosen = choose(name, p)
        ran[name] = getattr(chosen, "__module__", type(chosen).__module__).removeprefix("fastconv.kernels.")
        return chosen

    _dispatch._choose = noted
    forget()  # the choices of earlier calls
    try:
        with fc.backend(backend):
            result = arrays(call())
        return ran[op], result
    except RuntimeError:
        return "-", []
    finally:
        _dispatch._choose = choose


def main() -> int:
    names = sys.argv[1:] or [name for name, reason in fc.backends().items() if not reason]
    todo, holes, wrong = calls(), 0, 0
    assert set(todo) == set(TABLE), set(todo) ^ set(TABLE)
    print(f"{'operation':22}{'direction':18}" + "".join(f"{name:22}" for name in names))
    for op, call in todo.items():
        name, direction = next(((op.removesuffix(f"_{d}"), d) for d in DIRECTIONS if op.endswith(f"_{d}")), (op, ""))
        results = {backend: run(op, call, backend) for backend in dict.fromkeys([*names, "numpy"])}
        expected, cells = results["numpy"][1], []
        for kernel, result in (results[backend] for backend in names):
            right = all(np.allclose(a, b, 1e-4, 1e-5) for a, b in zip(result, expected, strict=bool(result)))
            holes, wrong = holes + (not result), wrong + (not right)
            cells.append(f"{kernel}{'' if right else ' WRONG'}")
        print(f"{name:22}{direction:18}" + "".join(f"{cell:22}" for cell in cells).rstrip())
    print(f"{len(todo)} operations, {len(names)} backends: {holes} missing, {wrong} wrong")
    return int(holes + wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
