"""The step of a simple recurrent network."""

from .. import ops
from ._layer import Array, Layer, Saved


class RecurrentStep(Layer):
    """h' = tanh(Wx·x + Wh·h + b), for a batch of rows.

    Parameters
    ----------
    Wx : ndarray (hidden, in)
    Wh : ndarray (hidden, hidden)
    b : ndarray (hidden,), optional

    Attributes
    ----------
    dWx, dWh, db : ndarray
        Gradients after `backward`; `db` is None without `b`.

    Notes
    -----
    Source: J. Elman, Finding Structure in Time, 1990. The weights are laid out as in PyTorch's RNNCell.
    """

    trainable = ("Wx", "Wh", "b")
    runs_on_cuda = True

    def __init__(self, Wx: Array, Wh: Array, b: Array | None = None) -> None:
        self.Wx, self.Wh, self.b = Wx, Wh, b
        self.x: Saved = None
        self.h: Saved = None
        self.h_next: Saved = None
        self.dWx: Saved = None
        self.dWh: Saved = None
        self.db: Saved = None

    def forward(self, x: Array, h: Array) -> Array:
        """x (N, in), h (N, hidden) -> h' (N, hidden)."""
        self.x, self.h = x, h
        self.h_next = ops.tanh(ops.linear(x, self.Wx, self.b) + ops.linear(h, self.Wh))
        return self.h_next

    def backward(self, dh_next: Array) -> tuple[Array | None, Array | None]:
        """The gradients with respect to x and h."""
        da = ops.tanh_backward(dh_next, self.h_next)
        dx, self.dWx, self.db = ops.linear_backward(da, self.x, self.Wx, needs=(True, True, self.b is not None))
        dh, self.dWh, _ = ops.linear_backward(da, self.h, self.Wh, needs=(True, True, False))
        return dx, dh
