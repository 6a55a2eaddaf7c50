"""Several processes that train together (fastconv.distributed), beside PyTorch's DDP on gloo: a table and a picture.

    python bench/compare_mpi.py [--seconds 2] [--processes 2] [--out bench/results/NAME] [--alpha 2e-6 --bandwidth 11e9]

Needs `pip install 'fastconv[mpi]'`; takes some six minutes, on a machine without other work. For each network:

- weak scaling: every process has the whole batch; strong scaling: the batch is divided.
- A step, the same without gradients being sent, with and without a barrier behind it, and the communication alone are timed
  in turns, in the same processes. The barrier's time is waiting for the slowest process; exposed is a step less one
  with a barrier; hidden is what of the communication alone is not exposed.
- The model: t = c(n) + messages. c(n) is a straight line through the times of steps with a barrier for two batches (a
  fourth and all of the batch). A message of m bytes takes a + b m, fitted to sums
  that were timed by themselves; on one machine the processors carry the messages, so that nothing is hidden. The error
  is that of the predicted steps against the measured ones, of the weak and the strong points.
- Efficiency on many machines, a process each: the same c(n); a sum over K of them takes 2 log2(K) alpha + 2 (K - 1) / K m
  beta for every bucket, one bucket after the other, each begun when the backward pass has filled it (measured). What ends
  behind the backward pass is exposed.
"""

import argparse
import json
import math
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
NETS = {"SimpleConvNet": 100, "DeepConvNet": 100, "ResNet18": 8, "ResNet50": 4}  # and the samples of a batch
COMPARED = ("SimpleConvNet", "DeepConvNet", "ResNet18")
DRAWN = ("SimpleConvNet", "DeepConvNet", "ResNet50")
MOST = 1024
WEAK_TARGETS = {"SimpleConvNet": 0.85, "DeepConvNet": 0.9, "ResNet18": 0.9}


def mpiexec() -> str:
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        sys.exit("mpiexec is missing: pip install 'fastconv[mpi]'")
    return found


