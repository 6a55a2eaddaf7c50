"""The memory that a convolution takes beside its operands and results: never a whole im2col."""

import tracemalloc

import numpy as np
import pytest

import fastconv as fc
from fastconv.kernels._cpu import engine
from fastconv.testing import SPEED, normal

MB = 1 << 20


def temporary_memory(call):
    """Most bytes that the call held beside its results: in the engine's pool, and of NumPy's own arrays."""
    results = call()  # the first call keeps what later ones find
    del results
    tracemalloc.start()
    try:
        engine.reset_peak()
        results = call()
        stats = engine.memory_stats()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(isinstance(a, np.ndarray) for a in results)
    return stats["peak_bytes"] - stats["used_bytes"] + peak - now


@pytest.fixture
def two_threads():
    """Threads have scratch memory of their own: the bound is for two."""
    before = fc.get_num_threads()
    fc.set_num_threads(2)
    yield
    fc.set_num_threads(before)


CASES = [*SPEED["conv2d"], *SPEED["conv2d_batch1"], *SPEED["depthwise"]]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_temporary_memory(case, two_threads):
    x, w, b = case.arrays(np.float32)
    y = fc.conv2d(x, w, b, **case.options)
    allowed = (x.nbytes + y.nbytes) // 4 + 5 * w.nbytes + 2 * MB
    dout = normal(y.shape, np.float32)
    assert temporary_memory(lambda: (fc.conv2d(x, w, b, **case.options),)) <= allowed
    assert temporary_memory(lambda: fc.conv2d_backward(dout, x, w, **case.options)) <= allowed


def test_the_measure_sees_arrays_of_both_kinds():
    def call():
        pooled = engine.empty(4 * MB, np.uint8)
        numpy = np.empty(8 * MB, np.uint8)
        return (pooled[:1] + numpy[:1],)

    assert temporary_memory(call) >= 12 * MB
