"""Reads the inputs of `files`, in a process of its own with little memory."""

import functools
import os
import resource
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from fastconv.datasets import cifar
from fastconv.datasets.idx import read_idx
from fastconv.networks import TwoLayerNet

from .mutations import draw
from .worker import serve

_ROOM = 512 << 20  # bytes of memory that reading a file of some KB may take: far more than it should
_EVERY = 64
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "os.putenv", "subprocess.", "socket.",
              "ctypes.", "shutil.", "os.remove", "os.rename", "os.chmod")  # fmt: skip


class Reader:
    """Reads one file after another."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        shared = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz", dir=shared if os.access(shared, os.W_OK) else None))
        self.marker = self.folder / "executed"
        self.network = TwoLayerNet(5, 4, 3, rng=0)
        self.events: list[str] = []
        sys.addaudithook(self._audit)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, resource.RLIM_INFINITY))
        self.resident, self.reads = 0, 0

    def _audit(self, event: str, args: Any) -> None:
        if event.startswith(_FORBIDDEN) or (event == "open" and str(args[0]) == str(self.marker)):
            self.events.append(f"{event}{args}")

    def read(self, i: int) -> tuple[str, str]:
        """The format of input i, and "read", "refused" or what is wrong."""
        name, suffix, content = draw(self.seed, i, str(self.marker))
        path = self.folder / f"input{suffix}"
        self.events.clear()
        if not name.startswith("cifar"):
            path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                end = self._read(name, path, content)
        except Exception as error:
            end = f"{type(error).__name__} instead of a ValueError: {error}"
        if self.events or self.marker.exists():
            end = f"executed: {self.events}"
        return name, f"{end} ({content[:200]!r})" if end not in ("read", "refused") else end

    def _read(self, name: str, path: Path, content: bytes) -> str:
        before = {key: (a, a.tobytes()) for key, a in self.network.params.items()}
        end, kept = "read", True
        try:
            if name.startswith("idx"):
                read_idx(path)
            elif name.startswith("cifar"):
                form = cifar._FORMATS[name == "cifar python"]
                pixels, labels = cifar._decode(form, path, content)
                if pixels.shape != (len(labels), 3, 32, 32) or pixels.dtype != "u1" or labels.dtype.kind not in "iu":
                    return f"images {pixels.shape} {pixels.dtype}, labels {labels.shape} {labels.dtype}"
            else:
                self.network.load_params(path)
                kept = False
        except ValueError as error:
            end = "refused"
            if path.name not in str(error):
                return f"the file is not named: {error}"
            causes: BaseException | None = error
            while causes:
                if isinstance(causes, MemoryError):
                    return f"asked for more than {_ROOM >> 20} MB: {error}"
                causes = causes.__cause__
        after = self.network.params
        if kept and any(after[key] is not a or a.tobytes() != old for key, (a, old) in before.items()):
            return "the parameters were changed"
        return self._memory() or end

    def _memory(self) -> str:
        """Complain of the last inputs when they took much memory. (Asking is slow, so it is asked now and then.)"""
        self.reads += 1
        if self.reads % _EVERY:
            return ""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown, self.resident = peak - self.resident, peak
        return (
            f"one of the last {_EVERY} inputs took {grown >> 10} MB"
            if grown > 100 << 10 and self.reads > _EVERY
            else ""
        )


def main() -> None:
    """The seed of the inputs."""
    serve(functools.partial(Reader(int(sys.argv[1])).read))
