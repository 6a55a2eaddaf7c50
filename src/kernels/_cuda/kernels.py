"""Kernels written once for all element types, compiled when first needed.

A `Family` is a function that takes `Elements` (and tile sizes, flags...) and returns the body of a kernel for them,
together with the types of the body's arguments. Literals would make float32 arithmetic float64: bodies write T(0.5).
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numba
import numpy as np

from ..._problem import arithmetic
from .elements import VECTOR, Type, elements
from .shim import cuda, simulated

WIDTH = 16 if simulated else 256
"""Threads of a block of element-wise kernels; a simulated thread is a Python thread, so fewer there."""

EACH = 4
"""Elements that one thread of an element-wise kernel takes, WIDTH apart: independent loads hide latency."""

GROUPS = 2
"""Groups of 16 bytes that one thread of an element-wise kernel reads of each array before it writes any."""

FAMILIES: list["Family"] = []
"""All families, for tools that compile every kernel."""

stream: ContextVar[Any] = ContextVar("fastconv_cuda_stream", default=0)
"""Numba's stream that launches go to; 0 is the default stream."""

capture: ContextVar[Any] = ContextVar("fastconv_cuda_capture", default=None)
"""What takes the launches while a step is captured (`graphs.Capture`), else None."""


def copying() -> Any:
    """The stream for copies from the host. An object for the default one too: with a bare 0 Numba waits."""
    return stream.get() or (0 if simulated else cuda.default_stream())


_LETTERS = {
    "i": numba.int64,
    "u": numba.uint64,
    "?": numba.boolean,
    "b": numba.uint8,
    "h": numba.types.float16,
    "s": numba.float32,
    "d": numba.float64,
}


Variants = Callable[[Type], Any]


def no_options(T: Type) -> Any:
    """For kernels that differ in their element type alone."""
    return ((),)


class Family:
    """Kernels that differ in their element type and options.

    Parameters
    ----------
    name : str
        For people.
    make : callable
        (Elements, *options) to the body of a kernel.
    arguments : str
        The kernel's arguments: ``S[]`` an array of elements as they are stored, ``T`` a number as they are computed
        with, ``h``, ``s``, ``d`` a float16, 32, 64, ``i`` an int64, ``u`` a uint64, ``b`` a uint8, ``?`` a bool; with
        ``[]`` a dense array of them. ``g`` is a tuple of int64 of class `sizes`.
    variants : callable
        The stored type to the options (tuples) to compile when every kernel is.
    sizes : NamedTuple class
    stored : sequence of types
        The element types that it is for.
    """

    def __init__(
        self, name: str, make: Callable[..., Any], arguments: str, variants: Variants = no_options,
        sizes: Any = None, stored: tuple[Type, ...] = (np.float16, np.float32, np.float64),
    ) -> None:  # fmt: skip
        self.name, self.make, self.arguments = name, make, arguments.split()
        self.variants, self.sizes, self.stored = variants, sizes, stored
        self._compiled: dict[tuple[Any, ...], Any] = {}
        FAMILIES.append(self)

    def types(self, S: Type) -> tuple[Any, ...]:
        """Numba's types of the arguments for elements stored as S."""
        kinds = {**_LETTERS, "S": numba.from_dtype(np.dtype(S)), "T": numba.from_dtype(arithmetic(S))}
        if self.sizes:
            kinds["g"] = numba.types.NamedUniTuple(numba.int64, len(self.sizes._fields), self.sizes)
        return tuple(kinds[word[0]][::1] if word.endswith("[]") else kinds[word] for word in self.arguments)

    def body(self, S: Type, *options: Any) -> Any:
        """The kernel's body for elements stored as S."""
        return self.make(elements(S), *options)

    def launch(self, dtype: Any, grid: Any, block: int, *args: Any, options: tuple[Any, ...] = ()) -> None:
        """Run the kernel for `dtype` on `grid` blocks of `block` threads; nothing when there is no block."""
        blocks = grid if isinstance(grid, tuple) else (grid,)
        if 0 in blocks:
            return
        S = np.dtype(dtype).type
        key = (S, *options)
        if key not in self._compiled:
            self._compiled[key] = cuda.jit(self.types(S))(self.body(S, *options))
        if capture.get() is None:
            self._compiled[key][blocks, block, stream.get()](*args)
        else:
            capture.get().launch(self._compiled[key], blocks, block, args)

    def each(self, dtype: Any, count: int, *args: Any, options: tuple[Any, ...] = ()) -> None:
        """Run an element-wise kernel: EACH elements a thread."""
        self.launch(dtype, -(-count // (WIDTH * EACH)), WIDTH, *args, options=options)

    def vectors(self, dtype: Any, count: int, *args: Any) -> None:
        """Run a kernel whose threads take GROUPS times 16 bytes."""
        mine = GROUPS * WIDTH * (VECTOR // np.dtype(dtype).itemsize)
        self.launch(dtype, -(-count // mine), WIDTH, *args)


def family(
    arguments: str, variants: Variants = no_options, sizes: Any = None
) -> Callable[[Callable[..., Any]], Family]:
    """Decorator that makes a `Family` of the function below it, named after its folder and itself."""
    return lambda make: Family(f"{make.__module__.split('.')[-2]}.{make.__name__}", make, arguments, variants, sizes)
