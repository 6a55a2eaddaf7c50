"""`python -m tests.fuzz`: random calls for some minutes; the first finding is shrunk, printed, and ends the run."""

import argparse
import math
import os
import sys
import time

from .draw import ALSO, Draw
from .outcome import Outcome, difference
from .process import Died, Worker
from .shrink import replayed, shrink, snippet
from .step import Step

_BATCH = 200


def main(arguments: list[str] | None = None) -> int:
    """The number of findings."""
    options = _options(arguments)
    if options.isa:
        os.environ["FASTCONV_ISA"] = options.isa
    draw = Draw(options.seed, options.backend, tuple(options.also))
    reference = [options.reference] if options.reference else []

    def exact(step: Step) -> bool:
        return not options.reference and step.settings.backend != "numpy"

    def fresh() -> Worker:
        return Worker("afresh", *reference)

    history: list[Step] = []
    findings, start = 0, time.monotonic()
    seen, expected = Worker("as-used"), fresh()
    batch = [draw.step(i) for i in range(options.first, options.first + _BATCH)]
    done = 0
    while batch:
        for worker in (seen, expected):
            worker.ask(batch)
        finished = time.monotonic() - start > 60 * options.minutes or (options.calls and done + _BATCH >= options.calls)
        following = range(options.first + done + _BATCH, options.first + done + 2 * _BATCH)
        coming = [] if finished else [draw.step(i) for i in following]
        for step in batch:
            history.append(step)
            done += 1
            wrong = _answers(seen, expected, exact(step))
            if not wrong:
                continue
            findings += 1
            print(f"\ncall {done} of seed {options.seed}: {wrong}\n{step.call()}", flush=True)
            seen.close(), expected.close()
            with fresh() as right:
                shortest, why = shrink(history, replayed(right, exact), options.replays)
            print(f"# --- {len(shortest)} of {len(history)} calls are enough ---" if why else "# not repeatable")
            print(snippet(shortest, why) if why else f"{step}", flush=True)
            history, seen, expected = [], Worker("as-used"), fresh()
            break
        if findings >= options.findings:
            break
        batch = coming
    seen.close(), expected.close()
    print(f"fuzz: {done:,} calls in {time.monotonic() - start:.0f} s, seed {options.seed}, backend {options.backend}, "
          f"{findings} findings")  # fmt: skip
    return findings


def _answers(seen: Worker, expected: Worker, exact: bool) -> str:
    """What is wrong with the next answers, or ""."""
    try:
        right: Outcome | str = expected.answer()
    except Died as death:
        right = f"the process {death}, also when the call is its first"
    try:
        outcome = seen.answer()
    except Died as death:
        return right if isinstance(right, str) else f"the process {death}"
    return right if isinstance(right, str) else difference(outcome, right, exact)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="one, if no number of calls is given")
    parser.add_argument(
        "--calls", type=int, default=0, help="stop after this many calls, or after the minutes if given"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first call of the seed")
    parser.add_argument("--backend", choices=["any", "cython", "numba", "numpy"], default="any")
    parser.add_argument("--reference", choices=["cython", "numba", "numpy"], help="compare with this backend")
    parser.add_argument("--isa", choices=["baseline", "avx2", "avx512"])
    parser.add_argument("--also", nargs="*", choices=ALSO, default=[], help="draw what finds known faults, too")
    parser.add_argument("--findings", type=int, default=1, help="stop after this many findings")
    parser.add_argument("--replays", type=int, default=250, help="how many to spend on shrinking a finding")
    options = parser.parse_args(arguments)
    if options.minutes is None:
        options.minutes = math.inf if options.calls else 1.0
    return options


if __name__ == "__main__":
    sys.exit(min(main(), 1))
