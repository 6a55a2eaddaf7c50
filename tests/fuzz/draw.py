"""How arguments are drawn: dtypes, layouts, one memory in several places, by position or name, and wrong ones.

Step i of a seed depends on the two alone, so that a history can be drawn again from its seed.
"""

import inspect
import math
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import fastconv as fc

from .operations import CALLS, OPTIONAL, WRITTEN
from .step import LAYOUTS, Code, Name, Numbers, Settings, Step, View

ALSO = ("huge", "padding", "extreme")  # faults that are known: not drawn unless asked for
_BLOCK = 23  # steps under the same settings
_WRONG: list[Any] = [
    None, -1, 0, 1.5, "2", "same", "full", True, (1, 2, 3), (1,), (), [2, 2], (2, 0), 7, 50, 2.0, {}, 3 + 1j,
    float("nan"), Code("np.int64(2)"), Code("np.array([1, 2])"), Code("np.float32(1)"), Code("slice(2)"),
]  # fmt: skip
_HUGE = [2**31, 2**57, 2**60, 2**62, 2**63, 2**64, 10**30]


class Draw:
    """The steps of a seed.

    Parameters
    ----------
    seed : int
    backend : str
        "any": all of them, by turns and left to choose; or one.
    also : names of ALSO
    threads : the thread counts that are set
    """

    def __init__(
        self, seed: int, backend: str = "any", also: tuple[str, ...] = (), threads: tuple[int, ...] = (1, 2, 3)
    ) -> None:
        self.seed, self.also, self.threads = seed, also, threads
        free = [None, None, "cython"]
        self.backends: list[str | None] = {"any": [*free, None, "numba", "numpy"], "cython": free}.get(
            backend, [backend]
        )
        self.signatures = {name: _names(name) for name in CALLS}

    def settings(self, i: int) -> Settings:
        r = Random(f"{self.seed} settings {i // _BLOCK}")
        return Settings(
            r.choice(self.backends), r.random() < 0.3, r.choice(self.threads), r.choice(["high", "high", "highest"])
        )

    def step(self, i: int) -> Step:
        """Step i."""
        r = Random(f"{self.seed} {i}")
        name = r.choice(list(CALLS))
        arguments = {key: value for key, value in CALLS[name](r).items() if value is not OPTIONAL}
        written = {*WRITTEN.get(name, ()), "out"}
        if r.random() < 0.12:
            arguments = self._spoil(r, name, arguments)
        variables: list[Numbers | View] = []
        numbers: list[int] = []
        dtype = r.choice(["f4", "f4", "f4", "f8", "f8", "f2"])
        for key, value in arguments.items():
            first = len(variables)
            alone = "update" in name or (key in written and name != "batch_norm" and key != "out")
            arguments[key] = self._place(r, value, variables, dtype, alone)
            if key in written:
                numbers += range(first, len(variables))
        if "update" in name and len(variables) == len(self.signatures[name]) and r.random() < 0.2:
            variables[1] = View(0)  # the gradients of half the sum of squares
        if _written_twice(variables, numbers):
            variables = [v if not isinstance(v, View) else _own(v, variables, i) for i, v in enumerate(variables)]
        positional, named = self._pass(r, name, arguments)
        return Step(
            name, tuple(variables), positional, named, tuple(numbers), self.settings(i), r.random() < 0.3
        ).without_unused()

    def _place(self, r: Random, value: Any, variables: list[Numbers | View], dtype: str, alone: bool) -> Any:
        """The argument with arrays replaced by names of variables."""
        if isinstance(value, list):
            return [self._place(r, each, variables, dtype, alone) for each in value]
        if not isinstance(value, Numbers):
            return value
        variables.append(self._variable(r, value, variables, dtype, alone))
        return Name(len(variables) - 1)

    def _variable(
        self, r: Random, a: Numbers, variables: list[Numbers | View], dtype: str, alone: bool
    ) -> Numbers | View:
        if a.dtype == "f4" and not a.mask and not alone and r.random() < 0.25:
            shared = list(_views(a.shape, variables))
            if shared:
                return r.choice(shared)
        kinds = ["i4", "u1", "?", "f4", "f8", "f2"]
        chosen = a.dtype if a.dtype != "f4" else (r.choice(kinds) if r.random() < 0.08 else dtype)
        if a.mask:
            chosen = "f4"
        a = replace(a, dtype=chosen, seed=r.randrange(6), layout=r.choice(LAYOUTS) if r.random() < 0.15 else "")
        if chosen in ("u1", "?") and a.low < 0:
            a = replace(a, low=0.0)
        if "extreme" in self.also and r.random() < 0.05:
            return replace(a, low=-1e30, high=1e30)
        return a

    def _spoil(self, r: Random, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One argument wrong."""
        spoilt = dict(arguments)
        key = r.choice([key for key in arguments if key not in ("rng", "training")])  # another is drawn by chance
        value = arguments[key]
        if isinstance(value, Numbers) and r.random() < 0.7:
            shape = list(value.shape)
            change = r.randrange(5)
            if change == 0 or not shape:
                spoilt[key] = replace(value, shape=(*shape, 1))
            elif change == 1:
                spoilt[key] = replace(value, shape=tuple(shape[1:]))
            elif change == 2:
                at = r.randrange(len(shape))
                spoilt[key] = replace(value, shape=tuple(n + (i == at) for i, n in enumerate(shape)))
            elif change == 3:
                spoilt[key] = replace(value, dtype=r.choice(["c8", "O", "S4", "m8[s]", "g"]))
            else:
                at = r.randrange(len(shape))
                spoilt[key] = replace(value, shape=tuple(n * (i != at) for i, n in enumerate(shape)))
        elif "huge" in self.also and r.random() < 0.5:
            spoilt[key] = r.choice([1, -1]) * r.choice(_HUGE)
        elif r.random() < 0.1:
            spoilt["colour"] = 1
        else:
            spoilt[key] = r.choice(_WRONG)
        return spoilt

    def _pass(self, r: Random, name: str, arguments: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """By position as long as the signature allows and chance wants, then by name."""
        known = self.signatures[name]
        by_position = r.choice([len(arguments), len(arguments), 1, 2, 0])
        if name == "batch_norm_and_backward":
            by_position = max(by_position, 1)
        positional: list[Any] = []
        rest = list(arguments.items())
        while rest and len(positional) < min(by_position, len(known)) and known[len(positional)] in (rest[0][0], None):
            positional.append(rest.pop(0)[1])
        if r.random() < 0.3:
            r.shuffle(rest)
        return tuple(positional), tuple(rest)


def _names(function: str) -> list[str | None]:
    """The parameters that can be given by position; None for one that the operations here have under another name."""
    if function == "batch_norm_and_backward":
        return ["dout", *_names("batch_norm")]
    parameters = inspect.signature(getattr(fc, function)).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return [None] * len(names) if function.endswith("_update") else list(names)


def _views(shape: tuple[int, ...], variables: list[Numbers | View]) -> Iterator[View]:
    """Ways to see memory that is there already as an array of this shape."""
    size = math.prod(shape)
    for i, v in enumerate(variables):
        if not isinstance(v, Numbers) or v.layout == "listed" or v.mask or v.dtype[0] not in "f":
            continue
        if v.shape == shape:
            yield View(i)
            yield View(i)
            if shape and shape[0] > 1:
                yield View(i, "[::-1]")
            if len(shape) == 2 and shape[0] == shape[1]:
                yield View(i, ".T")
        held = math.prod(v.shape)
        if held >= size > 0:
            for start in sorted({0, 1, held - size} & set(range(held - size + 1))):
                yield View(i, f".reshape(-1)[{start}:{start + size}].reshape({shape})")


def _written_twice(variables: list[Numbers | View], written: list[int]) -> bool:
    roots = [v.of if isinstance(v := variables[i], View) else i for i in written]
    return len(set(roots)) < len(roots)


def _own(view: View, variables: list[Numbers | View], i: int) -> Numbers | View:
    """An array of its own where two that are written would be one."""
    root = variables[view.of]
    return (
        replace(root, seed=i % 6) if view.index in ("", "[::-1]", ".T") else replace(root, shape=_shape(view), seed=0)
    )


def _shape(view: View) -> tuple[int, ...]:
    return eval(view.index.rpartition(".reshape")[2])
