"""The table of ``fastconv bench``: fastconv, its NumPy reference and PyTorch on the same work.

Each side runs in a process of its own, so that no side's threads or memory pools disturb another's, and the
processes take turns, so that a change of the machine's speed meets all of them. Before a row is timed the
sides' results are compared.

``python -m fastconv._bench SIDE DTYPE SECONDS`` is such a process: it reads names of rows and answers each with
a line of JSON.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import fastconv

from . import networks, optim

SIDES = {"fastconv": "fastconv", "numpy": "NumPy reference", "torch": "PyTorch"}
N = 100  # images in a batch
TURNS = 3
MIN_CALLS = 3

Work = Callable[[], Any]


class Row(NamedTuple):
    """One row: its arrays for a dtype, and what each library does with them, prepared for repeated calls."""

    name: str
    arrays: Callable[[Any], tuple[Any, ...]]
    ours: Callable[..., Work]
    torch: Callable[..., Work]


class Times(NamedTuple):
    """One side's seconds for one row."""

    best: float
    median: float


def _normal(dtype: Any, *shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _call(name: str, arrays: Any, ours: Callable[..., Any], torch: Callable[..., Any]) -> Row:
    """A row of one call a side; the library is the call's first argument."""
    return Row(name, arrays, lambda *given: partial(ours, *given), lambda *given: partial(torch, *given))


def _convolution(c: int, h: int, fn: int, k: int, padding: int) -> tuple[Row, Row]:
    """Forward and backward."""
    out = h + 2 * padding - k + 1

    def arrays(dtype: Any) -> tuple[Any, ...]:
        x, w, dout = _normal(dtype, N, c, h, h), _normal(dtype, fn, c, k, k), _normal(dtype, N, fn, out, out)
        return x, w, _normal(dtype, fn), dout

    forward = _call(
        f"conv {k}x{k}, {c} to {fn} channels, {h}x{h}",
        arrays,
        lambda fastconv, x, w, b, _: fastconv.conv2d(x, w, b, padding=padding),
        lambda torch, x, w, b, _: torch.conv2d(x, w, b, padding=padding),
    )
    backward = _call(
        f"  backward of conv {k}x{k}, {c} to {fn}",
        arrays,
        lambda fastconv, x, w, _, dout: fastconv.conv2d_backward(dout, x, w, padding=padding),
        lambda torch, x, w, _, dout: torch.ops.aten.convolution_backward(
            dout, x, w, [fn], [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, [True, True, True]
        ),
    )
    return forward, backward


def _max_pool(c: int, h: int) -> Row:
    return _call(
        f"max pool 2x2, {c} channels, {h}x{h}",
        lambda dtype: (_normal(dtype, N, c, h, h),),
        lambda fastconv, x: fastconv.max_pool2d(x, 2),
        lambda torch, x: torch.nn.functional.max_pool2d(x, 2, return_indices=True),
    )


def _batch_norm(c: int, h: int) -> Row:
    def arrays(dtype: Any) -> tuple[Any, ...]:
        ones, zeros = np.ones(c, dtype), np.zeros(c, dtype)
        return _normal(dtype, N, c, h, h), ones, zeros, zeros.copy(), ones.copy()

    return _call(
        f"batch norm (training), {c} channels, {h}x{h}",
        arrays,
        lambda fastconv, x, gamma, beta, mean, var: fastconv.batch_norm(x, gamma, beta, mean, var, True),
        lambda torch, x, gamma, beta, *stats: torch.nn.functional.batch_norm(x, *stats, gamma, beta, True),
    )


def _training_step(name: str, torch_layers: Callable[[Any], list[Any]]) -> Row:
    """A step of stochastic gradient descent of one of fastconv's networks and of the same one in PyTorch."""

    def ours(fastconv: ModuleType, x: Any, t: Any) -> Work:
        net, optimizer = getattr(networks, name)(dtype=x.dtype), optim.SGD()
        return lambda: optimizer.update(net.params, net.gradient(x, t))

    def torch(torch: ModuleType, x: Any, t: Any) -> Work:
        net = torch.nn.Sequential(*torch_layers(torch.nn)).to(x.dtype)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), t).backward()
            optimizer.step()

        return step

    return Row(f"{name}, training step", lambda dtype: (_normal(dtype, N, 1, 28, 28), np.arange(N) % 10), ours, torch)


