"""Convolutions with their ReLUs and the pooling behind them, as one in training."""

from typing import Any

import numpy.typing as npt

from .. import _prepare as prepare
from .._threads import expect
from .fusions import Fusion
from .nodes import Graph, Node

Array = npt.NDArray[Any]

PAYS_FROM = 1 << 21  # bytes that the last convolution writes: less stays in the caches between the layers anyway
_NANOSECONDS = 0.1  # that one thread needs for a byte of them, at least


class Block:
    """[convolution - ReLU] x n - pooling, whose forward and backward are done some images at a time.

    What the last convolution gives, and all gradients inside of the block, stay in a core's cache. The layers get what
    they would have else, but for the last ReLU's `out`, which nobody computes: it is None.

    Parameters
    ----------
    nodes : list of Node
        Of a Convolution, Relu, Convolution, Relu, ..., Pooling.
    """

    def __init__(self, nodes: list[Node]) -> None:
        layers = [node.layer for node in nodes]
        self.convolutions: list[Any] = layers[:-1:2]
        self.relus: list[Any] = layers[1:-1:2]
        self.pool: Any = layers[-1]
        self._done: prepare.BlockPass | None = None

    @property
    def ran(self) -> bool:
        """Whether the last `forward` gave a result, which `backward` can follow."""
        return self._done is not None

    def forget(self) -> None:
        """Forget the last `forward`, and let go of its arrays."""
        self._done = None

    def forward(self, x: Array) -> Array | None:
        """The pooled result; None where no kernel computes it so, or it would not pay."""
        pool, self._done = self.pool, None
        written = len(self.convolutions[-1].W) * (x.nbytes // max(x.shape[1], 1)) if x.ndim == 4 else 0
        if written >= PAYS_FROM:
            expect(_NANOSECONDS * written)
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


def find(graph: Graph, fusions: dict[int, Fusion]) -> dict[int, list[int]]:
    """The blocks of a graph: the position of a first convolution -> those of all nodes of its block.

    Parameters
    ----------
    graph : Graph
    fusions : dict
        Those of training: a block is a row of convolutions fused with their ReLUs, and a pooling with the last one's
        mask.
    """
    blocks = {}
    for last in (i for i, fusion in fusions.items() if fusion.name == "pooled mask"):
        row, relu = [last], last - 1
        while _is_fused_with_convolution(graph, fusions, relu):
            row = [relu - 1, relu, *row]
            if relu < 3 or graph.only_reader(graph.nodes[relu - 2]) != relu - 1:
                break
            relu -= 2
        if len(row) > 1:
            blocks[row[0]] = row
    return blocks


def _is_fused_with_convolution(graph: Graph, fusions: dict[int, Fusion], relu: int) -> bool:
    fusion = fusions.get(relu)
    kinds = graph.nodes[relu - 1].kind, graph.nodes[relu].kind
    return fusion is not None and fusion.name == "activation" and kinds == ("conv2d", "relu")
