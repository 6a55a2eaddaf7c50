"""Whether two implementations do the same, found by one trial run on both.

A trial is a generator function `trial(subject)`: it calls the subject (a class or a function) on small arrays and
yields `Step`s, and between them texts: what it is about to do. The program's subject and ours run side by side; the
first step whose values differ is the reason that the report gives.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .._random import source
from . import _float32
from . import _sources as sources

Trial = Callable[[Any], Iterator["Step | str"]]

TOLERANCE = {"d": (1e-10, 1e-12), "f": (2e-4, 2e-5), "e": (2e-2, 2e-3)}  # relative to the largest number, absolute


class NotTaken(Exception):
    """Raised by fastconv's side for arguments that it leaves to the program's own code."""


class Step(NamedTuple):
    """One observation of a trial.

    Attributes
    ----------
    what : str
        What was computed, as the report says it: "backward(dout)".
    value
        An array, a number, a tuple or dict of them, or the `Attributes` of an object.
    words : str
        The difference in plain words, where it is a well-known one: "inference scales by 1 - ratio in the book, yours
        does not".
    single : bool
        Whether it was computed in float32, whatever the type.
    """

    what: str
    value: Any
    words: str = ""
    single: bool = False


class Attributes(NamedTuple):
    """An object of which the attributes are compared: all that the program's has."""

    of: Any


class Difference(NamedTuple):
    """The first difference, in plain words, and how many steps agreed before it."""

    why: str
    steps: int


def first_difference(trial: Trial, theirs: Any, ours: Any) -> Difference | None:
    """Run the trial on both sides; None if all steps agree.

    Nothing global changes: NumPy's generator is restored, output is swallowed, warnings are silent.
    """
    state, single = source().get_state(), _float32.on
    said = io.StringIO()
    _float32.on = False
    try:
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            found = _first_difference(trial, theirs, ours)
    finally:
        source().set_state(state)
        _float32.on = single
    return found or (Difference("it prints", 0) if said.getvalue() else None)


def _first_difference(trial: Trial, theirs: Any, ours: Any) -> Difference | None:
    a, b = trial(theirs), trial(ours)
    what, steps = "the constructor", 0
    while True:
        step, failed = _next(a)
        if failed is not None:
            return Difference(f"{what}: yours raises {_said(failed)}", steps)
        same, failed = _next(b)
        if isinstance(failed, AttributeError) and failed.name is not None:
            return Difference(f"{what}: it has no attribute {failed.name}", steps)
        if failed is not None:
            return Difference(f"{what}: fastconv's raises {_said(failed)}", steps)
        if isinstance(step, str) or isinstance(same, str):
            what = step if isinstance(step, str) else what
        elif step is None or same is None:
            return None if step is same else Difference(f"{what}: the trial ends", steps)
        elif why := differ(step.value, same.value, step.single):
            return Difference(step.words or f"{step.what}: {why}", steps)
        else:
            what = f"behind {step.what}"
        steps += 1


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:80]}{'...' if len(text) > 80 else ''}"


def _next(steps: Iterator[Step | str]) -> tuple[Step | str | None, Exception | None]:
    try:
        return next(steps, None), None
    except Exception as error:  # of a program's own code, which may do anything
        return None, error


def differ(theirs: Any, ours: Any, single: bool = False) -> str:
    """How two values differ, in words; "" if they do not."""
    if isinstance(theirs, np.ndarray) or isinstance(ours, np.ndarray):
        return _arrays_differ(theirs, ours, single)
    if isinstance(theirs, (bool, int, float, complex, np.generic, str, type(None))):
        if type(theirs) is not type(ours):
            return f"yours is {_typed(theirs)}, fastconv's {_typed(ours)}"
        if isinstance(theirs, (float, np.floating)):
            return _arrays_differ(np.asarray(theirs), np.asarray(ours), single)
        return "" if theirs == ours else f"yours is {theirs!r}, fastconv's {ours!r}"
    if type(theirs) is not type(ours):
        return f"yours is of type {type(theirs).__name__}, fastconv's {type(ours).__name__}"
    if isinstance(theirs, Attributes):
        return _attributes_differ(theirs.of, ours.of, single)
    if isinstance(theirs, dict):
        if list(theirs) != list(ours):
            return f"yours has the keys {list(theirs)}, fastconv's {list(ours)}"
        return _first(((f"[{key!r}]", theirs[key], ours[key]) for key in theirs), single)
    if isinstance(theirs, (tuple, list)):
        if len(theirs) != len(ours):
            return f"yours has {len(theirs)} parts, fastconv's {len(ours)}"
        return _first(((f"[{i}]", a, b) for i, (a, b) in enumerate(zip(theirs, ours, strict=True))), single)
    return "" if theirs == ours else f"yours is {theirs!r}, fastconv's {ours!r}"


def _attributes_differ(theirs: Any, ours: Any, single: bool) -> str:
    """The first attribute of an object that fastconv's would not have, or would have otherwise."""
    lacking = []
    for name, value in vars(theirs).items():
        try:
            same = getattr(ours, name)
        except AttributeError:
            lacking.append(name)
            continue
        if why := differ(value, same, single):
            return f"its attribute {name}: {why}"
    for name in lacking:
        if where := sources.mention(type(theirs), name):
            return f"{where} uses its attribute {name}, which fastconv's does not have"
    return ""


def _first(pairs: Iterator[tuple[str, Any, Any]], single: bool) -> str:
    return next((f"{name}: {why}" for name, a, b in pairs if (why := differ(a, b, single))), "")


def _typed(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _arrays_differ(theirs: Any, ours: Any, single: bool) -> str:
    if type(theirs) is not type(ours):
        return f"yours is of type {type(theirs).__name__}, fastconv's {type(ours).__name__}"
    if theirs.shape != ours.shape:
        return f"yours has shape {theirs.shape}, fastconv's {ours.shape}"
    if theirs.dtype != ours.dtype:
        return f"yours is {theirs.dtype}, fastconv's {ours.dtype}"
    if theirs.tobytes() == ours.tobytes():
        return ""
    if theirs.dtype.char not in TOLERANCE:
        at = np.flatnonzero(np.asarray(theirs != ours))
    else:
        relative, absolute = TOLERANCE["f" if single and theirs.dtype.char == "d" else theirs.dtype.char]
        scale = np.max(np.abs(theirs), initial=0.0, where=np.isfinite(theirs))
        near = np.abs(theirs - ours) <= absolute + relative * scale
        at = np.flatnonzero(~(near | (theirs == ours) | ((theirs != theirs) & (ours != ours))))
    if not at.size:
        return ""
    a, b = theirs.reshape(-1)[at[0]], ours.reshape(-1)[at[0]]
    digits = 6 if f"{a:.6g}" != f"{b:.6g}" else 17
    return f"yours gives {a:.{digits}g}, fastconv's {b:.{digits}g}" if a.dtype.kind == "f" else f"yours gives {a}"
