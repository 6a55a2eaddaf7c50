"""What a comparison found, as text: the table of targets, and the list of every piece of work.

An outcome is what `compare.py --json` writes: {"machine": {...}, "ceiling": {...}, "targets": {row: {...}}, "works":
[{"id", "group", "name", "rows", "flops", "bytes", "pause", "times": {side: {"best", "median"} or {"error"}}}]}.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastconv._ceiling import Ceiling


@dataclass
class Row:
    """A row of the table of targets, with the ratios found."""

    target: dict[str, Any]
    ratios: dict[str, float] = field(default_factory=dict)  # by piece of work

    @property
    def misses(self) -> list[str]:
        return [work for work, ratio in self.ratios.items() if ratio < self.target["each"]]

    @property
    def mean(self) -> float:
        return statistics.geometric_mean(self.ratios.values())

    @property
    def met(self) -> bool:
        return not self.misses and self.mean >= self.target["mean"]


def ratio(work: dict[str, Any], side: str) -> float | None:
    """The side's best time over ours."""
    ours, theirs = work["times"].get("fastconv", {}), work["times"].get(side, {})
    return theirs["best"] / ours["best"] if "best" in ours and "best" in theirs else None


def table(outcome: dict[str, Any]) -> list[Row]:
    """The rows for which something was measured."""
    rows = {key: Row(target) for key, target in outcome["targets"].items()}
    for work in outcome["works"]:
        for key, found in _ratios(work, outcome["targets"]):
            rows[key].ratios[work["id"]] = found
    return [row for row in rows.values() if row.ratios]


def _ratios(work: dict[str, Any], targets: dict[str, Any]) -> Iterable[tuple[str, float]]:
    for key in work["rows"]:
        target = targets.get(key)
        found = ratio(work, target["side"]) if target else None
        if found is not None and work["times"][target["side"]]["best"] > target["above"]:
            yield key, found


def cells(work: dict[str, Any], outcome: dict[str, Any], sides: Iterable[str]) -> dict[str, str]:
    """One line of the list; a side's cell holds its best time over ours and, in brackets, the same of the medians."""
    ours = work["times"].get("fastconv", {})
    line = {"work": work["id"], "ours": ours.get("error", "not run")[:60]}
    if "best" not in ours:
        return line
    line |= {"ours": f"{ours['best'] * 1e3:.4g} ms", **_rate(work, ours["best"], outcome["ceiling"])}
    for side in sides:
        times, found = work["times"].get(side, {}), ratio(work, side)
        if found is not None:
            line[side] = f"{found:.2f} ({times['median'] / ours['median']:.2f})"
        elif times:
            line[side] = "-"
    line["wanted"] = ", ".join(_wanted(work, outcome["targets"]))
    return line


def _rate(work: dict[str, Any], seconds: float, ceiling: dict[str, Any] | None) -> dict[str, str]:
    """GF/s where arithmetic bounds the work, GB/s where memory does, and how near to that bound it came."""
    flops, moved = work["flops"], work["bytes"]
    if work["pause"] or not (flops or moved):
        return {}
    if ceiling is None:
        return {"rate": f"{flops / seconds / 1e9:.0f} GF/s" if flops else f"{moved / seconds / 1e9:.1f} GB/s"}
    roof = Ceiling(**ceiling)
    arithmetic = flops / roof.flops >= moved / roof.bandwidth(moved)
    rate = f"{flops / seconds / 1e9:.0f} GF/s" if arithmetic else f"{moved / seconds / 1e9:.1f} GB/s"
    return {"rate": rate, "of ceiling": f"{100 * roof.seconds(flops, moved) / seconds:.0f} %"}


def _wanted(work: dict[str, Any], targets: dict[str, Any]) -> Iterable[str]:
    """The strictest wish for each side, marked where it was missed."""
    strictest: dict[str, tuple[float, float]] = {}
    for key, found in _ratios(work, targets):
        side, each = targets[key]["side"], targets[key]["each"]
        if each:
            strictest[side] = max(strictest.get(side, (0.0, 0.0)), (each, found))
    for side, (each, found) in strictest.items():
        yield f"{each:g}" + ("" if side == "torch" else f" {side}") + ("" if found >= each else " **missed**")


def columns(outcome: dict[str, Any]) -> list[str]:
    """The list's columns: every side that some piece of work was timed on."""
    sides = dict.fromkeys(side for work in outcome["works"] for side in work["times"] if side != "fastconv")
    return ["work", "ours", "rate", "of ceiling", *sides, "wanted"]


def markdown(outcome: dict[str, Any]) -> str:
    """The table of targets, what missed them, and the whole list."""
    machine = ", ".join(f"{key} {value}" for key, value in outcome["machine"].items())
    lines = [machine, "", *_summary_lines(outcome), "", *_list_lines(outcome)]
    return "\n".join(lines) + "\n"


def _summary_lines(outcome: dict[str, Any]) -> Iterable[str]:
    yield "| row: the other side's best time over ours | wanted | least | geometric mean | met by | |"
    yield "|---|---|---|---|---|---|"
    rows = table(outcome)
    for row in rows:
        wanted = [f"{row.target['each']:g}"] if row.target["each"] else []
        wanted += [f"mean {row.target['mean']:g}"] if row.target["mean"] else []
        met = f"{len(row.ratios) - len(row.misses)} of {len(row.ratios)}"
        least = min(row.ratios.values())
        state = "" if row.met else "**missed**"
        yield f"| {row.target['title']} | {', '.join(wanted)} | {least:.2f} | {row.mean:.2f} | {met} | {state} |"
    missed = [row for row in rows if not row.met]
    if missed:
        yield ""
        yield "Missed:"
        yield ""
    for row in missed:
        works = [f"{work} {row.ratios[work]:.2f}" for work in row.misses]
        works += [f"geometric mean {row.mean:.2f}"] if row.mean < row.target["mean"] else []
        yield f"- {row.target['title']}: {'; '.join(works)}"


def summary(outcome: dict[str, Any]) -> str:
    """The table of targets for a terminal."""
    lines = [""]
    for row in table(outcome):
        found = f"least {min(row.ratios.values()):.2f}, geometric mean {row.mean:.2f} of {len(row.ratios)}"
        lines.append(f"{row.target['title']}: {found}{'' if row.met else ' MISSED'}")
    return "\n".join(lines)


def _list_lines(outcome: dict[str, Any]) -> Iterable[str]:
    names = columns(outcome)
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for work in outcome["works"]:
        line = cells(work, outcome, names[4:-1])
        yield "| " + " | ".join(line.get(name, "") for name in names) + " |"


def text_line(line: dict[str, str], names: list[str]) -> str:
    """A line of the list for a terminal."""
    texts = (f"{line.get(name, ''):{52 if name == 'work' else 16}}" for name in names)
    return "  ".join(texts).replace("**", "").rstrip()
