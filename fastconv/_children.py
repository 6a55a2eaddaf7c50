"""Processes that multiprocessing starts anew ("spawn", "forkserver") have a program's modules as their parent has them.

Such a child runs the program's main module again, under another name, before it takes work: by then its imports of
``common.layers`` and its kin must find what they find in the parent. What a parent sends first is a pickled dict, its
preparation data; an entry of that dict installs the hook while it is read.
"""

import sys
from collections.abc import Callable
from functools import wraps
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

Installed = Callable[[], dict[str, Any] | None]
"""Gives the arguments of the `fastconv.install` that is in force, or None."""

SPAWN = "multiprocessing.spawn"
_FORKSERVER = "multiprocessing.forkserver"
_PRELOADED = "fastconv._installed"

# `exec` reads this in the child, whose import path is not the parent's yet: no fastconv might be on it, or another one.
# Afterwards multiprocessing sets the path.
_CODE = """
import sys
from importlib.util import find_spec
found = find_spec("fastconv")
if found is None or found.origin != {init!r}:
    sys.path.insert(0, {root!r})
from fastconv import programs
programs.install(**{options!r})
"""


class _Install:
    """Pickles to a call that installs the hook."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, dict[str, Any]]]:
        package = Path(__file__).parent
        code = _CODE.format(init=str(package / "__init__.py"), root=str(package.parent), options=self.options)
        return exec, (code, {})


def watch(installed: Installed) -> None:
    """Prepare children from now on, as long as `installed()` is not None; see `watched` for a later import."""
    spawn = sys.modules.get(SPAWN)
    if spawn is not None and not hasattr(spawn.get_preparation_data, "_of_fastconv"):
        spawn.get_preparation_data = _preparing(spawn.get_preparation_data, installed)  # type: ignore[attr-defined]


def watched(spec: ModuleSpec | None, installed: Installed) -> ModuleSpec | None:
    """The spec of multiprocessing.spawn, such that its import ends with `watch`."""
    if spec is not None and spec.loader is not None:
        spec.loader = _Watched(spec.loader, installed)
    return spec


class _Watched(Loader):
    """Runs a module by its own loader, which the module then has again."""

    def __init__(self, own: Loader, installed: Installed) -> None:
        self.own, self.installed = own, installed

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.own
        self.own.exec_module(module)
        watch(self.installed)


def _preparing(original: Callable[..., dict[str, Any]], installed: Installed) -> Callable[..., dict[str, Any]]:
    @wraps(original)
    def get_preparation_data(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        data = original(name, *args, **kwargs)
        options = installed()
        if options is not None:
            if name == "ignore":  # of the fork server itself, which reads no pickle
                _preload(data)
            else:
                data["fastconv"] = _Install(options)
        return data

    get_preparation_data._of_fastconv = True  # type: ignore[attr-defined]
    return get_preparation_data


def _preload(data: dict[str, Any]) -> None:
    """Let a fork server install the hook before its other imports, and leave the main module to its children."""
    for key in ("main_path", "init_main_from_path", "init_main_from_name"):
        data.pop(key, None)
    modules = getattr(getattr(sys.modules.get(_FORKSERVER), "_forkserver", None), "_preload_modules", None)
    if isinstance(modules, list) and _PRELOADED not in modules:
        modules.insert(0, _PRELOADED)
