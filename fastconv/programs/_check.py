"""What would become of a script's modules, without running the script: ``python -m fastconv --check SCRIPT``.

The modules that the script imports, and those that these import, are found by reading their sources. Those with known
names are imported, as the script would. Of the script itself only the lines that change ``sys.path`` are run.
"""

import ast
import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Container, Iterator
from pathlib import Path

from . import _finder, _sources

_PATH_CHANGES = ("append", "insert", "extend")


def check(script: str) -> list[str]:
    """Import what is known among the modules that a script needs.

    Parameters
    ----------
    script : str
        `sys.path` is that of the script already.

    Returns
    -------
    list of str
        A line for each module that could not be imported.
    """
    failed: list[str] = []
    waiting, met = [(script, "")], set()
    while waiting:
        file, package = waiting.pop()
        try:
            tree = ast.parse(Path(file).read_bytes(), file)
        except (OSError, SyntaxError, ValueError) as error:
            failed.append(f"{os.path.relpath(file)} cannot be read: {error}")
            continue
        _change_path(tree, file)
        for name in _imported(tree, package):
            if name in met:
                continue
            met.add(name)
            origin = _origin(name, failed)
            if origin:
                waiting.append((origin, name if origin.endswith("__init__.py") else name.rpartition(".")[0]))
    return failed


def _origin(name: str, failed: list[str]) -> str:
    """The source of a program's own module, which is imported if there is anything to look at."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return ""
    try:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return ""
        known = _finder.candidates(name)
        anywhere = _finder.candidates("__main__").keys()  # what is known of modules of any name
        if known.keys() - anywhere or (_sources.is_own(spec.origin) and _defines(spec.origin, known)):
            importlib.import_module(name)
    except ModuleNotFoundError:  # optional, or no module at all: `from module import name`
        return ""
    except Exception as error:  # of the program's own modules
        failed.append(f"{name} cannot be imported: {type(error).__name__}: {error}")
        return ""
    return spec.origin or "" if _sources.is_own(spec.origin) else ""


def _defines(file: str | None, known: Container[str]) -> bool:
    """Whether a module's source defines one of the known names."""
    for node in ast.walk(ast.parse(Path(file or "").read_bytes())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in known:
            return True
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in known for t in node.targets):
            return True
    return False


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *(node.module.split(".") if node.module else [])])
            if base:
                yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names if base and alias.name != "*")


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _change_path(tree: ast.Module, file: str) -> None:
    """Run the statements ``sys.path.append(...)`` and their kin, with the modules that such lines use."""
    namespace = {"sys": sys, "os": os, "Path": Path, "__file__": os.path.abspath(file), "__name__": "__check__"}
    for node in tree.body:
        call = node.value if isinstance(node, ast.Expr) else None
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr in _PATH_CHANGES and ast.unparse(call.func.value) == "sys.path":
            with contextlib.suppress(Exception):  # a line that needs more of the script than this
                exec(compile(ast.Module([node], []), file, "exec"), namespace)
