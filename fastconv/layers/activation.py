"""Activation layers. Relu keeps a bit for each element, LeakyRelu its input, the others their result.

The result that Sigmoid, Tanh, Softmax and LogSoftmax keep is the array that they return, as the book's Sigmoid does:
changing it in place before `backward` changes the gradient.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from .. import ops
from .._device import to_host
from ..ops.activations import relu_masked, relu_masked_backward
from ._kept import Kept
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


class Relu(Layer):
    """max(x, 0). The gradient is stopped where x <= 0; a NaN lets it pass, as with the book's mask.

    A bit for each element is kept, so x and the result may be changed in place after `forward`. Unlike the book's,
    `backward` does not write into `dout`.

    Attributes
    ----------
    out : ndarray or None
        A result to take the gradient from, in place of the bits: what is assigned here has to stay as it is until
        `backward`. The networks assign what a fused kernel gave; `forward` leaves None.
    """

    kind = "relu"
    runs_on_cuda = True

    def __init__(self) -> None:
        self.out = None

    @property
    def out(self) -> Saved:
        return self._out

    @out.setter
    def out(self, result: Saved) -> None:
        self._out = result
        self._bits: Saved = None
        self._shape: tuple[int, ...] = ()

    def forward(self, x: Array) -> Array:
        self.out = None
        y, self._bits = relu_masked(x)
        self._shape = y.shape
        return y

    def backward(self, dout: Array) -> Array:
        if self._bits is None:
            return ops.relu_backward(dout, self.out)
        return relu_masked_backward(dout, self._bits, self._shape)

    @property
    def mask(self) -> Array | None:
        """True where x <= 0, made when it is asked for; None before `forward`."""
        if self._bits is None:
            return None if self.out is None else self.out <= 0
        bits = np.unpackbits(to_host(self._bits), count=math.prod(self._shape), bitorder="little")
        return bits.view(np.bool_).reshape(self._shape)


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

    x = Kept()

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        y = ops.leaky_relu(x, self.negative_slope)
        LeakyRelu.x.keep(self, x)
        return y

    def backward(self, dout: Array) -> Array:
        return ops.leaky_relu_backward(dout, LeakyRelu.x.unchanged(self), self.negative_slope)
