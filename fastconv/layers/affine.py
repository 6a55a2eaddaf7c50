"""The fully connected layer."""

from .. import ops
from ._layer import Array, Layer, Saved, weights


class Affine(Layer):
    """x · W + b. Input of a higher rank is flattened behind its first axis.

    Parameters
    ----------
    W : ndarray (in, out)
    b : ndarray (out,) or None

    Attributes
    ----------
    dW, db : ndarray
        Gradients after `backward`, in the shapes of `W` and `b`; `db` is None without `b`.
    """

    kind = "affine"
    reads = ("W", "b")
    trainable = ("W", "b")
    runs_on_cuda = True

    def __init__(self, W: Array, b: Array | None = None) -> None:
        self.W, self.b = weights(W, 2, "(in, out)"), b
        self.x: Saved = None
        self.dW: Saved = None
        self.db: Saved = None

    def forward(self, x: Array, *, activation: str | None = None) -> Array:
        """x (N, in) or (N, C, H, W) with C*H*W = in, or (in,) -> (N, out), or (out,)."""
        self.x = x
        return ops.affine(x, self.W, self.b, activation=activation)

    def backward(self, dout: Array, *, needs_dx: bool = True, needs_dW: bool = True) -> Array | None:
        """The gradient in the shape that x had; None if it is not needed."""
        needs = needs_dx, needs_dW, needs_dW and self.b is not None
        dx, self.dW, self.db = ops.affine_backward(dout, self.x, self.W, needs=needs)
        return dx