def job(processes: int, side: str, net: str, batch: int, seconds: float, threads: int = 1) -> dict[str, Any]:
    """Run `bench/work_mpi.py` on some processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {"side": side, "net": net, "batch": batch, "seconds": seconds, "threads": threads, "port": port}
    root = str(HERE.parent)
    environment = {
        **os.environ,
        "FASTCONV_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join([root, str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    command = [mpiexec(), "-n", str(processes), sys.executable, str(HERE / "work_mpi.py"), json.dumps(given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"{side} {net} on {processes} processes: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(net: str, processes: int, seconds: float, threads: int) -> dict[str, Any]:
    """All jobs of a network."""
    batch = NETS[net]
    quarter, part = max(1, batch // 4), max(1, batch // processes)
    found: dict[str, Any] = {"batch": batch, "part": part, "quarter": quarter}
    found["one"] = job(1, "fastconv", net, batch, seconds)
    found["weak"] = job(processes, "fastconv", net, batch, seconds)
    found["small"] = job(processes, "fastconv", net, quarter, seconds)
    found["strong"] = job(processes, "fastconv", net, part, seconds)
    if net in COMPARED:
        found["threads"] = job(1, "fastconv", net, batch, seconds, threads)
        for key, count in (("torch one", 1), ("torch", processes)):
            found[key] = job(count, "torch", net, batch, seconds)
    return found


def seconds_of(found: dict[str, Any], key: str, kind: str = "step") -> float:
    return found[key]["times"][kind]["median"]


# ---- the model ----


def line(points: Sequence[Sequence[float]]) -> tuple[float, float]:
    """a + b x through points, each with the same weight of its relative error; a is not negative."""
    x, y = np.array(points, float).T
    best, _, _, _ = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones(len(y)), rcond=None)
    if best[0] < 0:
        ratio = x / y
        return 0.0, float(ratio.sum() / (ratio**2).sum())
    return float(best[0]), float(best[1])


def message_seconds(points: Sequence[Sequence[float]], size: float) -> float:
    """Of a message of some bytes: interpolated in what was measured, since caches make more than one line of it."""
    sizes, times = np.array(points, float).T
    return float(np.exp(np.interp(math.log(size), np.log(sizes), np.log(times))))


def compute_line(found: dict[str, Any]) -> tuple[float, float]:
    points = [
        (found[f"{key}"], seconds_of(found, name, "lockstep"))
        for key, name in (("quarter", "small"), ("batch", "weak"))
    ]
    (x0, y0), (x1, y1) = points
    slope = (y1 - y0) / (x1 - x0)
    return y0 - slope * x0, slope


def predicted(found: dict[str, Any], key: str) -> float:
    """Seconds of a step of a point that the line through the others gives."""
    base, slope = compute_line(found)
    count = found["batch"] if key == "weak" else found["part"]
    return (
        base + slope * count + sum(message_seconds(found[key]["messages"], size) for size, _ in found[key]["buckets"])
    )


def efficiency(found: dict[str, Any], processes: int, alpha: float, beta: float) -> float:
    """Of weak scaling on machines with one process each."""
    if processes == 1:
        return 1.0
    compute = seconds_of(found, "one", "compute")
    slower = compute / seconds_of(found, "weak", "compute")  # the backward pass was timed among other processes
    end = -math.inf
    for size, before_end in sorted(found["weak"]["buckets"], key=lambda each: -each[1]):
        takes = 2 * math.log2(processes) * alpha + 2 * (processes - 1) / processes * size * beta
        end = max(end, -before_end * slower) + takes
    return compute / (compute + max(0.0, end))


# ---- the report ----


def table(found: dict[str, dict[str, Any]], processes: int, threads: int) -> str:
    head = (
        f"| | step, 1 process | {processes} processes, weak | speed-up | target | 1 process, {threads} threads, as many samples "
        "| compute | waiting | exposed | hidden | exposed share | strong speed-up | DDP, gloo | DDP / ours | its speed-up |"
    )
    rows = [head, "|---" * 15 + "|"]
    for net, each in found.items():
        one, weak, strong = (seconds_of(each, key) for key in ("one", "weak", "strong"))
        compute, alone = (seconds_of(each, "weak", kind) for kind in ("compute", "communication"))
        together = max(compute, seconds_of(each, "weak", "lockstep"))
        exposed = max(0.0, weak - together)
        cells = [
            f"{net} b{each['batch']}",
            ms(one),
            ms(weak),
            f"{processes * one / weak:.2f}",
            f"{processes * WEAK_TARGETS[net]:.2f}" if net in WEAK_TARGETS else "",
            ms(processes * seconds_of(each, "threads")) if "threads" in each else "",
            ms(compute),
            ms(together - compute),
            ms(exposed),
            ms(max(0.0, alone - exposed)),
            f"{exposed / weak:.1%}",
            f"{one / strong:.2f}",
        ]
        if "torch" in each:
            theirs, theirs_one = seconds_of(each, "torch"), seconds_of(each, "torch one")
            cells += [ms(theirs), f"{theirs / weak:.2f}", f"{processes * theirs_one / theirs:.2f}"]
        else:
            cells += ["", "", ""]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def model_table(found: dict[str, dict[str, Any]]) -> str:
    rows = ["| | point | predicted | measured | error |", "|---|---|---|---|---|"]
    for net, each in found.items():
        for key, count in (("weak", each["batch"]), ("strong", each["part"])):
            guess, real = predicted(each, key), seconds_of(each, key)
            rows.append(f"| {net} | {key}, {count} each | {ms(guess)} | {ms(real)} | {guess / real - 1:+.1%} |")
    return "\n".join(rows)


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 10 else f"{seconds:.3g} s"


def picture(found: dict[str, dict[str, Any]], processes: int, alpha: float, bandwidth: float, path: Path) -> None:
    """Where a step's time goes, beside DDP's; and efficiency up to many processes."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for i, each in enumerate(found.values()):
        one, weak, compute = seconds_of(each, "one"), seconds_of(each, "weak"), seconds_of(each, "weak", "lockstep")
        shown = {
            "one process": [(0, one, "#9ab8d4")],
            "several": [(0, compute, "#1f6fb4"), (compute, weak - compute, "#c8553d")],
        }
        if "torch" in each:
            shown["DDP"] = [(0, seconds_of(each, "torch"), "#888888")]
        for j, parts in enumerate(shown.values()):
            for bottom, height, colour in parts:
                left.bar(i + 0.27 * (j - 1), height / one, 0.25, bottom / one, color=colour)
    left.set_xticks(range(len(found)), [f"{net}\nb{each['batch']}" for net, each in found.items()], fontsize=8)
    left.axhline(1, color="#444444", linewidth=0.6)
    left.set_ylabel("time of a step / one process's")
    names = (
        "one process",
        f"{processes} processes: compute and waiting",
        "exposed communication",
        f"PyTorch DDP, {processes} processes",
    )
    colours = ("#9ab8d4", "#1f6fb4", "#c8553d", "#888888")
    left.legend([plt.Rectangle((0, 0), 1, 1, color=colour) for colour in colours], names, fontsize=7)
    counts = [1 << k for k in range(int(math.log2(MOST)) + 1)]
    for colour, net in zip(("#1f6fb4", "#c8553d", "#3c8d40"), DRAWN, strict=True):
        if net not in found:
            continue
        for (a, b), style in (((alpha, bandwidth), "-"), ((30e-6, 1.1e9), "--")):
            values = [efficiency(found[net], k, a, 1 / b) for k in counts]
            right.plot(
                counts, values, style, color=colour, label=f"{net}, {1e6 * a:g} us, {b / 1e9:g} GB/s", linewidth=1.2
            )
    right.set_xscale("log", base=2)
    right.set(xlabel="machines, one process and thread each", ylabel="efficiency, weak scaling", ylim=(0, 1.03))
    right.grid(linewidth=0.3)
    right.legend(fontsize=7)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seconds", type=float, default=2.0, help="of each kind of measurement in a job; default: %(default)s")
    add("--processes", type=int, default=2)
    add("--only", default=",".join(NETS), help="networks, comma separated")
    add(
        "--alpha",
        type=float,
        default=2e-6,
        help="seconds before a message moves, for the picture; default: %(default)s",
    )
    add("--bandwidth", type=float, default=11e9, help="bytes a second, for the picture; default: %(default)s")
    add("--out", type=Path, help="writes OUT.json, OUT.md and OUT.png")
    options = parser.parse_args()
    cpus = len(os.sched_getaffinity(0))
    if options.processes > cpus:
        print(f"note: {options.processes} processes share {cpus} CPUs: times say little")
    start, found = time.monotonic(), {}
    load = os.getloadavg()[0]
    for net in options.only.split(","):
        found[net] = measure(net, options.processes, options.seconds, options.processes)
        print(f"{net}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    base, slope = line(next(iter(found.values()))["weak"]["messages"])
    machine = f"{platform.machine()}, {cpus} CPUs, {platform.system()}; load before {load:.2f}, after {os.getloadavg()[0]:.2f}"
    text = "\n\n".join(
        [
            f"Medians. {machine}. A message here: {1e6 * base:.1f} us + {1e-9 / slope:.2f} GB/s.",
            table(found, options.processes, options.processes),
            model_table(found),
        ]
    )
    print(text)
    if options.out:
        options.out.with_suffix(".json").write_text(json.dumps({"machine": machine, "nets": found}, indent=1))
        options.out.with_suffix(".md").write_text(text + "\n")
        picture(found, options.processes, options.alpha, options.bandwidth, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
