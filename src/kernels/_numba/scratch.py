"""Memory for kernels between calls: fresh pages cost more than most of what is written to them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

KEPT = 4  # buffers kept for the next calls: as many callers at once get one without asking the system
_free: list[npt.NDArray[np.uint8]] = []  # append and pop are atomic


@contextmanager
def scratch(count: int, dtype: np.dtype) -> Iterator[npt.NDArray]:
    """A dirty array of `count` numbers, aligned to 64 bytes, until the end of the block."""
    bytes_needed = count * dtype.itemsize
    try:
        buffer = _free.pop()
    except IndexError:
        buffer = np.empty(0, np.uint8)
    if buffer.size < bytes_needed + 64:
        buffer = np.empty(bytes_needed + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    try:
        yield buffer[start : start + bytes_needed].view(dtype)
    finally:
        if len(_free) < KEPT:
            _free.append(buffer)
