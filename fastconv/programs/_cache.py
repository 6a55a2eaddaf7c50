"""Verdicts, remembered by the content of a module and of what it computes with.

The folder is that of FASTCONV_CACHE, else ``fastconv`` in the user's cache folder. It is optional: what cannot be read
is proven again, what cannot be written is not remembered.
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import _editions, _sources
from ._candidates import Function, Verdict
from ._classes import Class

_STATES = ("replaced", "adopted", "left")


def verdicts(module: ModuleType, candidates: Mapping[str, Any]) -> dict[str, Verdict]:
    """The verdict on each candidate's name in a module that was executed."""
    file = _file(module)
    found = _read(file, candidates)
    if found is None:
        before = _sources.looked()
        found = {name: _verdict(module, name, each) for name, each in candidates.items()}
        if _sources.looked() == before:  # what other files mention is not part of the content
            _write(file, found)
    return found


def _verdict(module: ModuleType, name: str, candidate: Any) -> Verdict:
    """Known texts tell which variant of the book's candidates is equal; others have variants of their own."""
    known = _editions.verdict(module, name) if isinstance(candidate, (Function, Class)) else None
    return known or candidate.prove(vars(module)[name])


def folder() -> Path | None:
    """Where verdicts are kept; None for nowhere."""
    given = os.environ.get("FASTCONV_CACHE")
    if given is not None:
        return Path(given) / "programs" if given else None
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # nobody's home
        return None
    return base / "fastconv" / "programs"


def _file(module: ModuleType) -> Path | None:
    where = folder()
    if where is None:
        return None
    content = hashlib.sha256(repr((module.__name__, sys.version, np.__version__, _own_code())).encode())
    try:
        for source in _files_of(module):
            content.update(Path(source).read_bytes() + b"\0")
    except OSError:
        return None
    return where / f"{content.hexdigest()[:40]}.json"


def _files_of(module: ModuleType) -> list[str]:
    """The sources of a module, and of the program's modules whose names it has, and so on."""
    found: dict[str, None] = {}
    waiting = [module]
    while waiting:
        each = waiting.pop()
        file = getattr(each, "__file__", None)
        if not (isinstance(file, str) and _sources.is_own(file)) or file in found:
            continue
        found[file] = None
        origins = {getattr(value, "__module__", None) for value in vars(each).values()}
        waiting += [
            sys.modules[name] for name in sorted(n for n in origins if isinstance(n, str)) if name in sys.modules
        ]
        waiting += [value for value in vars(each).values() if isinstance(value, ModuleType)]
    return sorted(found)


@cache
def _own_code() -> str:
    """What fastconv's own side of the comparisons is."""
    stats = [(path.name, path.stat()) for path in sorted(Path(__file__).parent.rglob("*.py"))]
    return repr([(name, s.st_size, s.st_mtime_ns) for name, s in stats])


def _read(file: Path | None, candidates: Mapping[str, Any]) -> dict[str, Verdict] | None:
    if file is None:
        return None
    try:
        kept = json.loads(file.read_text())
        found = {name: Verdict(*kept[name]) for name in candidates}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sound = all(
        v.state in _STATES and type(v.why) is str and type(v.variant) is int and (v.variant >= 0) == (v.state != "left")
        and v.variant < len(candidates[name].variants)
        for name, v in found.items()
    )  # fmt: skip
    return found if sound and kept.keys() == candidates.keys() else None


def _write(file: Path | None, found: Mapping[str, Verdict]) -> None:
    """Write a file whole or not at all: others may read it meanwhile."""
    if file is None:
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".json")
        try:
            with os.fdopen(handle, "w") as out:
                json.dump(found, out)
            os.replace(draft, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
