"""A model's operations for inputs of given shapes: what is known by now computed once, rows of steps prepared.

A plan is made while its first inputs are computed. What depends on shapes alone is a constant of the plan. A row of
operations with prepared steps, each the only reader of the one before, becomes a chain, as in `graph/prediction.py`;
what has a kernel without a prepared form keeps its Problem and its kernel; everything else is called as it is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._settings import settings
from .._threads import expect
from ..ops.activations import add_activation
from ._direct import Part, Reshaped, dense
from ._fold import call, naming
from ._graph import Value
from ._kinds import Convolution, Op
from ._placing import Instruction, placed
from ._proto import ModelError
from .operators.shape import positive

try:
    from ..kernels.chain.cy import Chain

    _PREPARES = True
except ImportError:  # a build without the compiled kernels: no operation has a prepared form
    _PREPARES = False

Array = npt.NDArray[Any]

_BY_NUMBERS = frozenset({"NonZero", "ConstantOfShape", "Range", "If"})  # whose sizes depend on their inputs' numbers
_BY_OTHER_INPUTS = frozenset({
    "Reshape", "Expand", "Tile", "Slice", "Pad", "Resize", "Upsample", "TopK", "Squeeze", "Unsqueeze", "OneHot",
    "Split", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
})  # fmt: skip
_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_OF_SHAPES = frozenset({"Shape", "Size"})


class Program:
    """What all plans of a model share.

    Parameters
    ----------
    name : str
    ops : list of Op
        In an order in which they can run.
    constants : dict
        The values that are known before any input is.
    inputs, outputs : list of Value
    """

    def __init__(
        self, name: str, ops: list[Op], constants: dict[str, Array], inputs: list[Value], outputs: list[Value]
    ) -> None:
        self.name, self.ops, self.inputs, self.outputs = name, ops, inputs, outputs
        read = {value for op in ops for value in op.inputs} | {v.name for v in outputs}
        self.constants = {value: a for value, a in constants.items() if value in read}
        self.readers: dict[str, list[int]] = {}
        for at, op in enumerate(ops):
            for value in dict.fromkeys(op.inputs):
                self.readers.setdefault(value, []).append(at)
        for value in outputs:
            self.readers.setdefault(value.name, []).append(len(ops))


class Plan:
    """A program for inputs of given shapes.

    Parameters
    ----------
    program : Program
    given : sequence of ndarray
        Inputs like those to come.

    Attributes
    ----------
    first : tuple of ndarray
        The outputs for these inputs; whoever takes them should forget them here.
    """

    def __init__(self, program: Program, given: Sequence[Array]) -> None:
        self._program, self._ops = program, program.ops
        self._prepares = _PREPARES and settings.backend is None
        self._values: dict[str, Any] = {"": None, **program.constants}
        self._known = {"", *program.constants}
        self._stable = set(self._known)
        self._shapes: dict[str, tuple[int, ...]] = {v: a.shape for v, a in program.constants.items()}
        self._instructions: list[Instruction] = []
        self.nanoseconds = 0.0  # of all chains, on one thread
        for value, x in zip(program.inputs, given, strict=True):
            self._values[value.name], self._shapes[value.name] = x, x.shape
            self._stable.add(value.name)
        self._done: set[int] = set()
        for at, op in enumerate(self._ops):
            if at in self._done:
                continue
            if self._is_known(op):
                self._compute_once(op)
                self._done.add(at)
            else:
                self._take(at)
        self._assemble(given)

    def _is_known(self, op: Op) -> bool:
        if op.node.type in _OF_SHAPES and not op.node.domain:
            return op.inputs[0] in self._stable
        return op.node.type != "Dropout" and all(value in self._known for value in op.inputs)

    def _compute_once(self, op: Op) -> None:
        results = call(op.run, [self._values[v] for v in op.inputs], op.node, self._program.name)
        self._values.update(zip(op.outputs, results, strict=False))
        self._shapes.update((v, a.shape) for v, a in zip(op.outputs, results, strict=False))
        self._known.update(op.outputs)
        self._stable.update(op.outputs)

    def _take(self, at: int) -> None:
        """Compute an operation, with those behind it that its chain does too."""
        op = self._ops[at]
        if self._prepares and op.inputs and op.inputs[0] in self._stable and (self._chain(at) or self._direct(at)):
            return
        run = op.run
        results = call(run, [self._values[v] for v in op.inputs], op.node, self._program.name)
        sized = op.node.type not in _BY_NUMBERS and (
            op.node.type not in _BY_OTHER_INPUTS or all(v in self._known for v in op.inputs[1:])
        )
        stable = sized and all(v in self._stable for v in op.inputs)
        if stable and all(v in self._known for v in op.inputs[1:]):
            known = [self._values[v] for v in op.inputs]
            run = _view(op, run, known[0], known[1:], results[0])
        self._record([at], run, op.inputs, op.outputs, results, stable)

    def _record(
        self,
        done: list[int],
        run: Any,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        results: tuple[Array, ...],
        stable: bool = True,
    ) -> None:
        self._done.update(done)
        first, node = results[0], self._ops[done[-1]].node
        made = Instruction(run, inputs, outputs, first.shape, first.dtype)
        if stable and self._prepares:
            made.into = getattr(run, "into", None)
            if node.type == "Concat" and not node.domain:
                made.axis = positive(run.axis, first.ndim)
        self._instructions.append(made)
        self._values.update(zip(outputs, results, strict=False))
        self._shapes.update((v, a.shape) for v, a in zip(outputs, results, strict=False))
        if stable:
            self._stable.update(outputs)
        for value in inputs:  # what nobody reads any more is let go of, as in later calls
            if value and value not in self._known and self._is_dead(value):
                self._values[value] = None

    def _is_dead(self, value: str) -> bool:
        return all(at in self._done for at in self._program.readers.get(value, []))

    def _chain(self, at: int) -> bool:
        """Compute a chain of as many operations as can be prepared, if there are any."""
        op = self._ops[at]
        x = self._values[op.inputs[0]]
        if not (isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64) and x.ndim in (2, 4) and x.size):
            return False
        steps: list[Any] = []
        taken: list[int] = []
        shape, residual, ended = x.shape, "", False
        while not ended:
            op = self._ops[at]
            made = None
            if hasattr(op.layer, "steps") and len(op.outputs) == 1:
                with naming(op.node, self._program.name):
                    made = op.layer.steps(shape, x.dtype)
            if made is None or (not steps and not made[0]):
                break
            if isinstance(op.layer, Convolution) and op.layer.residual:
                residual, ended = op.inputs[1], True
                other = self._values.get(residual)
                if other is None or residual not in self._stable or other.shape != made[1] or other.dtype != x.dtype:
                    residual = ""
                    break
            steps += made[0]
            shape = made[1]
            taken.append(at)
            readers = self._program.readers.get(op.outputs[0], [])
            if len(readers) != 1 or readers[0] >= len(self._ops) or self._ops[readers[0]].inputs[0] != op.outputs[0]:
                break
            at = readers[0]
        if not steps:
            return False
        first, last = self._ops[taken[0]], self._ops[taken[-1]]
        run: Any = _Dense(Chain(steps, np.ascontiguousarray(x), shape))
        self.nanoseconds += run.chain.nanoseconds
        inputs = first.inputs[:1]
        if residual:
            run, inputs = _WithResidual(run, last.layer.activation), (inputs[0], residual)
        results = call(run, [self._values[v] for v in inputs], last.node, self._program.name)
        self._record(taken, run, inputs, last.outputs, results)
        return True

    def _direct(self, at: int) -> bool:
        """Compute an operation by the call of a kernel, without the checks, if it has one."""
        op = self._ops[at]
        if not hasattr(op.layer, "direct") or not all(v in self._stable for v in op.inputs):
            return False
        given = [dense(self._values[v]) for v in op.inputs]
        with naming(op.node, self._program.name):
            run = op.layer.direct(*given)
        if run is None:
            return False
        results = call(run, given, op.node, self._program.name)
        self._record([at], run, op.inputs, op.outputs, results)
        return True

    def _assemble(self, given: Sequence[Array]) -> None:
        """The program that later calls run, with numbers in the place of names."""
        slots = {"": 0}
        template: list[Any] = [None]

        def slot(value: str) -> int:
            if value not in slots:
                slots[value] = len(template)
                template.append(self._values[value] if value in self._known else None)
            return slots[value]

        self._inputs = [slot(v.name) for v in self._program.inputs]
        kept_apart = {v.name for v in (*self._program.inputs, *self._program.outputs)} | self._known
        numbered = [
            (one.run, tuple(map(slot, one.inputs)), tuple(map(slot, one.outputs)))
            for one in placed(self._instructions, self._shapes, kept_apart)
        ]
        self._outputs = [slot(v.name) for v in self._program.outputs]
        last: dict[int, int] = {}
        for i, (_, inputs, outputs) in enumerate(numbered):
            last.update((s, i) for s in (*inputs, *outputs))
        kept = {slots[v] for v in self._known if v in slots} | set(self._outputs)
        dying: list[list[int]] = [[] for _ in numbered]
        for s, i in last.items():
            if s not in kept:
                dying[i].append(s)
        self._template = template
        self._run = [
            (run, inputs, outputs[0], outputs if len(outputs) > 1 else (), tuple(dead))
            for (run, inputs, outputs), dead in zip(numbered, dying, strict=True)
        ]
        self._dtypes = [v.dtype for v in self._program.outputs]
        results = [self._values[v.name] for v in self._program.outputs]
        sources = [*given, *(a for a in template if isinstance(a, np.ndarray))]
        self._copies = [not y.flags.writeable or any(np.may_share_memory(y, a) for a in sources) for y in results]
        self.first: Any = self._finished(results)
        del self._values, self._known, self._stable, self._instructions, self._done, self._shapes

    def _finished(self, results: list[Array]) -> tuple[Array, ...]:
        """The outputs as the caller's own arrays, of the dtypes of the model."""
        return tuple(
            np.array(y, dtype, order="C")
            if copies or any(np.may_share_memory(y, other) for other in results[:i])
            else np.require(y, dtype, "C")
            for i, (y, dtype, copies) in enumerate(zip(results, self._dtypes, self._copies, strict=True))
        )

    def __call__(self, given: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs for inputs of the plan's shapes."""
        expect(self.nanoseconds)
        values = self._template.copy()
        for s, x in zip(self._inputs, given, strict=True):
            values[s] = x
        for run, inputs, output, several, dead in self._run:
            y = run(values[inputs[0]]) if len(inputs) == 1 else run(*[values[s] for s in inputs])
            if several:
                for s, part in zip(several, y, strict=False):
                    values[s] = part
            else:
                values[output] = y[0] if type(y) is tuple else y
            for s in dead:
                values[s] = None
        return self._finished([np.asarray(values[s]) for s in self._outputs])


class _Dense:
    """A chain, for arrays whether or not they are dense."""

    def __init__(self, chain: Any) -> None:
        self.chain = chain

    def __call__(self, x: Array) -> Array:
        return self.into(None, x)

    def into(self, out: Array | None, x: Array) -> Array:
        y = self.chain(x, out)
        if y is None:
            y = self.chain(np.require(x, requirements=("C", "A")), out)
        if y is None:
            raise ModelError(f"got an array {x.dtype} {x.shape} unlike that of the first call")
        return y


class _WithResidual:
    """A chain, and the sum behind it with its activation, in place."""

    def __init__(self, run: _Dense, activation: Any) -> None:
        self._run = run
        inside = activation is not None and activation.in_kernels
        self._name = activation.name if inside else None
        self._then = None if inside else activation

    def __call__(self, x: Array, residual: Array) -> Array:
        return self.into(None, x, residual)

    def into(self, out: Array | None, x: Array, residual: Array) -> Array:
        y = self._run.into(out, x)
        add_activation(y, residual, self._name, into=y)
        return y if self._then is None else self._then.run(y, y)


def _view(op: Op, run: Any, x: Array, known: Sequence[Any], result: Array) -> Any:
    """What gives the same view of arrays like x, where the operation makes one and its other inputs are known."""
    if op.node.domain or not isinstance(x, np.ndarray):
        return run
    if op.node.type in _RESHAPES and x.size == result.size:
        return Reshaped(result.shape)
    if op.node.type == "Slice":
        index = run.index(x, *known)
        return Part(index)
    return run
