"""Run the kernels under the compiler's sanitizers: for addresses and undefined behaviour, and for threads.

    python tools/sanitize.py                          both
    python tools/sanitize.py memory [--isa avx2] [--only pool2d] [--fuzz 20000] [TESTS...]
    python tools/sanitize.py threads [--rounds 20]

memory    The package is built again, in build/sanitize, with FASTCONV_SANITIZE=address,undefined (see setup.py). It
          runs the operations' tests (every shape of fastconv.testing.CASES) and the fuzz. The buffer pool tells
          AddressSanitizer what was asked for, so a read behind a result is found although its block is larger.
threads   The pool's own test, and the kernels from several threads (tests/engine/*_stress.cpp), plain programs.

The last line of each says what ran and how many findings there were; any finding ends in status 1. Needs GCC with its
sanitizers' libraries, Cython, and the packages of the tests. Nothing is suppressed. The search for leaks is switched
off, because Python keeps memory until it ends.
"""

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

NOT_CHECKED = 77  # the exit status, as in Automake
ROOT = Path(__file__).resolve().parents[1]
CPU = ROOT / "src" / "kernels" / "_cpu"
STRESS = ROOT / "tests" / "engine"
OPS = ROOT / "tests" / "ops"
COMPILER = shlex.split(os.environ.get("CXX", "c++"))
BUILD = ROOT / "build" / "sanitize"
TSAN = ROOT / "build" / "tsan"

# What the stress program runs: see its list of jobs.
STRESSED = (
    "activations", "affine", "batch_norm", "chain", "conv2d", "conv2d_weights", "depthwise", "dropout", "pool2d",
    "softmax", "winograd",
)  # fmt: skip

# A read of one number behind a result must be found, or the rest proves nothing.
SELF_TEST = """
import ctypes, numpy as np
from fastconv.kernels._cpu import engine
a = engine.empty(1000, np.float32)
ctypes.memmove(ctypes.create_string_buffer(4004), a.ctypes.data, 4000 + {extra})
"""


def not_checked(why: str) -> NoReturn:
    """End the program with the status of a check that could not be made."""
    print(f"not checked: {why}")
    sys.exit(NOT_CHECKED)


