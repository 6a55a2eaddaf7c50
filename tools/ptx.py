"""Compile every CUDA kernel to PTX and, where ptxas is at hand, to machine code: registers, shared memory, spills.

    python tools/ptx.py [--cc 80,90] [--only conv2d] [--markdown] [--keep DIR]

Ends with 1 when a kernel spills registers, or keeps an array meant for them in memory.

Needs the packages numba-cuda and nvidia-cuda-nvcc, no GPU and no driver: pip install 'fastconv[cuda]'.
"""

import argparse
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from numba.cuda import compile_ptx, dispatcher

import fastconv
from fastconv.kernels._cuda import shim
from fastconv.kernels._cuda.kernels import FAMILIES, Family

KERNELS = Path(fastconv.kernels.__file__).parent


@dataclass(frozen=True)
class Usage:
    """What one compiled kernel takes; -1 where ptxas is not at hand."""

    kernel: str
    cc: int
    registers: int = -1
    shared: int = -1
    stack: int = -1
    spills: int = -1

    @property
    def cells(self) -> tuple[str, ...]:
        values = (self.cc, self.registers, self.shared, self.stack, self.spills)
        return self.kernel, *("?" if value < 0 else str(value) for value in values)


def find_ptxas() -> str | None:
    """ptxas of the packages beside numba-cuda, as new as what writes the PTX, else that of an installed toolkit."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for found in sorted(Path(folder).glob("*/bin/ptxas")):
            return str(found)
    return shutil.which("ptxas")


def families(only: str) -> list[Family]:
    """Every family of kernels, after importing every module that has some as if a device were here."""
    shim.require = lambda: None
    importlib.import_module("fastconv.kernels._cuda.between")
    for path in sorted(KERNELS.glob("*/cu.py")):
        importlib.import_module(f"fastconv.kernels.{path.parent.name}.cu")
    return [f for f in FAMILIES if only in f.name]


def ptx_of(family: Family, T: type, options: tuple[Any, ...], cc: int) -> str:
    """The PTX of one kernel."""
    capability = divmod(cc, 10)
    # Device functions are typed for the current device, which need not be there: any with this capability will do.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    text, _ = compile_ptx(family.body(T, *options), family.types(T), cc=capability)
    return text


def usage(name: str, ptx: str, cc: int, ptxas: str | None, keep: Path) -> Usage:
    """What ptxas says about one kernel."""
    if ptxas is None:
        return Usage(name, cc)
    stem = re.sub(r"\W+", "_", f"{name}_{cc}")
    source = keep / f"{stem}.ptx"
    source.write_text(ptx)
    command = [ptxas, "-v", f"-arch=sm_{cc}", str(source), "-o", str(keep / f"{stem}.cubin")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        raise RuntimeError(f"{name}, sm_{cc}: {said.stderr.strip()}")

    def number(pattern: str) -> int:
        return sum(int(n) for n in re.findall(pattern, said.stderr))

    return Usage(
        name,
        cc,
        registers=number(r"Used (\d+) registers"),
        shared=number(r"(\d+) bytes smem"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
    )


def compile_all(ccs: list[int], only: str = "", keep: Path | None = None) -> Iterator[Usage]:
    """Compile every variant of every family for every element type."""
    ptxas = find_ptxas()
    with tempfile.TemporaryDirectory() as scratch:
        for family in families(only):
            for T in family.stored:
                for options in family.variants(T):
                    name = " ".join((family.name, T.__name__, *map(str, options)))
                    for cc in ccs:
                        yield usage(name, ptx_of(family, T, options, cc), cc, ptxas, keep or Path(scratch))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cc", default="80,90", help="compute capabilities, e.g. 80,90")
    parser.add_argument("--only", default="", help="kernels whose name holds this")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--keep", type=Path, help="folder for the PTX and machine code")
    given = parser.parse_args()
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    titles = ("kernel", "sm", "registers", "shared bytes", "stack bytes", "spilled bytes")
    line = "| {} | {} | {} | {} | {} | {} |" if given.markdown else "{:55} {:>4} {:>10} {:>13} {:>12} {:>14}"
    print(line.format(*titles))
    if given.markdown:
        print("|---|" + "---:|" * 5)
    wrong = 0
    for row in compile_all([int(cc) for cc in given.cc.split(",")], given.only, given.keep):
        print(line.format(*row.cells), flush=True)
        wrong += row.spills > 0 or row.stack > 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
