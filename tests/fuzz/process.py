"""A worker in a process of its own, and what becomes of it."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[__package__.count(".") + 1]  # what this package's name begins in


class Died(Exception):
    """The process ended, or was ended because it gave no answer."""


class Worker:
    """A process that answers requests in order."""

    def __init__(self, *arguments: str, module: str = "worker", patience: float = 500, verbose: bool = False) -> None:
        code = f"import sys; sys.path.append({str(_ROOT)!r}); from {__package__}.{module} import main; main()"
        environment = {**os.environ, "PYTHONFAULTHANDLER": "", "OPENBLAS_NUM_THREADS": "1"}
        self.patience, self.hung, self.open = patience, False, 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            env=environment,
        )

    def ask(self, requests: list[Any]) -> None:
        """Send requests; each answer must come before the patience ends."""
        self.open, self.latest = len(requests), time.monotonic()
        self._watch(self.patience)
        with contextlib.suppress(BrokenPipeError):  # the answer that is missing will tell
            pickle.dump(requests, self.process.stdin)
            self.process.stdin.flush()

    def _watch(self, seconds: float) -> None:
        self.watchdog = threading.Timer(seconds, self._look)
        self.watchdog.daemon = True
        self.watchdog.start()

    def _look(self) -> None:
        left = self.latest + self.patience - time.monotonic()
        if self.open and left > 0:
            self._watch(left)
        elif self.open:
            self.hung = True
            self.process.kill()

    def answer(self) -> Any:
        """The next answer.

        Raises
        ------
        Died
            With the signal's name.
        """
        try:
            answer = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            self.open = 0
            self.watchdog.cancel()
            raise Died(self._end()) from None
        self.open, self.latest = self.open - 1, time.monotonic()
        if not self.open:
            self.watchdog.cancel()
        return answer

    def _end(self) -> str:
        code = self.process.wait()
        if self.hung:
            return f"gave no answer for {self.patience:g} s"
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
