"""A loaded model."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ._graph import Node, Value
from ._proto import ModelError, widened

Array = npt.NDArray[Any]


class Model:
    """A network from a file, which computes its outputs from its inputs: what `fastconv.onnx.load` returns.

    ``model(x)`` takes the inputs in their order, ``model(name=x)`` by name; it returns the output, or a tuple of them
    where there are several. A call with sizes that were not seen before makes a plan for them; later ones run it.

    Attributes
    ----------
    name : str
        The file's path, or "model".
    inputs, outputs : list of Value
        (name, shape, dtype) each. A size is an int, a name, or None where the model leaves it open.
    nodes : list of Node
        `type`, `name`, `domain`, `opset`, `inputs`, `outputs` and `attributes` each, in the order in which they run.
    parameters : dict
        The arrays of the file by name.
    """

    def __init__(
        self,
        name: str,
        inputs: list[Value],
        outputs: list[Value],
        nodes: list[Node],
        parameters: Mapping[str, Array],
        *,
        fuse: bool = True,
    ) -> None:
        self.name, self.inputs, self.outputs, self.nodes = name, inputs, outputs, nodes
        self.parameters = dict(parameters)
        self._fuse = fuse

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        values: dict[str, Any] = {**self.parameters, **self._given(arrays, named)}
        for node in self.nodes:
            assert node.run is not None
            result = node.run(*[values[i] if i else None for i in node.inputs])
            results = result if isinstance(result, tuple) else (result,)
            values.update(zip(node.outputs, map(np.asarray, results), strict=False))
        results = tuple(values[v.name].astype(v.dtype, copy=False) for v in self.outputs)
        return results if len(results) != 1 else results[0]

    def _given(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Array]:
        """The inputs by name."""
        names = [v.name for v in self.inputs]
        if len(arrays) > len(names):
            raise TypeError(f"{self.name}: takes {len(names)} inputs ({', '.join(names)}), got {len(arrays)}")
        given = dict(zip(names, arrays, strict=False))
        for name in named:
            if name not in names or name in given:
                problem = "was given twice" if name in given else f"is none of {', '.join(names)}"
                raise TypeError(f"{self.name}: input {name!r} {problem}")
        given.update(named)
        missing = [name for name in names if name not in given]
        if missing:
            raise TypeError(f"{self.name}: input {missing[0]!r} is missing")
        sizes: dict[str, int] = {}
        return {v.name: _fitting(v, given[v.name], sizes) for v in self.inputs}

    def summary(self) -> str:
        """The inputs, outputs and operators as text."""
        lines = [self.name]
        for what, values in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"  {what:9} {v.name}  {_sizes(v.shape)} {v.dtype}" for v in values]
        kinds = Counter(node.type for node in self.nodes)
        lines += [f"  {count:5} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
        total = sum(a.size for a in self.parameters.values())
        lines.append(f"  {len(self.nodes)} nodes, {total:,} numbers in {len(self.parameters)} arrays")
        return "\n".join(lines)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{v.name}: {_sizes(v.shape)} {v.dtype}" for v in self.inputs)
        return f"<fastconv.onnx.Model {self.name} ({inputs}), {len(self.nodes)} nodes>"


def _sizes(shape: Any) -> str:
    return "(any shape)" if shape is None else f"({', '.join('?' if n is None else str(n) for n in shape)})"


def _fitting(value: Value, given: Any, sizes: dict[str, int]) -> Array:
    """An input as an array of the model's dtype, of sizes that the model takes."""
    x = np.asarray(given)
    if x.dtype != value.dtype:
        if not (x.dtype.kind in "fiub" and np.can_cast(x.dtype, value.dtype, "same_kind")):
            raise TypeError(f"input {value.name!r}: expected dtype {value.dtype}, got {x.dtype}")
        x = x.astype(value.dtype)
    x = widened(x)
    shape = value.shape
    if shape is None:
        return x
    fits = x.ndim == len(shape)
    for n, expected in zip(x.shape, shape, strict=False):
        fits &= expected is None or n == (expected if isinstance(expected, int) else sizes.setdefault(expected, n))
    if not fits:
        raise ModelError(f"input {value.name!r}: expected shape {_sizes(shape)}, got {x.shape}")
    return x
