"""Time fastconv against PyTorch (and ONNX Runtime, torch.compile, the book's NumPy) and print the ratios.

    python bench/compare.py [--only conv2d,pool] [--threads 2] [--turns 5] [--markdown] [--json results.json]

Every side runs in a process of its own, in turns, the idle ones asleep on a pipe: in one process the spinning threads of
one side slow the other's manyfold. Within a turn a call is repeated for about a tenth of a second. Reported are the best
and the median over the turns; on a machine that others share, the best is the steadier.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def measure(calls, seconds, pause=0.0):
    """Best and median time of the fastest of `calls`, each repeated for about `seconds`, asleep for `pause` before each."""
    outcomes = []
    for call in calls:
        start = time.perf_counter()
        call()
        once = time.perf_counter() - start
        inner = 1 if pause else max(1, int(20e-6 / max(once, 1e-9)))  # a reading well above the clock's own cost
        times = []
        end = time.perf_counter() + (seconds + 20 * pause)
        while len(times) < 3 or time.perf_counter() < end:
            if pause:
                time.sleep(pause)
            start = time.perf_counter()
            for _ in range(inner):
                call()
            times.append((time.perf_counter() - start) / inner)
        outcomes.append((min(times), statistics.median(times)))
    return min(outcomes)


def serve(side, threads):
    """The life of one side: read the number of a piece of work, answer with its times."""
    sys.path.insert(0, str(HERE))
    import fastconv as fc

    if side.startswith("fastconv"):
        fc.set_num_threads(threads)
    elif side != "book":
        import torch

        torch.set_num_threads(threads)
    from work import all_work

    works = all_work()
    side = side.split("@")[0]
    calls = {}
    for line in sys.stdin:
        number, seconds = json.loads(line)
        try:
            if number not in calls:
                calls.clear()  # the memory of the last piece of work is given back
                calls[number] = works[number].sides[side]()
                measure(calls[number], seconds)
            answer = measure(calls[number], seconds, works[number].pause)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)


class Side:
    """A process that times one side, asleep until asked."""

    def __init__(self, name, threads):
        threads = int(name.split("@")[1]) if "@" in name else threads
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip

    def time(self, number, seconds):
        self.process.stdin.write(json.dumps([number, seconds]) + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if not line:
                return "the process ended"
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                continue  # something a library printed

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(work, number, sides, turns, seconds):
    """{side: {"best", "median"}} or {side: {"error"}}, turn by turn."""
    seen = {name: [] for name in sides if name.split("@")[0] in work.sides}
    for _ in range(turns):
        for name, results in seen.items():
            results.append(sides[name].time(number, seconds))
    table = {}
    for name, results in seen.items():
        good = [r for r in results if isinstance(r, list)]
        if good:
            table[name] = {"best": min(r[0] for r in good), "median": statistics.median(r[1] for r in good)}
        else:
            table[name] = {"error": results[0] if results else "not run"}
    return table


def row(work, table):
    """What is printed of one piece of work: a dict of texts."""
    ours = table.get("fastconv", {})
    if "best" not in ours:
        return {"work": work.id, "ours": ours.get("error", "not run")[:60]}
    cells = {"work": work.id, "ours": f"{ours['best'] * 1e3:.4g} ms"}
    if work.flops:
        cells["rate"] = f"{work.flops / ours['best'] / 1e9:.0f} GF/s"
    elif work.bytes:
        cells["rate"] = f"{work.bytes / ours['best'] / 1e9:.1f} GB/s"
    for name, times in table.items():
        if name != "fastconv":
            known = "best" in times
            cells[name] = (
                f"{times['best'] / ours['best']:.2f} ({times['median'] / ours['median']:.2f})" if known else "-"
            )
    if work.target and "best" in table.get("torch", {}):
        met = table["torch"]["best"] / ours["best"] >= work.target
        cells["target"] = f"{work.target:g}{'' if met else ' missed'}"
    return cells


def print_row(cells, columns, markdown):
    texts = [cells.get(c, "") for c in columns]
    if markdown:
        print("| " + " | ".join(texts) + " |", flush=True)
    else:
        print(
            "  ".join(f"{t:{48 if c == 'work' else 14}}" for c, t in zip(columns, texts, strict=True)).rstrip(),
            flush=True,
        )


def summary(works, results):
    """Geometric means of PyTorch's time over ours, group by group."""
    groups = {}
    for work in works:
        table = results.get(work.id, {})
        if "best" in table.get("torch", {}) and "best" in table.get("fastconv", {}):
            groups.setdefault(work.group, []).append(table["torch"]["best"] / table["fastconv"]["best"])
    return {g: (statistics.geometric_mean(r), min(r), len(r)) for g, r in groups.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="words, comma separated: run the work whose name holds one of them")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="time of one side's turn")
    parser.add_argument(
        "--sides",
        default="fastconv,torch",
        help="also: torch.compile, onnxruntime, book, and any with its own number of threads: fastconv@1",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.threads)
        return
    sys.path.insert(0, str(HERE))
    from work import all_work

    words = [w for w in options.only.split(",") if w]
    works = [(i, w) for i, w in enumerate(all_work()) if not words or any(word in w.id for word in words)]
    names = options.sides.split(",")
    wanted = [n for n in names if any(n.split("@")[0] in w.sides for _, w in works)]
    sides = {name: Side(name, options.threads) for name in wanted}
    columns = ["work", "ours", "rate", *(n for n in sides if n != "fastconv"), "target"]
    print_row({c: c for c in columns}, columns, options.markdown)
    if options.markdown:
        print("|" + "---|" * len(columns))
    results = {}
    for number, work in works:
        results[work.id] = compare(work, number, sides, options.turns, options.seconds)
        print_row(row(work, results[work.id]), columns, options.markdown)
    for side in sides.values():
        side.close()
    print()
    for group, (mean, least, count) in summary([w for _, w in works], results).items():
        print(f"{group}: geometric mean {mean:.2f}, least {least:.2f}, of {count} (PyTorch's best time over ours)")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
