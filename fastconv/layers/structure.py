"""Layers that shape or join others."""

from collections.abc import Iterable, Sequence
from typing import Any

from ._layer import Array, Layer, rows, run


class Flatten(Layer):
    """x (N, C, H, W) -> (N, C*H*W), without a copy."""

    runs_on_cuda = True

    def __init__(self) -> None:
        self.input_shape: tuple[int, ...] = ()

    def forward(self, x: Array) -> Array:
        self.input_shape = x.shape
        return rows(x)

    def backward(self, dout: Array) -> Array:
        return dout.reshape(self.input_shape)


class Sequential(Layer):
    """Layers one after another.

    Parameters
    ----------
    layers : iterable of layers
    """

    runs_on_cuda = True
    takes_train_flg = True

    def __init__(self, layers: Iterable[Any]) -> None:
        self.layers = list(layers)

    @property
    def parts(self) -> Sequence[Any]:
        return self.layers

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        for layer in self.layers:
            x = run(layer, x, train_flg)
        return x

    def backward(self, dout: Array) -> Array:
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


class Residual(Layer):
    """body(x) + shortcut(x): the layers learn the difference from the identity.

    Parameters
    ----------
    body : iterable of layers
    shortcut : iterable of layers
        Nothing is the identity; a 1x1 convolution where the body changes the shape.

    Notes
    -----
    Source: K. He, X. Zhang, S. Ren and J. Sun, Deep Residual Learning for Image Recognition, 2016.
    """

    runs_on_cuda = True
    takes_train_flg = True

    def __init__(self, body: Iterable[Any], shortcut: Iterable[Any] = ()) -> None:
        self.body, self.shortcut = Sequential(body), Sequential(shortcut)

    @property
    def parts(self) -> Sequence[Any]:
        return self.body, self.shortcut

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        return self.body.forward(x, train_flg) + self.shortcut.forward(x, train_flg)

    def backward(self, dout: Array) -> Array:
        return self.body.backward(dout) + self.shortcut.backward(dout)
