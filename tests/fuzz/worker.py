"""How a call runs: in the process under test as a user makes it, in the process compared with it always afresh."""

import contextlib
import functools
import os
import pickle
import sys
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import _dispatch
from fastconv._settings import forget

from . import arrays
from .outcome import Outcome, flat, pack
from .step import Code, Name, Settings, Step

_KEPT = 8  # results that the user still holds


class Runner:
    """Runs the steps of a history.

    Parameters
    ----------
    afresh : bool
        Forget everything before each call, and pass copies that share nothing.
    backend : str, optional
        Take this backend whatever the step says.
    """

    def __init__(self, afresh: bool, backend: str | None = None) -> None:
        self.afresh, self.backend = afresh, backend
        self.settings = Settings(threads=fc.get_num_threads())
        self.kept: deque[tuple[np.ndarray, bytes, str]] = deque(maxlen=_KEPT)
        self.names: dict[str, Any] = {"np": np, "fc": fc, **vars(arrays)}
        self.caches = _caches() if afresh else []

    def run(self, step: Step) -> Outcome:
        """The outcome of one step."""
        names = self._variables(step)
        evaluate = functools.partial(_evaluate, names=names)
        args, kwargs = evaluate(step.positional), {key: evaluate(value) for key, value in step.named}
        written = [names[f"a{i}"] for i in step.written]
        if self.afresh:
            self._forget()
        inputs = [a for a in flat([args, *kwargs.values()]) if isinstance(a, np.ndarray)]
        before = [a.tobytes() for a in inputs]
        function = names[step.function] if step.function in names else getattr(fc, step.function)
        try:
            with warnings.catch_warnings(), self._set(step.settings):
                warnings.simplefilter("ignore")
                result = function(*args, **kwargs)
        except Exception as error:
            refusal = f"{type(error).__name__}: {error}"
            return Outcome(refusal, (), _packed(written, written), self._faults(inputs, before, written))
        parts = flat(result)
        faults = self._faults(inputs, before, written, parts)
        outcome = Outcome("", _packed(parts, written), _packed(written, written), faults)
        if not self.afresh:
            self._belongs_to_the_user(step, parts, written)
        return outcome

    def _variables(self, step: Step) -> dict[str, Any]:
        names = dict(self.names)
        for i, v in enumerate(step.variables):
            names[f"a{i}"] = eval(v.source(), names)
        if self.afresh:
            names.update({f"a{i}": _copy(names[f"a{i}"]) for i in range(len(step.variables))})
        return names

    def _forget(self) -> None:
        forget()
        for cache in self.caches:
            cache.cache_clear()
        fc.empty_cache()

    @contextlib.contextmanager
    def _set(self, wanted: Settings) -> Any:
        backend = self.backend if self.backend else wanted.backend
        outside = self.backend if self.backend else wanted.outside
        if outside != self.settings.outside:
            fc.set_backend(outside)
        if wanted.threads != self.settings.threads:
            fc.set_num_threads(wanted.threads)
        if wanted.precision != self.settings.precision:
            fc.set_float32_conv_precision(wanted.precision)
        self.settings = Settings(outside, False, wanted.threads, wanted.precision)
        with fc.backend(backend) if backend != outside else contextlib.nullcontext():
            yield

    def _faults(self, inputs: list[Any], before: list[bytes], written: list[Any], parts: Any = ()) -> tuple[str, ...]:
        """What must never be: an input changed, a result in an input's memory, a kept result changed."""
        faults = []
        arrays = [a for a in written if isinstance(a, np.ndarray)]
        for i, (a, old) in enumerate(zip(inputs, before, strict=True)):
            changed = a.tobytes() != old
            if changed and not any(np.may_share_memory(a, w) for w in arrays):
                faults.append(f"array {i} of the arguments was changed")
        for part in parts:
            if isinstance(part, np.ndarray) and not any(part is w for w in arrays):
                for i, a in enumerate(inputs):
                    if part.size and np.may_share_memory(part, a) and not _of_a_cache(part, parts):
                        faults.append(f"a result lies in the memory of array {i} of the arguments")
        for a, old, call in self.kept:
            if a.tobytes() != old:
                faults.append(f"the kept result of {call} was changed")
        return tuple(faults)

    def _belongs_to_the_user(self, step: Step, parts: Any, written: list[Any]) -> None:
        """The user holds a result for a while, or writes into it."""
        for part in parts:
            if isinstance(part, np.ndarray) and part.size and not any(part is w for w in written if w is not None):
                if step.keep:
                    self.kept.append((part, part.tobytes(), step.call()))
                elif part.flags.writeable and step.function != "batch_norm":
                    part.fill(77)


def _packed(parts: Any, given: list[Any]) -> tuple[Any, ...]:
    return tuple(pack(part, any(part is g for g in given)) for part in parts)


def _of_a_cache(part: Any, parts: Any) -> bool:
    """batch_norm's cache holds its arguments; its y comes first."""
    return part is not parts[0]


def _evaluate(value: Any, names: dict[str, Any]) -> Any:
    if isinstance(value, Name):
        return names[f"a{value.number}"]
    if isinstance(value, Code):
        return eval(value.text, names)
    if type(value) in (tuple, list):
        return type(value)(_evaluate(each, names) for each in value)
    return value


def _copy(value: Any) -> Any:
    """The same numbers in memory of their own: dense, aligned, and as writeable as they were."""
    if not isinstance(value, np.ndarray):
        return value
    copy = np.array(value, order="C")
    copy.flags.writeable = value.flags.writeable
    return copy


def _caches() -> list[Any]:
    """Every `functools.cache` of fastconv, but the imports of kernels."""
    found = []
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "fastconv":
            found += [f for f in vars(module).values() if isinstance(f, functools._lru_cache_wrapper)]
    return [f for f in found if f is not _dispatch.load]


def serve(handle: Callable[[Any], Any]) -> None:
    """Read lists of requests from the standard input and write an answer to each; what kernels print goes elsewhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            batch = pickle.load(requests)
        except EOFError:
            return
        for request in batch:
            pickle.dump(handle(request), answers)
            answers.flush()


def main() -> None:
    """`afresh` or `as-used`, and the backend to take always."""
    mode, backend = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    serve(Runner(mode == "afresh", backend).run)
