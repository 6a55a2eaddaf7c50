"""Concatenations without copies: what is concatenated is written where it will lie.

That is possible where each part is dense inside of the whole: where all axes before the one of the concatenation are of
size one, as the batch is for a single image. A concatenation that begins with another one shares its memory.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _memory as memory

Array = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Instruction:
    """A call of a plan.

    Attributes
    ----------
    run : callable
    inputs, outputs : tuple of str
        Values that it takes and gives.
    shape, dtype
        Of its first result.
    into : callable or None
        The same with the array for its result in front of its arguments.
    axis : int or None
        That of a concatenation.
    """

    run: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, ...] = ()
    dtype: Any = None
    into: Callable[..., Any] | None = None
    axis: int | None = None


@dataclass(slots=True)
class _Place:
    """Where a value lies: in which buffer, and from where on along its axis."""

    buffer: str
    axis: int
    start: int


def placed(
    instructions: list[Instruction], shapes: dict[str, tuple[int, ...]], kept: Collection[str]
) -> list[Instruction]:
    """The instructions with concatenations in place.

    Parameters
    ----------
    instructions : list of Instruction
    shapes : dict
        Those of the values.
    kept : collection of str
        Values that must be arrays of their own: those that come from outside or go there.
    """
    maker = {i.outputs[0]: i for i in instructions if len(i.outputs) == 1}
    places: dict[str, _Place] = {}
    buffers: dict[str, tuple[tuple[int, ...], Any]] = {}
    copies: dict[str, list[tuple[int, int, int]]] = {}  # of a concatenation: which input, from where to where
    for join in reversed(instructions):
        if join.axis is None or any(n != 1 for n in join.shape[: join.axis]) or 0 in join.shape:
            continue
        output, axis = join.outputs[0], join.axis
        place = places.get(output)
        if place is None:
            place = places[output] = _Place(f"buffer {len(buffers)}", axis, 0)
            buffers[place.buffer] = join.shape, join.dtype
        at, copies[output] = place.start, []
        for number, value in enumerate(join.inputs):
            made, size = maker.get(value), shapes[value][axis]
            if made is None or value in kept or value in places or not _fits(made, join):
                copies[output].append((number, at, at + size))
            else:
                places[value] = _Place(place.buffer, axis, at)
            at += size
    return _rewritten(instructions, places, buffers, copies) if buffers else instructions


def _fits(made: Instruction, join: Instruction) -> bool:
    able = made.into is not None if made.axis is None else made.axis == join.axis
    return able and made.dtype == join.dtype and len(made.shape) == len(join.shape)


def _rewritten(
    instructions: list[Instruction],
    places: dict[str, _Place],
    buffers: dict[str, tuple[tuple[int, ...], Any]],
    copies: dict[str, list[tuple[int, int, int]]],
) -> list[Instruction]:
    result: list[Instruction] = []
    there: set[str] = set()
    for one in instructions:
        place = places.get(one.outputs[0]) if len(one.outputs) == 1 else None
        if place is None:
            result.append(one)
            continue
        if place.buffer not in there:
            there.add(place.buffer)
            result.append(Instruction(_Buffer(*buffers[place.buffer]), (), (place.buffer,)))
        part = _part(place.axis, place.start, place.start + one.shape[place.axis])
        if one.axis is None:
            run: Any = _Into(one.into, part)
            inputs = one.inputs
        else:
            left = copies[one.outputs[0]]
            run = _Joined(part, [_part(place.axis, start, end) for _, start, end in left])
            inputs = tuple(one.inputs[number] for number, _, _ in left)
        result.append(Instruction(run, (place.buffer, *inputs), one.outputs, one.shape, one.dtype))
    return result


def _part(axis: int, start: int, end: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(start, end),)


class _Buffer:
    """Memory for a concatenation."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self._shape, self._dtype = shape, dtype

    def __call__(self) -> Array:
        return memory.pooled(self._shape, self._dtype)


class _Into:
    """A call that writes into a part of a buffer."""

    def __init__(self, into: Any, part: tuple[slice, ...]) -> None:
        self._into, self._part = into, part

    def __call__(self, buffer: Array, *arrays: Array) -> Array:
        out = buffer[self._part]
        self._into(out, *arrays)
        return out


class _Joined:
    """A concatenation of which some parts are in their places; the others are copied there."""

    def __init__(self, whole: tuple[slice, ...], parts: list[tuple[slice, ...]]) -> None:
        self._whole, self._parts = whole, parts

    def __call__(self, buffer: Array, *arrays: Array) -> Array:
        for part, array in zip(self._parts, arrays, strict=True):
            np.copyto(buffer[part], array)
        return buffer[self._whole]
