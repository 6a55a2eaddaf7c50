from numpy.typing import NDArray

from ..._problem import Conv2d
from ..chain.cy import WeightsStep

def backward_weights(dw: NDArray, db: NDArray | None, dout: NDArray, x: NDArray, p: Conv2d) -> None: ...
def prepare_weights(p: Conv2d) -> WeightsStep: ...
