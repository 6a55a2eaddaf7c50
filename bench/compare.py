"""Time fastconv against PyTorch (and ONNX Runtime, torch.compile, the book's NumPy) and print the ratios.

    python bench/compare.py [--only conv2d,pool] [--threads 2] [--quick] [--markdown] [--json FILE] [--results]
    python bench/compare.py --results --earlier bench/results/X.json    # on a machine that others share: more turns
    python bench/compare.py --against ../before --only burst,conv2d     # two builds, a process each, in turns

Every side runs in a process of its own, in turns, the idle ones asleep on a pipe. Within a turn a call is repeated for about
a tenth of a second. Reported are the best and the median over the turns; on a machine that others share, the best is the
steadier. Before and after, the machine's own ceilings are measured: multiply-adds, and memory by size. A rate is of the
direct formula, so Winograd's may pass the ceiling. PyTorch is timed in both of its memory formats; the faster counts.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import report
from sides import BEFORE, Settings, Side, library
from targets import TARGETS, Target, restricted
from work import Work, all_work

RESULTS = Path(__file__).parent / "results"
SIDES = ("fastconv", "fastconv@1", "hot", "hot@1", "torch", "torch.compile", "onnxruntime", "book32", "book64")
QUICK_SIDES = ("fastconv", "torch", "onnxruntime")
BUSY = 0.5  # load above which the ratios are not to be believed
SPINNING = 0.15  # seconds for which OpenBLAS's threads may go on spinning after the last call of a book side
PACKAGES = ("fastconv", "numpy", "torch", "onnxruntime")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", default="", help="words, comma separated: run the work whose name holds one of them")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--turns", type=int, default=5)
    add("--seconds", type=float, default=0.1, help="time of one side's turn")
    add("--quick", action="store_true", help=f"two turns of 0.03 s, of {', '.join(QUICK_SIDES)} alone")
    add(
        "--sides",
        help=f"default: {','.join(SIDES)}; torch.contiguous is PyTorch without its channels-last "
        "format; any side may have its own number of threads, such as torch@1",
    )
    add("--isa", default="", choices=("avx512", "avx2", "baseline"), help="hold us and PyTorch to an instruction set")
    add("--backend", default="", help="run our side with FASTCONV_BACKEND set to this")
    add("--json", type=Path, metavar="FILE", help="write the raw outcome")
    add("--markdown", action="store_true", help="print the tables in Markdown (progress goes to standard error)")
    add("--earlier", type=Path, metavar="FILE", help="count the turns of an earlier run's --json of the same as well")
    add("--results", action="store_true", help="write both to bench/results/<processor>-<instruction set>-<threads>t")
    add(
        "--against",
        type=Path,
        metavar="FOLDER",
        help=f"another clone, built in place with a link fastconv/kernels to its src/kernels: its side is {BEFORE!r}, and its times over ours are listed (default sides: "
        "these two, and hot)",
    )
    options = parser.parse_args()
    if options.against:
        options.sides = options.sides or f"fastconv,{BEFORE},hot"
    if options.quick:
        options.turns, options.seconds = 2, 0.03
        options.sides = options.sides or ",".join(QUICK_SIDES)
    return options


def machine(settings: Settings) -> dict[str, Any]:
    """What the figures depend on; `load` is what others took of the machine before the run."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.M)
    code = (
        "import json; from fastconv import diagnostics; from fastconv.kernels._cpu.engine import supported_isas; "
        "print(json.dumps({**diagnostics.config(), 'best isa': supported_isas()[0]}, default=str))"
    )
    ours = json.loads(_python(settings, "-c", code))
    if settings.backend and ours["forced backend"] != settings.backend:
        raise SystemExit(f"--backend {settings.backend}: fastconv runs with {ours['forced backend']}")
    versions = {name: _version(name) for name in PACKAGES}
    processor = found[1].strip() if found else platform.machine()
    about = {
        "processor": processor,
        "isa": ours["isa"],
        "best isa": ours["best isa"],
        "threads": settings.threads,
        "load": os.getloadavg()[0],
        **versions,
    }
    return about | ({"backend": settings.backend} if settings.backend else {})


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _python(settings: Settings, *args: str) -> str:
    """What a program prints, with the settings of our side."""
    env = settings.environment(settings.threads)
    return subprocess.run([sys.executable, *args], env=env, text=True, check=True, stdout=subprocess.PIPE).stdout


def check_builds(settings: Settings) -> None:
    """Each of the two sides must import its own clone's package and kernels."""
    code = "import fastconv, fastconv.kernels._cpu.engine as e; print(fastconv.__file__); print(e.__file__)"
    for side, folder in (("fastconv", Path(__file__).parents[1]), (BEFORE, Path(settings.against))):
        env = settings.environment(settings.threads, side)
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], env=env, text=True, check=True, stdout=subprocess.PIPE
        )
        for path in map(Path, done.stdout.split()):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise SystemExit(
                    f"--against: the side {side!r} imports {path}, which is not in {folder}: build it in place"
                )


def ceiling(settings: Settings) -> dict[str, Any]:
    return json.loads(_python(settings, "-m", "fastconv._ceiling"))


