"""How a convolution became fast, step by step: each way to compute the same is timed and drawn.

    python bench/convolution_steps.py                # a table; with --results also bench/results and docs/images

The work is a training step of DeepConvNet's second convolution with its ReLU: 100 images of 16 channels and 28x28, 16
filters of 3x3 with padding 1; forward, and the gradients of x, W and b. Every step runs in a process of its own, with all
threads, and must give the first one's numbers. The time is the best of the turns of two seconds.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastconv as fc

ROOT = Path(__file__).parents[1]
SHAPE, FILTERS = (100, 16, 28, 28), (16, 16, 3, 3)
Step = Callable[..., tuple[Any, ...]]


def book_im2col(x: Any, height: int, width: int) -> Any:
    """The book's: a strided copy for each place in the filter, then a transpose."""
    N, C, H, W = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    col = np.zeros((N, C, height, width, H, W), x.dtype)
    for i in range(height):
        for j in range(width):
            col[:, :, i, j] = padded[:, :, i : i + H, j : j + W]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * H * W, -1)


def book_col2im(col: Any, shape: tuple[int, ...], height: int, width: int) -> Any:
    N, C, H, W = shape
    col = col.reshape(N, H, W, C, height, width).transpose(0, 3, 4, 5, 1, 2)
    padded = np.zeros((N, C, H + 2, W + 2), col.dtype)
    for i in range(height):
        for j in range(width):
            padded[:, :, i : i + H, j : j + W] += col[:, :, i, j]
    return padded[:, :, 1:-1, 1:-1]


def by_matrix_product(im2col: Callable[..., Any], col2im: Callable[..., Any]) -> Step:
    def step(x: Any, w: Any, b: Any, dout: Any) -> tuple[Any, ...]:
        F, _, height, width = w.shape
        N, _, H, W = x.shape
        col, rows = im2col(x, height, width), w.reshape(F, -1)
        y = np.maximum((np.dot(col, rows.T) + b).reshape(N, H, W, F).transpose(0, 3, 1, 2), 0)
        dout = np.where(y > 0, dout, 0).transpose(0, 2, 3, 1).reshape(-1, F)
        dx = col2im(np.dot(dout, rows), x.shape, height, width)
        return y, dx, np.dot(col.T, dout).T.reshape(w.shape), dout.sum(axis=0)

    return step


def by_kernels(precision: str) -> Step:
    def step(x: Any, w: Any, b: Any, dout: Any) -> tuple[Any, ...]:
        y = fc.relu(fc.conv2d(x, w, b, padding=1))
        return y, *fc.conv2d_backward(fc.relu_backward(dout, y), x, w, padding=1)

    fc.set_float32_conv_precision(precision)
    return step


def by_a_network() -> Step:
    from fastconv.layers import Convolution, Relu
    from fastconv.networks import Network

    made: list[Any] = []

    def step(x: Any, w: Any, b: Any, dout: Any) -> tuple[Any, ...]:
        if not made:
            made.append(Network({"conv": Convolution(w, b, pad=1), "relu": Relu()}))
        y, dx = made[0].predict(x, train_flg=True), made[0].backward(dout)
        conv = made[0].layers["conv"]
        return y, dx, conv.dW, conv.db

    return step


COMPILED = lambda x, h, w: fc.im2col(x, h, w, 1, 1), lambda col, shape, h, w: fc.col2im(col, shape, h, w, 1, 1)
# Name, dtype, instruction set (empty: the best), and what makes the step.
STEPS: list[tuple[str, str, str, Callable[[], Step]]] = [
    ("the book's formulas, float64", "d", "", lambda: by_matrix_product(book_im2col, book_col2im)),
    ("the same in float32", "f", "", lambda: by_matrix_product(book_im2col, book_col2im)),
    ("im2col and col2im compiled", "f", "", lambda: by_matrix_product(*COMPILED)),
    ("a direct kernel, SSE2", "f", "baseline", lambda: by_kernels("highest")),
    ("the same source for AVX2", "f", "avx2", lambda: by_kernels("highest")),
    ("the same source for AVX-512", "f", "avx512", lambda: by_kernels("highest")),
    ("Winograd's algorithm", "f", "", lambda: by_kernels("high")),
    ("ReLU in the convolution", "f", "", by_a_network),
]


def measure(number: int, seconds: float) -> dict[str, float]:
    """In a process of its own: the best time of a step, and how far its results are from those of the first."""
    _, dtype, _, make = STEPS[number]
    rng = np.random.default_rng(0)
    exact = [rng.standard_normal(shape) for shape in (SHAPE, FILTERS, FILTERS[:1], SHAPE)]
    arrays = [array.astype(dtype) for array in exact]
    step = make()
    results = step(*arrays)
    expected = STEPS[0][3]()(*(array.astype(float) for array in arrays))
    error = max(float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))) for a, b in zip(results, expected, strict=True))
    assert error < 1e-4, f"{STEPS[number][0]}: relative error {error}"  # a ReLU may flip at a rounding error
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        step(*arrays)
        times.append(time.perf_counter() - start)
    return {"ms": 1000 * min(times), "median_ms": 1000 * float(np.median(times)), "error": error}


def processor() -> str:
    """Its name, of /proc/cpuinfo where there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def picture(outcome: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    steps = outcome["steps"]
    times = [step["ms"] for step in steps]
    made = Figure(figsize=(8, 0.8 + 0.45 * len(steps)), layout="constrained")
    axes = made.subplots()
    axes.barh([step["name"] for step in steps], times, color="#1f6fb4")
    for row, value in enumerate(times):
        axes.text(value * 1.05, row, f"{value:.2f} ms, {times[0] / value:.1f} x", va="center", fontsize=9)
    axes.set(xscale="log", xlabel="milliseconds, logarithmic", xlim=(min(times) / 2, max(times) * 4))
    axes.invert_yaxis()
    axes.set_title(f"{outcome['processor']}, {outcome['threads']} threads", fontsize=9)
    path.parent.mkdir(exist_ok=True)
    made.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each step")
    parser.add_argument("--results", action="store_true", help="write bench/results and docs/images")
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        print(json.dumps(measure(options.step, options.seconds)))
        return
    from fastconv.kernels._cpu import engine

    steps = []
    for number, (name, _, isa, _) in enumerate(STEPS):
        if isa and isa not in engine.supported_isas():
            continue
        command = [sys.executable, __file__, "--step", str(number), "--seconds", str(options.seconds)]
        environment = {**os.environ, **({"FASTCONV_ISA": isa} if isa else {})}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        steps.append({"name": name, **json.loads(done.stdout)})
        line = steps[-1]
        print(
            f"| {name} | {line['ms']:.2f} ({line['median_ms']:.2f}) | {steps[0]['ms'] / line['ms']:.1f} |", flush=True
        )
    outcome = {"processor": processor(), "threads": fc.get_num_threads(), "steps": steps}
    if options.results:
        (ROOT / "bench/results/convolution-steps.json").write_text(json.dumps(outcome, indent=1) + "\n")
        picture(outcome, ROOT / "docs/images/convolution_steps.svg")


if __name__ == "__main__":
    main()
