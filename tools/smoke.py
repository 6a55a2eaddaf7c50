"""Call every public operation, and compare with the NumPy reference: on this processor, or as older ones would run it.

    python tools/smoke.py                 here; needs nothing but the installed package
    python tools/smoke.py --emulated      without AVX2 and without AVX-512, under qemu-user (package qemu-user)

Every operation is called in float32 and float64, and convolution and pooling with every shape of
fastconv.testing.CASES. An instruction that an emulated processor lacks ends its process by a signal.
"""

import argparse
import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np

import fastconv as fc
from fastconv import ops
from fastconv.testing import CASES, assert_close, normal, tolerance

# qemu's name -> the instruction set that must be chosen, and an instruction that the processor must refuse: an emulator
# that ran everything would prove nothing.
PROCESSORS = {
    "Nehalem": ("baseline", bytes.fromhex("c5fdefc0")),  # vpxor %ymm0, %ymm0, %ymm0
    "Haswell": ("avx2", bytes.fromhex("62f17d48efc0")),  # vpxord %zmm0, %zmm0, %zmm0
}

NOT_CHECKED = 77  # the exit status, as in Automake

IMAGE, FILTERS, ROWS = (2, 3, 9, 9), (4, 3, 3, 3), (5, 7)


def updates(dtype: type) -> dict[str, Callable]:
    """The optimisers' steps. They change their arguments, so each call makes its own, and returns them."""

    def step(name: str, states: int, **options: float) -> Callable:
        def call() -> list[np.ndarray]:
            arrays = [normal(ROWS, dtype, seed) ** 2 for seed in range(2 + states)]
            getattr(fc, name)(*([a] for a in arrays), **options)
            return arrays

        return call

    return {
        "sgd_update": step("sgd_update", 0, lr=0.1),
        "momentum_update": step("momentum_update", 1, lr=0.1, momentum=0.9),
        "nesterov_update": step("nesterov_update", 1, lr=0.1, momentum=0.9),
        "adagrad_update": step("adagrad_update", 1, lr=0.1),
        "rmsprop_update": step("rmsprop_update", 1, lr=0.1, decay=0.9),
        "adadelta_update": step("adadelta_update", 2),
        "adam_update": step("adam_update", 2, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-7, step=3),
    }


def operations(dtype: type) -> dict[str, Callable]:
    """One call of every public operation."""
    x, w, rows = normal(IMAGE, dtype), normal(FILTERS, dtype, 1), normal(ROWS, dtype, 2)
    bias, wide = normal(4, dtype, 3), normal((7, 4), dtype, 4)
    labels = np.arange(len(rows)) % 7
    dout = normal((2, 4, 9, 9), dtype, 5)
    pooled, drows = normal((2, 3, 4, 4), dtype, 6), normal((5, 4), dtype, 7)
    one = np.ones(3, dtype)
    y = fc.softmax(rows)
    indices = fc.max_pool2d(x, 2)[1]
    lowest = fc.min_pool2d(x, 2)[1]

    def norm() -> tuple:
        return fc.batch_norm(x, one, one, one.copy(), one.copy(), True)

    calls: dict[str, Callable] = {
        "im2col": lambda: fc.im2col(x, 3, 3, 1, 1),
        "col2im": lambda: fc.col2im(normal((162, 27), dtype), IMAGE, 3, 3, 1, 1),
        "im2col in columns": lambda: fc.im2col(x, 3, 3, 1, 1, layout="columns_n_last"),
        "col2im of columns": lambda: fc.col2im(normal((27, 162), dtype), IMAGE, 3, 3, 1, 1, layout="columns_n_last"),
        "conv2d": lambda: fc.conv2d(x, w, bias, padding=1, activation="relu"),
        "conv2d_backward": lambda: fc.conv2d_backward(dout, x, w, padding=1),
        "conv_transpose2d": lambda: fc.conv_transpose2d(dout, w, stride=2),
        "conv_transpose2d_backward": lambda: fc.conv_transpose2d_backward(normal((2, 3, 11, 11), dtype), dout, w),
        "max_pool2d": lambda: fc.max_pool2d(x, 2),
        "max_pool2d_backward": lambda: fc.max_pool2d_backward(pooled, indices, IMAGE, 2),
        "min_pool2d": lambda: fc.min_pool2d(x, 2),
        "min_pool2d_backward": lambda: fc.min_pool2d_backward(pooled, lowest, IMAGE, 2),
        "avg_pool2d": lambda: fc.avg_pool2d(x, 2),
        "avg_pool2d_backward": lambda: fc.avg_pool2d_backward(pooled, IMAGE, 2),
        "global_avg_pool2d": lambda: fc.global_avg_pool2d(x),
        "global_avg_pool2d_backward": lambda: fc.global_avg_pool2d_backward(x[:, :, :1, :1], IMAGE),
        "adaptive_avg_pool2d": lambda: fc.adaptive_avg_pool2d(x, 4),
        "adaptive_avg_pool2d_backward": lambda: fc.adaptive_avg_pool2d_backward(pooled, IMAGE),
        "stochastic_pool2d": lambda: fc.stochastic_pool2d(abs(x), 2, rng=1),
        "stochastic_pool2d_backward": lambda: fc.stochastic_pool2d_backward(pooled, indices, IMAGE, 2),
        "affine": lambda: fc.affine(rows, wide, bias),
        "affine_backward": lambda: fc.affine_backward(drows, rows, wide),
        "linear": lambda: fc.linear(rows, wide.T, bias),
        "linear_backward": lambda: fc.linear_backward(drows, rows, wide.T),
        "batch_norm": lambda: norm()[0],
        "batch_norm_backward": lambda: fc.batch_norm_backward(x[::-1], norm()[1]),
        "local_response_norm": lambda: fc.local_response_norm(x, 3),
        "local_response_norm_backward": lambda: fc.local_response_norm_backward(x[::-1], x, 3),
        "layer_norm": lambda: fc.layer_norm(x, x.shape[1:]),
        "group_norm": lambda: fc.group_norm(x, 1),
        "instance_norm": lambda: fc.instance_norm(x),
        "softmax": lambda: fc.softmax(rows),
        "softmax_backward": lambda: fc.softmax_backward(rows, y),
        "log_softmax": lambda: fc.log_softmax(rows),
        "log_softmax_backward": lambda: fc.log_softmax_backward(rows, np.log(y)),
        "softmax_cross_entropy": lambda: fc.softmax_cross_entropy(rows, labels),
        "softmax_cross_entropy_backward": lambda: fc.softmax_cross_entropy_backward(y, labels),
        "mean_squared_error": lambda: fc.mean_squared_error(rows, y),
        "mean_squared_error_backward": lambda: fc.mean_squared_error_backward(rows, y),
        "nll_loss": lambda: fc.nll_loss(np.log(y), labels),
        "nll_loss_backward": lambda: fc.nll_loss_backward(np.log(y), labels),
        "dropout": lambda: fc.dropout(x, 0.5, 1),
        "dropout_backward": lambda: fc.dropout_backward(x, x > 0),
        "dropout2d": lambda: fc.dropout2d(x, 0.5, 1),
        "dropout2d_backward": lambda: fc.dropout2d_backward(x, fc.dropout2d(x, 0.5, 1)[1]),
        **updates(dtype),
    }
    activations = "fastconv.ops.activations"
    for name in [n for n in ops.__all__ if getattr(fc, n).__module__ == activations and not n.endswith("_backward")]:
        forward, backward = getattr(fc, name), getattr(fc, f"{name}_backward")
        calls[name] = lambda forward=forward: forward(x)
        calls[f"{name}_backward"] = lambda backward=backward: backward(x, x[::-1])
    return calls


