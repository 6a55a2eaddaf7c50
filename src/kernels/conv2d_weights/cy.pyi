from numpy.typing import NDArray

from ..._problem import Conv2d

def backward_weights(dw: NDArray, db: NDArray | None, dout: NDArray, x: NDArray, p: Conv2d) -> None: ...
