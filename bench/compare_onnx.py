"""Models in ONNX's format: fastconv against ONNX Runtime, a process for each side, turn by turn.

    python bench/compare_onnx.py                         # the networks of tests/onnx at full size, batch 1
    python bench/compare_onnx.py --batch 1 8 --markdown  # a table for a page
    python bench/compare_onnx.py model.onnx other.onnx   # your own files

Without files, networks of random weights are exported by torch.onnx (PyTorch is needed for that alone), and ONNX's light
models are taken from its package. A process loads a model, calls it for a while, and reports its best and its median time,
the time from its start to its first result, and its peak memory; the sides take turns. ONNX Runtime is optional.
"""

import argparse
import importlib.util
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = "fastconv", "onnxruntime"


def measure(side: str, path: str, batch: int, threads: int, seconds: float) -> dict[str, float]:
    """The times of one side, in seconds, and its peak memory in MiB."""
    start = time.perf_counter()
    call, x = (_ours if side == "fastconv" else _theirs)(path, batch, threads)
    call(x)
    first = time.perf_counter() - start
    for _ in range(3):
        call(x)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        begin = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - begin)
    times.sort()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)
    return {"first": first, "best": times[0], "median": times[len(times) // 2], "memory": memory}


def _images(shape, batch):
    import numpy as np

    sizes = [n if isinstance(n, int) and n > 0 else {0: batch, 1: 3}.get(i, 224) for i, n in enumerate(shape)]
    return np.random.default_rng(0).standard_normal(sizes).astype(np.float32)


def _ours(path, batch, threads):
    import fastconv
    import fastconv.onnx

    fastconv.set_num_threads(threads)
    model = fastconv.onnx.load(path)
    return model, _images(model.inputs[0].shape, batch)


def _theirs(path, batch, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    return lambda x: session.run(None, {given.name: x}), _images(given.shape, batch)


def turns(path: str, batch: int, threads: int, count: int, seconds: float, sides) -> dict[str, dict[str, float]]:
    """The least of each figure over the turns of each side, the median of its medians."""
    seen = {side: [] for side in sides}
    for _ in range(count):
        for side in sides:
            command = [sys.executable, __file__, "--side", side, path, "--batch", str(batch)]
            command += ["--threads", str(threads), "--seconds", str(seconds)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{side} on {path}:\n{done.stderr}")
            seen[side].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        side: {key: min(r[key] for r in runs) for key in ("first", "best", "memory")}
        | {"median": sorted(r["median"] for r in runs)[len(runs) // 2]}
        for side, runs in seen.items()
    }


def networks(folder: Path, only) -> list[str]:
    """Files of the networks that the table has, made where they are missing."""
    import onnx

    files = []
    light = Path(onnx.__path__[0]) / "backend" / "test" / "data" / "light"
    files += [str(path) for path in sorted(light.glob("*.onnx"))]
    try:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "onnx"))
        import large_networks
        import torch
        from exported_networks import exported
    except ImportError as error:
        print(f"no exports of PyTorch: {error}", file=sys.stderr)
    else:
        for name, make in large_networks.NETWORKS.items():
            if not only or any(word in name for word in only):
                torch.manual_seed(0)
                path = folder / f"{name}.onnx"
                path.write_bytes(exported(make().eval(), shape=(1, 3, 224, 224)))
                files.append(str(path))
    return [path for path in files if not only or any(word in path for word in only)]


def table(rows, markdown: bool) -> str:
    head = ["model", "batch", "ours, ms", "ONNX Runtime, ms", "ratio", "first result", "memory, MiB"]
    lines = []
    for name, batch, sides in rows:
        ours, theirs = sides["fastconv"], sides.get("onnxruntime")
        cells = [name, str(batch), _times(ours), "-", "-", f"{ours['first']:.2f} s", f"{ours['memory']:.0f}"]
        if theirs:
            cells[3:] = [
                _times(theirs), f"{theirs['best'] / ours['best']:.2f}",
                f"{ours['first']:.2f} / {theirs['first']:.2f} s", f"{ours['memory']:.0f} / {theirs['memory']:.0f}",
            ]  # fmt: skip
        lines.append(cells)
    if markdown:
        made = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines]]
    else:
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        made = ["  ".join(cell.ljust(n) for cell, n in zip(cells, widths, strict=True)) for cells in [head, *lines]]
    ratios = [s["onnxruntime"]["best"] / s["fastconv"]["best"] for _, _, s in rows if "onnxruntime" in s]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        made += ["", f"Geometric mean of {len(ratios)} ratios: {mean:.2f}, least {min(ratios):.2f}."]
    return "\n".join(made)


def _times(side):
    return f"{side['best'] * 1e3:.2f} ({side['median'] * 1e3:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="models; without them, networks of random weights")
    parser.add_argument("--only", nargs="*", default=[], help="words of which a model's name has one")
    parser.add_argument("--batch", nargs="*", type=int, default=[1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of calls in a turn")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--side", choices=SIDES, help="measure one side of one model and print it as JSON")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(given.threads))
    if given.side:
        print(json.dumps(measure(given.side, given.files[0], given.batch[0], given.threads, given.seconds)))
        return
    sides = SIDES if importlib.util.find_spec("onnxruntime") else SIDES[:1]
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for path in given.files or networks(Path(folder), given.only):
            for batch in given.batch if "light_" not in path else given.batch[:1]:
                name = Path(path).stem
                print(name, batch, file=sys.stderr)
                rows.append((name, batch, turns(path, batch, given.threads, given.turns, given.seconds, sides)))
        print(table(rows, given.markdown))


if __name__ == "__main__":
    main()
