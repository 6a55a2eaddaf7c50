"""The processes of a program on the command line: who prints, and whose error is told."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from . import _ending, _mpi, _threads

_USER_ERRORS = (ImportError, OSError, RuntimeError, ValueError)


class Job:
    """All processes that mpiexec has started; each has its share of its node's CPUs.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Its `error` tells a user's error and ends the program.

    Attributes
    ----------
    rank, size : int
    leads : bool
        Whether this process prints, and writes files.
    """

    def __init__(self, parser: Any) -> None:
        self._parser, self._comm = parser, _mpi.own()
        self.rank, self.size = self._comm.rank, self._comm.size
        self.leads = self.rank == 0
        _ending.end_together()
        _threads.take_share(self._comm)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """One line for what a user's values, files or installation make fail, on whichever process; all of them end."""
        message = None
        try:
            yield
        except _USER_ERRORS as error:
            message = str(error) or type(error).__name__
        messages = self._comm.allgather(message)
        first = next((rank for rank, each in enumerate(messages) if each is not None), None)
        if first is not None:
            self._end(messages[first] if first == 0 else f"process {first} of {self.size}: {messages[first]}")

    def _end(self, message: str) -> NoReturn:
        if self.leads:
            self._parser.error(message)
        sys.exit(2)

    def in_turn(self, work: Any) -> Any:
        """What `work()` gives: first on the first process, which may download, then on the others."""
        found = None
        for leaders in (True, False):
            with self.explained():
                if self.leads is leaders:
                    found = work()
        return found

    def processes(self) -> list[str]:
        """Node and threads of each process."""
        here = f"{_mpi.mpi().Get_processor_name()}, {_threads.described()}"
        return self._comm.gather(here) or []

    def agreed(self, error: BaseException) -> bool:
        """Whether all processes have ended a training behind the same step, and go on with what follows."""
        return isinstance(error, _ending.Interrupted)

    def interrupted(self) -> None:
        """End all processes after a Ctrl-C that was not in a training."""
        if self.size > 1:
            _ending.end_all(KeyboardInterrupt(), wait=True)
