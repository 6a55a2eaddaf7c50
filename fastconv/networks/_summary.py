"""A network as a table of its layers."""

import math
from typing import Any

import numpy as np

from ..graph.nodes import Node
from ..graph.parameters import trainable_of


def table(network: Any, input_shape: tuple[int, ...]) -> str:
    """Path, kind, shape of the result and number of parameters of every layer, and the sum of these numbers."""
    dtype = next((a.dtype for a in network.params.values()), np.dtype(np.float32))
    rows: list[tuple[str, str, str, str]] = []
    counted: set[int] = set()

    def observe(node: Node, y: Any) -> None:
        arrays: list[Any] = [getattr(node.layer, name, None) for name in trainable_of(node.layer)]
        new = [a for a in arrays if hasattr(a, "size") and id(a) not in counted]
        counted.update(map(id, new))
        count = f"{sum(a.size for a in new):,}" if new else ""
        rows.append((node.path, type(node.layer).__name__, str(tuple(y.shape)), count))

    network._program().forward(network._here(np.zeros(input_shape, dtype)), False, observe)
    total = sum(math.prod(a.shape) for a in network.params.values())
    header = "layer", "kind", "result", "parameters"
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [_line(header, widths), _line(["-" * w for w in widths], widths), *(_line(row, widths) for row in rows)]
    return "\n".join([*lines, f"{total:,} parameters, {dtype}"])


def _line(cells: Any, widths: list[int]) -> str:
    *left, right = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join([*left, cells[-1].rjust(widths[-1])]).rstrip() if right else ""
