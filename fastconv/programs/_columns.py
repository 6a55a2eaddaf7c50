"""im2col and col2im of programs, in the layouts and spellings that people use.

Which layout a function has is found by asking it: candidates are compared one after the other. Then it is asked whether
it takes sizes as tuples, and windows that do not fit evenly; what has not proven equal stays the program's own.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from .. import ops
from ._arrays import double, floats
from ._candidates import LEFT_TO_OWN, Verdict
from ._proof import NotTaken, Step, first_difference
from ._purity import impure
from ._spelling import GEOMETRY, SHAPE, Spelling, fits, geometry, spelling
from ._trials import DOUBLE, SINGLE, wave


@dataclass(frozen=True)
class Layout:
    """One of the shapes that columns have in programs.

    Attributes
    ----------
    rank : int
        Of the images: 4 with a batch, 3 for one image, 2 for one plane.
    name : str
        That of fastconv's im2col.
    last : bool
        Whether the images' channels come last, and fastconv's do not.
    axes : bool
        Whether the axes are not merged: (N, C, FH, FW, OH, OW), or (C, FH, FW, N, OH, OW).
    """

    rank: int
    name: str
    last: bool = False
    axes: bool = False

    def images(self, x: Any) -> Any:
        """The program's images as fastconv takes them."""
        x = x.reshape((1,) * (4 - self.rank) + x.shape)
        return x.transpose(0, 3, 1, 2) if self.last else x

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the program's images as that of fastconv's."""
        shape = (1,) * (4 - self.rank) + shape
        return (shape[0], shape[3], shape[1], shape[2]) if self.last else shape

    def extents(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[-3:-1] if self.last or self.name == "rows_nhwc" else shape[-2:]


LAYOUTS = (
    Layout(4, "rows"),
    Layout(4, "columns_n_last"),
    Layout(4, "columns"),
    Layout(4, "unfold"),
    Layout(4, "unfold", axes=True),
    Layout(4, "columns", axes=True),
    Layout(4, "rows_nhwc"),
    Layout(4, "rows", last=True),
    Layout(4, "columns", last=True),
    Layout(3, "rows"),
    Layout(3, "columns"),
    Layout(3, "rows_nhwc"),
    Layout(2, "rows"),
    Layout(2, "columns"),
)
WAYS = 4  # tuples or not, uneven windows or not


def im2col(layout: Layout, keeps_type: bool, tuples: bool, rounds: bool) -> Callable[..., Any]:
    def ours(**values: Any) -> Any:
        x = floats(values["images"], layout.rank)
        window = geometry(values, tuples)
        fits(layout.extents(x.shape), *window, rounds)
        if not x.size:
            raise NotTaken("there is no image")
        (FH, FW), stride, padding = window
        x = layout.images(double(x, not keeps_type))
        col = ops.im2col(x, FH, FW, stride, padding, layout=layout.name)
        return col.reshape(_axes(x.shape, *window, layout.name)) if layout.axes else col

    return ours


def _axes(shape: Any, kernel: Any, stride: Any, padding: Any, name: str) -> tuple[int, ...]:
    N, C, *extents = shape
    windows = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(extents, kernel, stride, padding, strict=True)]
    return (N, C, *kernel, *windows) if name == "unfold" else (C, *kernel, N, *windows)


def col2im(layout: Layout, keeps_type: bool, tuples: bool, rounds: bool) -> Callable[..., Any]:
    def ours(**values: Any) -> Any:
        col, shape = floats(values["columns"], 0), values["shape"]
        if type(shape) is not tuple or len(shape) != layout.rank or any(type(n) is not int for n in shape):
            raise NotTaken("the shape is no tuple of ints")
        window = geometry(values, tuples)
        fits(layout.extents(shape), *window, rounds)
        (FH, FW), stride, padding = window
        images = layout.shape(shape)
        if layout.axes:
            if col.shape != _axes(images, *window, layout.name):
                raise NotTaken("the columns have another shape")
            taps = images[1] * FH * FW
            col = col.reshape((images[0], taps, -1) if layout.name == "unfold" else (taps, -1))
        x = ops.col2im(double(col, not keeps_type), images, FH, FW, stride, padding, layout=layout.name)
        return (x.transpose(0, 2, 3, 1) if layout.last else x).reshape(shape)

    return ours


@dataclass(frozen=True)
class Geometry:
    """What a trial asks for: each (kernel, stride, padding)."""

    windows: tuple[tuple[Any, Any, Any], ...]

    def calls(self, roles: tuple[str | None, ...]) -> Iterator[dict[str, Any]]:
        """By role, without what the function cannot be told."""
        for (height, width), stride, pad in self.windows:
            square = height if height == width else (height, width)
            rest = {"stride": stride if "stride" in roles else 1, "pad": pad if "pad" in roles else 0}
            yield ({"kernel": square} if "kernel" in roles else {"height": height, "width": width}) | rest


RECTANGLES = Geometry((((2, 3), 1, 0), ((3, 2), 2, 1)))
SQUARES = Geometry((((2, 2), 1, 0), ((3, 3), 1, 1), ((1, 1), 2, 0)))
UNEVEN = Geometry((((2, 2), 2, 0), ((3, 3), 3, 1)))
TUPLES = Geometry((((2, 3), (1, 2), (0, 1)), ((3, 2), (2, 1), (1, 0))))


def _even(extent: int, k: int, s: int, p: int) -> int:
    return extent - (extent + 2 * p - k) % s


class Columns:
    """Candidate for a function named like im2col or col2im.

    Attributes
    ----------
    back : bool
        Whether it is col2im.
    known : frozenset of str
        Names that its code may use (`_purity.impure`).
    variants : range
        Layouts, whether float32 is kept, and what sizes are taken.
    """

    variants = range(len(LAYOUTS) * 2 * WAYS)

    def __init__(self, back: bool, known: frozenset[str] = frozenset()) -> None:
        self.back, self.known = back, known

    def prove(self, theirs: Any) -> Verdict:
        if not isinstance(theirs, FunctionType):
            return Verdict("left", "it is no plain function")
        spelt = self._spelling(theirs)
        why = spelt if isinstance(spelt, str) else impure(theirs, self.known)
        if why or isinstance(spelt, str):
            return Verdict("left", why)
        call, differences = spelt.caller(theirs), []
        rectangles = "height" in spelt.roles
        for variant in range(0, len(self.variants), WAYS):
            layout = LAYOUTS[variant // (2 * WAYS)]
            difference = first_difference(
                self._trial(layout, RECTANGLES if rectangles else SQUARES, spelt), call, self._ours(variant)
            )
            if difference is None:
                tuples = first_difference(self._trial(layout, TUPLES, spelt), call, self._ours(variant + 1)) is None
                uneven = first_difference(self._trial(layout, UNEVEN, spelt), call, self._ours(variant + 2)) is None
                return Verdict("replaced", "", variant + tuples + 2 * uneven)
            differences.append(difference)
        return Verdict("left", max(differences, key=lambda d: d.steps).why)

    def put(self, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
        own = namespace[name]
        namespace[name] = fast = self.fast(own, variant)

        def undo() -> None:
            if namespace.get(name) is fast:
                namespace[name] = own

        return undo

    def fast(self, own: FunctionType, variant: int) -> Callable[..., Any]:
        """fastconv's function under the parameters of the program's."""
        spelt = self._spelling(own)
        assert isinstance(spelt, Spelling)
        return spelled(own, spelt, self._ours(variant))

    def _spelling(self, theirs: FunctionType) -> Spelling | str:
        if self.back:
            found = spelling(theirs, {"shape": SHAPE, **GEOMETRY}, "columns")
            if not isinstance(found, str) and "shape" not in found.roles:
                return f"its parameters ({', '.join(found.names)}) do not say how large the images are"
            return found
        return spelling(theirs, GEOMETRY, "images")

    def _ours(self, variant: int) -> Callable[..., Any]:
        make = col2im if self.back else im2col
        which, way = divmod(variant, WAYS)
        return make(LAYOUTS[which // 2], which % 2 == 0, bool(way & 1), bool(way & 2))

    def _trial(self, layout: Layout, asked: Geometry, spelt: Spelling) -> Any:
        def trial(function: Any) -> Iterator[Step | str]:
            for dtype in (DOUBLE, SINGLE):
                for values in asked.calls(spelt.roles):
                    yield from _step(function, layout, dtype, values, asked is UNEVEN, self.back)

        return trial


def _step(
    function: Any, layout: Layout, dtype: Any, values: dict[str, Any], uneven: bool, back: bool
) -> Iterator[Step | str]:
    window = geometry(values, True)
    extents = [5, 7]
    if uneven:
        if all((n + 2 * p - k) % s == 0 for n, k, s, p in zip(extents, *window, strict=True)):
            return  # nothing can be uneven
    else:
        extents = [_even(n, *sizes) for n, *sizes in zip(extents, *window, strict=True)]
    channels_last = layout.last or layout.name == "rows_nhwc"
    shape = {4: (2, 3, *extents), 3: (3, *extents), 2: tuple(extents)}[layout.rank]
    if channels_last:
        shape = (*shape[:-3], *shape[-2:], shape[-3])
    what = f"windows of {window[0]}, stride {values['stride']}, padding {values['pad']}, {np.dtype(dtype)}"
    if back:
        (FH, FW), stride, padding = window
        images = layout.shape(shape)
        blank = np.zeros(shape, dtype) if layout.name == "rows_nhwc" else np.zeros(images, dtype)
        col = ops.im2col(
            blank.reshape((1,) * (4 - blank.ndim) + blank.shape), FH, FW, stride, padding, layout=layout.name
        )
        col = wave(_axes(images, *window, layout.name) if layout.axes else col.shape, dtype)
        given = col.copy()
        yield what
        yield Step(what, function(columns=given, shape=shape, **values), single=dtype is SINGLE)
        yield Step("the argument behind it", given)
    else:
        x = wave(shape, dtype)
        yield what
        yield Step(what, function(images=x, **values))
        yield Step("the argument behind it", x)


def spelled(own: FunctionType, spelt: Spelling, ours: Callable[..., Any]) -> Callable[..., Any]:
    """fastconv's function, called as the program calls its own, which stands behind it."""

    @functools.wraps(own)
    def fast(*args: Any, **kwargs: Any) -> Any:
        try:
            return ours(**spelt.bind(args, kwargs))
        except LEFT_TO_OWN:
            pass
        return own(*args, **kwargs)

    return fast
