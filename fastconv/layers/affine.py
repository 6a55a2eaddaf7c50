"""The fully connected layer."""

import numpy as np

from .. import ops
from ._kept import Kept
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

    Notes
    -----
    As in the book, x (N, in) is kept itself, and changing it in place before `backward` changes `dW`. What the book
    flattens is often a copy there; here `backward` raises RuntimeError where such an x was changed in place.
    """

    kind = "affine"
    reads = ("W", "b")
    trainable = ("W", "b")
    runs_on_cuda = True
    x = Kept()

    def __init__(self, W: Array, b: Array | None = None) -> None:
        self.W, self.b = weights(W, 2, "(in, out)"), b
        self.dW: Saved = None
        self.db: Saved = None

    def forward(self, x: Array, *, activation: str | None = None) -> Array:
        """x (N, in) or (N, C, H, W) with C*H*W = in, or (in,) -> (N, out), or (out,)."""
        y = ops.affine(x, self.W, self.b, activation=activation)
        if np.ndim(x) > 2:
            Affine.x.keep(self, x)
        else:
            self.x = x
        return y

    def backward(self, dout: Array, *, needs_dx: bool = True, needs_dW: bool = True) -> Array | None:
        """The gradient in the shape that x had; None if it is not needed."""
        needs = needs_dx, needs_dW, needs_dW and self.b is not None
        x = Affine.x.unchanged(self)
        dx, self.dW, self.db = ops.affine_backward(dout, x, self.W, needs=needs)
        return dx
