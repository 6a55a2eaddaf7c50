"""The processes that are timed: one for each side, asleep on a pipe until asked.

In one process the spinning threads of one side would slow the other's manyfold.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST = ".contiguous"  # of a side's variants, only the first: PyTorch's contiguous format
BEFORE = "before"  # the side of another build of fastconv


@dataclass(frozen=True)
class Settings:
    """What every side of a run is given."""

    threads: int
    seconds: float
    isa: str = ""
    backend: str = ""
    against: str = ""  # the folder from which the side BEFORE imports fastconv

    def environment(self, threads: int, side: str = "fastconv") -> dict[str, str]:
        """The environment of a side with so many threads; an instruction set binds PyTorch as well as us."""
        names = ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env = {**os.environ, **dict.fromkeys(names, str(threads))}
        if self.isa:
            oneDNN = {"avx512": "AVX512_CORE_AMX", "avx2": "AVX2", "baseline": "SSE41"}[self.isa]
            aten = {"baseline": "default"}.get(self.isa, self.isa)
            env |= {"FASTCONV_ISA": self.isa, "ONEDNN_MAX_CPU_ISA": oneDNN, "ATEN_CPU_CAPABILITY": aten}
        if self.backend:
            env["FASTCONV_BACKEND"] = self.backend
        if self.against:
            folder = self.against if side.split("@")[0] == BEFORE else str(Path(__file__).parents[1])
            env["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, env.get("PYTHONPATH"))))
        return env


def library(side: str) -> str:
    """The builder's name of a side: "fastconv@1" and "torch.contiguous" are built as "fastconv" and "torch" are."""
    name = side.split("@")[0].removesuffix(FIRST)
    return "fastconv" if name == BEFORE else name


def measure(
    calls: list[Callable[[], Any]], seconds: float, pause: float = 0.0, following: int = 0
) -> tuple[float, float]:
    """Best and median time of the fastest of `calls`, each repeated for about `seconds`, asleep for `pause` before each.

    With `following`, so many calls are made after each pause behind a first one that does not count.
    """
    outcomes = []
    for call in calls:
        once = min(_time(call, 1) for _ in range(5))  # the first is cold
        inner = 1 if pause else max(1, int(20e-6 / max(once, 1e-9)))  # a reading well above the clock's own cost
        times: list[float] = []
        end = time.perf_counter() + (seconds + 20 * pause)
        while len(times) < 3 or time.perf_counter() < end:
            if pause:
                time.sleep(pause)
            if following:
                call()
            times += [_time(call, inner) for _ in range(following or 1)]
        outcomes.append((min(times), statistics.median(times)))
    return min(outcomes)


def _time(call: Callable[[], Any], inner: int) -> float:
    start = time.perf_counter()
    for _ in range(inner):
        call()
    return (time.perf_counter() - start) / inner


class Side:
    """A process that times one side."""

    def __init__(self, name: str, settings: Settings) -> None:
        threads = int(name.split("@")[1]) if "@" in name else settings.threads
        self.process = subprocess.Popen(
            [sys.executable, __file__, name.split("@")[0], str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=settings.environment(threads, name),
        )  # fmt: skip

    def time(self, number: int, seconds: float) -> list[float] | str:
        """[best, median] of piece of work `number`, or what went wrong."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps([number, seconds]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return "the process ended"
        for line in self.process.stdout:
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                continue  # something a library printed
        return "the process ended"

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve(side: str, threads: int) -> None:
    """The life of a side: read the number of a piece of work, answer with its times."""
    import fastconv as fc

    name = library(side)
    if name in ("torch", "torch.compile", "onnxruntime"):
        import torch

        torch.set_num_threads(threads)
    from work import all_work

    works, ready, calls = all_work(), None, []
    for line in sys.stdin:
        number, seconds = json.loads(line)
        work = works[number]
        pause = 0.0 if side == "hot" else work.pause
        answer: Any
        try:
            if number != ready:
                calls = []  # the memory of the last piece of work is given back
                fc.set_float32_conv_precision("high")
                calls = work.sides[name]()[: 1 if side.endswith(FIRST) else None]
                measure(calls, seconds)
                ready = number
            answer = measure(calls, seconds, pause, work.following if pause else 0)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
