"""How a job ends as a whole: an exception of one process ends all of them, and Ctrl-C ends them behind one step."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ._mpi import mpi

_SAME = 2.0  # seconds: the terminal and mpiexec both send what one Ctrl-C means
_INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended

_hooked = False


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, raised by all processes behind the same step."""


def end_together() -> None:
    """From now on, an exception that nobody catches in this process ends all processes of MPI."""
    global _hooked
    if _hooked or mpi().COMM_WORLD.size == 1:
        return
    _hooked = True
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, Interrupted):  # all of them end by themselves
            if mpi().COMM_WORLD.rank == 0:
                print(f"fastconv: {error}", file=sys.stderr, flush=True)
            return
        _let_the_first_speak()
        before(kind, error, trace)
        sys.stderr.flush()
        end_all(error)

    sys.excepthook = hook


def _let_the_first_speak() -> None:
    """Where all processes fail, the first one ends the others meanwhile."""
    time.sleep(min(0.2 * mpi().COMM_WORLD.rank, 1.0))


def end_all(error: BaseException, wait: bool = False) -> None:
    """End all processes, with one line that says which one and why."""
    if wait:
        _let_the_first_speak()
    MPI = mpi()
    world = MPI.COMM_WORLD
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    line = f"fastconv: process {world.rank} of {world.size} ended with {what}; all processes end\n"
    sys.stdout.flush()
    sys.stderr.write(line)
    sys.stderr.flush()
    world.Abort(_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)


class Ending:
    """Whether the processes go on, agreed on behind every step."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._asked: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ctrl-C is noted, for `agree`; another one, later, ends the job at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _note(self, *_: Any) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._asked > _SAME:
            raise KeyboardInterrupt
        if self._asked is None:
            self._asked = now

    def agree(self, stopped: bool) -> tuple[bool, bool]:
        """Whether any process was interrupted, and whether any was stopped."""
        flags = np.array([self._asked is not None, stopped], np.uint8)
        self._comm.Allreduce(mpi().IN_PLACE, flags, mpi().MAX)
        if flags[0]:
            self._asked = None
        return bool(flags[0]), bool(flags[1])
