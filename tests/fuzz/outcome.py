"""What a call did, as plain data, and how two such outcomes are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Packed = Any  # an array as (dtype, shape, bytes), anything else as its type and repr


@dataclass
class Outcome:
    """The result or the refusal of a call, and what it left behind."""

    refusal: str = ""
    result: tuple[Packed, ...] = ()
    written: tuple[Packed, ...] = ()
    faults: tuple[str, ...] = ()  # of the call by itself: an input changed, a result in an input's memory, ...


def pack(value: Any, given: bool = False) -> Packed:
    """`given`: an array of the user's, whose order of memory says nothing about the call."""
    if isinstance(value, np.ndarray):
        kind = "" if type(value) is np.ndarray else type(value).__name__
        order = "C" if value.flags.c_contiguous or given else ""
        held = repr(value.tolist()) if value.dtype.hasobject else value.tobytes()
        return value.dtype.str, value.shape, held, f"{kind}{order}"
    return type(value).__name__, repr(value)


def flat(value: Any) -> tuple[Any, ...]:
    """The arrays and numbers of a result, in order."""
    if isinstance(value, (tuple, list)):
        return tuple(each for part in value for each in flat(part))
    if isinstance(value, dict):
        return tuple(each for key in sorted(value) for each in (key, *flat(value[key])))
    if hasattr(value, "inv_std"):  # batch_norm's cache
        return (value.mean, value.inv_std)
    return (value,)


def difference(seen: Outcome, expected: Outcome, exact: bool) -> str:
    """What is different, in a sentence, or ""."""
    if seen.faults:
        return "; ".join(seen.faults)
    if seen.refusal != expected.refusal:
        return f"seen {seen.refusal or 'a result'}, expected {expected.refusal or 'a result'}"
    for what, left, right in (("result", seen.result, expected.result), ("written", seen.written, expected.written)):
        if len(left) != len(right):
            return f"{what}: {len(left)} parts seen, {len(right)} expected"
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            if a != b and (why := _compare(a, b, exact)):
                return f"{what}[{i}]: {why}"
    return ""


def _compare(a: Packed, b: Packed, exact: bool) -> str:
    if len(a) != 4 or len(b) != 4:
        numbers = [float(p[1].removeprefix("np.float64(").rstrip(")")) for p in (a, b) if p[0] in ("float", "float64")]
        if not exact and len(numbers) == 2 and np.isclose(*numbers, rtol=1e-4, atol=1e-5, equal_nan=True):
            return ""
        return f"{a[:2]} seen, {b[:2]} expected"
    if (a[0], a[1], a[3]) != (b[0], b[1], b[3]):
        return f"{a[0]} {a[1]} {a[3]!r} seen, {b[0]} {b[1]} {b[3]!r} expected"
    if isinstance(a[2], str):
        return f"{a[2]} seen, {b[2]} expected"
    x, y = (np.frombuffer(p[2], p[0]).reshape(p[1]) for p in (a, b))
    if x.dtype.kind != "f":
        return f"{x.ravel()[:8]} seen, {y.ravel()[:8]} expected"
    if x.dtype.itemsize > 8 and np.array_equal(x, y, equal_nan=True):
        return ""  # a long double is padded with chance values
    x, y = x.astype(float), y.astype(float)
    with np.errstate(all="ignore"):
        scale = np.max(np.abs(y), initial=0, where=np.isfinite(y)) or 1.0
        worst = np.max(np.abs(x - y), initial=0, where=np.isfinite(x) & np.isfinite(y)) / scale
    unlike = (
        not np.array_equal(np.isfinite(x), np.isfinite(y))
        or worst > {"1": 0.0, "2": 2e-3, "4": 1e-4, "8": 1e-9, "16": 1e-9}[a[0][2:]]
    )
    if exact or unlike:
        how = "" if unlike else " (rounding alone)"
        return f"{x.ravel()[:6]} seen, {y.ravel()[:6]} expected: off by {worst:.1e} of the largest{how}"
    return ""
