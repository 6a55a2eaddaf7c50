"""Whatever is missing is said in one sentence, with what to do."""

from types import SimpleNamespace

import numpy as np
import pytest

import fastconv as fc
from fastconv.kernels._cuda import arrays, pool, shim
from fastconv.networks import TwoLayerNet


class SupportError(Exception):
    """As Numba's."""


def without(driver=True, compiler=True, implementation="NVIDIA", broken=False):
    """Numba's CUDA on a machine that lacks something."""

    def context():
        if broken:
            raise SupportError("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")

    return SimpleNamespace(
        implementation=implementation,
        is_available=lambda: driver and compiler,
        current_context=context,
        cudadrv=SimpleNamespace(
            driver=SimpleNamespace(driver=SimpleNamespace(is_available=driver)),
            error=SimpleNamespace(CudaSupportError=SupportError),
        ),
    )


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ({"implementation": ""}, r"needs the package numba-cuda: pip install 'fastconv\[cuda\]'"),
        ({"driver": False}, r"no CUDA device or driver was found: nvidia-smi must list a card; install"),
        ({"compiler": False}, r"the CUDA compiler's libraries were not found: pip install"),
        ({"broken": True}, r"the CUDA driver cannot be used \(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\): see nvidia-smi"),
    ],
)
def test_what_is_missing_is_named(monkeypatch, missing, sentence):
    monkeypatch.setattr(shim, "simulated", False)
    monkeypatch.setattr(shim, "cuda", without(**missing))
    for call in (lambda: fc.to_device(np.ones(3)), lambda: TwoLayerNet(4, 3, 2).to("cuda")):
        with pytest.raises(RuntimeError, match="^arrays on a CUDA device cannot be used: " + sentence):
            call()


def full(times):
    """A device with no memory left for so many tries."""
    left = [times]

    def device_array(nbytes, dtype):
        left[0] -= 1
        if left[0] >= 0:
            raise SupportError("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
        return np.empty(nbytes, dtype)

    return SimpleNamespace(device_array=device_array)


def test_memory_that_is_full(monkeypatch):
    monkeypatch.setattr(pool, "cuda", full(2))
    with pytest.raises(MemoryError, match=r"has no 40 MiB left .*: use smaller batches, or free its memory"):
        fc.to_device(np.zeros(40 << 20, np.uint8))


def test_the_pools_unused_memory_is_given_back_before_anybody_is_refused(monkeypatch):
    pool.empty_cache()
    unused = arrays.empty((9 << 20,), np.uint8)
    del unused
    assert any(pool._common.values())
    monkeypatch.setattr(pool, "cuda", full(1))
    assert pool._allocated(40 << 20).nbytes == 40 << 20
    assert not any(pool._common.values())


def test_other_errors_of_the_driver_pass(monkeypatch):
    def device_array(nbytes, dtype):
        raise SupportError("CUDA_ERROR_ILLEGAL_ADDRESS")

    monkeypatch.setattr(pool, "cuda", SimpleNamespace(device_array=device_array))
    with pytest.raises(SupportError, match="ILLEGAL_ADDRESS"):
        pool._allocated(1 << 30)


class Foreign:
    """An array of another library."""

    def __init__(self, numbers, strides=None):
        self.numbers, self.strides = numbers, strides

    @property
    def __cuda_array_interface__(self):
        of_a = {"version": 3, "shape": self.numbers.shape, "typestr": self.numbers.dtype.str, "strides": self.strides}
        return {**of_a, "data": (self.numbers.ctypes.data, False)}


def test_arrays_on_another_card(monkeypatch):
    x = Foreign(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(fc.to_host(fc.relu(x)), x.numbers)
    monkeypatch.setattr(arrays, "_several_cards", lambda: True)
    monkeypatch.setattr(arrays.cuda, "get_current_device", lambda: SimpleNamespace(id=0), raising=False)
    np.testing.assert_array_equal(fc.to_host(fc.relu(x)), x.numbers)
    monkeypatch.setattr(arrays, "card_of", lambda address: 1)
    with pytest.raises(ValueError, match=r"^x: expected an array on CUDA device 0, .* got one on device 1: copy it"):
        fc.relu(x)


def test_arrays_that_are_not_dense():
    with pytest.raises(ValueError, match=r"^x: expected a dense \(C-contiguous\) device array: copy it first"):
        fc.relu(Foreign(np.ones((2, 3), np.float32), (4, 8)))
