"""Files: mutated IDX, CIFAR, npz, safetensors and pickle files. Each gives arrays, or the documented error.

`python -m tests.fuzz.files --inputs 200000`. A reader may refuse a file with a ValueError that names it, and do nothing
else: run nothing, take no more memory than the file can hold, and leave a network's parameters as they were. Files lie
in memory where the system has such a folder. Inputs are read in two processes; one that dies is a finding too.
"""

import argparse
import sys
import time

from .mutations import FORMATS
from .process import Died, Worker

_BATCH = 500


def main(arguments: list[str] | None = None) -> int:
    """The number of findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.files", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of the seed")
    parser.add_argument("--findings", type=int, default=5, help="stop after this many")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    counts = dict.fromkeys((f"{name} {end}" for name in FORMATS for end in ("read", "refused")), 0)
    findings, done = 0, 0
    workers = [Worker(str(options.seed), module="file_worker", patience=120) for _ in range(2)]
    batches = [range(i, min(i + _BATCH, options.inputs)) for i in range(0, options.inputs, _BATCH)]
    shares = [[options.first + i for i in batch] for batch in batches]
    while shares and findings < options.findings:
        given = list(zip(workers, [shares.pop(0) for _ in workers if shares], strict=False))
        for worker, share in given:
            worker.ask(share)
        for worker, share in given:
            for i in share:
                try:
                    name, end = worker.answer()
                except Died as death:
                    print(f"input {i} of seed {options.seed}: the process {death}", flush=True)
                    workers[workers.index(worker)] = Worker(str(options.seed), module="file_worker", patience=120)
                    findings += 1
                    break
                done += 1
                if end in ("read", "refused"):
                    counts[f"{name} {end}"] += 1
                else:
                    findings += 1
                    print(f"input {i} of seed {options.seed}: {name}: {end}", flush=True)
    for worker in workers:
        worker.close()
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    print(f"fuzz.files: {done:,} inputs in {time.monotonic() - start:.0f} s, seed {options.seed}, {findings} findings")
    return findings


if __name__ == "__main__":
    from . import files  # whose classes the workers know, unlike those of __main__

    sys.exit(min(files.main(), 1))
