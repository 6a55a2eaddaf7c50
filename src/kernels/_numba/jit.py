"""How the Numba kernels are compiled, and how their threads are launched.

A kernel is one function whose first argument is a number of workers, and whose body is a loop over them:

    @kernel
    def double(workers, out, x):
        for worker in prange(workers):
            begin, end = share(worker, workers, x.size)
            ...

It is compiled twice, each when first needed: with Numba's threads, and as an ordinary loop. The second serves small
problems, the child of a process that has used threads before it was forked (GNU OpenMP ends a child that tries to), and
a caller that finds another one's threads at work: Numba's "workqueue" threads, the only ones that are everywhere, abort
the process when two callers launch at once. Both do the same work in the same shares: their results are the same bits.

fastmath is "contract" alone: a*b + c may be one FMA. NaN, infinities and the order of sums are left as written.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite.binding.ffi import lib as llvm_library
from numba.core.caching import NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from .._cpu.thread_count import get_num_threads

if getattr(numba.config, "DISABLE_JIT", False):
    raise ImportError("NUMBA_DISABLE_JIT is set, and these kernels run compiled or not at all")

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

# Numba fills its own tables when it first compiles or loads something. Done here, it is part of the import.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()

inline = numba.njit(**OPTIONS)
"""For functions that kernels call: compiled into them, and cached with them."""


def named(name: str) -> Callable[[Any], Any]:
    """For functions that a function makes, before they are compiled: a name that tells them from their siblings.

    Numba names machine code by the function's name, its types, and a counter that starts anew in every process. Two
    siblings that were compiled and cached by different processes could have the same name, and the linker would take
    one for the other.
    """

    def rename(function: Any) -> Any:
        function.__name__ = function.__qualname__ = name
        return function

    return rename


@inline
def share(worker, workers, count):
    """(begin, end): one worker's part of `count` things."""
    index, shares = np.int64(worker), np.int64(workers)
    return index * count // shares, (index + 1) * count // shares


class FirstCall(NamedTuple):
    """What the first call of a kernel for some types of arguments cost."""

    kernel: str
    dtype: np.dtype
    threaded: bool
    seconds: float
    from_cache: bool

    def __str__(self) -> str:
        how = "loaded from the cache" if self.from_cache else "compiled"
        threads = "with" if self.threaded else "without"
        return f"{self.kernel}, {self.dtype}, {threads} threads: {how} in {self.seconds:.2f} s"


def _source_stamp() -> tuple[tuple[str, int, int], ...]:
    """What changes when a source that any kernel may be compiled from does."""
    folder = Path(__file__).parents[1]
    sources = sorted([*folder.glob("_numba/*.py"), *folder.glob("*/nb*.py")])
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sources)


_STAMP = _source_stamp()


def _cached(function: FunctionType, **options: Any) -> Any:
    """Compiled and cached; Numba itself would look at the kernel's own file alone to see whether the cache is stale.

    Where no folder for the cache can be written, each process compiles for itself. A folder for temporary files would
    not do: what Numba reads from its cache it runs, and there anybody may write.
    """
    try:
        dispatcher = numba.njit(cache=True, **options, **OPTIONS)(function)
    except RuntimeError:  # no locator available for file ...
        return numba.njit(**options, **OPTIONS)(function)
    file = getattr(dispatcher._cache, "_cache_file", None)
    if file is not None:
        file._source_stamp = _STAMP
    return dispatcher


def _wait_for_compilers() -> None:
    """Before a fork: nobody compiles any more, and nobody begins to.

    A child has the locks of its parent's compilers as they were, and nobody to release one that another thread held:
    the first kernel that it compiled or loaded would wait for ever. LLVM's own state could be half changed as well.
    """
    global_compiler_lock.acquire()
    _LLVM_LOCK.__enter__()


def _let_compilers_go() -> None:
    """After the fork, in the parent and in the child."""
    _LLVM_LOCK.__exit__(None, None, None)
    global_compiler_lock.release()


# Objects of LLVM are deleted without the compilers' lock. Another llvmlite may have no lock under this name.
_LLVM_LOCK: Any = getattr(llvm_library, "_lock", None) or nullcontext()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_compilers, after_in_parent=_let_compilers_go, after_in_child=_let_compilers_go)


class _Threads:
    """Whether Numba's threads can be used at this moment, by this process."""

    def __init__(self) -> None:
        self.launching = threading.Lock()
        self.used = False
        self.lost = False  # in the child of a process that had used them
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forked)

    def forked(self) -> None:
        self.launching = threading.Lock()
        self.lost = self.lost or self.used

    def run(self, function: Callable[..., Any], workers: int, *args: Any) -> Any:
        """Call it on `workers` of Numba's threads; the caller's own setting of their number is put back."""
        self.used = True
        before = numba.get_num_threads()
        numba.set_num_threads(min(workers, numba.config.NUMBA_NUM_THREADS))
        try:
            return function(workers, *args)
        finally:
            numba.set_num_threads(before)


_threads = _Threads()


class Kernel:
    """A function compiled with and without threads; see the head of the module."""

    def __init__(self, function: FunctionType) -> None:
        # Numba's cache files are named by qualified name and line: without a name of its own, the one compiled without
        # threads would be taken for the other.
        alone = FunctionType(function.__code__, function.__globals__, function.__name__)
        alone.__qualname__ = f"{function.__qualname__}_alone"
        alone.__module__ = function.__module__
        self.name = function.__name__
        self.threaded = _cached(function, parallel=True)
        self.alone = _cached(alone)
        self.first_calls: list[FirstCall] = []

    def __call__(self, workers: int, *args: Any) -> Any:
        if workers > 1 and not _threads.lost and _threads.launching.acquire(blocking=False):
            try:
                return self._timed(self.threaded, lambda *a: _threads.run(self.threaded, *a), workers, args)
            finally:
                _threads.launching.release()
        return self._timed(self.alone, self.alone, workers, args)

    def _timed(self, dispatcher: Any, call: Callable[..., Any], workers: int, args: tuple[Any, ...]) -> Any:
        """The call, with a note of what it cost if it was the first for its types."""
        known, hits, start = len(dispatcher.overloads), len(dispatcher.stats.cache_hits), time.perf_counter()
        try:
            result = call(workers, *args)
        except OSError:  # compiled, but not written to the cache: a full disk, say
            dispatcher._cache = NullCache()
            result = call(workers, *args)
        if len(dispatcher.overloads) > known:
            seconds, from_cache = time.perf_counter() - start, len(dispatcher.stats.cache_hits) > hits
            self.first_calls.append(
                FirstCall(self.name, args[0].dtype, dispatcher is self.threaded, seconds, from_cache)
            )
        return result


def kernel(function: Any) -> Kernel:
    """The decorator: a `Kernel`, cached beside its source, in the user's cache or in NUMBA_CACHE_DIR."""
    return Kernel(function)


def kernels_of(function: FunctionType) -> set[Kernel]:
    """The kernels that a function of the table calls, directly or through others of its module."""
    found: set[Kernel] = set()
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, Kernel):
            found.add(value)
        elif isinstance(value, FunctionType) and value.__globals__ is function.__globals__ and value is not function:
            found |= kernels_of(value)
    return found


def workers_for(nanoseconds: float) -> int:
    """As many workers as threads are allowed and pay for themselves: one for each 50 us of one thread's work."""
    return max(1, min(get_num_threads(), int(nanoseconds / 50_000)))
