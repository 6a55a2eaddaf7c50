"""Loss layers: `forward(x, t)` gives a number, `backward()` the gradient with respect to x."""

from .. import ops
from ._kept import Kept
from ._layer import Array, Layer, Saved


class _Classes(Layer):
    """A loss whose targets are classes."""

    classifies = True

    def __init__(self) -> None:
        self.loss: Saved = None
        self.y: Saved = None
        self.t: Saved = None


class SoftmaxWithLoss(_Classes):
    """Softmax and cross entropy: -mean(log(y + 1e-7)) over the probabilities y of the true classes.

    Targets (N, classes) need not be one-hot: the loss is then -sum(t * log(y + 1e-7)) / N.

    The 1e-7 is the book's; `fastconv.softmax_cross_entropy` is the exact loss.

    Attributes
    ----------
    loss : float
    y : ndarray (N, classes)
        The probabilities.
    t : ndarray (N,) of int, or (N, classes)
    """

    def forward(self, x: Array, t: Array) -> float:
        self.loss, self.y = ops.softmax_cross_entropy(x, t, offset=1e-7)
        self.t = t
        return self.loss

    def backward(self, dout: float = 1) -> Array:
        """dout * (y - onehot(t)) / N."""
        dx = ops.softmax_cross_entropy_backward(self.y, self.t)
        return dx if dout == 1 else dout * dx


class IdentityWithLoss(Layer):
    """The output layer of a regression: y = x with the squared error.

    Parameters
    ----------
    reduction : {"half_sum", "sum", "mean"}
        0.5 * sum((y - t)**2) as in the book, the sum, or the mean over all elements.

    Attributes
    ----------
    loss : float
    y, t : ndarray
    """

    y = Kept()

    def __init__(self, reduction: str = "half_sum") -> None:
        if reduction not in ("half_sum", "sum", "mean"):
            raise ValueError(f"reduction: expected 'half_sum', 'sum' or 'mean', got {reduction!r}")
        self.reduction = reduction
        self.loss: Saved = None
        self.t: Saved = None

    def forward(self, x: Array, t: Array) -> float:
        self.loss = ops.mean_squared_error(x, t, reduction=self.reduction)
        IdentityWithLoss.y.keep(self, x)
        self.t = t
        return self.loss

    def backward(self, dout: float = 1) -> Array:
        """The gradient of the loss: dout * (y - t), times 2 for the sum, times 2 / size for the mean."""
        y = IdentityWithLoss.y.unchanged(self)
        return dout * ops.mean_squared_error_backward(y, self.t, self.reduction)


class MeanSquaredErrorLoss(IdentityWithLoss):
    """The squared error of a regression, PyTorch's MSELoss: `IdentityWithLoss` with the mean by default.

    Parameters
    ----------
    reduction : {"mean", "sum", "half_sum"}
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class NLLLoss(_Classes):
    """Mean negative log-likelihood of integer labels on log-probabilities (N, classes), behind a `LogSoftmax`."""

    def forward(self, log_y: Array, t: Array) -> float:
        self.loss = ops.nll_loss(log_y, t)
        self.y, self.t = log_y, t
        return self.loss

    def backward(self, dout: float = 1) -> Array:
        return dout * ops.nll_loss_backward(self.y, self.t)
