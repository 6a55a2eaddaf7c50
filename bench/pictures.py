"""Draw what `bench/compare.py --json` wrote: ratios by class, the ratio of every shape, and the roofline.

    python bench/pictures.py bench/results/X.json [--side torch] [--format svg]

writes X-classes.svg, X-ratio.svg and X-roofline.svg beside it. Needs matplotlib.
"""

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from report import ratio

from fastconv._ceiling import SIZES, Ceiling

matplotlib.use("agg")
from matplotlib import pyplot as plt

OURS, THEIRS, LINE = "#1f6fb4", "#c8553d", "#444444"

CLASSES = {
    "training step": "training step/(Simple|Deep|LeNet)",
    "compiled prediction": "prediction/",
    "convolution 3x3": r"conv2d (forward|backward)/.*@3x3",
    "convolution 5x5 and 7x7": r"conv2d (forward|backward)/.*@[57]x[57]",
    "convolution 1x1": r"conv2d (forward|backward)/.*@1x1",
    "depthwise convolution": "depthwise (forward|backward)/",
    "affine": "affine (forward|dx|dW, db)/",
    "max pooling": "max_pool2d ",
    "average pooling": "avg_pool2d ",
    "batch normalisation": "batch_norm ",
    "softmax and cross entropy": "softmax ",
    "Adam": "Adam/",
}
"""The classes of the small picture: how the ids of their works begin."""


def by_class(outcome: dict[str, Any], side: str) -> dict[str, list[float]]:
    """The ratios of every class that was measured, forward and backward together."""
    found: dict[str, list[float]] = {}
    for work in outcome["works"]:
        value = ratio(work, side)
        name = next((name for name, start in CLASSES.items() if re.match(start, work["id"])), None)
        if name and value is not None:
            found.setdefault(name, []).append(value)
    return {name: found[name] for name in CLASSES if name in found}


def classes(outcome: dict[str, Any], side: str) -> Any:
    """A bar for each class, the geometric mean, and a thin line from its least ratio to its largest."""
    bars = by_class(outcome, side)
    means = np.array([statistics.geometric_mean(values) for values in bars.values()])
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.29 * len(bars)), layout="constrained")
    axes.barh(range(len(bars)), means - 1, left=1, color=[OURS if mean >= 1 else THEIRS for mean in means], height=0.6)
    for place, (values, mean) in enumerate(zip(bars.values(), means, strict=True)):
        axes.plot([min(values), max(values)], [place, place], color=LINE, linewidth=1)
        axes.annotate(f"{mean:.1f}", (max(values), place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), [f"{name} ({len(values)})" for name, values in bars.items()], fontsize=9)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xscale("log")
    least, most = min(map(min, bars.values())), max(map(max, bars.values()))
    axes.set_xlim(0.9 * min(0.8, least), 1.25 * max(2.0, most))
    axes.set_xticks([x for x in (0.5, 1, 2, 5, 10, 20) if 0.9 * min(0.8, least) < x < 1.25 * most])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.axvline(1, color=LINE, linewidth=1)
    axes.grid(axis="x", linewidth=0.3)
    axes.set_title(f"time of {side} / time of fastconv\n{_machine(outcome)}", fontsize=9)
    return figure


def ratios(outcome: dict[str, Any], side: str) -> Any:
    """A bar for each piece of work: the side's best time over ours, on a logarithmic axis."""
    found = {work["id"]: ratio(work, side) for work in outcome["works"]}
    bars = {name: value for name, value in found.items() if value is not None}
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.16 * len(bars)), layout="constrained")
    colours = [OURS if value >= 1 else THEIRS for value in bars.values()]
    values = np.array(list(bars.values()))
    axes.barh(range(len(bars)), values - 1, left=1, color=colours, height=0.7)
    axes.set_yticks(range(len(bars)), bars, fontsize=6)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(0.9 * min(0.8, *values), 1.1 * max(2.0, *values))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color=LINE, linewidth=1)
    axes.grid(axis="x", which="both", linewidth=0.3)
    axes.set_title(f"time of {side} / time of fastconv\n{_machine(outcome)}", fontsize=9)
    return figure


def roofline(outcome: dict[str, Any]) -> Any:
    """Rates over arithmetic intensity, under the ceilings that were measured on the same machine."""
    ceiling = Ceiling(**outcome["ceiling"])
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    intensity = np.logspace(-2, 4, 200)
    for size, style in ((SIZES[-1], "-"), (SIZES[2], "--")):
        roof = np.minimum(ceiling.flops, intensity * ceiling.bandwidth(size)) / 1e9
        axes.plot(intensity, roof, style, color=LINE, linewidth=1, label=f"ceiling, {size >> 20} MiB")
    for side, colour in (("torch", THEIRS), ("fastconv", OURS)):
        points = [
            (work["flops"] / work["bytes"], work["flops"] / work["times"][side]["best"] / 1e9)
            for work in outcome["works"]
            if work["flops"] and not work["pause"] and "best" in work["times"].get(side, {})
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), s=10, color=colour, label=side, zorder=3)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte of operands and results", ylabel="GFLOP/s")
    axes.set_xlim(0.3, 2000)
    axes.set_ylim(1, 4 * ceiling.flops / 1e9)
    axes.grid(which="both", linewidth=0.2)
    axes.legend(fontsize=8)
    note = "operations of the direct formula: Winograd's points may pass the ceiling"
    axes.set_title(f"{_machine(outcome)}\n{note}", fontsize=9)
    return figure


def _machine(outcome: dict[str, Any]) -> str:
    about = outcome["machine"]
    return f"{about['processor']}, {about['isa']}, {about['threads']} threads, PyTorch {about['torch']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcome", type=Path)
    parser.add_argument("--side", default="torch")
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    options = parser.parse_args()
    outcome = json.loads(options.outcome.read_text())
    plt.rcParams["svg.hashsalt"] = "fastconv"  # the same bytes from the same figures
    plt.rcParams["svg.fonttype"] = "none"
    figures = {"ratio": ratios(outcome, options.side), "roofline": roofline(outcome)}
    if by_class(outcome, options.side):  # a run of a few works may have none of the classes
        figures["classes"] = classes(outcome, options.side)
    for name, figure in figures.items():
        path = options.outcome.with_name(f"{options.outcome.stem}-{name}.{options.format}")
        figure.savefig(path, dpi=110, metadata={"Date": None} if options.format == "svg" else None)
        print(path)


if __name__ == "__main__":
    main()
