"""Functions that a script itself defines: compared when they are first called, when all that they need is defined.

A script (or a notebook's cell) is run as it is written, but for one thing: what it defines at its top level under a
known name passes through `later`, as if it had a decorator. So recursion, pickles, tracebacks and line numbers are
those of the script.
"""

import ast
import functools
import re
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import Any

from . import _report
from ._finder import candidates, installed

MARK = "__fastconv_later__"


def code(source: bytes | str, path: str, namespace: dict[str, Any]) -> CodeType | None:
    """The code of a script in which known functions pass through `later`; None if there are none.

    Parameters
    ----------
    source : bytes or str
    path : str
    namespace : dict
        In which it will run, as ``__main__``; it gets the name that the code calls.
    """
    text = source if isinstance(source, str) else source.decode("latin-1")  # names are ASCII
    known = candidates("__main__")
    if not any(name in known for name in re.findall(r"^[ \t]*def[ \t]+(\w+)", text, re.MULTILINE)):
        return None
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError):  # which the script's own loader will raise
        return None
    mark(tree, known)
    namespace[MARK] = later
    return compile(tree, path, "exec", dont_inherit=True)


def mark(tree: ast.Module, known: Mapping[str, Any]) -> None:
    """Let the functions that a module defines at its top level, also behind an `if` or `try`, pass through `later`."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            if node.name in known:
                name = ast.Name(MARK, ast.Load())
                node.decorator_list.insert(0, ast.copy_location(name, node))
                name.end_lineno, name.end_col_offset = node.lineno, node.col_offset
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            waiting += ast.iter_child_nodes(node)
        elif isinstance(node, ast.ExceptHandler):
            waiting += node.body


class _Cells:
    """What IPython does with the tree of every cell."""

    def visit(self, tree: ast.Module) -> ast.Module:
        mark(tree, candidates("__main__"))
        return tree


def watch_cells(ipython: Any) -> None:
    """Let the functions that a notebook's cells define from now on pass through `later`."""
    if ipython is not None:
        ipython.user_ns[MARK] = later
        ipython.ast_transformers.append(_Cells())


def forget_cells(ipython: Any) -> None:
    """Undo `watch_cells`."""
    if ipython is not None:
        ipython.ast_transformers[:] = [each for each in ipython.ast_transformers if not isinstance(each, _Cells)]


def later(function: Any) -> Any:
    """The function, looked at when it is first called."""
    candidate = candidates("__main__").get(getattr(function, "__name__", ""))
    if candidate is None or not isinstance(function, FunctionType):
        return function
    chosen: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal chosen
        if chosen is None:
            chosen = function  # in case that it calls itself meanwhile
            chosen = _decide(function, candidate)
        return (chosen if installed() else function)(*args, **kwargs)

    return call


def _decide(function: FunctionType, candidate: Any) -> Callable[..., Any]:
    verdict = candidate.prove(function)
    name = function.__name__
    _report.add(sys.modules["__main__"], name, verdict)
    if verdict.variant < 0:
        return function
    place: dict[str, Any] = {name: function}
    candidate.put(place, name, verdict.variant)
    return place[name]
