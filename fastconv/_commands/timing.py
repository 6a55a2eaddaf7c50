"""``fastconv bench MODEL``: ours and ONNX Runtime's time for a prediction, a process each, turn by turn.

``python -m fastconv._commands.timing SIDE MODEL SIZE SECONDS`` is such a process: it reads numbers of samples and
answers each with a line of JSON.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .. import onnx
from .._bench import TURNS, ask, measure, worker
from . import shapes

SIDES = {"fastconv": "fastconv", "onnxruntime": "ONNX Runtime"}
TOLERANCE = 1e-3  # of the sums of results

Run = Callable[[list[Any]], Sequence[Any]]


def show(
    path: Path,
    batches: Sequence[int],
    size: tuple[int, int] | None,
    threads: int,
    seconds: float,
    print_: Callable[[str], None],
) -> None:
    """Measure and print a table.

    Parameters
    ----------
    path : Path
    batches : sequence of int
        Numbers of samples; empty for the model's own, or 1.
    size : (int, int) or None
        Of images, where the model leaves it open.
    threads : int
        For either side.
    seconds : float
        For one side's turn at one row; each side has several turns a row.
    print_ : callable
        Takes a line.
    """
    inputs = onnx.load(path).inputs
    fixed = shapes.batch_of(inputs)
    batches = batches or [fixed or 1]
    if fixed and any(n != fixed for n in batches):
        raise ValueError(f"--batch: this model takes {fixed} samples at once, got {', '.join(map(str, batches))}")
    for n in batches:
        shapes.fixed(inputs, n, size)
    sides = [side for side in SIDES if side == "fastconv" or find_spec(side)]
    missing = "" if len(sides) > 1 else "; ONNX Runtime is not installed"
    print_(f"{path}, {threads} threads; milliseconds, best and median of {TURNS} turns")
    print_(f"ready: from the file to the first result; ratio: a side's median over fastconv's{missing}")
    print_(
        f"{'':12}" + "".join(f"{SIDES[side]:>20}{'ready':>9}" for side in sides) + f"{'ratio':>8}" * (len(sides) - 1)
    )
    with ExitStack() as stack:
        arguments = str(path), ",".join(map(str, size or ())), str(seconds)
        workers = {side: stack.enter_context(worker(threads, __spec__.name, side, *arguments)) for side in sides}
        for n in batches:
            print_(_row(n, workers))


def _row(samples: int, workers: dict[str, subprocess.Popen[str]]) -> str:
    taken: dict[str, list[float]] = {side: [] for side in workers}
    ready: dict[str, float] = {}
    sums: dict[str, float] = {}
    for _ in range(TURNS):
        for side, process in workers.items():
            answer = ask(process, str(samples))
            if "error" in answer:
                raise RuntimeError(f"{SIDES[side]}: {answer['error']}")
            taken[side] += answer["seconds"]
            ready[side], sums[side] = answer["ready"], answer["sum"]
    if not all(math.isclose(total, sums["fastconv"], rel_tol=TOLERANCE) for total in sums.values()):
        raise RuntimeError("the results of fastconv and of ONNX Runtime differ")
    ours = statistics.median(taken["fastconv"])
    line = f"{f'batch {samples}':12}"
    for side, seconds in taken.items():
        median = statistics.median(seconds)
        line += f"{1e3 * min(seconds):10.3f}{1e3 * median:10.3f}{1e3 * ready[side]:9.1f}"
        line += f"{median / ours:7.2f}x" if side != "fastconv" else ""
    return line


def _ours(path: str) -> tuple[list[Any], Run]:
    model = onnx.load(path)

    def run(arrays: list[Any]) -> Sequence[Any]:
        outputs = model(*arrays)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return model.inputs, run


def _runtime(path: str) -> Run:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.log_severity_level = 3
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def _arrays(path: str, samples: int, size: tuple[int, int] | None) -> list[Any]:
    """Arrays for the inputs: normal numbers, ones where they are whole."""
    rng = np.random.default_rng(0)
    inputs = onnx.load(path).inputs
    return [
        rng.standard_normal(shape).astype(value.dtype) if value.dtype.kind == "f" else np.ones(shape, value.dtype)
        for value, shape in zip(inputs, shapes.fixed(inputs, samples, size), strict=True)
    ]


def _prepared(
    side: str, path: str, size: tuple[int, int] | None, samples: int
) -> tuple[Callable[[], Any], float, float]:
    """A call, its seconds from the file to the first result, and the sum of the absolute values of that."""
    arrays = _arrays(path, samples, size)
    if side != "fastconv":
        import_module(side)
    start = time.perf_counter()
    run = _ours(path)[1] if side == "fastconv" else _runtime(path)
    outputs = run(arrays)
    ready = time.perf_counter() - start
    return partial(run, arrays), ready, sum(float(np.abs(y.astype(np.float64)).sum()) for y in outputs)


def main(side: str, path: str, size: str, seconds: str) -> None:
    """Answer the numbers of samples on standard input until it ends."""
    height, _, width = size.partition(",")
    prepared = cache(partial(_prepared, side, path, (int(height), int(width)) if size else None))
    for line in sys.stdin:
        try:
            work, ready, total = prepared(int(line))
            answer = {"sum": total, "ready": ready, "seconds": measure(work, float(seconds))}
        except Exception as error:  # whatever a runtime raises is the parent's to tell
            answer = {"error": " ".join(str(error).split())}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
