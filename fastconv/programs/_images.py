"""Convolutions and max poolings of programs that are one function without a cache, in the spellings that people use."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from .. import ops
from ._arrays import double, floats
from ._candidates import Verdict
from ._columns import spelled
from ._proof import NotTaken, Step, first_difference
from ._purity import impure
from ._spelling import GEOMETRY, Spelling, fits, geometry, pair, spelling
from ._trials import DOUBLE, SINGLE, wave

FILTERS = {
    *("w", "weights", "weight", "kernel", "kernels", "filter", "filters", "k", "f", "wt", "filt", "ker", "mask", "h"),
}
BIAS = {"b", "bias", "biases"}


@dataclass(frozen=True)
class Form:
    """Of what shapes the arrays are.

    Attributes
    ----------
    rank : int
        Of the images: 4 with a batch, 3 for one image, 2 for one plane (whose filter is a plane too).
    last : bool
        Whether channels come last: images (N, H, W, C).
    filters : {"OIHW", "HWIO", "OHWI", "HW"}
    flips : bool
        A convolution in the strict sense: the filter is turned by 180 degrees.
    """

    rank: int
    last: bool = False
    filters: str = "OIHW"
    flips: bool = False

    def images(self, x: Any) -> Any:
        x = x.reshape((1,) * (4 - self.rank) + x.shape)
        return x.transpose(0, 3, 1, 2) if self.last else x

    def kernels(self, w: Any) -> Any:
        if self.filters == "HW":
            w = w[None, None]
        elif self.filters == "HWIO":
            w = w.transpose(3, 2, 0, 1)
        elif self.filters == "OHWI":
            w = w.transpose(0, 3, 1, 2)
        return w[:, :, ::-1, ::-1] if self.flips else w

    def result(self, y: Any) -> Any:
        if self.last:
            y = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
        return y.reshape(y.shape[4 - self.rank :])

    def shape(self, N: int, C: int, H: int, W: int) -> tuple[int, ...]:
        return ((N, H, W, C) if self.last else (N, C, H, W))[4 - self.rank :] if self.rank > 2 else (H, W)


FORMS = (
    Form(4),
    Form(4, last=True, filters="HWIO"),
    Form(4, last=True, filters="OHWI"),
    Form(3),
    Form(3, last=True, filters="HWIO"),
    Form(2, filters="HW"),
    Form(2, filters="HW", flips=True),
)
POOL_FORMS = (Form(4), Form(4, last=True), Form(3), Form(3, last=True), Form(2))


class Convolution:
    """Candidate for a function conv2d(images, filters[, bias], stride, padding)."""

    variants = range(len(FORMS) * 2 * 4)  # forms, whether float32 is kept, tuples, uneven windows

    def prove(self, theirs: Any) -> Verdict:
        return _prove(self, theirs, len(FORMS))

    def put(self, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
        return _put(self, namespace, name, variant)

    def spelling(self, theirs: FunctionType) -> Spelling | str:
        geometry = {role: GEOMETRY[role] for role in ("stride", "pad")}
        found = spelling(theirs, {"filters": FILTERS, "bias": BIAS, **geometry}, "images", windows=False)
        return (
            "it has no parameter for filters" if not isinstance(found, str) and "filters" not in found.roles else found
        )

    def ours(self, variant: int) -> Callable[..., Any]:
        which, way = divmod(variant, 4)
        form, keeps_type, tuples, rounds = FORMS[which // 2], which % 2 == 0, bool(way & 1), bool(way & 2)

        def ours(**values: Any) -> Any:
            x, w = floats(values["images"], form.rank), floats(values["filters"], 2 if form.rank == 2 else 4)
            if not x.size or not w.size or x.dtype != w.dtype:
                raise NotTaken("there is nothing to compute, or the arrays are of several types")
            x, w = form.images(double(x, not keeps_type)), form.kernels(double(w, not keeps_type))
            b = values.get("bias")
            if b is not None:
                b = double(floats(b, 1), not keeps_type)
                if b.dtype != x.dtype or b.shape != w.shape[:1]:
                    raise NotTaken("the bias has another shape or type")
            stride, padding = pair(values.get("stride", 1), tuples), pair(values.get("pad", 0), tuples)
            if min(stride) < 1 or min(padding) < 0 or x.shape[1] != w.shape[1]:
                raise NotTaken("sizes that fastconv leaves to the program")
            fits(x.shape[2:], w.shape[2:], stride, padding, rounds)
            return form.result(ops.conv2d(x, w, b, stride, padding))

        return ours

    def trial(self, which: int, asked: str, spelt: Spelling) -> Any:
        form = FORMS[which]

        def trial(function: Any) -> Iterator[Step | str]:
            for dtype in (DOUBLE, SINGLE):
                for kernel, stride, pad, extents in _asked(asked, spelt):
                    x = wave(form.shape(2, 3, *extents), dtype)
                    w = wave((4, 3, *kernel), dtype, 1)
                    if form.filters == "HW":
                        w = w[0, 0].copy()
                    elif form.filters != "OIHW":
                        w = np.ascontiguousarray(
                            w.transpose(*((2, 3, 1, 0) if form.filters == "HWIO" else (0, 2, 3, 1)))
                        )
                    values: dict[str, Any] = {"images": x, "filters": w, **_given(spelt, stride=stride, pad=pad)}
                    if "bias" in spelt.roles and form.rank > 2:
                        values["bias"] = wave(4, dtype, 2)
                    elif "bias" in spelt.roles:
                        values["bias"] = None
                    what = f"a filter of {kernel}, stride {stride}, padding {pad}, {np.dtype(dtype)}"
                    yield what
                    yield Step(what, function(**values), single=dtype is SINGLE)
                    yield Step("the arguments behind it", values)

        return trial


class MaxPooling:
    """Candidate for a function max_pool2d(images, size, stride)."""

    variants = range(len(POOL_FORMS) * 2 * 4)

    def prove(self, theirs: Any) -> Verdict:
        return _prove(self, theirs, len(POOL_FORMS))

    def put(self, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
        return _put(self, namespace, name, variant)

    def spelling(self, theirs: FunctionType) -> Spelling | str:
        return spelling(theirs, {role: names for role, names in GEOMETRY.items() if role != "pad"}, "images")

    def ours(self, variant: int) -> Callable[..., Any]:
        which, way = divmod(variant, 4)
        form, keeps_type, tuples, rounds = POOL_FORMS[which // 2], which % 2 == 0, bool(way & 1), bool(way & 2)

        def ours(**values: Any) -> Any:
            x = floats(values["images"], form.rank)
            if not x.size:
                raise NotTaken("there is nothing to compute")
            kernel, stride, _ = geometry(values, tuples)
            stride = stride if "stride" in values else kernel
            x = form.images(double(x, not keeps_type))
            fits(x.shape[2:], kernel, stride, (0, 0), rounds)
            return form.result(ops.max_pool2d(x, kernel, stride)[0])

        return ours

    def trial(self, which: int, asked: str, spelt: Spelling) -> Any:
        form = POOL_FORMS[which]

        def trial(function: Any) -> Iterator[Step | str]:
            for dtype in (DOUBLE, SINGLE):
                for kernel, stride, _, _ in _asked(asked, spelt):
                    if "kernel" not in spelt.roles:
                        size: dict[str, Any] = {"height": kernel[0], "width": kernel[1]}
                    elif asked == "tuples":
                        size = {"kernel": kernel}
                    else:
                        kernel = (kernel[0], kernel[0])
                        size = {"kernel": kernel[0]}
                    strides = kernel if "stride" not in spelt.roles else pair(stride, True)
                    rest = 1 if asked == "uneven" else 0
                    extents = [k + 2 * s + rest for k, s in zip(kernel, strides, strict=True)]
                    x = wave(form.shape(2, 3, *extents), dtype) - 3
                    x.flat[x.size // 2] = np.nan
                    what = f"windows of {kernel}, stride {stride}, {np.dtype(dtype)}"
                    yield what
                    yield Step(what, function(images=x, **size, **_given(spelt, stride=stride)))
                    yield Step("the argument behind it", x)

        return trial


def _given(spelt: Spelling, **values: Any) -> dict[str, Any]:
    return {role: value for role, value in values.items() if role in spelt.roles}


def _asked(asked: str, spelt: Spelling) -> Iterator[tuple[Any, Any, Any, Any]]:
    """(kernel, stride, padding, the images' extents), without what the function cannot be told."""
    strides, pads = "stride" in spelt.roles, "pad" in spelt.roles
    if asked == "even":
        cases: list[Any] = [((2, 3), 1, 0), ((3, 2), 2, 1), ((3, 3), 1, 1)]
    elif asked == "tuples":
        cases = [((2, 3), (1, 2), (0, 1)), ((3, 2), (2, 1), (1, 0))]
    else:
        cases = [((2, 2), 2, 0), ((3, 3), 3, 1)]
    for kernel, stride, pad in cases:
        stride, pad = stride if strides else 1, pad if pads else 0
        extents = [5, 7]
        if asked != "uneven":
            s, p = (v if isinstance(v, tuple) else (v, v) for v in (stride, pad))
            extents = [n - (n + 2 * p - k) % s for n, k, s, p in zip(extents, kernel, s, p, strict=True)]
        yield kernel, stride, pad, extents


def _prove(candidate: Any, theirs: Any, forms: int) -> Verdict:
    if not isinstance(theirs, FunctionType):
        return Verdict("left", "it is no plain function")
    spelt = candidate.spelling(theirs)
    if isinstance(spelt, str):
        return Verdict("left", spelt)
    why = impure(theirs)
    if why:
        return Verdict("left", why)
    call, differences = spelt.caller(theirs), []
    for form in range(forms):
        for variant in (8 * form, 8 * form + 4):
            difference = first_difference(candidate.trial(form, "even", spelt), call, candidate.ours(variant))
            if difference is None:
                for way, asked in ((1, "tuples"), (2, "uneven")):
                    trial = candidate.trial(form, asked, spelt)
                    variant += way * (first_difference(trial, call, candidate.ours(variant + way)) is None)
                return Verdict("replaced", "", variant)
            differences.append(difference)
    return Verdict("left", max(differences, key=lambda d: d.steps).why)


def _put(candidate: Any, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
    own = namespace[name]
    namespace[name] = fast = spelled(own, candidate.spelling(own), candidate.ours(variant))

    def undo() -> None:
        if namespace.get(name) is fast:
            namespace[name] = own

    return undo
