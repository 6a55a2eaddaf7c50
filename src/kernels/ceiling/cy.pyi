"""The machine's ceilings, compiled."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

def multiply_add(out: Array, rounds: int) -> float: ...
def copy(y: Array, x: Array) -> None: ...
def triad(y: Array, x: Array, z: Array) -> None: ...
