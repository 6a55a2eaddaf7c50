"""Convolutions with their ReLUs and the pooling behind them, as one in training."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .. import _prepare as prepare
from ..layers import Convolution, Pooling, Relu

Array = npt.NDArray[Any]

_PAYS_FROM = 1 << 21  # bytes that the last convolution writes: less stays in the caches between the layers anyway


class Block:
    """[convolution - ReLU] x n - pooling, whose forward and backward are done some images at a time.

    What the last convolution gives, and all gradients inside of the block, stay in a core's cache. The layers get what
    they would have else, but for the last ReLU's `out`, which nobody computes: it is None.

    Parameters
    ----------
    layers : list
        Convolution, Relu, Convolution, Relu, ..., Pooling.

    Attributes
    ----------
    layers : list
    """

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.convolutions: list[Convolution] = layers[:-1:2]
        self.relus: list[Relu] = layers[1:-1:2]
        self.pool: Pooling = layers[-1]
        self._done: prepare.BlockPass | None = None

    @property
    def ran(self) -> bool:
        """Whether the last `forward` gave a result, which `backward` can follow."""
        return self._done is not None

    def forward(self, x: Array) -> Array | None:
        """The pooled result; None where no kernel computes it so, it would not pay, or a layer has a hook."""
        pool, self._done = self.pool, None
        pays = x.ndim == 4 and len(self.convolutions[-1].W) * (x.nbytes // max(x.shape[1], 1)) >= _PAYS_FROM
        if pays and all(map(_is_plain, self.layers)):
            given = [(c.W, c.b, c.stride, c.pad, c.dilation, c.groups) for c in self.convolutions]
            window = (pool.pool_h, pool.pool_w), pool.stride, pool.pad, 1, pool.ceil_mode
            self._done = prepare.block(x, given, window)
        if self._done is None:
            return None
        sources = self._done.sources
        for convolution, relu, source, result in zip(
            self.convolutions, self.relus, sources, [*sources[1:], None], strict=True
        ):
            convolution.x, relu.out = source, result
        pool.out, pool.indices = self._done.forward()
        pool.input_shape = self._done.pooled_shape
        return pool.out

    def backward(self, dout: Array, needs_dx: bool) -> Array | None:
        """The gradient with respect to x; None if it is not needed. The layers get their gradients.

        Only behind a `forward` that gave a result.
        """
        assert self._done is not None  # or `ran` was not asked
        dx, gradients = self._done.backward(dout, needs_dx)
        for convolution, (dW, db) in zip(self.convolutions, gradients, strict=True):
            convolution.dW, convolution.db = dW, db
        self._done = None
        return dx


def find(layers: Sequence[Any]) -> list[Any]:
    """The layers, with each row of them that makes a block put together."""
    found: list[Any] = []
    for layer in layers:
        found.append(layer)
        row = _row(found) if type(layer) is Pooling else 0
        if row:
            found[-row:] = [Block(found[-row:])]
    return found


def _row(layers: list[Any]) -> int:
    """How many layers at the end are a block: 0, or 3, 5, ..."""
    count = 1
    while [type(layer) for layer in layers[-count - 2 : -count]] == [Convolution, Relu]:
        count += 2
    return count if count > 1 else 0


def _is_plain(layer: Any) -> bool:
    """Whether neither method was replaced on the object, as a hook does."""
    return not {"forward", "backward"} & vars(layer).keys()
