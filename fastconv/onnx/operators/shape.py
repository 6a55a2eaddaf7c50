"""Operators that move numbers or change shapes, and compute none."""

import math
from typing import Any

import numpy as np

from ... import _memory as memory
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array

SMALL = 4096
"""Results of more numbers lie in the library's own buffers, whose pages are there already."""


def numbers(a: Any) -> tuple[int, ...]:
    """A tensor of ints as a tuple."""
    return tuple(int(n) for n in np.asarray(a).reshape(-1))


def axes_of(a: Any, since: int, name: str = "axes") -> Any:
    """Axes that are an attribute before an opset, and an input from it on: a function of that input."""
    if a.opset >= since:
        return lambda given: None if given is None else numbers(given)
    axes = a.ints(name)
    return lambda given: axes


def positive(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises
    ------
    ValueError
        If there is no such axis.
    """
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} does not fit {rank} axes")
    return axis + rank if axis < 0 else axis


@operator("Identity")
def identity(a: Any) -> Run:
    return lambda x: x


@operator("Dropout", inputs=(1, 3), outputs=2)
def dropout(a: Any) -> Run:
    a.ignored("ratio", "seed", "is_test")

    def run(x: Array, ratio: Any = None, training: Any = None) -> Any:
        if training is not None and bool(np.all(training)) and (ratio is None or float(ratio) != 0):
            raise ValueError("dropout in training draws random numbers, which is not supported")
        return (x, np.ones(x.shape, bool)) if a.outputs > 1 else x

    return run


@operator("Reshape", inputs=2)
def reshape(a: Any) -> Run:
    keeps_zero = a.flag("allowzero") if a.opset >= 14 else False

    def run(x: Array, shape: Array) -> Array:
        wanted = numbers(shape)
        if not keeps_zero:
            if any(n == 0 and i >= x.ndim for i, n in enumerate(wanted)):
                raise ValueError(f"shape {list(wanted)} copies an axis that {x.shape} does not have")
            wanted = tuple(x.shape[i] if n == 0 else n for i, n in enumerate(wanted))
        return x.reshape(wanted)

    return run


@operator("Flatten")
def flatten(a: Any) -> Run:
    axis = a.int("axis", 1)

    def run(x: Array) -> Array:
        if not -x.ndim <= axis <= x.ndim:
            raise ValueError(f"axis {axis} does not fit shape {x.shape}")
        first = axis + x.ndim if axis < 0 else axis
        return x.reshape(math.prod(x.shape[:first]), math.prod(x.shape[first:]))

    run.axis = axis  # type: ignore[attr-defined]
    return run


@operator("Transpose")
def transpose(a: Any) -> Run:
    order = a.ints("perm")
    return lambda x: x.transpose(order)


@operator("Squeeze", inputs=(1, 2))
def squeeze(a: Any) -> Run:
    axes_given = axes_of(a, 13)

    def run(x: Array, axes: Any = None) -> Array:
        chosen = axes_given(axes)
        return x.squeeze() if chosen is None else x.squeeze(chosen)

    return run


@operator("Unsqueeze", inputs=(1, 2))
def unsqueeze(a: Any) -> Run:
    axes_given = axes_of(a, 13)

    def run(x: Array, axes: Any = None) -> Array:
        chosen = axes_given(axes)
        if chosen is None:
            raise ValueError("axes are missing")
        return np.expand_dims(x, chosen)

    return run


@operator("Expand", inputs=2)
def expand(a: Any) -> Run:
    return lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, numbers(shape)))


@operator("Tile", inputs=2)
def tile(a: Any) -> Run:
    return lambda x, repeats: np.tile(x, numbers(repeats))


@operator("Shape")
def shape(a: Any) -> Run:
    start, end = a.int("start", 0), a.int("end")
    return lambda x: np.array(x.shape[slice(start, end)], np.int64)


@operator("Size")
def size(a: Any) -> Run:
    return lambda x: np.array(x.size, np.int64)


@operator("Concat", inputs=(1, 1 << 30))
def concat(a: Any) -> Run:
    axis = a.int("axis")
    if axis is None:
        raise Unsupported("attribute axis is missing")

    def run(*arrays: Array) -> Array:
        first, along = arrays[0], positive(axis, arrays[0].ndim)
        if first.size < SMALL or any(a.dtype != first.dtype or a.ndim != first.ndim for a in arrays):
            return np.concatenate(arrays, axis=along)
        total = sum(a.shape[along] for a in arrays)
        out = memory.pooled((*first.shape[:along], total, *first.shape[along + 1 :]), first.dtype)
        return np.concatenate(arrays, axis=along, out=out)

    run.axis = axis  # type: ignore[attr-defined]
    return run


@operator("Split", inputs=(1, 2), outputs=1 << 30)
def split(a: Any) -> Run:
    axis, parts_given, count = a.int("axis", 0), axes_of(a, 13, "split"), a.outputs
    if a.opset >= 18:
        a.ignored("num_outputs")  # as many as the node has

    def run(x: Array, parts: Any = None) -> Any:
        along, sizes = positive(axis, x.ndim), parts_given(parts)
        total = x.shape[along]
        if sizes is None:
            most = -(-total // count)
            sizes = tuple(max(min(most, total - most * i), 0) for i in range(count))
        if sum(sizes) != total or len(sizes) != count or min(sizes) < 0:
            raise ValueError(f"{count} parts of {list(sizes)} do not make {total}")
        cuts = np.cumsum(sizes)[:-1]
        return tuple(np.split(x, cuts, axis=along))

    return run


@operator("Slice", inputs=(1, 5))
def slice_(a: Any) -> Run:
    if a.opset < 10:
        given = a.ints("starts"), a.ints("ends"), a.ints("axes")
        if None in given[:2]:
            raise Unsupported("attributes starts and ends are missing")

        def index_old(x: Array) -> tuple[slice, ...]:
            return _index(x, *given, None)

        return _slicing(index_old)

    def index(x: Array, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> tuple[slice, ...]:
        return _index(
            x, numbers(starts), numbers(ends), None if axes is None else numbers(axes),
            None if steps is None else numbers(steps),
        )  # fmt: skip

    return _slicing(index)


def _slicing(index: Any) -> Run:
    """The part of an array that a function of it and the other inputs says."""

    def run(x: Array, *others: Any) -> Array:
        return x[index(x, *others)]

    run.index = index  # type: ignore[attr-defined]
    return run


def _index(x: Array, starts: Any, ends: Any, axes: Any, steps: Any) -> tuple[slice, ...]:
    axes = range(len(starts)) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} differ in length")
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise ValueError("steps: must not be 0")
        along = positive(axis, x.ndim)
        n = x.shape[along]
        end = end + n if end < 0 else end
        start = start + n if start < 0 else start
        if step < 0:
            start, end = min(max(start, 0), n - 1), max(end, -1)
            index[along] = slice(start, None if end < 0 else end, step)
        else:
            index[along] = slice(max(start, 0), max(end, 0), step)
    return tuple(index)


@operator("Pad", inputs=(1, 4))
def pad(a: Any) -> Run:
    mode = a.text("mode", "constant", ("constant", "reflect", "edge", "wrap"))
    if a.opset < 11:
        pads, value = a.ints("pads"), a.float("value", 0.0)
        if pads is None:
            raise Unsupported("attribute pads is missing")
        run = lambda x: padded(x, pads, value, None, mode)  # noqa: E731
        return run

    def run_given(x: Array, given: Array, fill: Any = None, axes: Any = None) -> Array:
        return padded(x, numbers(given), 0 if fill is None else fill, None if axes is None else numbers(axes), mode)

    return run_given


def frame_of(x: Array, pads: tuple[int, ...], axes: Any) -> list[tuple[int, int]]:
    """Numbers in front and behind along each axis, less than 0 where they are cut off.

    Raises
    ------
    ValueError
        If these are not two for each axis.
    """
    axes = range(x.ndim) if axes is None else axes
    if len(pads) != 2 * len(axes):
        raise ValueError(f"pads {list(pads)} are not two for each of {len(axes)} axes")
    frame = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        frame[positive(axis, x.ndim)] = pads[i], pads[i + len(axes)]
    return frame


def padded(x: Array, pads: tuple[int, ...], fill: Any, axes: Any, mode: str) -> Array:
    frame = frame_of(x, pads, axes)
    if any(min(sides) < 0 for sides in frame):
        x = x[tuple(slice(max(-f, 0), n - max(-b, 0)) for n, (f, b) in zip(x.shape, frame, strict=True))]
        frame = [(max(f, 0), max(b, 0)) for f, b in frame]
    if math.prod(n + f + b for n, (f, b) in zip(x.shape, frame, strict=True)) > 1 << 40:
        raise ValueError(f"pads {list(pads)} are too large")
    if mode == "constant":
        return np.pad(x, frame, constant_values=np.asarray(fill, x.dtype).reshape(()))
    return np.pad(x, frame, mode=mode)  # type: ignore[call-overload]


@operator("DepthToSpace")
def depth_to_space(a: Any) -> Run:
    block, mode = _block(a), a.text("mode", "DCR", ("DCR", "CRD"))

    def run(x: Array) -> Array:
        n, c, h, w = x.shape
        if mode == "DCR":
            y = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        return y.reshape(n, c // block**2, h * block, w * block)

    return run


@operator("SpaceToDepth")
def space_to_depth(a: Any) -> Run:
    block = _block(a)

    mode = a.text("mode", "DCR", ("DCR", "CRD"))

    def run(x: Array) -> Array:
        n, c, h, w = x.shape
        y = x.reshape(n, c, h // block, block, w // block, block)
        y = y.transpose(0, 3, 5, 1, 2, 4) if mode == "DCR" else y.transpose(0, 1, 3, 5, 2, 4)
        return y.reshape(n, c * block**2, h // block, w // block)

    return run


def _block(a: Any) -> int:
    block = a.int("blocksize")
    if not block or block < 1:
        raise Unsupported(f"attribute blocksize is {block}, expected a positive int")
    return block
