"""Gradients in one row of memory, summed over the processes piece by piece while the backward pass goes on.

The parameters lie in the order in which the backward pass completes their gradients, so that what is complete is always
the beginning of the row. It is cut into buckets of equal size, whatever the sizes of the parameters are: a bucket is
sent when the row is filled up to its end. All processes send the same buckets in the same order.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .. import _memory as memory
from ..graph import Parameter, Training
from ..graph.nodes import JOINS, walk
from ._mpi import mpi

_ALIGNED = 64  # bytes: the optimisers read whole vectors
_LEAST = 1024  # bytes of a bucket: MPI slows down with thousands of messages on their way


class Place(NamedTuple):
    """A parameter's numbers in the row: from `start` to `end`."""

    name: str
    owner: Parameter
    start: int
    end: int


class Row:
    """The gradients of one dtype.

    Parameters
    ----------
    parameters : iterable of (str, Parameter, int)
        With the step of the backward pass, counted in its order, behind which the gradient is complete; in that order.
    dtype : dtype
    bucket_bytes : int
    """

    def __init__(self, parameters: Iterable[tuple[str, Parameter, int]], dtype: np.dtype, bucket_bytes: int) -> None:
        self.dtype = dtype
        step = _ALIGNED // dtype.itemsize
        self.places: list[Place] = []
        self.due: dict[int, list[Place]] = {}
        end = 0
        for name, owner, ready in parameters:
            place = Place(name, owner, end, end + owner.array.size)
            self.places.append(place)
            self.due.setdefault(ready, []).append(place)
            end = -(-place.end // step) * step
        self.size = end
        self.each = max(_LEAST, bucket_bytes) // dtype.itemsize
        self.numbers: Any = None
        self.sent = 0

    def begin(self) -> None:
        """A new row: the results of the one before are the caller's."""
        self.numbers, self.sent = memory.pooled((self.size,), self.dtype), 0

    def fill(self, place: Place) -> None:
        gradient, numbers = place.owner.gradient, self.numbers
        stop = -(-place.end * self.dtype.itemsize // _ALIGNED) * _ALIGNED // self.dtype.itemsize
        numbers[place.end : stop] = 0
        into = numbers[place.start : place.end]
        if gradient is None:
            into.fill(0)
        else:
            into.reshape(np.shape(gradient))[...] = gradient

    def full(self, end: int) -> Iterable[Any]:
        """The buckets that are full when the row is filled up to `end`, and not sent yet."""
        while self.sent < end and (end >= self.size or self.sent + self.each <= end):
            start, self.sent = self.sent, min(self.sent + self.each, self.size)
            yield self.numbers[start : self.sent]

    def result(self, place: Place) -> Any:
        array = place.owner.array
        found = self.numbers[place.start : place.end].reshape(array.shape)
        return found if array.dtype == self.dtype else found.astype(array.dtype)


class Buckets:
    """The sums of a network's gradients over all processes.

    Parameters
    ----------
    program : Training
        The network's passes.
    parameters : iterable of (str, Parameter)
        Those that are trained.
    comm : communicator
    bucket_bytes : int
        A bucket is sent as soon as it is full.
    """

    def __init__(
        self, program: Training, parameters: Iterable[tuple[str, Parameter]], comm: Any, bucket_bytes: int
    ) -> None:
        self._comm, self._in_place = comm, mpi().IN_PLACE
        parameters = list(parameters)
        self._names = [name for name, _ in parameters]
        self._steps = {id(step): i for i, step in enumerate(program.backward_steps)}
        self._last = len(self._steps)
        complete = _completed(program)
        ordered = sorted(
            ((name, owner, max(complete.get(id(layer), self._last) for layer, _ in owner.places))
             for name, owner in parameters),
            key=lambda entry: entry[2],
        )  # fmt: skip
        kinds: dict[np.dtype, list[Any]] = {}
        for entry in ordered:
            kinds.setdefault(_summed_as(entry[1].array.dtype), []).append(entry)
        self._rows = [Row(entries, dtype, bucket_bytes) for dtype, entries in sorted(kinds.items(), key=str)]
        self._open: deque[Any] = deque()

    def begin(self) -> None:
        if self._open:
            raise RuntimeError("the step before this one was interrupted: the processes no longer agree")
        for row in self._rows:
            row.begin()

    def after(self, step: Any) -> None:
        """Send what a step of the backward pass has completed, and let MPI go on with what was sent."""
        number = self._steps[id(step)]
        for row in self._rows:
            self._fill(row, number)
        if self._open and self._open[0].Test():  # a test of one request moves all of them on
            self._open.popleft()

    def _fill(self, row: Row, number: int) -> None:
        due = row.due.get(number)
        if due:
            for place in due:
                row.fill(place)
            self._send(row, due[-1].end)

    def _send(self, row: Row, end: int) -> None:
        if row.places and end == row.places[-1].end:
            end = row.size
        for bucket in row.full(end):
            self._open.append(self._comm.Iallreduce(self._in_place, bucket))

    def send_nothing(self) -> None:
        """Zeros in place of gradients: this process has no sample of the batch."""
        for row in self._rows:
            row.numbers.fill(0)
            self._send(row, row.size)

    def finish(self) -> dict[str, Any]:
        """Send what is left, and wait for all of it."""
        for row in self._rows:
            if row.sent < row.size:
                self._fill(row, self._last)
        while self._open:
            self._open.popleft().Wait()
        by_name = {place.name: row.result(place) for row in self._rows for place in row.places}
        found = {name: by_name[name] for name in self._names}
        for row in self._rows:
            row.numbers = None
        return found


def _summed_as(dtype: np.dtype) -> np.dtype:
    """MPI has no half precision."""
    return np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)


def _completed(program: Training) -> dict[int, int]:
    """For every layer by its id: the step of the backward pass behind which it has its gradients.

    Those of a layer that is used in several places are added up at the very end; they have no entry.
    """
    found: dict[int, list[int]] = {}
    for number, step in enumerate(program.backward_steps):
        for node in step.nodes:
            # The layers of a join's branches have nodes of their own; those of a container that runs as a whole do not.
            opaque = hasattr(node.layer, "children") and node.kind not in JOINS
            inside = (layer for _, layer, _ in walk(node.layer)) if opaque else ()
            for layer in {id(layer) for layer in (node.layer, *inside)}:
                found.setdefault(layer, []).append(number)
    return {layer: numbers[0] for layer, numbers in found.items() if len(numbers) == 1}
