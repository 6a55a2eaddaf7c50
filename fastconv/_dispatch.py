"""From an operation and its Problem to a kernel: the first row of the table that takes it.

The choice is remembered in the Problem, which `_check` remembers in turn. A forced backend raises where it has no
kernel that takes the Problem; it never falls back, so that a test cannot pass on the reference by accident.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from . import _second_pass as second_pass
from . import _table
from ._problem import Problem
from ._settings import BACKENDS, count_forced_backend, settings

Road = TypeVar("Road", bound=Callable[..., Any])

try:
    from .kernels._cpu.straight import straight as compiled_straight
except ImportError:  # a build without the compiled engine has the road alone

    def compiled_straight(road: Road, check: Callable[..., Any], choose: Callable[..., Any]) -> Road:  # type: ignore[misc]
        return road


@cache
def load(kernel: str) -> Callable[..., Any] | str:
    """The kernel function, or why it cannot be had."""
    module, function = kernel.split(":")
    try:
        found = importlib.import_module(f"fastconv.kernels.{module}")
    except ImportError as error:
        return f"cannot be imported: {error}"
    except Exception as error:  # whatever ails a package or a driver: the other backends are there all the same
        return f"cannot be imported: {type(error).__name__}: {error}"
    return getattr(found, function, f"module fastconv.kernels.{module} has no {function}")


def candidates(op: str, p: Problem) -> Iterator[tuple[_table.Row, Callable[..., Any] | str]]:
    """Every row of `op` in order, with its kernel or the reason for refusing."""
    forced = settings.backend
    for row in (_table.AT_ONCE if op in _table.AT_ONCE else _table.TABLE)[op]:
        if forced is not None and row.backend != forced:
            yield row, f"backend {forced!r} is forced"
        else:
            yield row, row.accepts(p) or load(row.kernel)


def _choose(op: str, p: Problem) -> Callable[..., Any]:
    refusals = []
    for row, outcome in candidates(op, p):
        if not isinstance(outcome, str):
            then = second_pass.operation(op, row, p)
            return second_pass.both(outcome, kernel(then, second_pass.problem(p)), p) if then else outcome
        refusals.append(f"  {row}: {outcome}")
    raise RuntimeError(f"no kernel for {op} takes {p}:\n" + "\n".join(refusals))


def kernel(op: str, p: Problem) -> Callable[..., Any]:
    """The kernel that computes `op` for this Problem.

    Raises
    ------
    RuntimeError
        When the forced backend has none, with every row's reason.
    """
    key = op, settings.backend
    chosen = p.chosen.get(key)
    if chosen is None:
        chosen = p.chosen[key] = _choose(op, p)
    return chosen


def at_once(op: str, p: Problem) -> Callable[..., Any] | None:
    """A kernel that does all of `op` for this Problem, or None where each of its parts has one of its own."""
    key = op, settings.backend
    if key not in p.chosen:
        p.chosen[key] = next((found for _, found in candidates(op, p) if not isinstance(found, str)), None)
    return p.chosen[key]


def prepare(op: str, p: Problem) -> Callable[..., Any] | None:
    """What makes the prepared form of the kernel that computes `op` for this Problem, or None if it has none."""
    key = f"prepare {op}", settings.backend
    if key not in p.chosen:
        p.chosen[key] = _choose_prepare(op, p)
    return p.chosen[key]


def _choose_prepare(op: str, p: Problem) -> Callable[..., Any] | None:
    for row, outcome in candidates(op, p):
        if not isinstance(outcome, str):
            made = load(row.prepare) if row.prepare and not second_pass.operation(op, row, p) else None
            return None if isinstance(made, str) else made
    return None


def straight(check: Callable[..., Any], op: str) -> Callable[[Road], Road]:
    """For an operation that makes one array by one kernel: a call like an earlier one goes straight to that kernel.

    Parameters
    ----------
    check : callable
        The operation's check, with the same names of arguments.
    op : str
        The kernel's operation in the table.
    """
    return lambda road: compiled_straight(road, check, lambda p: kernel(op, p))


def backends() -> dict[str, str]:
    """The backends by name, each with "" when it can be used or the reason why not.

    Returns
    -------
    dict of str to str
        Keys "cython", "numba", "cuda" and "numpy".
    """
    return {name: _why_not(name) for name in BACKENDS}


def _why_not(name: str) -> str:
    """Why a backend cannot be used, or "": it can when one of its kernels loads. No other backend's are imported."""
    reason = "no kernels in this build"
    for row in (row for rows in _table.TABLE.values() for row in rows if row.backend == name):
        loaded = load(row.kernel)
        if not isinstance(loaded, str):
            return ""
        reason = loaded
    return reason


def _usable(name: str | None) -> str | None:
    if name is None:
        return None
    if name not in BACKENDS:
        raise ValueError(f"backend: expected one of {BACKENDS} or None, got {name!r}")
    reason = _why_not(name)
    if reason:
        raise RuntimeError(f"backend {name!r} cannot be used: {reason}")
    return name


def set_backend(name: str | None) -> None:
    """Force one backend for the whole process, or None for the fastest that takes each problem.

    Parameters
    ----------
    name : {"cython", "numba", "cuda", "numpy"} or None

    Raises
    ------
    ValueError
        For an unknown name.
    RuntimeError
        When the backend cannot be used here, with the reason; later also by an operation that it has no kernel for.
    """
    name = _usable(name)
    count_forced_backend((name is not None) - (settings.default_backend is not None))
    settings.default_backend = name


@contextmanager
def backend(name: str | None) -> Iterator[None]:
    """Force one backend inside a ``with`` block, in this thread or task alone.

    Parameters and errors as for `set_backend`.
    """
    token = settings.context_backend.set(_usable(name))
    count_forced_backend(1)
    try:
        yield
    finally:
        settings.context_backend.reset(token)
        count_forced_backend(-1)  # an interrupt before this leaves calls on the slow path, not on a wrong backend
