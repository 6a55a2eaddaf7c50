"""How a program spells a function: which of its parameters is the height of the window, which the stride, and so on.

Parameters are told by their names, without case and underscores. One that is not known must have a default, and is
taken at that default alone.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ._proof import NotTaken

_STEMS = ("filter", "field", "kernel", "window", "pool", "f", "k", "w", "fil", "ker", "kern", "filt")
_SIDES = {
    "height": {f"{stem}{end}" for stem in _STEMS for end in ("h", "height", "rows")}
    | {f"{start}{stem}" for stem in _STEMS for start in ("h", "height")}
    | {"hh", "height"},
    "width": {f"{stem}{end}" for stem in _STEMS for end in ("w", "width", "cols")}
    | {f"{start}{stem}" for stem in _STEMS for start in ("w", "width")}
    | {"ww", "width"},
}
GEOMETRY: Mapping[str, set[str]] = {
    **_SIDES,
    "kernel": {
        *("k", "f", "ksize", "kernelsize", "filtersize", "fsize", "windowsize", "poolsize", "poolingsize", "size"),
        *("kernelshape", "filtershape", "poolshape", "kernel", "window", "fieldsize", "patchsize", "pool"),
    },
    "stride": {"stride", "strides", "s", "step", "poolstride"},
    "pad": {"pad", "padding", "p", "pads", "padsize", "paddingsize"},
}
SHAPE = {
    *("xshape", "inputshape", "imgshape", "imageshape", "imagesshape", "shape", "imshape", "outputshape"),
    *("originalshape", "aprevshape", "inputsize", "imagesize", "targetshape", "xdim", "datashape"),
}  # fmt: skip
EMPTY = inspect.Parameter.empty


@dataclass(frozen=True)
class Spelling:
    """The roles of a function's parameters, in their order; None for one that is not known."""

    names: tuple[str, ...]
    roles: tuple[str | None, ...]
    defaults: tuple[Any, ...]

    def caller(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, called with its roles as names; those that it does not have are left out."""
        at = dict(zip(self.roles, self.names, strict=True))

        def call(**values: Any) -> Any:
            return function(**{at[role]: value for role, value in values.items() if role in at})

        return call

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a call, by roles."""
        if len(args) > len(self.names):
            raise NotTaken("too many arguments")
        values, taken = {}, len(args)
        for i, (name, role) in enumerate(zip(self.names, self.roles, strict=True)):
            if i < len(args):
                value = args[i]
            elif name in kwargs:
                value, taken = kwargs[name], taken + 1
            else:
                value = self.defaults[i]
            if role is not None:
                values[role] = value
            elif value is not self.defaults[i] and not (
                isinstance(value, (bool, int, str))
                and type(value) is type(self.defaults[i])
                and value == self.defaults[i]
            ):
                raise NotTaken(f"{name} is not at its default")
        if taken != len(args) + len(kwargs) or any(value is EMPTY for value in values.values()):
            raise NotTaken("arguments that it does not have, or that are missing")
        return values


def spelling(theirs: FunctionType, roles: Mapping[str, set[str]], first: str, windows: bool = True) -> Spelling | str:
    """Tell the roles of the parameters, or say which parameter is not known.

    Parameters
    ----------
    theirs : function
    roles : dict
        Role -> names, without case and underscores. What stands first in the dict is preferred.
    first : str
        The role of the first parameter, whatever its name.
    windows : bool
        Whether parameters must say how large a window is.
    """
    found: list[str | None] = []
    parameters = list(inspect.signature(inspect.unwrap(theirs)).parameters.values())
    for i, p in enumerate(parameters):
        if p.kind is not p.POSITIONAL_OR_KEYWORD:
            return f"its parameter {p} is of an unusual kind"
        plain = p.name.replace("_", "").lower()
        role = first if i == 0 else next((r for r, names in roles.items() if plain in names and r not in found), None)
        if role is None and p.default is EMPTY:
            return f"its parameter {p.name} is not known"
        found.append(role)
    if windows and (("height" in found) != ("width" in found) or ("height" in found) == ("kernel" in found)):
        return "its parameters do not say how large a window is"
    return Spelling(tuple(p.name for p in parameters), tuple(found), tuple(p.default for p in parameters))


def pair(value: Any, tuples: bool) -> tuple[int, int]:
    """A size of two directions. tuples: whether it may be given as two."""
    if type(value) is int:
        return value, value
    if tuples and type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return value
    raise NotTaken("a size is no int")


def geometry(values: Mapping[str, Any], tuples: bool) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """(kernel, stride, padding) of a call."""
    if "kernel" in values:
        kernel = pair(values["kernel"], tuples)
    else:
        kernel = pair(values["height"], False)[0], pair(values["width"], False)[0]
    stride = pair(values.get("stride", 1), tuples)
    padding = pair(values.get("pad", 0), tuples)
    if min(*kernel, *stride) < 1 or min(padding) < 0:
        raise NotTaken("a size that fastconv leaves to the program")
    return kernel, stride, padding


def fits(extents: Any, kernel: Any, stride: Any, padding: Any, rounds: bool) -> None:
    """Refuse windows that do not fit. rounds: whether what is left over may be ignored."""
    for n, k, s, p in zip(extents, kernel, stride, padding, strict=True):
        if n + 2 * p < k or (not rounds and (n + 2 * p - k) % s):
            raise NotTaken("the windows do not fit evenly")
