"""Pooling layers: each window of a channel reduced to one number."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import ops
from .._device import to_host
from .._random import source
from ._layer import Array, Layer, Saved


class _Window(Layer):
    """The constructor that the pooling layers share: the book's, and PyTorch's ceil mode."""

    runs_on_cuda = True

    def __init__(self, pool_h: int, pool_w: int, stride: Any = 2, pad: Any = 0, *, ceil_mode: bool = False) -> None:
        self.pool_h, self.pool_w = pool_h, pool_w
        self.stride, self.pad, self.ceil_mode = stride, pad, ceil_mode
        self.input_shape: Saved = None

    @property
    def _window(self) -> tuple[Any, Any, Any]:
        return (self.pool_h, self.pool_w), self.stride, self.pad


class Pooling(_Window):
    """Max pooling. Padding counts as minus infinity, the first maximum of a window takes its gradient.

    Parameters
    ----------
    pool_h, pool_w : int
    stride : int or (h, w)
    pad : int or (h, w)
        Of any size; a window of padding alone gives minus infinity, and its gradient goes nowhere.
    ceil_mode : bool
        Whether a last window that is only partly covered counts.

    Attributes
    ----------
    indices : ndarray (N, C, OH, OW), int64
        Where each maximum was, flat in H*W; -1 for a window of padding alone.
    out : ndarray (N, C, OH, OW)
        The last result.
    x : ndarray (N, C, H, W)
        The last input.
    arg_max : ndarray (N*OH*OW*C,)
        The book's places of the maxima: in each window, row by row. Computed when it is asked for.
    """

    kind = "max_pool2d"
    reads = ("pool_h", "pool_w", "stride", "pad", "ceil_mode")
    _pool: ClassVar[Callable[..., Any]] = staticmethod(ops.max_pool2d)
    _gradient: ClassVar[Callable[..., Any]] = staticmethod(ops.max_pool2d_backward)
    indices: Saved = None
    out: Saved = None
    x: Saved = None

    @property
    def arg_max(self) -> Array | None:
        if self.indices is None:
            return None
        (stride_h, stride_w), (pad_h, pad_w) = (v if isinstance(v, tuple) else (v, v) for v in (self.stride, self.pad))
        OH, OW = self.indices.shape[2:]
        rows, columns = np.divmod(to_host(self.indices), self.input_shape[3])
        rows = rows + pad_h - stride_h * np.arange(OH)[:, None]
        columns = columns + pad_w - stride_w * np.arange(OW)
        return (rows * self.pool_w + columns).transpose(0, 2, 3, 1).reshape(-1)

    def forward(self, x: Array) -> Array:
        """x (N, C, H, W) -> (N, C, OH, OW)."""
        self.out, self.indices = self._pool(x, *self._window, ceil_mode=self.ceil_mode)
        self.x, self.input_shape = x, x.shape
        return self.out

    def backward(self, dout: Array, *, through_relu: bool = False) -> Array:
        """The gradient in x's shape.

        through_relu: x was a ReLU's result, and the gradient is wanted before that. It passes where x > 0, and at a
        maximum x is the result: so it is stopped here, where there are fewer numbers than in x.
        """
        if through_relu:
            dout = ops.relu_backward(dout, self.out)
        return self._gradient(dout, self.indices, self.input_shape, *self._window, ceil_mode=self.ceil_mode)


class MinPooling(Pooling):
    """Min pooling: as `Pooling` (padding counts as plus infinity), with the first minimum."""

    kind = ""
    _pool = staticmethod(ops.min_pool2d)
    _gradient = staticmethod(ops.min_pool2d_backward)


class AveragePooling(_Window):
    """Average pooling.

    Parameters
    ----------
    pool_h, pool_w, stride, pad, ceil_mode
        As `Pooling` has them.
    count_include_pad : bool
        Whether padding zeros count in the divisor. The average of padding alone is 0 either way.
    """

    kind = "avg_pool2d"
    reads = ("pool_h", "pool_w", "stride", "pad", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        pool_h: int,
        pool_w: int,
        stride: Any = 2,
        pad: Any = 0,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(pool_h, pool_w, stride, pad, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        """x (N, C, H, W) -> (N, C, OH, OW)."""
        self.input_shape = x.shape
        return ops.avg_pool2d(x, *self._window, self.ceil_mode, self.count_include_pad)

    def backward(self, dout: Array) -> Array:
        return ops.avg_pool2d_backward(dout, self.input_shape, *self._window, self.ceil_mode, self.count_include_pad)


class StochasticPooling(Layer):
    """Training: one element of each window, drawn with a probability in proportion to it. Inference: their average
    weighted by these probabilities.

    Parameters
    ----------
    pool_h, pool_w : int
    stride, pad : int or (h, w)
    rng : None, int or numpy.random.Generator
        None seeds the layer's generator from NumPy's global one.

    Notes
    -----
    The input is expected to be non-negative, as it is behind a ReLU.
    Source: M. Zeiler and R. Fergus, Stochastic Pooling for Regularization of Deep Convolutional Neural Networks, 2013.
    """

    runs_on_cuda = True
    takes_train_flg = True

    def __init__(self, pool_h: int, pool_w: int, stride: Any = 2, pad: Any = 0, rng: Any = None) -> None:
        self.window = (pool_h, pool_w), stride, pad
        self.rng = np.random.default_rng(source().randint(2**31) if rng is None else rng)
        self.indices: Saved = None
        self.input_shape: Saved = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """x (N, C, H, W) -> (N, C, OH, OW)."""
        y, self.indices = ops.stochastic_pool2d(x, *self.window, training=train_flg, rng=self.rng)
        self.input_shape = x.shape
        return y

    def backward(self, dout: Array) -> Array:
        return ops.stochastic_pool2d_backward(dout, self.indices, self.input_shape, *self.window)


class AdaptiveAveragePooling(Layer):
    """Averages over the bins that divide the plane into `output_size`.

    Parameters
    ----------
    output_size : int or (h, w)
    """

    runs_on_cuda = True

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size
        self.input_shape: Saved = None

    def forward(self, x: Array) -> Array:
        """x (N, C, H, W) -> (N, C) + output_size."""
        self.input_shape = x.shape
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def backward(self, dout: Array) -> Array:
        return ops.adaptive_avg_pool2d_backward(dout, self.input_shape)


class GlobalAveragePooling(Layer):
    """The average of each channel: x (N, C, H, W) -> (N, C, 1, 1)."""

    runs_on_cuda = True

    def __init__(self) -> None:
        self.input_shape: Saved = None

    def forward(self, x: Array) -> Array:
        self.input_shape = x.shape
        return ops.global_avg_pool2d(x)

    def backward(self, dout: Array) -> Array:
        return ops.global_avg_pool2d_backward(dout, self.input_shape)
