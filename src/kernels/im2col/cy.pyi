"""im2col and col2im, compiled: see isa.cpp."""

import numpy as np
import numpy.typing as npt

from ..._problem import Window

Array = npt.NDArray[np.floating]

def im2col(out: Array, x: Array, p: Window) -> None: ...
def col2im(out: Array, col: Array, p: Window) -> None: ...
