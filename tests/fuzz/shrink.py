"""From a long history that ends badly to the shortest one that still does, and to plain Python."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from . import arrays
from .outcome import difference
from .process import Died, Worker
from .step import Numbers, Settings, Step, View

_COPY = """def copy(a):
    if not isinstance(a, np.ndarray):
        return a
    b = np.array(a, order="C")
    b.flags.writeable = a.flags.writeable
    return b
"""
Ends = Callable[[list[Step]], str]  # how a history ends that is replayed from the start: what is wrong, or ""


def replayed(expected: Worker, exact: Callable[[Step], bool]) -> Ends:
    """Histories replayed in fresh processes; `expected` answers for the last step."""

    def ends(history: list[Step]) -> str:
        expected.ask(history[-1:])
        right = expected.answer()
        with Worker("as-used", patience=60) as worker:
            worker.ask(history)
            try:
                outcomes = [worker.answer() for _ in history]
            except Died as death:
                return f"the process {death}"
        return difference(outcomes[-1], right, exact(history[-1]))

    return ends


def shrink(history: list[Step], ends: Ends, most: int = 250) -> tuple[list[Step], str]:
    """The shortest history found, and how it ends; "" when the history does not end badly again."""
    left = [most]

    def bad(candidate: list[Step]) -> bool:
        if left[0] <= 0:
            return False
        left[0] -= 1
        return bool(ends(candidate))

    *before, last = history
    start = next((c for c in _starts(before, last) if bad(c)), None)
    if start is None:
        return history, ""
    history = _simplified(_without_calls(start, bad), bad)
    return history, ends(history)


def _starts(before: list[Step], last: Step) -> Iterator[list[Step]]:
    """Guesses: the last step alone, what is like it, the latest ones, everything."""
    yield [last]
    like = [s for s in before if s.function == last.function]
    for count in (1, 4, 16, 64, len(like)):
        if count <= len(like):
            yield [*like[-count:], last]
    for count in (30, 300, 3000, len(before)):
        if count <= len(before):
            yield [*before[-count:], last]


def _without_calls(history: list[Step], bad: Callable[[list[Step]], bool]) -> list[Step]:
    """Delta debugging: drop halves, quarters, ... single calls while the end stays bad."""
    *before, last = history
    size = max(len(before) // 2, 1)
    while before:
        at = 0
        while at < len(before):
            fewer = before[:at] + before[at + size :]
            if bad([*fewer, last]):
                before = fewer
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return [*before, last]


def _simplified(history: list[Step], bad: Callable[[list[Step]], bool]) -> list[Step]:
    """The settings of all calls, then the arguments of each, simpler as long as that is possible."""
    for name in ("backend", "in_block", "threads", "precision"):
        change = {name: getattr(Settings(), name)}
        candidate = [replace(step, settings=replace(step.settings, **change)) for step in history]
        if candidate != history and bad(candidate):
            history = candidate
    for i in range(len(history)):
        changed = True
        while changed:
            changed = False
            for simpler in _simpler(history[i]):
                candidate = [*history[:i], simpler.without_unused(), *history[i + 1 :]]
                if candidate != history and bad(candidate):
                    history, changed = candidate, True
                    break
    return history


def _simpler(step: Step) -> Iterator[Step]:
    plain = Settings()
    for name in ("backend", "in_block", "threads", "precision"):
        value = getattr(plain, name)
        if getattr(step.settings, name) != value:
            yield replace(step, settings=replace(step.settings, **{name: value}))
    if step.keep:
        yield replace(step, keep=False)
    for i in range(len(step.named)):
        yield replace(step, named=step.named[:i] + step.named[i + 1 :])
    for i, v in enumerate(step.variables):
        if isinstance(v, View):
            root = step.variables[v.of]
            if v.index in ("", "[::-1]", ".T"):
                yield _with(step, i, replace(root, seed=5))
            continue
        for change in ({"layout": ""}, {"dtype": "f8"}):
            (name, value), *_ = change.items()
            if getattr(v, name) != value and not (v.dtype[0] != "f" and name == "dtype"):
                yield _with(step, i, replace(v, **change))


def _with(step: Step, i: int, variable: Numbers | View) -> Step:
    return replace(step, variables=(*step.variables[:i], variable, *step.variables[i + 1 :]))


def snippet(history: list[Step], wrong: str) -> str:
    """The history as plain Python that anyone can run."""
    body: list[str] = []
    settings = Settings(threads=0)  # so that the number of threads is set, whatever the machine's is
    for step in history:
        body += ["", *step.settings.source(settings), *step.assignments()]
        indent = f"with fc.backend({step.settings.backend!r}): " if step.settings.in_block else ""
        body.append(f"{indent}y = {step.call()}")
        if step.keep:
            body.append("kept = y  # still held by the user, with the numbers of now")
        elif step is not history[-1]:
            body.append("# the user may have written into y")
        settings = step.settings
    last = history[-1]
    indent = f"with fc.backend({last.settings.backend!r}): " if last.settings.in_block else ""
    body += [f"print({', '.join(['y', *(f'a{i}' for i in last.written)])})"]
    body += ["", "forget()  # what comes now depends on nothing before, and shares nothing", *last.assignments()]
    count = range(len(last.variables))
    unshared = re.sub(r"\ba([0-9]+)\b", r"b\1", last.call())
    if last.variables:
        body.append(f"{', '.join(f'b{i}' for i in count)}, = [copy(a) for a in ({', '.join(f'a{i}' for i in count)},)]")
    body.append(f"{indent}y = {unshared}")
    body.append(f"print({', '.join(['y', *(f'b{i}' for i in last.written)])})")
    text = "\n".join(body)
    helpers = [f for n, f in vars(arrays).items() if inspect.isfunction(f) and re.search(rf"\b{n}\(", text)]
    head = ["import numpy as np", "import fastconv as fc", "from fastconv._settings import forget", ""]
    head += [inspect.getsource(f) for f in helpers]
    head.append(_COPY)
    return "\n".join([f"# {line}" for line in wrong.splitlines()] + head) + text + "\n"