def shapes() -> Iterator[tuple[str, Callable]]:
    """Convolution and pooling with every shape, in float32, forward and backward."""
    for case in CASES["conv2d"]:

        def convolve(case=case) -> list:
            x, w, b = case.arrays(np.float32)
            y = fc.conv2d(x, w, b, **case.options)
            return [y, *fc.conv2d_backward(normal(y.shape, np.float32), x, w, **case.options)]

        yield f"conv2d {case}", convolve
    for case in CASES["pool2d"]:

        def pool(case=case) -> list:
            x = normal((case.N, case.C, case.H, case.W), np.float32)
            options = (case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode)
            y, indices = fc.max_pool2d(x, *options)
            return [y, indices, fc.max_pool2d_backward(y, indices, x.shape, *options)]

        yield f"pool2d {case}", pool


def arrays(result: object) -> list[np.ndarray]:
    """The arrays and numbers of a result."""
    parts = result if isinstance(result, tuple | list) else [result]
    return [np.asarray(part) for part in parts if part is not None]


def run_here(expected_isa: str | None) -> int:
    """Make all calls on this processor, and print how many."""
    isa = fc._threads.isa()
    if expected_isa and isa != expected_isa:
        print(f"the instruction set chosen is {isa}, expected {expected_isa}")
        return 1
    calls = [(f"{name} {dtype.__name__}", call) for dtype in (np.float32, np.float64)
             for name, call in operations(dtype).items()]  # fmt: skip
    calls += shapes()
    for name, call in calls:
        got = arrays(call())
        with fc.backend("numpy"):
            wanted = arrays(call())
        for actual, right in zip(got, wanted, strict=True):
            try:
                assert_close(actual, right, tolerance(np.float32, 4096))
            except AssertionError as difference:
                print(f"{name}: {difference}")
                return 1
    print(f"{len(calls)} calls, instruction set {isa}: all right")
    return 0


def execute(code: bytes) -> None:
    """Run a few bytes of machine code."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code + b"\xc3")  # ret
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


def run_emulated(emulator: str, processor: str) -> bool:
    """Whether all calls are right on an emulated processor, which refuses what it lacks."""
    isa, lacking = PROCESSORS[processor]
    environment = {**os.environ, "FASTCONV_ISA": "", "FASTCONV_NUM_THREADS": "2"}
    command = [emulator, "-cpu", processor, sys.executable, __file__]
    refused = subprocess.run([*command, "--execute", lacking.hex()], env=environment, capture_output=True)
    if refused.returncode not in (-4, 132):  # SIGILL
        print(f"{processor}: the emulator runs what the processor lacks (status {refused.returncode})")
        return False
    print(f"{processor}: ", end="", flush=True)
    done = subprocess.run([*command, "--isa", isa], env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"ended with {done.returncode}\n{done.stderr[-3000:]}")
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emulated", action="store_true", help="on each of PROCESSORS, in an emulator")
    parser.add_argument("--isa", help="the instruction set that must have been chosen")
    parser.add_argument("--execute", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.execute:
        execute(bytes.fromhex(given.execute))
        return 0
    if not given.emulated:
        return run_here(given.isa)
    emulator = shutil.which("qemu-x86_64")
    if not emulator:
        print("not checked: qemu-x86_64 is not installed (package qemu-user)")
        return NOT_CHECKED
    right = [run_emulated(emulator, processor) for processor in PROCESSORS]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
