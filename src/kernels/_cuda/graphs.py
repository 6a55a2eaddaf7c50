"""Launches captured once in a CUDA graph and replayed, without Python between them.

A graph's launches keep the arguments and the memory that they were captured with. What differs from step to step comes
through arrays that are overwritten before each replay: a batch through an `Inlet`, single numbers (a seed, a rate)
through `step_numbers`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any
from weakref import finalize

import numpy as np

from .arrays import empty, filled, flat, taken
from .kernels import capture, copying, stream
from .pool import new_pool, taking_from
from .shim import cuda, simulated

__all__ = ["Capture", "Inlet", "Refused", "hyper_source", "new_pool", "step_numbers", "taking_from"]

_ROOM = 4096  # bytes for the numbers that differ from step to step


class Refused(RuntimeError):
    """The work cannot be captured. Nothing of it was done."""


class DriverGraph:
    """A CUDA graph by the driver's functions.

    Captured on a stream of its own, which the default one does not wait for, in the mode that forbids this thread
    nothing: a table of whole numbers may still be made and copied on the way, outside of the graph.
    """

    def __init__(self, module: Any = None) -> None:
        module = module or cuda.cudadrv.driver
        self._driver, self._names = module.driver, module.binding

    def begin(self) -> Any:
        """Begin to capture; the stream to launch to."""
        flag = self._names.CUstream_flags.CU_STREAM_NON_BLOCKING.value
        self._stream = self._driver.cuStreamCreate(flag)
        mode = self._names.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        try:
            self._driver.cuStreamBeginCapture(self._stream, mode)
        except Exception:
            self._driver.cuStreamDestroy(self._stream)
            raise
        return cuda.external_stream(int(self._stream))

    def add(self, kernel: Any, blocks: Any, block: int, args: tuple[Any, ...]) -> None:
        """The driver adds whatever is launched to the stream."""
        kernel[blocks, block, stream.get()](*args)

    def end(self) -> None:
        """Make what was captured ready to be launched."""
        try:
            graph = self._driver.cuStreamEndCapture(self._stream)
            try:
                self._ready = self._driver.cuGraphInstantiate(graph, 0)
            finally:
                self._driver.cuGraphDestroy(graph)
        finally:
            self._driver.cuStreamDestroy(self._stream)
        finalize(self, self._driver.cuGraphExecDestroy, self._ready).atexit = False

    def abandon(self) -> None:
        """End the capture without a graph."""
        try:
            self._driver.cuGraphDestroy(self._driver.cuStreamEndCapture(self._stream))
        except Exception as error:  # a capture that failed ends with an error in its turn
            if not _is_the_drivers(error):
                raise
        self._driver.cuStreamDestroy(self._stream)

    def replay(self) -> None:
        now = stream.get()
        self._driver.cuGraphLaunch(self._ready, int(now.handle) if now else 0)


class SimulatedGraph:
    """The simulator's stand-in: a list of launches, none of which runs before it is replayed."""

    def begin(self) -> Any:
        self._launches: list[tuple[Any, ...]] = []
        return stream.get()

    def add(self, *launch: Any) -> None:
        self._launches.append(launch)

    def end(self) -> None:
        pass

    def abandon(self) -> None:
        self._launches.clear()

    def replay(self) -> None:
        for kernel, blocks, block, args in self._launches:
            kernel[blocks, block](*args)


Graph: Any = SimulatedGraph if simulated else DriverGraph


def _is_the_drivers(error: Exception) -> bool:
    """The driver's own errors come in many classes."""
    return "CUDA_ERROR" in str(error)


