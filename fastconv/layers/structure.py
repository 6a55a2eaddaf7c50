"""Layers that change the shape alone."""

from ._layer import Array, Layer, rows


class Flatten(Layer):
    """x (N, C, H, W) -> (N, C*H*W), without a copy."""

    kind = "flatten"
    reads = ()
    runs_on_cuda = True

    def __init__(self) -> None:
        self.input_shape: tuple[int, ...] = ()

    def forward(self, x: Array) -> Array:
        self.input_shape = x.shape
        return rows(x)

    def backward(self, dout: Array) -> Array:
        return dout.reshape(self.input_shape)
