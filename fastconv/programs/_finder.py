"""The hook in the import system: a program's own modules are executed, and then looked at.

The modules of the book that a program imports and does not have come from fastconv (`fastconv.book`).
"""

import atexit
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

from .. import _children
from . import _cache, _float32, _report, _sources
from .recognisers import Recogniser, table

_UNDO: list[Callable[[], None]] = []


def install(float32: bool = False) -> None:
    """Let the program's own classes and functions compute with fastconv where they prove equal.

    Modules that are imported already are looked at now, others when they are imported. A second call changes nothing;
    `uninstall` undoes it. With FASTCONV_REPORT=1 in the environment, what was replaced, adopted or left is printed at
    the end on standard error.

    Parameters
    ----------
    float32 : bool
        Compute in float32, and make parameters float32, whatever the program has.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.install()
    >>> fastconv.uninstall()
    """
    if float32:
        _float32.on = True
    if not installed():
        _recognisers()  # before the finder is asked for their imports
        sys.meta_path.insert(0, _FINDER)
        _children.watch(_options)
        for module in list(sys.modules.values()):
            if isinstance(module, ModuleType):
                recognise(module)
        if os.environ.get("FASTCONV_REPORT", "") not in ("", "0"):
            atexit.unregister(_print_report)
            atexit.register(_print_report)


def uninstall() -> None:
    """Undo `install`: the program's classes and functions are its own again."""
    _float32.on = False
    if installed():
        sys.meta_path.remove(_FINDER)
        while _UNDO:
            _UNDO.pop()()
        for name, module in list(sys.modules.items()):
            if isinstance(getattr(module, "__loader__", None), Provided):
                del sys.modules[name]
                package, _, last = name.rpartition(".")
                vars(sys.modules.get(package, module)).pop(last, None)


def _options() -> dict[str, Any] | None:
    """The arguments of `install`, for processes that multiprocessing starts; None if it is not in force."""
    return {"float32": _float32.on} if installed() else None


def _print_report() -> None:
    print(_report.table(), end="", file=sys.stderr)


def installed() -> bool:
    """Whether `install` is in force."""
    return _FINDER in sys.meta_path


def recognise(module: ModuleType) -> None:
    """Look at a module that was executed: compare its known names, and let the equal ones compute with fastconv."""
    name = module.__name__
    here = {
        key: each
        for key, each in candidates(name).items()
        if getattr(vars(module).get(key), "__module__", None) == name
    }  # fmt: skip
    if not here or not _is_looked_at(name, getattr(module, "__file__", None)):
        return
    for key, verdict in _cache.verdicts(module, here).items():
        _report.add(module, key, verdict)
        if verdict.variant >= 0:
            _UNDO.append(here[key].put(vars(module), key, verdict.variant))


def candidates(module: str) -> Mapping[str, Any]:
    """What is known of a module of that name."""
    if module.partition(".")[0] == "fastconv":
        return {}
    found: dict[str, Any] = {}
    for each in _recognisers():
        found = {**each.candidates(module), **found}
    return found


def _is_looked_at(module: str, file: str | None) -> bool:
    """Whether a module is the program's own, or of a library that is known."""
    return any(module in each.libraries for each in _recognisers()) or _sources.is_own(file)


_TABLE: list[Recogniser] = []


def _recognisers() -> list[Recogniser]:
    if not _TABLE:
        _TABLE.extend(table())
    return _TABLE


class Provided(Loader):
    """Makes a module that the program does not have."""

    def __init__(self, contents: Callable[[], Mapping[str, Any]]) -> None:
        self.contents = contents

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self.contents())


class _Looking(Loader):
    """Runs a module by its own loader, which the module then has again, and looks at it."""

    def __init__(self, own: Loader) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.own
        self.own.exec_module(module)
        recognise(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _children.SPAWN:
            return _children.watched(self._own_spec(fullname, path, target), _options)
        provided = next((p for each in _recognisers() if (p := each.provides(fullname))), None)
        known = bool(candidates(fullname))
        if not known and provided is None:
            return None
        own = self._own_spec(fullname, path, target)
        if own is None and provided is not None:
            _report.provide(fullname)
            return ModuleSpec(fullname, Provided(provided), origin=__name__, is_package="." not in fullname)
        if known and own is not None and type(own.loader) is SourceFileLoader and _is_looked_at(fullname, own.origin):
            own.loader = _Looking(own.loader)
        return own

    def _own_spec(self, *wanted: Any) -> ModuleSpec | None:
        """What the import would find without this finder."""
        specs = (finder.find_spec(*wanted) for finder in sys.meta_path if finder is not self)
        return next((spec for spec in specs if spec is not None), None)


_FINDER = _Finder()