def _simple_layers(nn: Any) -> list[Any]:
    return [
        *(nn.Conv2d(1, 30, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(4320, 100), nn.ReLU(), nn.Linear(100, 10)),
    ]


def _deep_layers(nn: Any) -> list[Any]:
    layers, c = [], 1
    for fn, paddings in ((16, (1, 1)), (32, (1, 2)), (64, (1, 1))):
        for padding in paddings:
            layers += [nn.Conv2d(c, fn, 3, padding=padding), nn.ReLU()]
            c = fn
        layers.append(nn.MaxPool2d(2))
    dense = nn.Flatten(), nn.Linear(1024, 50), nn.ReLU(), nn.Dropout(0.5), nn.Linear(50, 10), nn.Dropout(0.5)
    return [*layers, *dense]


ROWS = {
    row.name: row
    for row in (
        *_convolution(1, 28, 30, 5, 0),
        *_convolution(32, 14, 64, 3, 1),
        _max_pool(30, 24),
        _batch_norm(32, 14),
        _training_step("SimpleConvNet", _simple_layers),
        _training_step("DeepConvNet", _deep_layers),
    )
}


def run(dtype: str, threads: int, seconds: float, show: Callable[[str], None]) -> None:
    """Measure every row on every side that is installed, and show the table line by line.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int
        For every side.
    seconds : float
        For one side's turn at one row; each side has three turns a row.
    show : callable
        Takes a line.
    """
    sides = [side for side in SIDES if side != "torch" or find_spec("torch")]
    show(f"{dtype}, batches of {N}, {threads} threads; milliseconds, best and median of {TURNS} turns;")
    show("ratio: a side's median over fastconv's" + ("" if "torch" in sides else "; PyTorch is not installed"))
    show(f"{'':42}{SIDES['fastconv']:>20}" + "".join(f"{SIDES[side]:>20}{'ratio':>8}" for side in sides[1:]))
    with ExitStack() as stack:
        arguments = dtype, str(seconds)
        workers = {side: stack.enter_context(worker(threads, __spec__.name, side, *arguments)) for side in sides}
        for name in ROWS:
            times = _measure_row(name, workers)
            line = f"{name:42}"
            for side, (best, median) in times.items():
                line += f"{1e3 * best:10.3f}{1e3 * median:10.3f}"
                if side != "fastconv":
                    line += f"{median / times['fastconv'].median:7.1f}x"
            show(line)


def _measure_row(name: str, workers: dict[str, subprocess.Popen[str]]) -> dict[str, Times]:
    samples: dict[str, list[float]] = {side: [] for side in workers}
    for _ in range(TURNS):
        sums = {}
        for side, process in workers.items():
            answer = ask(process, name)
            samples[side] += answer["seconds"]
            sums[side] = answer["sum"]
        expected = sums["numpy"]
        wrong = [side for side, value in sums.items() if not math.isclose(value, expected, rel_tol=1e-3)]
        if wrong:
            raise RuntimeError(f"{name}: the result of {', '.join(wrong)} is not the reference's")
    return {side: Times(min(taken), statistics.median(taken)) for side, taken in samples.items()}


@contextmanager
def worker(threads: int, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that measures one side, ``python -m module arguments``; it ends with the block."""
    count = dict.fromkeys(("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **count},
        start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
    )
    assert process.stdin
    with process:
        try:
            yield process
            process.stdin.close()
            process.wait()
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    """What a worker answers to the name of a row."""
    assert process.stdin and process.stdout
    with suppress(BrokenPipeError):  # it has ended: then there is no line to read
        process.stdin.write(name + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the process that measures {name!r} ended unexpectedly")
    return json.loads(line)


def measure(work: Work, seconds: float) -> list[float]:
    """Seconds of each call, for about this long."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < MIN_CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def _sum(result: Any) -> float:
    """The sum of absolute values of a result's first array; 0 for work that returns nothing."""
    first = result[0] if isinstance(result, (tuple, list)) else result
    return 0.0 if first is None else float(np.abs(np.asarray(first, np.float64)).sum())


def _prepare(side: str, row: Row, dtype: str) -> Work:
    arrays = row.arrays(np.dtype(dtype))
    if side == "torch":
        torch = import_module("torch")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        return row.torch(torch, *map(torch.from_numpy, arrays))
    fastconv.set_backend("numpy" if side == "numpy" else None)
    return row.ours(fastconv, *arrays)


def main(side: str, dtype: str, seconds: str) -> None:
    """Answer the names of rows on standard input until it ends."""
    prepare = cache(partial(_prepare, side))
    for line in sys.stdin:
        work = prepare(ROWS[line.rstrip("\n")], dtype)
        total = _sum(work())
        print(json.dumps({"sum": total, "seconds": measure(work, float(seconds))}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