def higher(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Of two measurements of the ceilings: what disturbs them, such as a core that is away for a while, lowers them."""
    rates = {key: [max(pair) for pair in zip(one[key], other[key], strict=True)] for key in ("copy", "triad")}
    return {"flops": max(one["flops"], other["flops"]), **rates}


def chosen_targets(settings: Settings) -> dict[str, Target]:
    """All of them for two threads; those without the step from one thread to two for other numbers."""
    if settings.isa:
        return restricted(settings.isa)
    return {key: t for key, t in TARGETS.items() if key != "two threads" or settings.threads == 2}


def sides_of(work: Work, targets: dict[str, Target], wanted: list[str]) -> list[str]:
    """The sides that can do the work: those wanted, or by default all, and ourselves otherwise where a target asks."""
    if wanted:
        return [side for side in wanted if library(side) in work.sides]
    asked = {targets[row].side for row in work.rows if row in targets}
    only_asked = {side for side in SIDES if "@" in side or side == "hot"}  # ourselves once more
    return [side for side in SIDES if library(side) in work.sides and (side not in only_asked or side in asked)]


def chosen(work: Work, options: argparse.Namespace, targets: dict[str, Target]) -> bool:
    """By --only's words; without them all, or under --isa what has a target there."""
    if options.only:
        return any(word in work.id for word in options.only.split(",") if word)
    return not options.isa or not targets.keys().isdisjoint(work.rows)


class Run:
    """The sides' processes, started when first needed, and the work that they are given."""

    def __init__(self, settings: Settings, turns: int) -> None:
        self.settings, self.turns = settings, turns
        self.processes: dict[str, Side] = {}

    def times(self, number: int, sides: list[str]) -> dict[str, dict[str, Any]]:
        """{side: {"best", "median"}} or {side: {"error"}}, turn by turn."""
        seen: dict[str, list[Any]] = {side: [] for side in sides}
        for turn in range(self.turns):
            for side in sides[:: -1 if turn % 2 else 1]:
                if side not in self.processes:
                    self.processes[side] = Side(side, self.settings)
                seen[side].append(self.processes[side].time(number, self.settings.seconds))
                if side.startswith("book"):
                    time.sleep(SPINNING)
        return {side: _together(answers) for side, answers in seen.items()}

    def close(self) -> None:
        for process in self.processes.values():
            process.close()


def _together(answers: list[Any]) -> dict[str, Any]:
    good = [answer for answer in answers if isinstance(answer, list)]
    if not good:
        return {"error": answers[0] if answers else "not run"}
    return {"best": min(best for best, _ in good), "median": statistics.median(median for _, median in good)}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """The outcome; a line for each piece of work is shown as it comes."""
    against = str(options.against.resolve()) if options.against else ""
    settings = Settings(options.threads, options.seconds, options.isa, options.backend, against)
    if against:
        check_builds(settings)
    targets = chosen_targets(settings)
    outcome: dict[str, Any] = {
        "machine": machine(settings),
        "ceiling": ceiling(settings),
        "targets": {key: asdict(target) for key, target in targets.items()},
        "works": [],
    }
    wanted = [side for side in (options.sides or "").split(",") if side]
    works = [(i, work) for i, work in enumerate(all_work()) if chosen(work, options, targets)]
    plans = {number: sides_of(work, targets, wanted) for number, work in works}
    others = dict.fromkeys(side for sides in plans.values() for side in sides if side != "fastconv")
    names = ["work", "ours", "rate", "of ceiling", *others, "wanted"]
    stream = sys.stderr if options.markdown else sys.stdout
    print(report.text_line({name: name for name in names}, names), file=stream, flush=True)
    run = Run(settings, options.turns)
    try:
        for number, work in works:
            line = {key: value for key, value in vars(work).items() if key != "sides"}
            line = {"id": work.id, **line, "times": run.times(number, plans[number])}
            outcome["works"].append(line)
            print(report.text_line(report.cells(line, outcome, others), names), file=stream, flush=True)
    finally:
        run.close()
    outcome["ceiling"] = higher(outcome["ceiling"], ceiling(settings))
    return outcome


def count_earlier(outcome: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Add an earlier run's turns: the best of both, and the median of their medians, for every side alike."""
    here, there = ({k: v for k, v in o["machine"].items() if k not in ("load", "runs")} for o in (outcome, earlier))
    if here != there:
        raise SystemExit(f"--earlier: expected a run of {here}, got one of {there}")
    outcome["ceiling"] = higher(outcome["ceiling"], earlier["ceiling"])
    before = {line["id"]: line["times"] for line in earlier["works"]}
    for line in outcome["works"]:
        for side, times in line["times"].items():
            others = before.get(line["id"], {}).get(side, {})
            if "best" in times and "best" in others:
                times["best"] = min(times["best"], others["best"])
                times["median"] = statistics.median((times["median"], others["median"]))
    outcome["machine"]["runs"] = sum(run["machine"].get("runs", 1) for run in (outcome, earlier))


def main() -> None:
    options = arguments()
    load = os.getloadavg()[0]
    if load > BUSY:
        print(
            f"The machine is busy (load {load:.1f}): sides whose threads wait for each other lose most.",
            file=sys.stderr,
        )
    outcome = compare(options)
    if options.earlier:
        count_earlier(outcome, json.loads(options.earlier.read_text()))
    text = report.markdown(outcome)
    print(text if options.markdown else report.summary(outcome))
    if options.against:
        print("\n".join(report.changes(outcome)))
    about = outcome["machine"]
    name = re.sub(r"[^a-z0-9]+", "-", str(about["processor"]).lower()).strip("-")
    name += f"-{about['best isa']}-{about['threads']}t"
    name += "".join(f"-{extra}" for extra in (options.isa, options.backend) if extra)
    files = {options.json: json.dumps(outcome, indent=1)} if options.json else {}
    if options.results:
        RESULTS.mkdir(exist_ok=True)
        files |= {RESULTS / f"{name}.json": json.dumps(outcome, indent=1), RESULTS / f"{name}.md": text}
    for path, content in files.items():
        path.write_text(content + "\n" * (not content.endswith("\n")))


if __name__ == "__main__":
    main()
