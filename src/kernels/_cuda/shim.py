"""The one import point of Numba-CUDA, and what is wrong when it cannot be used.

`cuda` is `numba.cuda` of the package numba-cuda. With NUMBA_ENABLE_CUDASIM=1 it is Numba's simulator, which runs every
thread of a kernel as a Python thread: for tests on tiny arrays.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_char
from math import prod
from threading import Lock
from typing import Any

import numba
import numpy as np
from numba import cuda

__all__ = ["NumbaArray", "card_of", "cuda", "cuda_array", "interface", "require", "simulated"]

simulated = bool(numba.config.ENABLE_CUDASIM)

if simulated:
    from numba.cuda.simulator import kernel as simulator_kernel
    from numba.cuda.simulator import kernelapi
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray as NumbaArray

    class _Shared:
        """Shared arrays of a simulated block, known by the instruction that declares them.

        The simulator's own class refuses `alignment` and takes two arrays declared on one line for one.
        """

        def __init__(self, dynamic_size: int) -> None:
            self.arrays: dict[Any, np.ndarray] = {}

        def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> np.ndarray:
            frame = sys._getframe(1)
            return self.arrays.setdefault((frame.f_code, frame.f_lasti), np.full(shape, 77, dtype))

    kernelapi.FakeCUDAShared = _Shared

    _lock = Lock()
    _inside: Counter[int] = Counter()  # threads in functions of a module, by its globals

    @contextmanager
    def _swapped_cuda_module(function: Callable[..., Any], fake: Any) -> Iterator[None]:
        """`cuda` in the function's module is the simulator's until the last thread has left.

        The simulator's own puts the real one back when the first leaves, under the feet of the others.
        """
        names = function.__globals__
        with _lock:
            _inside[id(names)] += 1
            names.update({name: fake for name, value in names.items() if value is cuda})
        try:
            yield
        finally:
            with _lock:
                _inside[id(names)] -= 1
                if not _inside[id(names)]:
                    names.update({name: cuda for name, value in names.items() if value is fake})

    simulator_kernel.swapped_cuda_module = _swapped_cuda_module

    def interface(a: Any) -> dict[str, Any]:
        """``__cuda_array_interface__``, which the simulator's arrays lack; their memory is the host's."""
        return {"version": 3, "data": (a._ary.ctypes.data, False)}

    def cuda_array(a: Any, sync: bool) -> Any:
        """The simulator's array with the memory of anything that has the interface."""
        of_a = a.__cuda_array_interface__
        dtype = np.dtype(of_a["typestr"])
        raw = (c_char * (prod(of_a["shape"]) * dtype.itemsize)).from_address(of_a["data"][0])
        return NumbaArray(np.frombuffer(raw, dtype).reshape(of_a["shape"]))

    def card_of(address: int) -> int:
        return 0

else:
    from numba.cuda.cudadrv.devicearray import DeviceNDArray as NumbaArray

    def interface(a: Any) -> dict[str, Any]:
        return a.__cuda_array_interface__

    def cuda_array(a: Any, sync: bool) -> Any:
        """Numba's array with the memory of anything that has the interface; `sync`: after waiting for its stream."""
        return cuda.as_cuda_array(a, sync=sync)

    def card_of(address: int) -> int:
        """The number of the device whose memory has this address."""
        driver = cuda.cudadrv.driver
        ordinal = driver.binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(driver.driver.cuPointerGetAttribute(ordinal, address))


def require() -> None:
    """Raise an ImportError that says what to do when no kernel can run here.

    An ImportError, because to the table of kernels this is one more way for a backend not to be there.
    """
    if simulated:
        return
    if getattr(cuda, "implementation", "") != "NVIDIA":
        raise ImportError("needs the package numba-cuda: pip install 'fastconv[cuda]'")
    try:
        if not cuda.cudadrv.driver.driver.is_available:
            raise ImportError(
                "no CUDA device or driver was found: nvidia-smi must list a card; install NVIDIA's driver, "
                "or choose another backend"
            )
        if not cuda.is_available():
            raise ImportError(
                "the CUDA compiler's libraries were not found: pip install 'fastconv[cuda]' brings them; "
                "or choose another backend"
            )
        cuda.current_context()
    except cuda.cudadrv.error.CudaSupportError as error:
        raise ImportError(f"the CUDA driver cannot be used ({error}): see nvidia-smi") from None
