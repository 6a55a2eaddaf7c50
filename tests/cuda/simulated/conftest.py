"""These tests run with NUMBA_ENABLE_CUDASIM=1 alone, which Numba reads when it is imported: see ../test_simulator.py."""

import os
import sys

import numpy as np
import pytest

from fastconv import _memory

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    collect_ignore_glob = ["*"]

sys.setswitchinterval(1e-5)  # the simulator's main thread polls those of the kernel, which wait for it to let go


@pytest.fixture(autouse=True)
def results_begin_as_nan(monkeypatch):
    """A number that a kernel does not write stays NaN (or -7, or 170), and differs from what is expected."""

    def dirty(shape, dtype):
        return np.full(shape, {"f": np.nan, "u": 0xAA}.get(np.dtype(dtype).kind, -7), dtype)

    monkeypatch.setitem(_memory.empty, "cpu", dirty)
