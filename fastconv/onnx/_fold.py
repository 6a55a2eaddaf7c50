"""What is known before any input is: values computed once, nodes without a reader, names for the same value."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ._graph import Node
from ._proto import ModelError

Array = npt.NDArray[Any]

RANDOM = frozenset({"Dropout"})  # whose results are not to be kept: in training


@contextmanager
def naming(node: Node, name: str, arrays: Sequence[Any] = ()) -> Iterator[None]:
    """Errors inside say which node it was."""
    try:
        yield
    except (MemoryError, ModelError):
        raise
    except Exception as error:
        sizes = ", ".join("-" if a is None else str(np.shape(a)) for a in arrays)
        raise ModelError(f"{name}: node {node}{', inputs ' if sizes else ''}{sizes}: {error}") from error


def call(run: Any, arrays: Sequence[Any], node: Node, name: str) -> tuple[Array, ...]:
    """The results of a node."""
    with naming(node, name, arrays):
        result = run(*arrays)
    return tuple(map(np.asarray, result)) if isinstance(result, tuple) else (np.asarray(result),)


def constants(nodes: list[Node], known: dict[str, Array], name: str) -> list[Node]:
    """The nodes that depend on inputs; what the others give is added to `known`."""
    left = []
    for node in nodes:
        if node.type not in RANDOM and all(not value or value in known for value in node.inputs):
            results = call(node.run, [known[v] if v else None for v in node.inputs], node, name)
            known.update(zip(node.outputs, results, strict=False))
        else:
            left.append(node)
    return left


def read(nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes whose results are used."""
    used, kept = set(outputs), []
    for node in reversed(nodes):
        if any(value in used for value in node.outputs):
            kept.append(node)
            used.update(node.inputs)
    return kept[::-1]
