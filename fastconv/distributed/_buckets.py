"""Gradients in one row of memory, summed over the processes piece by piece while the backward pass goes on.

The parameters lie in the order in which the backward pass completes their gradients, so that what is complete is always
the beginning of the row. It is cut into buckets of equal size, whatever the sizes of the parameters are: a bucket is
sent when the row is filled up to its end. Large gradients are not copied into the row but sent from where they are. All
processes send the same messages in the same order.
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
_LARGE = 1 << 17  # bytes from which a gradient is sent by itself: a copy costs more than another message
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

    def fill(self, place: Place, gradient: Any) -> None:
        numbers = self.numbers
        stop = -(-place.end * self.dtype.itemsize // _ALIGNED) * _ALIGNED // self.dtype.itemsize
        numbers[place.end : stop] = 0
        into = numbers[place.start : place.end]
        if gradient is None:
            into.fill(0)
        else:
            into.reshape(np.shape(gradient))[...] = gradient

    def full(self, last: Place) -> Iterable[Any]:
        """The buckets that are full when the row is filled up to a place, and not sent yet."""
        end = self.size if last is self.places[-1] else last.end
        while self.sent < end and (end >= self.size or self.sent + self.each <= end):
            start, self.sent = self.sent, min(self.sent + self.each, self.size)
            yield self.numbers[start : self.sent]

    def result(self, place: Place) -> Any:
        array = place.owner.array
        found = self.numbers[place.start : place.end].reshape(array.shape)
        return found if array.dtype == self.dtype else found.astype(array.dtype)


class Large:
    """A gradient that is sent by itself: where its layer made it, if nobody else has that array.

    Parameters
    ----------
    name : str
    owner : Parameter
    dtype : dtype
    bucket_bytes : int
    in_place : bool
        Whether the layer makes a new array every time.
    """

    def __init__(self, name: str, owner: Parameter, dtype: np.dtype, bucket_bytes: int, in_place: bool) -> None:
        self.name, self.owner, self.dtype, self._in_place = name, owner, dtype, in_place
        self.size = owner.array.size
        self._each = max(_LEAST, bucket_bytes) // dtype.itemsize
        self.numbers: Any = None

    def take(self, gradient: Any) -> Iterable[Any]:
        """The parts of a gradient, to be summed in place; of zeros, if it is None."""
        numbers = gradient
        if not (
            self._in_place and type(numbers) is np.ndarray and numbers.dtype == self.dtype and numbers.flags.carray
        ):
            numbers = memory.pooled((self.size,), self.dtype)
            numbers[:] = 0 if gradient is None else np.reshape(gradient, -1)
        self.numbers = numbers.reshape(-1)
        return (self.numbers[start : start + self._each] for start in range(0, self.size, self._each))

    def result(self) -> Any:
        array = self.owner.array
        found = self.numbers.reshape(array.shape)
        self.numbers = None
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
        A bucket is sent as soon as it is full, a gradient of such a size by itself and in pieces.
    """

    def __init__(
        self, program: Training, parameters: Iterable[tuple[str, Parameter]], comm: Any, bucket_bytes: int
    ) -> None:
        self._comm, self._in_place = comm, mpi().IN_PLACE
        self._owners = dict(parameters)
        self._numbers = {id(step): number for number, step in enumerate(program.backward_steps)}
        self._last = len(self._numbers)
        complete, fresh = _completed(program), _fresh(program)
        self._large: dict[int, list[Large]] = {}
        small: dict[np.dtype, list[Any]] = {}
        for name, owner in self._owners.items():
            ready = max(complete.get(id(layer), self._last) for layer, _ in owner.places)
            dtype = _summed_as(owner.array.dtype)
            if owner.array.size * dtype.itemsize >= min(bucket_bytes, _LARGE):
                in_place = len(owner.places) == 1 and id(owner.places[0][0]) in fresh
                self._large.setdefault(ready, []).append(Large(name, owner, dtype, bucket_bytes, in_place))
            else:
                small.setdefault(dtype, []).append((name, owner, ready))
        self._rows = [
            Row(sorted(entries, key=lambda entry: entry[2]), dtype, bucket_bytes)
            for dtype, entries in sorted(small.items(), key=str)
        ]
        self._open: deque[Any] = deque()

    def begin(self) -> None:
        if self._open:
            raise RuntimeError("the step before this one was interrupted: the processes no longer agree")
        for row in self._rows:
            row.begin()

    def after(self, step: Any) -> None:
        """Send what a step of the backward pass has completed, and let MPI go on with what was sent."""
        self._complete(self._numbers[id(step)])
        if self._open and self._open[0].Test():  # a test of one request moves all of them on
            self._open.popleft()

    def _complete(self, number: int, present: bool = True) -> None:
        """Send the gradients that are complete behind a step; zeros, if they are not present."""
        for large in self._large.get(number, ()):
            for bucket in large.take(large.owner.gradient if present else None):
                self._send(bucket)
        for row in self._rows:
            due = row.due.get(number)
            if due:
                for place in due:
                    row.fill(place, place.owner.gradient if present else None)
                for bucket in row.full(due[-1]):
                    self._send(bucket)

    def _send(self, bucket: Any) -> None:
        self._open.append(self._comm.Iallreduce(self._in_place, bucket))

    def send_nothing(self) -> None:
        """Zeros in place of gradients: this process has no sample of the batch."""
        for number in range(self._last + 1):
            self._complete(number, present=False)

    def finish(self, present: bool = True) -> dict[str, Any]:
        """Send what is left, and wait for all of it: the sums by name, which the layers have, too."""
        if present:
            self._complete(self._last)
        while self._open:
            self._open.popleft().Wait()
        found = {large.name: large.result() for each in self._large.values() for large in each}
        for row in self._rows:
            found.update((place.name, row.result(place)) for place in row.places)
            row.numbers = None
        for name, owner in self._owners.items():
            if len(owner.places) == 1:
                layer, attribute = owner.places[0]
                setattr(layer, f"d{attribute}", found[name])
        return {name: found[name] for name in self._owners}


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


def _fresh(program: Training) -> set[int]:
    """The ids of layers whose gradients are new arrays in every pass, which nobody else keeps."""
    return {
        id(node.layer) for step in program.backward_steps for node in step.nodes if node.kind in ("conv2d", "affine")
    }
