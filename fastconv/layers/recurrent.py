"""The step of a simple recurrent network."""

from .. import ops
from ._kept import Kept
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
    x, h, h_next : ndarray
        Of the last `forward`.
    dWx, dWh, db : ndarray
        Gradients after `backward`; `db` is None without `b`.

    Notes
    -----
    The step may be used over a sequence: ``h = step.forward(x[t], h)`` for every t, then `backward` once for every
    step, the last one first. The gradients are then the sums over the steps. A sequence goes on while `forward` is
    given the very array that it returned last; another `h` begins a new one.

    Source: J. Elman, Finding Structure in Time, 1990. The weights are laid out as in PyTorch's RNNCell.
    """

    trainable = ("Wx", "Wh", "b")
    runs_on_cuda = True
    x, h, h_next = Kept(), Kept("input h"), Kept("result")

    def __init__(self, Wx: Array, Wh: Array, b: Array | None = None) -> None:
        self.Wx, self.Wh, self.b = Wx, Wh, b
        self.dWx: Saved = None
        self.dWh: Saved = None
        self.db: Saved = None
        self._steps: list[dict[str, Saved]] = []  # forward, and not yet backward
        self._sums = False  # whether a backward of this sequence has left its gradients

    def forward(self, x: Array, h: Array) -> Array:
        """x (N, in), h (N, hidden) -> h' (N, hidden)."""
        if not self._steps or h is not self.h_next:
            self._steps, self._sums = [], False
        h_next = ops.tanh(ops.linear(x, self.Wx, self.b) + ops.linear(h, self.Wh))
        RecurrentStep.x.keep(self, x)
        RecurrentStep.h.keep(self, h)
        RecurrentStep.h_next.keep(self, h_next)
        self._steps.append({place.slot: vars(self)[place.slot] for place in _KEPT})
        return h_next

    def backward(self, dh_next: Array) -> tuple[Array | None, Array | None]:
        """The gradients with respect to x and h of the latest step that has had none.

        Raises
        ------
        RuntimeError
            If every step of the sequence has had its backward, or one of its arrays was changed in place since.
        """
        if not self._steps:
            raise RuntimeError("RecurrentStep.backward: expected one call for each forward of a sequence, got one more")
        last = {place.slot: vars(self)[place.slot] for place in _KEPT}
        vars(self).update(self._steps[-1])
        try:
            x, h, h_next = (place.unchanged(self) for place in _KEPT)
        finally:
            vars(self).update(last)
        self._steps.pop()
        da = ops.tanh_backward(dh_next, h_next)
        dx, dWx, db = ops.linear_backward(da, x, self.Wx, needs=(True, True, self.b is not None))
        dh, dWh, _ = ops.linear_backward(da, h, self.Wh, needs=(True, True, False))
        if self._sums:
            dWx, dWh = self.dWx + dWx, self.dWh + dWh
            db = None if db is None else self.db + db
        self.dWx, self.dWh, self.db, self._sums = dWx, dWh, db, True
        return dx, dh


_KEPT = RecurrentStep.x, RecurrentStep.h, RecurrentStep.h_next