class Inlet:
    """A device array that is overwritten before each replay.

    Arrays of the host go through two page-locked ones in turn, so that nothing waits but for the copy before the last.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.array = empty(shape, dtype)
        self._turns = cycle([(cuda.pinned_array(shape, dtype), cuda.event()) for _ in range(2)])

    def put(self, a: Any) -> None:
        """Overwrite it with an array of the host or of the device, behind what was launched before."""
        if isinstance(a, np.ndarray):
            self.host()[...] = a
            self.send()
        else:
            a = taken(a)
            a = a if a.dtype == self.array.dtype else a.astype(self.array.dtype)
            self.array.flat.copy_to_device(flat(a), stream=copying())

    def host(self) -> np.ndarray:
        """A page-locked array to write the next numbers to."""
        self._host, self._sent = next(self._turns)
        self._sent.synchronize()
        return self._host

    def send(self) -> None:
        """Copy what was written, without waiting."""
        self.array.flat.copy_to_device(self._host.reshape(-1), stream=copying())
        self._sent.record(copying())


class Capture:
    """The launches of a step of training, to be replayed.

    Parameters
    ----------
    hyper : callable
        Gives the optimiser's numbers for the step to come, as the table's kernels take them.
    """

    def __init__(self, hyper: Callable[[], dict[str, float]]) -> None:
        self.hyper = hyper
        self._graph = Graph()
        self._kept: list[Any] = []  # the arguments: memory that a graph uses must not go
        self._numbers = Inlet((_ROOM,), np.uint8)
        self._sources: list[tuple[int, int, np.dtype, Callable[[], Sequence[Any]]]] = []
        self._used = 0

    def run(self, work: Callable[[], None]) -> "Capture":
        """Capture what `work` launches; nothing is computed.

        Raises
        ------
        Refused
            When the work needs the host between its launches, or the driver will not have it.
        """
        with _refusing():
            launching_to = stream.set(self._graph.begin())
            capturing = capture.set(self)
            try:
                work()
            except BaseException:
                self._graph.abandon()
                raise
            finally:
                capture.reset(capturing)
                stream.reset(launching_to)
            self._graph.end()
        return self

    def launch(self, kernel: Any, blocks: Any, block: int, args: tuple[Any, ...]) -> None:
        """Add a kernel on so many blocks of so many threads."""
        self._kept.append(args)
        self._graph.add(kernel, blocks, block, args)

    def refuse(self, why: str) -> None:
        raise Refused(f"the step cannot be captured: {why} while it runs")

    def changing(self, dtype: np.dtype, count: int, now: Callable[[], Sequence[Any]]) -> Any:
        """An array of `count` numbers that `now` gives before each replay."""
        begin, end = self._used, self._used + count * dtype.itemsize
        if end > _ROOM:
            self.refuse(f"more than {_ROOM} bytes of numbers change")
        self._used = -(-end // 16) * 16
        self._sources.append((begin, end, dtype, now))
        return self._numbers.array.flat[begin:end].view(dtype)

    def replay(self) -> None:
        """Run it all again on the current stream, with new numbers."""
        if self._sources:
            host = self._numbers.host()
            for begin, end, dtype, now in self._sources:
                host[begin:end].view(dtype)[:] = now()
            self._numbers.send()
        self._graph.replay()


@contextmanager
def _refusing() -> Iterator[None]:
    """The driver's errors are refusals."""
    try:
        yield
    except Exception as error:
        if not _is_the_drivers(error):
            raise
        raise Refused(f"the step cannot be captured: {error}") from error


def step_numbers(dtype: np.dtype, count: int, now: Callable[[], Sequence[Any]]) -> tuple[Any, list[Any]]:
    """Numbers that differ from step to step, as (array, scalars) of which a kernel adds one to the other.

    A plain launch has them in its arguments and zeros in the array. A captured one keeps its arguments, so it has zeros
    there, and the array is filled before each replay.
    """
    capturing = capture.get()
    if capturing is None:
        return flat(filled(count, 0, dtype)), [dtype.type(number) for number in now()]
    return capturing.changing(dtype, count, now), [dtype.type(0)] * count


def hyper_source(given: dict[str, float]) -> Callable[[], dict[str, float]]:
    """What gives the optimiser's numbers: those given, or, for a step that is captured, those of each step to come."""
    capturing = capture.get()
    return (lambda: given) if capturing is None else capturing.hyper
