"""Numbers as they lie in memory and as they are computed with.

float16 is half as much to move, but too coarse to add up in: its numbers become float32 when they are read, and are
rounded once, to nearest even, when they are written. `elements(S)` has the device functions that do both, one number at
a time or the 16 bytes that a thread moves at once.

On a card the functions are LLVM's instructions: Numba's indexing would test every signed index for negative ones, and
nothing tells it that an address is a multiple of 16.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..._problem import arithmetic
from .shim import simulated

Type = type[np.floating]

VECTOR = 16  # bytes


class Elements(NamedTuple):
    """How a kernel reads and writes numbers of one type.

    T: the type computed in. L: how many lie in 16 bytes.
    load(a, i) -> T; store(a, i, value)
    load_all(mine, at, a, i), store_all(a, i, mine, at): L neighbours from a[i] on, i and a being aligned to them,
    into and out of mine[at:], an array in registers
    aligned(a) -> bool: whether a begins at a multiple of 16 bytes
    """

    T: Type
    L: int
    load: Callable[..., Any]
    store: Callable[..., Any]
    load_all: Callable[..., Any]
    store_all: Callable[..., Any]
    aligned: Callable[..., Any]


if simulated:

    @cache
    def elements(S: Type) -> Elements:
        """The functions for numbers of type S in memory."""
        T, L = arithmetic(S).type, VECTOR // np.dtype(S).itemsize

        def load(a, i):
            return T(a[i])

        def store(a, i, value):
            a[i] = value

        def load_all(mine, at, a, i):
            assert i % L == 0
            for e in range(L):
                mine[at + e] = a[i + e]

        def store_all(a, i, mine, at):
            assert i % L == 0
            for e in range(L):
                a[i + e] = mine[at + e]

        def aligned(a):
            return a.ctypes.data % VECTOR == 0

        return Elements(T, L, load, store, load_all, store_all, aligned)

else:
    import numba
    from llvmlite import ir
    from numba.extending import intrinsic

    GLOBAL, LOCAL = 1, 0  # LLVM's address spaces: of the device's memory, and of any
    INT16, INT32, INT64 = map(ir.IntType, (16, 32, 64))
    FLOAT, HALF = ir.FloatType(), ir.HalfType()
    KINDS = {np.float16: INT16, np.float32: FLOAT, np.float64: ir.DoubleType()}

    def _place(context: Any, builder: Any, kind: Any, array: Any, i: Any, element: Any, whole: Any, space: int) -> Any:
        """The address of number i of an array, as that of a `whole`."""
        data = context.make_array(kind)(context, builder, array).data
        first = builder.addrspacecast(data, element.as_pointer(space)) if space else data
        return builder.bitcast(
            builder.gep(builder.bitcast(first, element.as_pointer(space)), [i]), whole.as_pointer(space)
        )

    @cache
    def elements(S: Type) -> Elements:
        """The functions for numbers of type S in memory."""
        T, size = arithmetic(S).type, np.dtype(S).itemsize
        L = VECTOR // size
        stored, computed, number, index = KINDS[S], KINDS[T], numba.from_dtype(np.dtype(T)), numba.int64
        word = INT32 if S is np.float16 else stored  # LLVM takes a vector of halves apart: pairs of them in integers
        words = ir.VectorType(word, VECTOR // max(size, 4))

        def widened(builder, value):
            return value if S is T else builder.fpext(builder.bitcast(value, HALF), FLOAT)

        def narrowed(builder, value):
            return value if S is T else builder.bitcast(builder.fptrunc(value, HALF), INT16)

        def taken_apart(builder, value):
            """The numbers in one word."""
            if S is T:
                return [value]
            return [widened(builder, builder.trunc(v, INT16)) for v in (value, builder.lshr(value, INT32(16)))]

        def put_together(builder, numbers):
            """One word of the numbers that it holds."""
            if S is T:
                return numbers[0]
            low, high = (builder.zext(narrowed(builder, number), INT32) for number in numbers)
            return builder.or_(low, builder.shl(high, INT32(16)))

        def registers(context, builder, kind, array, at):
            """The addresses of L numbers of an array in registers."""
            places = (builder.add(at, INT64(e)) for e in range(L))
            return [_place(context, builder, kind, array, i, computed, computed, LOCAL) for i in places]

        @intrinsic
        def load(typing, a, i):
            def generate(context, builder, signature, values):
                at = _place(context, builder, a, *values, stored, stored, GLOBAL)
                return widened(builder, builder.load(at, align=size))

            return number(a, index), generate

        @intrinsic
        def store(typing, a, i, value):
            def generate(context, builder, signature, values):
                at = _place(context, builder, a, *values[:2], stored, stored, GLOBAL)
                builder.store(narrowed(builder, values[2]), at, align=size)
                return context.get_dummy_value()

            return numba.void(a, index, number), generate

        @intrinsic
        def load_all(typing, mine, at, a, i):
            def generate(context, builder, signature, values):
                source = _place(context, builder, a, *values[2:], stored, words, GLOBAL)
                together = builder.load(source, align=VECTOR)
                read = [
                    number
                    for n in range(words.count)
                    for number in taken_apart(builder, builder.extract_element(together, INT32(n)))
                ]
                for place, number in zip(registers(context, builder, mine, *values[:2]), read, strict=True):
                    builder.store(number, place)
                return context.get_dummy_value()

            return numba.void(mine, index, a, index), generate

        @intrinsic
        def store_all(typing, a, i, mine, at):
            def generate(context, builder, signature, values):
                numbers = [builder.load(place) for place in registers(context, builder, mine, *values[2:])]
                held = L // words.count
                together = ir.Constant(words, ir.Undefined)
                for n in range(words.count):
                    made = put_together(builder, numbers[n * held : (n + 1) * held])
                    together = builder.insert_element(together, made, INT32(n))
                target = _place(context, builder, a, *values[:2], stored, words, GLOBAL)
                builder.store(together, target, align=VECTOR)
                return context.get_dummy_value()

            return numba.void(a, index, mine, index), generate

        @intrinsic
        def aligned(typing, a):
            def generate(context, builder, signature, values):
                address = builder.ptrtoint(context.make_array(a)(context, builder, values[0]).data, INT64)
                return builder.icmp_unsigned("==", builder.and_(address, INT64(VECTOR - 1)), INT64(0))

            return numba.boolean(a), generate

        return Elements(T, L, load, store, load_all, store_all, aligned)
