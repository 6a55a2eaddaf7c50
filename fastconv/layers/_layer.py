"""What every layer has in common."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy.typing as npt

Array = npt.NDArray[Any]
Saved = Any  # what the last call left for the next: None before the first


class Layer:
    """A step of a network with `forward(x)` and `backward(dout)`.

    `backward` takes the gradient of the loss with respect to the result of the last `forward`, stores the gradients of
    the parameters as attributes (that of `W` is `dW`) and returns the gradient with respect to the input. Parameters
    are the caller's own arrays, so an optimiser that changes them in place changes the layer.

    Attributes
    ----------
    trainable : tuple of str
        Names of the attributes that hold parameters.
    statistics : tuple of str
        Names of the attributes that hold running statistics: saved with the parameters, not trained.
    runs_on_cuda : bool
        Whether the layer takes device arrays.
    classifies : bool
        Whether it is a loss whose targets are classes: labels, or one-hot.
    takes_train_flg : bool
        Whether `forward` takes a second argument that tells training (True) from inference (False).
    """

    trainable: ClassVar[tuple[str, ...]] = ()
    statistics: ClassVar[tuple[str, ...]] = ()
    runs_on_cuda: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    takes_train_flg: ClassVar[bool] = False
    forward: Callable[..., Any]
    backward: Callable[..., Any]

    @property
    def parts(self) -> Sequence[Any]:
        """The layers inside of this one."""
        return ()


def run(layer: Any, x: Array, train_flg: bool) -> Array:
    """`layer.forward`, with the flag where the layer takes one."""
    return layer.forward(x, train_flg) if layer.takes_train_flg else layer.forward(x)


def with_parts(layers: Iterable[Any]) -> list[Any]:
    """The layers, each followed by those inside of it."""
    return [each for layer in layers for each in (layer, *with_parts(layer.parts))]


def rows(x: Array) -> Array:
    """x (N, C, H, W) as (N, C*H*W), a view where x is dense."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))
