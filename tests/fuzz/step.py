"""A step of a history: one call with its arguments and the settings it is made under. Plain data, and plain Python."""

from dataclasses import dataclass, field, replace
from typing import Any

LAYOUTS = ("fortran", "backwards", "swapped", "misaligned", "frozen", "listed")


@dataclass(frozen=True)
class Numbers:
    """An array of its own."""

    shape: tuple[int, ...]
    dtype: str = "f4"
    seed: int = 0
    low: float = -2.0
    high: float = 2.0
    layout: str = ""
    mask: bool = False  # where the numbers are positive

    def source(self) -> str:
        bounds = "" if (self.low, self.high) == (-2.0, 2.0) else f", {self.low:g}, {self.high:g}"
        text = f"numbers({self.shape}, {self.dtype!r}, {self.seed}{bounds})"
        text = f"{text} > 0" if self.mask else text
        return f"{self.layout}({text})" if self.layout else text


@dataclass(frozen=True)
class View:
    """A view of the memory of an earlier variable, or that variable itself."""

    of: int
    index: str = ""  # "" for the object itself, else ".T", "[::-1]", ...

    def source(self) -> str:
        return f"a{self.of}{self.index}"


@dataclass(frozen=True)
class Name:
    """A variable as an argument."""

    number: int

    def __repr__(self) -> str:
        return f"a{self.number}"


@dataclass(frozen=True)
class Code:
    """An argument that is made by an expression."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Settings:
    """The choices a user can make for the whole process, or for a block."""

    backend: str | None = None
    in_block: bool = False  # `with fc.backend(...)` instead of `fc.set_backend(...)`
    threads: int = 1
    precision: str = "high"

    def source(self, before: "Settings") -> list[str]:
        lines = []
        if self.outside != before.outside:
            lines.append(f"fc.set_backend({self.outside!r})")
        if self.threads != before.threads:
            lines.append(f"fc.set_num_threads({self.threads})")
        if self.precision != before.precision:
            lines.append(f"fc.set_float32_conv_precision({self.precision!r})")
        return lines

    @property
    def outside(self) -> str | None:
        return None if self.in_block else self.backend


@dataclass(frozen=True)
class Step:
    """A call of `function`, its variables made first."""

    function: str
    variables: tuple[Numbers | View, ...] = ()
    positional: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()
    written: tuple[int, ...] = ()  # variables that the call may change
    settings: Settings = field(default_factory=Settings)
    keep: bool = False  # the result is kept and must not change; otherwise the user writes into it

    @property
    def callee(self) -> str:
        return self.function if self.function == "batch_norm_and_backward" else f"fc.{self.function}"

    def call(self) -> str:
        """The call as Python."""
        arguments = [repr(a) for a in self.positional] + [f"{name}={a!r}" for name, a in self.named]
        return f"{self.callee}({', '.join(arguments)})"

    def assignments(self) -> list[str]:
        return [f"a{i} = {v.source()}" for i, v in enumerate(self.variables)]

    def without_unused(self) -> "Step":
        """The same step without variables that nothing refers to."""
        used = _names((self.positional, tuple(value for _, value in self.named)))
        for i in sorted(used, reverse=True):
            while isinstance(self.variables[i], View):
                i = self.variables[i].of
                used.add(i)
        places = {old: new for new, old in enumerate(sorted(used))}
        variables = tuple(self.variables[i] for i in sorted(used))
        variables = tuple(replace(v, of=places[v.of]) if isinstance(v, View) else v for v in variables)
        return replace(
            self,
            variables=variables,
            positional=_renamed(self.positional, places),
            named=_renamed(self.named, places),
            written=tuple(places[i] for i in self.written if i in places),
        )


def _names(value: Any) -> set[int]:
    if isinstance(value, Name):
        return {value.number}
    if isinstance(value, (tuple, list)):
        return set().union(*(_names(each) for each in value))
    return set()


def _renamed(value: Any, places: dict[int, int]) -> Any:
    if isinstance(value, Name):
        return Name(places[value.number])
    if isinstance(value, (tuple, list)):
        return type(value)(_renamed(each, places) for each in value)
    return value
