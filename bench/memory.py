"""The most memory that a training step or a compiled prediction of a network takes, ours and PyTorch's.

    python bench/memory.py [--only ResNet18,VGG16] [--markdown]

Every figure is of a process of its own: the most resident memory until three steps are done, less what was resident once
the library was imported. Parameters, gradients, what layers keep for `backward`, caches of freed memory and the batch
all count. PyTorch runs in both of its memory formats; the smaller figure counts.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import work_deep

KINDS = {"step": "training step", "prediction": "prediction of one image"}
FORMATS = ("contiguous", "channels last")


def resident(key: str) -> float:
    """A figure of this process's memory in MB: "VmRSS" is resident now, "VmHWM" was at most."""
    found = re.search(rf"^{key}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    if not found:
        raise SystemExit("bench/memory.py reads /proc/self/status, which this system does not have")
    return int(found[1]) / 1024


def measured(side: str, kind: str, name: str) -> float:
    """In a process of its own: MB beyond the imports."""
    if side != "fastconv":
        import torch  # noqa: F401
        import twin  # noqa: F401
    count = work_deep.NETS[name][0] if kind == "step" else 1
    before = resident("VmRSS")
    if side == "fastconv":
        run = (work_deep.our_step if kind == "step" else work_deep.our_prediction)(name, count)[0]
    else:
        calls = (work_deep.torch_step if kind == "step" else work_deep.torch_prediction)(name, count)
        run = calls[FORMATS.index(side)]
    for _ in range(3):
        run()
    return resident("VmHWM") - before


def asked(side: str, kind: str, name: str) -> float:
    command = [sys.executable, __file__, "--measure", side, kind, name]
    return float(subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks, comma separated")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("SIDE", "KIND", "NETWORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measured(*options.measure))
        return
    names = [name for name in work_deep.NETS if not options.only or name in options.only.split(",")]
    if options.markdown:
        print("| work | fastconv, MB | PyTorch, MB | ours / PyTorch's |\n|---|---|---|---|")
    for kind, words in KINDS.items():
        for name in names:
            ours, theirs = asked("fastconv", kind, name), min(asked(form, kind, name) for form in FORMATS)
            work = f"{name}, {words}"
            line = f"| {work} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |"
            print(line if options.markdown else f"{work:40} {ours:8.0f} {theirs:8.0f} {ours / theirs:6.2f}", flush=True)


if __name__ == "__main__":
    main()
