"""im2col and col2im, compiled: see isa.cpp."""

import numpy as np
import numpy.typing as npt

from ..._problem import Interchange, Planes, Window
from .ref import col2im as col2im_by_taps
from .ref import im2col as im2col_by_taps

__all__ = ["col2im", "col2im_by_taps", "col2im_planes", "im2col", "im2col_by_taps", "im2col_planes", "interchange"]

Array = npt.NDArray[np.floating]

def im2col(out: Array, x: Array, p: Window) -> None: ...
def col2im(out: Array, col: Array, p: Window) -> None: ...
def im2col_planes(out: Array, x: Array, p: Planes) -> None: ...
def col2im_planes(out: Array, col: Array, p: Planes) -> None: ...
def interchange(out: Array, x: Array, p: Interchange) -> None: ...
