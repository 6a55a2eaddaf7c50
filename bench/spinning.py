"""How long the thread pool's helpers should spin: programs with some Python between their calls, by spin time.

    python bench/spinning.py [--spin 50,150,500,1500] [--python 0.1,0.3,1,3,10] [--turns 10] [--neighbour]

A process for each spin time (in microseconds), in turns. For each work and each time of Python between two calls (in
milliseconds) a row says, against the first spin time: the best and the median time of a call (above 1: faster), and the
processor time that a call takes with what the helpers spin. --neighbour runs another program, which only counts, beside
each turn, and adds how fast it counts against the first spin time's turns (below 1: slowed). --before adds another build
as it is, a clone built in place, as the first column.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

WORKS = ("affine 100x784x256", "conv2d 100x1x28x28 30@5x5", "prediction SimpleConvNet b100")
SECONDS = 0.15  # of a turn
COUNTER = """
import sys, time
for line in sys.stdin:
    n, end = 0, time.perf_counter() + float(line)
    while time.perf_counter() < end: n += 1
    print(n, flush=True)
"""


def calls() -> dict[str, Callable[[], Any]]:
    from work_calls import bursts

    works = {work.name.rsplit(",", 1)[0]: work for work in bursts()}
    return {name: works[name].sides["fastconv"]()[0] for name in WORKS}


def serve(spin: float) -> None:
    """Answer each [work, seconds of Python, calls] with the calls' times and the processor time of all of it."""
    from fastconv.kernels._cpu import engine

    if spin >= 0:
        engine.set_spin_time(spin)
    ready = calls()
    for call in ready.values():
        for _ in range(20):
            call()
    for line in sys.stdin:
        name, python, count = json.loads(line)
        call, times, before = ready[name], [], time.process_time()
        for _ in range(count):
            _compute(python)
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        print(json.dumps([times, time.process_time() - before]), flush=True)


def _compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _start(*command: str, folder: str = "") -> subprocess.Popen[str]:
    env = os.environ | ({"PYTHONPATH": folder} if folder else {})
    command = (sys.executable, *command)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=env)


def _ask(process: subprocess.Popen[str], question: Any) -> Any:
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(question) + "\n")
    return json.loads(process.stdout.readline())


class Outcome:
    """What the turns of one spin time gave, for one work and one time of Python."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.processor_time, self.counted, self.calls = 0.0, 0.0, 0

    def row(self, first: "Outcome") -> str:
        """Best and median as ratios to the first's, processor time a call; the neighbour's rate."""
        ratios = [f(first.times) / f(self.times) for f in (min, statistics.median)]
        text = f"{ratios[0]:5.2f} {ratios[1]:5.2f} {1e6 * self.processor_time / self.calls:7.0f} us"
        return text + (f" {self.counted / first.counted:5.2f}" if first.counted else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spin", default="50,150,500,1500")
    parser.add_argument("--python", default="0.1,0.3,1,3,10")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--neighbour", action="store_true")
    parser.add_argument("--before", default="", metavar="FOLDER")
    options = parser.parse_args()
    sides = {"before": _start(__file__, "serve", "-1", folder=options.before)} if options.before else {}
    sides |= {f"{spin} us": _start(__file__, "serve", str(float(spin) * 1e-6)) for spin in options.spin.split(",")}
    neighbour = _start("-c", COUNTER) if options.neighbour else None
    head = "best median processor" + " neighbour" * options.neighbour
    print(f"{'':45}" + "".join(f"| {spin + ': ' + head:36}" for spin in sides))
    for name in WORKS:
        for python in map(float, options.python.split(",")):
            count = max(4, int(SECONDS / (python * 1e-3 + 1e-3)))
            outcomes = {spin: Outcome() for spin in sides}
            for turn in range(options.turns):
                for spin in list(sides)[:: -1 if turn % 2 else 1]:
                    if neighbour:
                        assert neighbour.stdin and neighbour.stdout
                        neighbour.stdin.write(f"{SECONDS}\n")
                    times, used = _ask(sides[spin], [name, python * 1e-3, count])
                    one = outcomes[spin]
                    one.times += times
                    one.processor_time, one.calls = one.processor_time + used, one.calls + count
                    if neighbour:
                        one.counted += int(neighbour.stdout.readline())
            first = next(iter(outcomes.values()))
            print(f"{name}, {python:g} ms{'':45}"[:45] + "".join(f"| {o.row(first):36}" for o in outcomes.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(float(sys.argv[2]))
    else:
        main()
