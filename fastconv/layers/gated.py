"""Activations whose gradient needs their input, which they keep."""

from collections.abc import Callable
from typing import ClassVar

from .. import ops
from ._kept import Kept
from ._layer import Array, Layer


class _OfInput(Layer):
    """y = f(x), with the gradient a function of dout and x."""

    runs_on_cuda = True
    x = Kept()
    _f: ClassVar[Callable[..., Array]]
    _gradient: ClassVar[Callable[..., Array]]

    def forward(self, x: Array) -> Array:
        y = self._f(x)
        _OfInput.x.keep(self, x)
        return y

    def backward(self, dout: Array) -> Array:
        return self._gradient(dout, _OfInput.x.unchanged(self))


class Relu6(_OfInput):
    """min(max(x, 0), 6).

    Source: A. Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10, 2010.
    """

    kind = "relu6"
    _f = staticmethod(ops.relu6)
    _gradient = staticmethod(ops.relu6_backward)

    @property
    def out(self) -> Array | None:
        """What stands for x, where a fused kernel gave the result: both are between 0 and 6 at the same places."""
        return self.x

    @out.setter
    def out(self, result: Array) -> None:
        self.x = result


class HardSigmoid(_OfInput):
    """min(max(x + 3, 0), 6) / 6.

    Source: A. Howard et al., Searching for MobileNetV3, 2019.
    """

    kind = "hard_sigmoid"
    _f = staticmethod(ops.hard_sigmoid)
    _gradient = staticmethod(ops.hard_sigmoid_backward)


class HardSwish(_OfInput):
    """x * hard_sigmoid(x).

    Source: A. Howard et al., Searching for MobileNetV3, 2019.
    """

    kind = "hard_swish"
    _f = staticmethod(ops.hard_swish)
    _gradient = staticmethod(ops.hard_swish_backward)


class Silu(_OfInput):
    """x * sigmoid(x), also called swish.

    Source: S. Elfwing, E. Uchibe and K. Doya, Sigmoid-Weighted Linear Units for Neural Network Function Approximation
    in Reinforcement Learning, 2018.
    """

    kind = "silu"
    _f = staticmethod(ops.silu)
    _gradient = staticmethod(ops.silu_backward)


class Gelu(_OfInput):
    """x * Phi(x), Phi the normal distribution function; `approximate="tanh"` as in `fastconv.gelu`.

    Source: D. Hendrycks and K. Gimpel, Gaussian Error Linear Units, 2016.
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Array) -> Array:
        y = ops.gelu(x, self.approximate)
        Gelu.x.keep(self, x)
        return y

    def backward(self, dout: Array) -> Array:
        return ops.gelu_backward(dout, Gelu.x.unchanged(self), self.approximate)
