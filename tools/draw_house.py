"""The house, drawn from its imports: docs/pictures/house.svg.

    python tools/draw_house.py            # print who imports whom, room by room
    python tools/draw_house.py --write    # write the picture

A band is a level of LAYERS in tests/test_table.py, the highest on top; the kernels stand below all of them. A room is a
folder of fastconv, or all modules of a level that are public or private. An arrow goes from a room to one that it
imports, and is as wide as many files do so. An arrow between two bands that longer ways imply is left out. Arrows that
point up are red; `UPWARD` lists those that are known.
"""

import argparse
import ast
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastconv"
KERNELS = ROOT / "src" / "kernels"
PICTURE = ROOT / "docs" / "pictures" / "house.svg"

UPWARD = {("kernels", "_problem"), ("kernels", "_version")}
"""Imports of a higher room that are known: kernels read the Problem's class, and the version for Numba's cache."""

WIDTH, MARGIN, GAP, LINE = 1000, 16, 34, 15
INK, RED, PALE = "#33475b", "#c8553d", "#8fa3b5"
BANDS = ("#eef4fa", "#f7f9fb")


@dataclass(frozen=True)
class Room:
    title: str
    members: tuple[str, ...]  # modules and folders, by their names in fastconv or fastconv.kernels
    level: int  # 0 is the kernels'


def levels() -> list[set[str]]:
    """LAYERS of tests/test_table.py, lowest first, with the kernels in a level of their own."""
    tree = ast.parse((ROOT / "tests" / "test_table.py").read_text())
    (layers,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    return [{"kernels"}, layers[0] - {"kernels"}, *layers[1:]]


def rooms() -> list[Room]:
    """Every room, lowest first."""
    found = []
    shared = sorted(p.name for p in KERNELS.iterdir() if p.is_dir() and p.name.startswith("_") and p.name[1] != "_")
    ops = sorted(p.name for p in KERNELS.iterdir() if p.is_dir() and not p.name.startswith("_"))
    found += [Room(f"kernels/{name}", (f"kernels.{name}",), 0) for name in shared]
    found.append(Room("kernels: a folder for each op or algorithm", tuple(f"kernels.{name}" for name in ops), 0))
    for level, names in enumerate(levels()[1:], 1):
        present = sorted(n for n in names if (PACKAGE / n).is_dir() or (PACKAGE / f"{n}.py").exists())
        folders = [name for name in present if (PACKAGE / name).is_dir()]
        modules = [name for name in present if name not in folders]
        found += [Room(f"{name}/", (name,), level) for name in folders]
        public = tuple(name for name in modules if not name.startswith("_") or name == "__main__")
        private = tuple(name for name in modules if name not in public)
        for title, group in (("modules", public), ("private modules", private)):
            if group:
                found.append(Room(title if len(group) > 1 else f"{group[0]}.py", group, level))
    return found


def imports() -> Counter[tuple[str, str]]:
    """How many files of a member import another one, lazily or not."""
    found: Counter[tuple[str, str]] = Counter()
    for root, prefix in ((PACKAGE, ()), (KERNELS, ("kernels",))):
        for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".pyx", ".pxd")):
            parts = (*prefix, *path.relative_to(root).with_suffix("").parts)
            if path.is_relative_to(PACKAGE / "kernels") or parts == ("__init__",):
                continue  # a link to the kernels in a working tree; the package's door, which opens every room
            own = _member(parts)
            for target in {_member(t) for t in _targets(path, parts[:-1])} - {own, ""}:
                found[own, target] += 1
    return found


def _member(parts: tuple[str, ...]) -> str:
    if parts[:1] != ("kernels",):
        return parts[0] if parts else ""
    return ".".join(parts[:2]) if len(parts) > 1 and parts[1] != "__init__" else ""


