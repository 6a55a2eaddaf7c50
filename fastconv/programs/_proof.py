"""Whether two implementations do the same, found by one trial run on both.

A trial is a generator function `trial(subject)`: it calls the subject (a class or a function) on small arrays and yields
`Step`s. The program's subject and ours run side by side; the first step whose values differ is the reason that the
report gives.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Trial = Callable[[Any], Iterator["Step"]]

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
        An array, a number, a tuple or dict of them; or an object, of which the attributes are compared.
    words : str
        The difference in plain words, where it is a well-known one: "inference scales by 1 - ratio in the book, yours
        does not".
    """

    what: str
    value: Any
    words: str = ""


def first_difference(trial: Trial, theirs: Any, ours: Any) -> str:
    """Run the trial on both sides. "" if all steps agree, else the first difference in plain words.

    Nothing global changes: NumPy's generator is restored, output is swallowed, warnings are silent.
    """
    state = np.random.get_state()
    said = io.StringIO()
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
        np.random.set_state(state)
    return found or ("it prints" if said.getvalue() else "")


def _first_difference(trial: Trial, theirs: Any, ours: Any) -> str:
    a, b = trial(theirs), trial(ours)
    what = "the start"
    while True:
        step, failed = _next(a)
        if failed is not None:
            return f"yours raises {type(failed).__name__} behind {what}: {failed}"
        same, failed = _next(b)
        if failed is not None:
            if isinstance(failed, NotTaken):
                return f"behind {what}: {failed or 'fastconv does not take it'}"
            return f"fastconv's raises {type(failed).__name__} behind {what}: {failed}"
        if step is None or same is None:
            return "" if step is same else f"the trial ends behind {what}"
        what = step.what
        why = differ(step.value, same.value)
        if why:
            return step.words or f"{what}: {why}"


def _next(steps: Iterator[Step]) -> tuple[Step | None, Exception | None]:
    try:
        return next(steps, None), None
    except Exception as error:  # of a program's own code, which may do anything
        return None, error


def differ(theirs: Any, ours: Any) -> str:
    """How two values differ, in words; "" if they do not."""
    if isinstance(theirs, np.ndarray) or isinstance(ours, np.ndarray):
        return _arrays_differ(theirs, ours)
    if isinstance(theirs, (bool, int, float, complex, np.generic, str, type(None))):
        if type(theirs) is not type(ours):
            return f"yours is {_typed(theirs)}, fastconv's {_typed(ours)}"
        if isinstance(theirs, (float, np.floating)):
            return _arrays_differ(np.asarray(theirs), np.asarray(ours))
        return "" if theirs == ours else f"yours is {theirs!r}, fastconv's {ours!r}"
    if type(theirs) is not type(ours):
        return f"yours is of type {type(theirs).__name__}, fastconv's {type(ours).__name__}"
    if isinstance(theirs, dict):
        if list(theirs) != list(ours):
            return f"yours has the keys {list(theirs)}, fastconv's {list(ours)}"
        return _first((f"[{key!r}]", theirs[key], ours[key]) for key in theirs)
    if isinstance(theirs, (tuple, list)):
        if len(theirs) != len(ours):
            return f"yours has {len(theirs)} parts, fastconv's {len(ours)}"
        return _first((f"[{i}]", a, b) for i, (a, b) in enumerate(zip(theirs, ours, strict=True)))
    return "" if theirs == ours else f"yours is {theirs!r}, fastconv's {ours!r}"


def _first(pairs: Iterator[tuple[str, Any, Any]]) -> str:
    return next((f"{name}: {why}" for name, a, b in pairs if (why := differ(a, b))), "")


def _typed(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _arrays_differ(theirs: Any, ours: Any) -> str:
    if type(theirs) is not type(ours):
        return f"yours is of type {type(theirs).__name__}, fastconv's {type(ours).__name__}"
    if theirs.shape != ours.shape:
        return f"yours has shape {theirs.shape}, fastconv's {ours.shape}"
    if theirs.dtype != ours.dtype:
        return f"yours is {theirs.dtype}, fastconv's {ours.dtype}"
    if theirs.dtype.char not in TOLERANCE:
        at = np.flatnonzero(np.asarray(theirs != ours))
    else:
        relative, absolute = TOLERANCE[theirs.dtype.char]
        scale = np.max(np.abs(theirs), initial=0.0, where=np.isfinite(theirs))
        close = np.isclose(ours, theirs, rtol=relative, atol=absolute + relative * scale, equal_nan=True)
        at = np.flatnonzero(~close)
    if not at.size:
        return ""
    a, b = theirs.reshape(-1)[at[0]], ours.reshape(-1)[at[0]]
    return f"yours gives {a:.6g}, fastconv's {b:.6g}" if a.dtype.kind in "fiu" else f"yours gives {a}, fastconv's {b}"
