"""What this machine can do at most: multiply-adds a second, and bytes a second by working set.

    python -m fastconv._ceiling

measures for about a second, with as many threads as kernels may use, and prints JSON.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from ._memory import zeros

SIZES = tuple(4**k * 65536 for k in range(7))  # bytes in all arrays of a loop together: 64 KiB to 256 MiB
SECONDS = 0.06  # for one loop at one size


@dataclass(frozen=True)
class Ceiling:
    """Rates that bound kernels: float32 operations a second, and bytes read and written a second for each of `SIZES`.

    `copy` and `triad` count bytes as STREAM does: what a store fetches before it writes is not counted.
    """

    flops: float
    copy: tuple[float, ...]
    triad: tuple[float, ...]

    def bandwidth(self, size: float) -> float:
        """Bytes a second of a loop over `size` bytes: the better of copy and triad, between two sizes in proportion."""
        best = [max(pair) for pair in zip(self.copy, self.triad, strict=True)]
        return float(np.interp(math.log(max(size, 1.0)), np.log(SIZES), best))

    def seconds(self, flops: float, size: float) -> float:
        """The least time for work of so many operations on so many bytes: the slower of the two ceilings (a roofline).

        S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model", CACM 52 (2009).
        """
        return max(flops / self.flops, size / self.bandwidth(size))


def measure() -> Ceiling:
    """Measure with the threads that kernels may use.

    Raises
    ------
    RuntimeError
        In a build without the compiled engine.
    """
    try:
        from .kernels.ceiling import cy
    except ImportError as error:
        raise RuntimeError(f"the machine's ceilings are measured by compiled loops: {error}") from None

    sums = zeros((64,), np.float32)
    operations = cy.multiply_add(sums, 2000)
    flops = operations / _best(lambda: cy.multiply_add(sums, 2000), 5 * SECONDS)

    def streams(arrays: int, loop: Callable[..., Any]) -> tuple[float, ...]:
        rates = []
        for size in SIZES:
            operands = [zeros((size // arrays // 4,), np.float32) for _ in range(arrays)]
            rates.append(sum(a.nbytes for a in operands) / _best(partial(loop, *operands), SECONDS))
        return tuple(rates)

    return Ceiling(flops, streams(2, cy.copy), streams(3, cy.triad))


def _best(call: Callable[[], Any], seconds: float) -> float:
    """The shortest time of a call that is repeated for so long, and at least four times."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 4 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    print(json.dumps(asdict(measure())))
