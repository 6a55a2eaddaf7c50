"""Convolution layers."""

from typing import Any

from .. import ops
from ._kept import Kept
from ._layer import Array, Layer, Saved, weights


class Convolution(Layer):
    """Cross-correlation of images with a bank of filters, plus a bias for each filter: `fastconv.conv2d` as a layer.

    Parameters
    ----------
    W : ndarray (FN, C/groups, FH, FW)
    b : ndarray (FN,) or None
    stride, pad, dilation : int or (h, w)
        `pad` also takes ((top, bottom), (left, right)), "same" and "valid".
    groups : int

    Attributes
    ----------
    dW, db : ndarray
        Gradients after `backward`, in the shapes of `W` and `b`; `db` is None without `b`.
    x : ndarray
        The input of the last `forward`.
    col, col_W : ndarray
        The book's matrices of windows and of filters. Computed when they are asked for.

    Notes
    -----
    `backward` needs x as `forward` saw it. The book's layer copies it (`col`); this one keeps x itself, and `backward`
    raises RuntimeError where x was changed in place since.
    """

    kind = "conv2d"
    reads = ("W", "b", "stride", "pad", "dilation", "groups")
    trainable = ("W", "b")
    runs_on_cuda = True
    x = Kept()

    def __init__(
        self, W: Array, b: Array | None = None, stride: Any = 1, pad: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> None:
        self.W, self.b = weights(W, 4, "(FN, C/groups, FH, FW)"), b
        self.stride, self.pad, self.dilation, self.groups = stride, pad, dilation, groups
        self.dW: Saved = None
        self.db: Saved = None

    @property
    def col(self) -> Array | None:
        return None if self.x is None else ops.im2col(self.x, self.W.shape[2], self.W.shape[3], self.stride, self.pad)

    @property
    def col_W(self) -> Array:
        return self.W.reshape(len(self.W), -1).T

    def forward(self, x: Array, *, activation: str | None = None) -> Array:
        """x (N, C, H, W) -> (N, FN, OH, OW)."""
        y = ops.conv2d(x, self.W, self.b, self.stride, self.pad, self.dilation, self.groups, activation=activation)
        Convolution.x.keep(self, x)
        return y

    def backward(self, dout: Array, *, needs_dx: bool = True, needs_dW: bool = True) -> Array | None:
        """The gradient in x's shape; None if it is not needed."""
        needs = needs_dx, needs_dW, needs_dW and self.b is not None
        x = Convolution.x.unchanged(self)
        dx, self.dW, self.db = ops.conv2d_backward(
            dout, x, self.W, self.stride, self.pad, self.dilation, self.groups, needs=needs
        )
        return dx


class TransposedConvolution(Layer):
    """The adjoint of a convolution, which enlarges images: `fastconv.conv_transpose2d` as a layer.

    Parameters
    ----------
    W : ndarray (C, FN/groups, FH, FW)
    b : ndarray (FN,) or None
    stride, pad, output_padding, dilation : int or (h, w)
    groups : int
    """

    trainable = ("W", "b")
    runs_on_cuda = True
    x = Kept()

    def __init__(
        self,
        W: Array,
        b: Array | None = None,
        stride: Any = 1,
        pad: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> None:
        self.W, self.b = weights(W, 4, "(C, FN/groups, FH, FW)"), b
        self.stride, self.pad, self.output_padding = stride, pad, output_padding
        self.groups, self.dilation = groups, dilation
        self.dW: Saved = None
        self.db: Saved = None

    @property
    def _geometry(self) -> tuple[Any, ...]:
        return self.stride, self.pad, self.output_padding, self.groups, self.dilation

    def forward(self, x: Array) -> Array:
        """x (N, C, H, W) -> (N, FN, OH, OW)."""
        y = ops.conv_transpose2d(x, self.W, self.b, *self._geometry)
        TransposedConvolution.x.keep(self, x)
        return y

    def backward(self, dout: Array, *, needs_dx: bool = True) -> Array | None:
        """The gradient in x's shape; None if it is not needed."""
        needs = needs_dx, True, self.b is not None
        x = TransposedConvolution.x.unchanged(self)
        dx, self.dW, self.db = ops.conv_transpose2d_backward(dout, x, self.W, *self._geometry, needs=needs)
        return dx
