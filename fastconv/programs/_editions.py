"""Known texts: classes and functions of published editions and forks of the book, by the hash of their syntax tree.

A text that is known needs no trial, and its code is not run. The hash is of the tree without docstrings, comments,
annotations and formatting, and of everything of the program that it calls, so that the same class on another im2col is
another text. ``python tools/editions.py FOLDER`` prints the lines of `_known_texts.py` for a program.
"""

import ast
import hashlib
import inspect
import math
import os
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from . import _sources
from ._candidates import Verdict
from ._known_texts import KNOWN
from ._purity import BUILTINS, CONSTANTS

_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_params", "annotation", "returns"})


def verdict(module: ModuleType, name: str) -> Verdict | None:
    """The verdict on a name of a module, if its text is a known one."""
    try:
        found = KNOWN.get(fingerprint(module, name))
    except (OSError, SyntaxError, ValueError, LookupError, TypeError):  # no source, or more than names tell
        return None
    return Verdict(*found) if found else None  # type: ignore[arg-type]


def fingerprint(module: ModuleType, name: str) -> str:
    """The hash of a definition at the top of a module, with all that it calls of the program.

    Raises
    ------
    LookupError, OSError, SyntaxError, ValueError, TypeError
        If the source cannot be read, or if something that the code names is no function, class, number or NumPy.
    """
    seen: dict[int, str] = {}
    _collect(module, name, seen)
    return hashlib.sha256("\n".join(sorted(seen.values())).encode()).hexdigest()[:20]


def _collect(module: ModuleType, name: str, seen: dict[int, str]) -> None:
    value = vars(module)[name]
    if id(value) in seen:
        return
    file = str(module.__file__)
    text, used = _definitions(file, os.stat(file).st_mtime_ns)[name]
    seen[id(value)] = text
    for other in used:
        if other not in vars(module):
            if other not in BUILTINS:
                raise LookupError(other)
            continue
        value = vars(module)[other]
        if value is np or value is math or isinstance(value, (*CONSTANTS, np.ufunc)):
            seen.setdefault(id(value), f"{other}={getattr(value, '__name__', value)!r}")
            continue
        origin = inspect.getmodule(inspect.unwrap(value)) if isinstance(value, (FunctionType, type)) else None
        if origin is None or not _sources.is_own(getattr(origin, "__file__", None)):  # a built-in module has none
            raise LookupError(other)
        _collect(origin, inspect.unwrap(value).__name__, seen)


@cache
def _definitions(file: str, changed: int) -> dict[str, tuple[str, list[str]]]:
    """The classes and functions at the top of a file: their normalised texts, and the names that they load."""
    with open(file, "rb") as source:
        tree = ast.parse(source.read())
    found: dict[str, tuple[str, list[str]]] = {}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name not in found:
            found[node.name] = (normalised(node), _loaded(node))
        elif not _is_harmless(node):  # a text that may change what it has defined before tells nothing
            return {}
    return found


def _is_harmless(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.Expr) and (_is_docstring(node) or ast.unparse(node).startswith("sys.path."))
    )


def normalised(node: Any) -> str:
    """A syntax tree as text, the same in every version of Python."""
    if isinstance(node, ast.AST):
        fields = ((field, getattr(node, field, None)) for field in node._fields if field not in _SKIPPED)
        return f"{type(node).__name__}({','.join(f'{k}={normalised(v)}' for k, v in fields if v not in (None, []))})"
    if isinstance(node, list):
        return f"[{','.join(normalised(each) for each in node if not _is_docstring(each))}]"
    return repr(node)


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _loaded(node: ast.AST) -> list[str]:
    """The names that a definition loads and does not set."""
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    local = {n.id for n in names if not isinstance(n.ctx, ast.Load)}
    local |= {a.arg for a in ast.walk(node) if isinstance(a, ast.arg)}
    return sorted({n.id for n in names} - local)
