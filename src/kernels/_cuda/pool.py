"""The device's memory: blocks that are kept when their arrays are gone, and taken again by size."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .shim import cuda

_STEPS = 4  # sizes of blocks to an octave: at most a fifth of a block is left unused

Pool = defaultdict[int, list[Any]]
"""Free memory by its size in bytes: (buffer, its views)."""


def new_pool() -> Pool:
    return defaultdict(list)


_common = new_pool()
_current: ContextVar[Pool] = ContextVar("fastconv_cuda_pool", default=_common)


@contextmanager
def taking_from(pool: Pool) -> Iterator[None]:
    """Blocks made in a ``with`` block come from another pool than the common one, and go back to it.

    A graph that was captured writes to the same memory whenever it is replayed, so nobody else may have it.
    """
    token = _current.set(pool)
    try:
        yield
    finally:
        _current.reset(token)


class Block:
    """Memory of the device, given back to its pool when the last array in it is gone.

    Work is done in the order of its launches, so a block may be used anew while its last reader has yet to run.
    """

    __slots__ = ("buffer", "pool", "views")

    def __init__(self, nbytes: int) -> None:
        octave = 1 << max(nbytes, 512).bit_length() - 1
        size = -(-max(nbytes, 512) * _STEPS // octave) * octave // _STEPS
        pool = _current.get()
        self.buffer, self.views = pool[size].pop() if pool[size] else (_allocated(size), {})
        self.pool = pool

    def view(self, count: int, dtype: np.dtype) -> Any:
        """The first `count` numbers as a Numba array."""
        key = count, dtype
        if key not in self.views:
            self.views[key] = self.buffer[: count * dtype.itemsize].view(dtype)
        return self.views[key]

    def __del__(self) -> None:
        if hasattr(self, "pool"):  # not where there was no memory left
            self.pool[self.buffer.nbytes].append((self.buffer, self.views))


def _allocated(nbytes: int) -> Any:
    try:
        return cuda.device_array(nbytes, np.uint8)
    except Exception as error:  # the driver's own errors come in many classes
        if "OUT_OF_MEMORY" not in str(error):
            raise
    empty_cache()
    try:
        return cuda.device_array(nbytes, np.uint8)
    except Exception as error:
        raise MemoryError(
            f"the CUDA device has no {nbytes / 2**20:.0f} MiB left ({error}): use smaller batches, or free its memory"
        ) from None


def empty_cache() -> None:
    """Give the common pool's unused memory back to the device."""
    _common.clear()
