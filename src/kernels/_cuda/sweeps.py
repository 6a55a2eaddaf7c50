"""One pass over arrays, number by number: every thread moves 16 bytes at a time, and reads all before it writes any.

To keep a card's memory busy, each multiprocessor must have some 25 kB under way. A thread that reads one float32, waits
for it and writes it has 4 bytes: 8 kB with 2048 threads. With 32 bytes of each array it is 64 kB. What is left at the
end, and arrays that do not begin at a multiple of 16 bytes (views), go number by number.
"""

from collections.abc import Callable
from typing import Any

from .elements import Elements
from .kernels import GROUPS, WIDTH
from .shim import cuda


@cuda.jit(device=True)
def nowhere(i, arguments):
    """For what does not depend on the place."""
    return (0,)


@cuda.jit(device=True)
def stays(state, arguments):
    return state


def sweep(E: Elements, reads: int, value: Callable[..., Any], begin: Any = nowhere, following: Any = stays) -> Any:
    """A device function (out, x, y, arguments, count): out[i] = value(x[i], y[i], state, arguments).

    state = begin(i, arguments) -> tuple: what is to know about place i; following(state, arguments): about place i + 1.
    y is not read if `reads` is 1. Launched by `Family.vectors`.
    """
    T, L, load, store, load_all, store_all, aligned = E
    STEP, MINE = WIDTH * L, GROUPS * L
    value = cuda.jit(device=True)(value)

    @cuda.jit(device=True)
    def run(out, x, y, arguments, count):
        start = cuda.blockIdx.x * (GROUPS * STEP)
        if start + GROUPS * STEP <= count and aligned(out) and aligned(x) and aligned(y):
            mine = cuda.local.array(MINE, T)
            other = cuda.local.array(MINE, T)
            first = start + cuda.threadIdx.x * L
            for k in range(GROUPS):
                load_all(mine, k * L, x, first + k * STEP)
                if reads > 1:
                    load_all(other, k * L, y, first + k * STEP)
            for k in range(GROUPS):
                state = begin(first + k * STEP, arguments)
                for e in range(k * L, k * L + L):
                    mine[e] = value(mine[e], other[e], state, arguments)
                    state = following(state, arguments)
            for k in range(GROUPS):
                store_all(out, first + k * STEP, mine, k * L)
        else:
            for i in range(start + cuda.threadIdx.x, min(start + GROUPS * STEP, count), WIDTH):
                store(out, i, value(load(x, i), load(y, i), begin(i, arguments), arguments))

    return run
