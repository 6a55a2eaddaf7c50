"""The source text of a program: which of its modules are its own, and who mentions an attribute."""

import os
import re
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

_MOST_FILES, _MOST_BYTES = 400, 4_000_000


@cache
def _foreign() -> tuple[str, ...]:
    """Folders whose modules are not a program's own."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(site.getsitepackages(), [site.getusersitepackages()])
    folders.add(str(Path(__file__).parents[1]))
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


def is_own(file: Any) -> bool:
    """Whether a file is the source of a program's own module."""
    return isinstance(file, str) and file.endswith(".py") and not os.path.realpath(file).startswith(_foreign())


_looks = 0


def looked() -> int:
    """How often the program's other sources were asked."""
    return _looks


def mention(kind: type, name: str) -> str:
    """The file of the program that uses an attribute of that name outside of the class itself; "" if none does.

    Every text ``.name`` in the folder of the script and in that of the package counts, whosever attribute it is.
    """
    global _looks
    _looks += 1
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if not file:
        return "the program"
    search = re.compile(rf"\.\s*{re.escape(name)}\b").search
    body = _lines_of(kind, file)
    for path, text in texts(file):
        if os.path.samefile(path, file):
            lines = text.splitlines()
            text = "\n".join([*lines[: body[0]], *lines[body[1] :]])
        if search(text):
            return os.path.basename(path)
    return ""


def texts(file: str) -> list[tuple[str, str]]:
    """The program's sources: of the script's folder, and of the folder that a module's package lies in."""
    roots = {os.path.dirname(os.path.dirname(os.path.realpath(file))), os.path.realpath(sys.path[0] or ".")}
    found: dict[str, str] = {}
    budget = _MOST_BYTES
    for root in sorted(roots):
        for folder, inner, names in os.walk(root):
            inner[:] = sorted(name for name in inner if not name.startswith((".", "__")))
            for name in sorted(names):
                path = os.path.join(folder, name)
                if not name.endswith((".py", ".ipynb")) or path in found:
                    continue
                try:
                    text = Path(path).read_text(encoding="utf-8", errors="replace")
                except OSError:
                    continue
                found[path] = text
                budget -= len(text)
                if budget < 0 or len(found) > _MOST_FILES:
                    return list(found.items())
    return list(found.items())


def _lines_of(kind: type, file: str) -> tuple[int, int]:
    """The first and last line of the body of a class, counted from 0."""
    import ast

    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return 0, 0
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__ and node.end_lineno is not None:
            return node.lineno - 1, node.end_lineno
    return 0, 0
