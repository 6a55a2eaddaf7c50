"""A loaded model."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .._settings import settings
from ._graph import Node, Value
from ._plan import Plan, Program
from ._proto import ModelError, widened

Array = npt.NDArray[Any]

_MOST_PLANS = 8  # shapes of inputs that a model keeps ready


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
    parameters : dict of Value
        What is known of the arrays of the file, by name.
    """

    def __init__(
        self,
        name: str,
        inputs: list[Value],
        outputs: list[Value],
        nodes: list[Node],
        parameters: Mapping[str, Value],
        program: Program,
    ) -> None:
        self.name, self.inputs, self.outputs, self.nodes = name, inputs, outputs, nodes
        self.parameters = dict(parameters)
        self._program = program
        self._plans: dict[tuple[Any, ...], Plan] = {}

    def __call__(self, /, *arrays: Any, **named: Any) -> Any:
        given = self._given(arrays, named)
        key = (*(x.shape for x in given), settings.float32_conv_precision, settings.backend)
        plan = self._plans.get(key)
        if plan is None:
            results = self._planned(key, given)
        else:
            results = plan(given)
        return results[0] if len(results) == 1 else results

    def _planned(self, key: tuple[Any, ...], given: list[Array]) -> tuple[Array, ...]:
        """Make a plan for inputs like these; their outputs."""
        plan = Plan(self._program, given)
        while len(self._plans) >= _MOST_PLANS:
            self._plans.pop(next(iter(self._plans)), None)
        self._plans[key] = plan
        results, plan.first = plan.first, None
        return results

    def _given(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> list[Array]:
        """The inputs in their order."""
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
        return [_fitting(v, given[v.name], sizes) for v in self.inputs]

    def summary(self) -> str:
        """The inputs, outputs and operators as text."""
        lines = [self.name]
        for what, values in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"  {what:9} {v.name}  {_sizes(v.shape)} {v.dtype}" for v in values]
        kinds = Counter(node.type for node in self.nodes)
        lines += [f"  {count:5} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
        total = sum(math.prod(v.shape) for v in self.parameters.values())  # type: ignore[arg-type, misc]
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
    x = np.require(widened(x), requirements=("C", "A"))
    shape = value.shape
    if shape is None:
        return x
    fits = x.ndim == len(shape)
    for n, expected in zip(x.shape, shape, strict=False):
        size = sizes.setdefault(expected, n) if isinstance(expected, str) else n if expected is None else expected
        fits = fits and n == size
    if not fits:
        raise ModelError(f"input {value.name!r}: expected shape {_sizes(shape)}, got {x.shape}")
    return x
