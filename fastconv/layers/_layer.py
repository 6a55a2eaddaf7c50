"""What every layer has in common."""

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy.typing as npt

from ..graph.nodes import Child

Array = npt.NDArray[Any]
Saved = Any  # what the last call left for the next: None before the first


class Layer:
    """A step of a network with `forward(x)` and `backward(dout)`: the base of all layers, and of your own.

    `backward` takes the gradient of the loss with respect to the result of the last `forward`, stores the gradients of
    the parameters as attributes (that of `W` is `dW`) and returns the gradient with respect to the input. Parameters
    are the caller's own arrays, so an optimiser that changes them in place changes the layer. What `backward` needs of
    `forward` is kept in attributes; a network that uses a layer several times puts them aside in between.

    A layer of your own needs `forward` and `backward`, and `trainable` if it has parameters. Everything else has a
    default. If `forward` has an argument named `train_flg`, it is told whether the network trains.

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
    kind : str
        What the graph's fusions know the layer by. It counts for the class that sets it and for subclasses that keep
        its `forward` and `backward`.
    reads : tuple of str
        Names of the attributes on which prediction depends, for a layer with a `kind`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.layers import Layer
    >>> class Scale(Layer):
    ...     trainable = ("a",)
    ...     def __init__(self, a):
    ...         self.a = a
    ...     def forward(self, x):
    ...         self.x = x
    ...         return self.a * x
    ...     def backward(self, dout):
    ...         self.da = np.sum(dout * self.x, keepdims=True).reshape(1)
    ...         return self.a * dout
    """

    trainable: ClassVar[tuple[str, ...]] = ()
    statistics: ClassVar[tuple[str, ...]] = ()
    runs_on_cuda: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    takes_train_flg: ClassVar[bool] = False
    kind: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ()
    forward: Callable[..., Any]
    backward: Callable[..., Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        if "forward" in own and "takes_train_flg" not in own and inspect.isfunction(own["forward"]):
            cls.takes_train_flg = "train_flg" in inspect.signature(own["forward"]).parameters

    def children(self) -> Iterator[Child]:
        """The layers inside of this one, with their names and what holds them."""
        return iter(())

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """`forward`."""
        return self.forward(*inputs, **options)

    def __repr__(self) -> str:
        arrays = (f"{name}={_shape(getattr(self, name, None))}" for name in self.trainable)
        return f"{type(self).__name__}({', '.join([*arrays, *self._options()])})"

    def _options(self) -> list[str]:
        """What `repr` shows besides the shapes of the parameters: the constructor's other arguments."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        kept = vars(self)
        return [
            f"{p.name}={kept[p.name]!r}"
            for p in parameters
            if p.name in kept
            and p.name not in (*self.trainable, *self.statistics)
            and not _equal(kept[p.name], p.default)
        ]


def _shape(a: Any) -> Any:
    return getattr(a, "shape", a)


def _equal(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str | tuple) and a == b)


def weights(W: Any, ndim: int, layout: str) -> Any:
    """W itself, if it is an array of that rank.

    Raises
    ------
    TypeError
        If it is anything else, as the sizes that PyTorch's constructors take.
    """
    if getattr(W, "ndim", None) != ndim:
        raise TypeError(f"W: expected an array {layout}, got {_shape(W)!r}")
    return W


def run(layer: Any, x: Array, train_flg: bool) -> Array:
    """`layer.forward`, with the flag where the layer takes one."""
    return layer.forward(x, train_flg) if getattr(layer, "takes_train_flg", False) else layer.forward(x)


def rows(x: Array) -> Array:
    """x (N, C, H, W) as (N, C*H*W), a view where x is dense."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))
