"""Arrays known to a kernel by their addresses: lists of any length in one launch.

`addresses` makes the whole numbers that a table passes to a kernel; `access(T)` the device functions that read and
write number i of the array at such an address. The simulator's are those of the host's memory.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .arrays import flat
from .elements import Type
from .shim import simulated

if simulated:
    from ctypes import c_double, c_float

    def addresses(lists: list[list[Any]]) -> tuple[int, ...]:
        """The address of each array."""
        return tuple(flat(a)._ary.ctypes.data for arrays in lists for a in arrays)

    @cache
    def access(T: Type) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """(read(address, i), write(address, i, value)) for elements of type T."""
        kind, size = c_float if T is np.float32 else c_double, np.dtype(T).itemsize

        def read(address, i):
            return T(kind.from_address(int(address + i * size)).value)

        def write(address, i, value):
            kind.from_address(int(address + i * size)).value = value

        return read, write

else:
    import numba
    from llvmlite import ir
    from numba.extending import intrinsic

    GLOBAL = 1  # LLVM's address space of the device's memory

    def addresses(lists: list[list[Any]]) -> tuple[int, ...]:
        """The address of each array."""
        return tuple(flat(a).device_ctypes_pointer.value or 0 for arrays in lists for a in arrays)

    @cache
    def access(T: Type) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """(read(address, i), write(address, i, value)) for elements of type T."""
        element = numba.from_dtype(np.dtype(T))
        kind = ir.FloatType() if T is np.float32 else ir.DoubleType()

        def place(builder, address, i):
            return builder.gep(builder.inttoptr(address, kind.as_pointer(GLOBAL)), [i])

        @intrinsic
        def read(context, address, i):
            def generate(context, builder, signature, values):
                return builder.load(place(builder, *values))

            return element(numba.int64, numba.int64), generate

        @intrinsic
        def write(context, address, i, value):
            def generate(context, builder, signature, values):
                builder.store(values[2], place(builder, *values[:2]))
                return context.get_dummy_value()

            return numba.void(numba.int64, numba.int64, element), generate

        return read, write