def _targets(path: Path, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The modules of fastconv that a file imports, as their parts after fastconv."""
    for dots, module, names in _statements(path):
        base = package[: len(package) - dots + 1] if dots else ()
        parts = (*base, *(module.split(".") if module else ()))
        if not dots:
            if parts[:1] != ("fastconv",):
                continue
            parts = parts[1:]
        yield from [(*parts, name) for name in names] if parts in ((), ("kernels",)) else [parts]


def _statements(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Dots, module and names of every import."""
    if path.suffix != ".py":
        for dots, module, names in re.findall(r"^\s*from (\.*)([\w.]*) c?import (.*)$", path.read_text(), re.M):
            yield len(dots), module, re.findall(r"(\w+)(?: as \w+)?", names)
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [a.name for a in node.names]
        elif isinstance(node, ast.Import):
            yield from ((0, a.name, []) for a in node.names)


def arrows() -> Counter[tuple[Room, Room]]:
    """How many imports go from one room to another."""
    where = {member: room for room in rooms() for member in room.members}
    found: Counter[tuple[Room, Room]] = Counter()
    for (own, target), files in imports().items():
        if own in where and target in where and where[own] != where[target]:
            found[where[own], where[target]] += files
    return found


def upward() -> set[tuple[str, str]]:
    """Members that import one of a higher level; a kernel counts as "kernels"."""
    level = {member: room.level for room in rooms() for member in room.members}
    return {
        (own.split(".")[0], target.split(".")[0])
        for own, target in imports()
        if own in level and target in level and level[target] > level[own]
    }


def _drawn(all_arrows: Counter[tuple[Room, Room]]) -> list[tuple[Room, Room]]:
    """The arrows without those from band to band that longer ways imply."""
    down: dict[Room, set[Room]] = {}
    for a, b in all_arrows:
        if a.level > b.level:
            down.setdefault(a, set()).add(b)

    def reach(room: Room) -> set[Room]:
        below = down.get(room, set())
        return below.union(*(reach(next_room) for next_room in below))

    implied = {(a, b) for a, below in down.items() for b in below for c in below - {b} if b in reach(c)}
    return [arrow for arrow in all_arrows if arrow not in implied]


def picture() -> str:
    """The drawing as SVG."""
    shapes, boxes, top = [], {}, MARGIN
    by_level = {level: [r for r in rooms() if r.level == level] for level in range(len(levels()))}
    for level in sorted(by_level, reverse=True):
        row = by_level[level]
        share = _widths(row)
        texts = [_lines(room, width) for room, width in zip(row, share, strict=True)]
        height = 14 + LINE * max(map(len, texts))
        band = f'<rect x="0" y="{top - 8}" width="{WIDTH}" height="{height + 16}" fill="{BANDS[level % 2]}"/>'
        shapes.append(band)
        left = float(MARGIN)
        for room, width, lines in zip(row, share, texts, strict=True):
            boxes[room] = (left, top, width, height, lines)
            left += width + GAP
        top += height + 16 + GAP
    lines = [_line(arrow, boxes, files) for arrow, files in _ordered()]
    boxes_drawn = [_box(*box) for box in boxes.values()]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - GAP}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">'
    )
    tips = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for name, colour in (("tip", PALE), ("up", RED))
    )
    white = f'<rect width="{WIDTH}" height="{top - GAP}" fill="white"/>'
    return "\n".join([head, f"<defs>{tips}</defs>", white, *shapes, *lines, *boxes_drawn, "</svg>", ""])


def _ordered() -> list[tuple[tuple[Room, Room], int]]:
    found = arrows()
    return sorted(((arrow, found[arrow]) for arrow in _drawn(found)), key=lambda item: item[0][0].level)


def _widths(row: list[Room]) -> list[float]:
    """The widths of a band's boxes: by the square root of what is written in them, no narrower than a title."""
    weights = [max(len(r.title), 2.2 * len(_inside(r)) ** 0.6, 12) for r in row]
    free = WIDTH - 2 * MARGIN - GAP * (len(row) - 1)
    return [free * weight / sum(weights) for weight in weights]


def _inside(room: Room) -> str:
    """The names of a room's modules; of a single folder or module, the first line of its docstring."""
    if len(room.members) > 1:
        return ", ".join(member.removeprefix("kernels.") for member in room.members)
    (member,) = room.members
    path = KERNELS / member.split(".")[1] if member.startswith("kernels.") else PACKAGE / member
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0].replace("`", "")


def _lines(room: Room, width: float) -> list[str]:
    return [room.title, *textwrap.wrap(_inside(room), int((width - 16) / 6.4), break_on_hyphens=False)]


def _box(x: float, y: float, width: float, height: float, lines: list[str]) -> str:
    rect = f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{height}" rx="4" fill="white" stroke="{INK}"/>'
    title = f'<text x="{x + 8:.0f}" y="{y + 17}" font-weight="bold" fill="{INK}">{escape(lines[0])}</text>'
    rest = "".join(
        f'<text x="{x + 8:.0f}" y="{y + 17 + LINE * i}" fill="{INK}">{escape(line)}</text>'
        for i, line in enumerate(lines[1:], 1)
    )
    return rect + title + rest


def _line(arrow: tuple[Room, Room], boxes: dict[Room, tuple[float, int, float, int, list[str]]], files: int) -> str:
    """An arrow from the one box's edge to the other's; along a band, a curve below it."""
    (a, b), points = arrow, []
    (ax, ay, aw, ah, _), (bx, by, bw, bh, _) = boxes[a], boxes[b]
    colour, tip = (RED, "up") if b.level > a.level else (PALE, "tip")
    if a.level == b.level:
        points = [(ax + aw / 2, ay + ah), ((ax + bx + (aw + bw) / 2) / 2, ay + ah + 26), (bx + bw / 2, by + bh + 1)]
    else:
        down = a.level > b.level
        start, end = (ay + ah, by - 1) if down else (ay, by + bh + 1)
        goal = bx + bw / 2
        begin = min(max(goal, ax + 12), ax + aw - 12)
        goal = min(max(begin, bx + 12), bx + bw - 12) + (0 if down else 24)
        points = [(begin + (0 if down else 24), start), ((begin + goal) / 2, (start + end) / 2), (goal, end)]
    (x0, y0), (xm, ym), (x1, y1) = points
    wide = 1 + min(files, 30) / 10
    path = f"M{x0:.0f} {y0:.0f}Q{xm:.0f} {ym:.0f} {x1:.0f} {y1:.0f}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{wide:.1f}" marker-end="url(#{tip})"/>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/pictures/house.svg")
    options = parser.parse_args()
    for (a, b), files in sorted(arrows().items(), key=lambda item: -item[0][0].level):
        direction = "down" if a.level > b.level else "up" if a.level < b.level else "along"
        print(f"{a.title} [{a.level}] -> {b.title} [{b.level}]: {files} {direction}")
    print("pointing up:", ", ".join(f"{own} -> {target}" for own, target in sorted(upward())) or "none")
    if options.write:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(picture())
        print(PICTURE)


if __name__ == "__main__":
    main()