def library(name: str) -> str:
    """The path of a compiler's library."""
    said = subprocess.run([*COMPILER, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = said.stdout.strip()
    if not Path(path).is_absolute():
        not_checked(f"{' '.join(COMPILER)} has no {name}; the sanitizers of GCC are needed (CXX=g++)")
    return path


def build(isa: str, only: str) -> Path:
    """Build the package with sanitizers, in a folder of its own; where it can be imported from."""
    environment = {
        **os.environ,
        "FASTCONV_SANITIZE": "address,undefined",
        "FASTCONV_BUILD_ISA": isa,
        "FASTCONV_BUILD_ONLY": only,
    }
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", BUILD]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return next(BUILD.glob("lib*"))


def memory_environment(package: Path, isa: str, logs: Path) -> dict[str, str]:
    """The environment in which a Python finds the package, and the sanitizers' findings go to files."""
    # libstdc++ must be there when libasan is, else it cannot follow exceptions.
    preload = " ".join(library(name) for name in ("libasan.so", "libstdc++.so.6"))
    address = f"detect_leaks=0:allocator_may_return_null=1:log_path={logs}/address"
    undefined = f"print_stacktrace=1:log_path={logs}/undefined"
    return {
        **os.environ,
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": address,
        "UBSAN_OPTIONS": undefined,
        "PYTHONMALLOC": "malloc",  # Python's own blocks are watched as well
        "PYTHONPATH": os.pathsep.join((str(package), str(ROOT))),
        "PYTHONSAFEPATH": "1",  # not the sources of the current folder
        "FASTCONV_ISA": isa,
    }


def findings(logs: Path) -> list[str]:
    """The sanitizers' reports, the first lines of each place once."""
    reports = {}
    for path in sorted(logs.iterdir()):
        for line in path.read_text(errors="replace").splitlines():
            if "runtime error:" in line or "ERROR: AddressSanitizer" in line:
                reports.setdefault(re.sub(r"0x[0-9a-f]+|==\d+==", "", line), f"{path}: {line}")
    return list(reports.values())


def self_test(environment: dict[str, str], logs: Path) -> None:
    """End the program unless a read behind a result is found, and one inside is not."""
    for extra, status in ((0, "0"), (4, "not 0")):
        command = [sys.executable, "-c", SELF_TEST.format(extra=extra)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if (done.returncode == 0) != (extra == 0) or len(findings(logs)) != (extra > 0):
            raise SystemExit(
                f"self-test with {extra} bytes too many: status {done.returncode}, expected {status}\n{done.stderr}"
            )
    for path in logs.iterdir():
        path.unlink()


def check_memory(isa: str, only: str, tests: list[str], fuzz: int) -> int:
    """Build, test and fuzz with AddressSanitizer and UndefinedBehaviorSanitizer."""
    package = build(isa, only)
    logs = BUILD / "findings"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    environment = memory_environment(package, isa, logs)
    self_test(environment, logs)

    parallel = ["-n", "auto"] if find_spec("xdist") else []
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not numba", "-p", "no:cacheprovider", *parallel, *tests]
    ran = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    print(ran.stdout[-4000 if ran.returncode else -200 :].strip())
    passed = re.search(r"\d+ passed", ran.stdout)
    done = [passed[0] if passed else "no test passed"]
    status = ran.returncode
    if fuzz and (ROOT / "tests" / "fuzz" / "__main__.py").exists():
        command = [sys.executable, "-m", "tests.fuzz", "--calls", str(fuzz), "--minutes", "30", "--backend", "cython"]
        status |= subprocess.run(command, cwd=ROOT, env=environment).returncode
        done.append(f"{fuzz} calls of the fuzz")
    found = findings(logs)
    print("\n".join(found))
    print(f"address, undefined: {', '.join(done)} on {isa}: {len(found)} findings, status {status}")
    return 1 if found or status else 0


def build_threads() -> list[str]:
    """Build the stress programs and their kernel modules with ThreadSanitizer; the modules' paths."""
    TSAN.mkdir(parents=True, exist_ok=True)
    # Not optimised: conv2d's templates alone would take minutes, and the threads meet in the same places.
    flags = ["-std=c++17", "-O0", "-g1", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-pthread"]
    compiler = [*COMPILER, *flags, "-fsanitize=thread", f"-I{CPU}", f"-I{sysconfig.get_path('include')}"]
    engine = [str(path) for path in sorted(CPU.glob("*.cpp")) if path.name not in ("trace.cpp", "engine.cpp")]
    jobs, modules = [], []
    for program in ("threads_stress", "kernels_stress"):
        jobs.append(
            [*compiler, str(STRESS / f"{program}.cpp"), *engine, "-rdynamic", "-ldl", "-o", str(TSAN / program)]
        )
    for op in STRESSED:
        source = ROOT / "src" / "kernels" / op
        modules.append(str(TSAN / f"{op}.so"))
        jobs.append([*compiler, "-fPIC", "-shared", "-DFC_ISA=stress", f"-I{source}", str(source / "isa.cpp")])
        jobs[-1] += ["-o", modules[-1]]
    run_some(jobs, os.cpu_count() or 1)
    return modules


def run_with_threads(program: str, *arguments: str) -> tuple[str, int, int]:
    """What a stress program says, the number of findings, and its status."""
    environment = {**os.environ, "TSAN_OPTIONS": "die_after_fork=0 exitcode=66"}
    ran = subprocess.run([TSAN / program, *arguments], env=environment, capture_output=True, text=True)
    return ran.stdout.strip() + ran.stderr[:6000], ran.stderr.count("WARNING: ThreadSanitizer"), ran.returncode


def check_threads(rounds: int) -> int:
    """The pool and the kernels with ThreadSanitizer, after a race that it must find."""
    modules = build_threads()
    said, found, status = run_with_threads("kernels_stress", "race")
    if not found:
        raise SystemExit(f"self-test: a race was not found, status {status}\n{said}")
    failed = 0
    for program, arguments in (("threads_stress", [str(rounds * 100)]), ("kernels_stress", [str(rounds), *modules])):
        said, found, status = run_with_threads(program, *arguments)
        print(f"thread: {said}: {found} findings, status {status}")
        failed |= bool(found or status)
    return failed


def run_some(commands: list[list[str]], at_once: int) -> None:
    """Run commands, some at once; the first that fails ends the program."""
    waiting, running = list(reversed(commands)), []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(subprocess.Popen(waiting.pop()))
        oldest = running.pop(0)
        if oldest.wait():
            raise SystemExit(f"{oldest.args} ended with {oldest.returncode}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("all", "memory", "threads"), default="all")
    parser.add_argument("tests", nargs="*", help="pytest's arguments, instead of tests/ops")
    parser.add_argument("--isa", default="avx2" if platform.machine() == "x86_64" else "baseline")
    parser.add_argument("--only", default="", help="build these ops only, as FASTCONV_BUILD_ONLY")
    parser.add_argument("--fuzz", type=int, default=20000, help="calls of the fuzz; 0: none")
    parser.add_argument("--rounds", type=int, default=20, help="how often each caller runs every kernel")
    given = parser.parse_intermixed_args()
    failed = 0
    if given.what != "threads":
        if not find_spec("Cython"):
            not_checked("building with sanitizers needs Cython and setuptools (pip install Cython setuptools)")
        failed |= check_memory(given.isa, given.only, given.tests or [str(OPS)], given.fuzz)
    if given.what != "memory":
        failed |= check_threads(given.rounds)
    return failed


if __name__ == "__main__":
    sys.exit(main())
