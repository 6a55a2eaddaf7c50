"""What a comparison found, as text: the table of targets, and the list of every piece of work.

An outcome is what `compare.py --json` writes: {"machine": {...}, "ceiling": {...}, "targets": {row: {...}}, "works":
[{"id", "group", "name", "rows", "flops", "bytes", "pause", "times": {side: {"best", "median"} or {"error"}}}]}.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastconv._ceiling import Ceiling

STEADY = 0.9
SLOWER = 0.95
BEFORE = "before"  # the side of another build: sides.py


@dataclass
class Row:
    """A row of the table of targets, with the ratios found."""

    target: dict[str, Any]
    ratios: dict[str, float] = field(default_factory=dict)  # by piece of work

    medians: dict[str, float] = field(default_factory=dict)  # the same of the median times

    @property
    def misses(self) -> list[str]:
        return [work for work, ratio in self.ratios.items() if ratio < self.target["each"]]

    @property
    def mean(self) -> float:
        return statistics.geometric_mean(self.ratios.values())

    @property
    def met(self) -> bool:
        return not self.misses and self.mean >= self.target["mean"]


def ratio(work: dict[str, Any], side: str, by: str = "best") -> float | None:
    """The side's best time over ours, or its median over our median."""
    ours, theirs = work["times"].get("fastconv", {}), work["times"].get(side, {})
    return theirs[by] / ours[by] if by in ours and by in theirs else None


def table(outcome: dict[str, Any]) -> list[Row]:
    """The rows for which something was measured."""
    rows = {key: Row(target) for key, target in outcome["targets"].items()}
    for work in outcome["works"]:
        for key, found in _ratios(work, outcome["targets"]):
            rows[key].ratios[work["id"]] = found
            rows[key].medians[work["id"]] = ratio(work, outcome["targets"][key]["side"], "median") or found
    return [row for row in rows.values() if row.ratios]


def _ratios(work: dict[str, Any], targets: dict[str, Any]) -> Iterable[tuple[str, float]]:
    for key in work["rows"]:
        target = targets.get(key)
        found = ratio(work, target["side"], target.get("by", "best")) if target else None
        if found is not None and work["times"][target["side"]]["best"] > target["above"]:
            yield key, found


def cells(work: dict[str, Any], outcome: dict[str, Any], sides: Iterable[str]) -> dict[str, str]:
    """One line of the list: best times, the median or the ratio of medians in brackets; a side's cell is its time over ours."""
    ours = work["times"].get("fastconv", {})
    line = {"work": work["id"], "ours": ours.get("error", "not run")[:60]}
    if "best" not in ours:
        return line
    line |= {
        "ours": f"{ours['best'] * 1e3:.4g} ms ({ours['median'] * 1e3:.4g})",
        **_rate(work, ours["best"], outcome["ceiling"]),
    }
    for side in sides:
        found, median = ratio(work, side), ratio(work, side, "median")
        if found is not None:
            line[side] = f"{found:.2f} ({median:.2f})"
        elif work["times"].get(side):
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
    lines = [machine, "", *_summary_lines(outcome), "", *_steadiness(outcome), *_list_lines(outcome)]
    return "\n".join(lines) + "\n"


def _summary_lines(outcome: dict[str, Any]) -> Iterable[str]:
    yield "| row: the other side's best time over ours | wanted | least | geometric mean | of medians | met by | |"
    yield "|---|---|---|---|---|---|---|"
    rows = table(outcome)
    for row in rows:
        wanted = [f"{row.target['each']:g}"] if row.target["each"] else []
        wanted += [f"mean {row.target['mean']:g}"] if row.target["mean"] else []
        met = f"{len(row.ratios) - len(row.misses)} of {len(row.ratios)}"
        least, medians = min(row.ratios.values()), statistics.geometric_mean(row.medians.values())
        title = row.target["title"] + " (medians)" * (row.target.get("by") == "median")
        state = "" if row.met else "**missed**"
        yield f"| {title} | {', '.join(wanted)} | {least:.2f} | {row.mean:.2f} | {medians:.2f} | {met} | {state} |"
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


def _steadiness(outcome: dict[str, Any]) -> Iterable[str]:
    """How near to our best times our medians come."""
    ours = {w["id"]: w["times"].get("fastconv", {}) for w in outcome["works"]}
    shares = {name: times["best"] / times["median"] for name, times in ours.items() if "best" in times}
    if not shares:
        return
    near = sum(share >= STEADY for share in shares.values())
    least = sorted(shares, key=lambda name: shares[name])[:5]
    yield f"Our median is within {STEADY:g} of our best in {near} of {len(shares)}; furthest from it: " + "; ".join(
        f"{name} {shares[name]:.2f}" for name in least
    )
    yield ""


def changes(outcome: dict[str, Any]) -> Iterable[str]:
    """Another build's times over ours: means by group of the bests and of the medians, and what became slower in both."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for work in outcome["works"]:
        best, median = ratio(work, BEFORE), ratio(work, BEFORE, "median")
        if best and median:
            found.setdefault(work["group"], []).append((best, median, work["id"]))
    yield ""
    yield "| before / after | works | best: mean | least | median: mean | least |"
    yield "|---|---|---|---|---|---|"
    for group, rows in found.items():
        means = [statistics.geometric_mean(row[i] for row in rows) for i in (0, 1)]
        leasts = [min(row[i] for row in rows) for i in (0, 1)]
        numbers = " | ".join(f"{mean:.3f} | {least:.2f}" for mean, least in zip(means, leasts, strict=True))
        yield f"| {group} | {len(rows)} | {numbers} |"
    slower = [row for rows in found.values() for row in rows if max(row[:2]) < SLOWER]
    yield ""
    yield f"Best and median below {SLOWER:g}: " + ("none" if not slower else "")
    for best, median, work in sorted(slower):
        yield f"- {work}: {best:.2f}, {median:.2f}"


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
