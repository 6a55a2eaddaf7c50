"""Activation layers. Each keeps its result, from which its gradient is computed."""

from collections.abc import Callable
from typing import ClassVar

from .. import ops
from ._layer import Array, Layer, Saved


class _Activation(Layer):
    """y = f(x), with the gradient a function of dout and y."""

    runs_on_cuda = True
    _f: ClassVar[Callable[..., Array]]
    _gradient: ClassVar[Callable[..., Array]]

    def __init__(self) -> None:
        self.out: Saved = None

    def forward(self, x: Array) -> Array:
        self.out = self._f(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        return self._gradient(dout, self.out)


class Relu(_Activation):
    """max(x, 0). The gradient passes where x > 0.

    Only the result is kept, no mask is written: `mask` (True where x <= 0) is computed when it is asked for. Unlike the
    book's, `backward` does not write into `dout`.
    """

    kind = "relu"
    _f = staticmethod(ops.relu)
    _gradient = staticmethod(ops.relu_backward)

    @property
    def mask(self) -> Array | None:
        return None if self.out is None else self.out <= 0


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)); the gradient is `dout * (1 - out) * out`."""

    kind = "sigmoid"
    _f = staticmethod(ops.sigmoid)
    _gradient = staticmethod(ops.sigmoid_backward)


class Tanh(_Activation):
    """tanh(x); the gradient is `dout * (1 - out**2)`."""

    kind = "tanh"
    _f = staticmethod(ops.tanh)
    _gradient = staticmethod(ops.tanh_backward)


class _AlongAxis(_Activation):
    """An activation that normalises along one axis."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Array) -> Array:
        self.out = self._f(x, self.axis)
        return self.out

    def backward(self, dout: Array) -> Array:
        return self._gradient(dout, self.out, self.axis)


class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) along `axis`, safe from overflow."""

    _f = staticmethod(ops.softmax)
    _gradient = staticmethod(ops.softmax_backward)


class LogSoftmax(_AlongAxis):
    """log(softmax(x)) along `axis`, without computing the softmax's tiny numbers first."""

    _f = staticmethod(ops.log_softmax)
    _gradient = staticmethod(ops.log_softmax_backward)


class LeakyRelu(Layer):
    """x where x > 0, `negative_slope * x` elsewhere.

    Source: A. Maas, A. Hannun and A. Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013.
    """

    kind = "leaky_relu"
    reads = ("negative_slope",)
    runs_on_cuda = True

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope
        self.x: Saved = None

    def forward(self, x: Array) -> Array:
        self.x = x
        return ops.leaky_relu(x, self.negative_slope)

    def backward(self, dout: Array) -> Array:
        return ops.leaky_relu_backward(dout, self.x, self.negative_slope)
