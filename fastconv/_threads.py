"""What kernels may use: threads, one number for the whole process, and the processor's instructions."""

import platform

from ._check import arguments as arg
from .kernels._cpu import thread_count

try:
    from .kernels._cpu import engine
except ImportError:  # a build without the compiled engine
    engine = None  # type: ignore[assignment]


processes_on_node: tuple[int, int] | None = None
"""This process's number and how many there are on this machine, where `fastconv.distributed` has found out."""


def get_num_threads() -> int:
    """The most threads a kernel may use."""
    return thread_count.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set the most threads a kernel may use; small problems use one whatever this is.

    At the start it is ``FASTCONV_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the CPUs that the process's affinity and
    its control group really give.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    ValueError, TypeError
        When n is less than 1, or not an int.
    """
    thread_count.set_num_threads(arg.integer("n", n, 1))


def _expect_nobody(nanoseconds: float) -> None:
    """Without the compiled engine there are no helpers."""


expect = engine.expect if engine else _expect_nobody
"""Wake sleeping helpers for work that follows at once and takes one thread about so many nanoseconds.

They are there when it begins. For work that is worth no helper, nothing happens.
"""


def isa() -> str:
    """The instruction set that the compiled kernels use."""
    return engine.isa() if engine else "none"


def vector_registers() -> int:
    """How many registers for vectors that instruction set has."""
    return 32 if isa() == "avx512" or platform.machine().lower() in ("aarch64", "arm64") else 16


def vector_lanes() -> int:
    """How many numbers of 32 bits such a register holds."""
    return {"avx512": 16, "avx2": 8}.get(isa(), 4)
