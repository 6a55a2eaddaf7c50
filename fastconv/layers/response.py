"""Local response normalisation."""

from .. import ops
from ._kept import Kept
from ._layer import Array, Layer


class LocalResponseNormalization(Layer):
    """x / (k + alpha/size * sum of x**2 over `size` neighbouring channels)**beta, as `fastconv.local_response_norm`.

    Source: A. Krizhevsky, I. Sutskever and G. Hinton, ImageNet Classification with Deep Convolutional Neural Networks,
    2012.
    """

    runs_on_cuda = True
    x = Kept()

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Array) -> Array:
        """x (N, C, ...) -> the same shape."""
        y = ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
        LocalResponseNormalization.x.keep(self, x)
        return y

    def backward(self, dout: Array) -> Array:
        x = LocalResponseNormalization.x.unchanged(self)
        return ops.local_response_norm_backward(dout, x, self.size, self.alpha, self.beta, self.k)
