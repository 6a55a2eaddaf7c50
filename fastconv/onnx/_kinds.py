"""Operations as the graph's fusions know them: what a node of a known kind computes, alone and merged with others.

Each has `run`, which takes arrays of any sizes, and `steps`, its prepared form for one shape: see `_plan.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _check as check
from .. import _prepare as prepare
from .. import ops
from ..ops.activations import add_activation
from ._direct import Direct, Scaled
from ._graph import Node
from .operators._windows import Window

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

IN_KERNELS = frozenset({"relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu"})
"""Activations that the functions apply to their own result; that of "leaky_relu" has the slope .01."""
SLOPE = 0.01

_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "relu": ops.relu, "relu6": ops.relu6, "sigmoid": ops.sigmoid, "tanh": ops.tanh, "hard_sigmoid": ops.hard_sigmoid,
    "hard_swish": ops.hard_swish, "silu": ops.silu, "gelu": ops.gelu,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation by its kernel's name."""

    name: str
    slope: float = SLOPE

    @property
    def in_kernels(self) -> bool:
        return self.name in IN_KERNELS and (self.name != "leaky_relu" or self.slope == SLOPE)

    def run(self, x: Array, out: Array | None = None) -> Array:
        if self.name == "leaky_relu":
            return ops.leaky_relu(x, self.slope, out=out)
        return _FUNCTIONS[self.name](x, out=out)

    def steps(self, shape: Shape, dtype: np.dtype) -> Any:
        step, shape = prepare.elementwise(self.name, shape, dtype, self.slope)
        return None if step is None else ([step], shape)


@dataclass(slots=True)
class _Activated:
    """What can have an activation at its end."""

    activation: Activation | None = None

    def ended(self, y: Array) -> Array:
        """y, which nobody else has, with the activation that no kernel applied."""
        return y if self.activation is None else self.activation.run(y, y)

    def _name(self) -> str | None:
        """The activation that a kernel can apply itself."""
        return self.activation.name if self.activation is not None and self.activation.in_kernels else None


@dataclass(slots=True)
class Convolution(_Activated):
    """Filters, perhaps with a residual that is added before the activation."""

    W: Any = None
    b: Any = None
    window: Any = None
    groups: int = 1
    residual: bool = False

    def geometry(self, shape: Shape) -> tuple[Any, ...]:
        """stride, padding, dilation and groups for images of a shape."""
        window: Window = self.window
        if len(shape) != 4:
            raise ValueError(f"expected images (N, C, H, W), got shape {shape}")
        strides, dilations, pads = window.over(shape[2:], self.W.shape[2:])
        return strides, pads, dilations, self.groups

    def run(self, x: Array, add: Array | None = None) -> Array:
        name = self._name()
        y_shape = None if add is None else add.shape
        stride, padding, dilation, groups = self.geometry(x.shape)
        if add is not None and not self.takes_residual(x.shape, y_shape):
            y = ops.conv2d(x, self.W, self.b, stride, padding, dilation, groups) + add
            return self.ended(y)
        y = ops.conv2d(x, self.W, self.b, stride, padding, dilation, groups, activation=name, add=add)
        return y if name else self.ended(y)

    def takes_residual(self, shape: Shape, of: Any) -> bool:
        """Whether a residual of that shape needs no broadcasting."""
        (sh, sw), ((t, b), (l, r)), (dh, dw), _ = self.geometry(shape)
        FN, _, FH, FW = self.W.shape
        OH = (shape[2] + t + b - dh * (FH - 1) - 1) // sh + 1
        OW = (shape[3] + l + r - dw * (FW - 1) - 1) // sw + 1
        return tuple(of) == (shape[0], FN, OH, OW)

    def steps(self, shape: Shape, dtype: np.dtype) -> Any:
        if len(shape) != 4 or self.W.dtype != dtype:
            return None
        stride, padding, dilation, groups = self.geometry(shape)
        activation = None if self.residual else self.activation
        if self.W.shape[2:] == shape[2:] == (1, 1) and self.groups == 1 and not np.any(padding):
            matrix, rows = self.W.reshape(self.W.shape[:2]), shape[:2]
            made = _with_activation(
                lambda name: prepare.affine(rows, matrix, self.b, name, 1.0, True), activation, dtype
            )
            return None if made is None else (made[0], (*made[1], 1, 1))
        return _with_activation(
            lambda name: prepare.conv2d(shape, self.W, self.b, stride, padding, dilation, groups, name),
            activation,
            dtype,
        )

    def direct(self, x: Array, add: Array | None = None) -> Any:
        """The call of its kernel for images of one shape, or None."""
        if x.ndim != 4 or self.W.dtype != x.dtype or not x.size:
            return None
        if add is not None and (add.dtype != x.dtype or not self.takes_residual(x.shape, add.shape)):
            return None
        name = self._name()
        p, _, *given = check.conv2d(x, self.W, self.b, *self.geometry(x.shape), name, add)
        behind = given if add is None else given[:-1]
        return Direct("conv2d_forward", p, behind, p.out_shape, None if name else self.activation)


@dataclass(slots=True)
class Affine(_Activated):
    """A matrix (in, out), or (out, in) if `transposed`, and a bias for the last axis."""

    W: Any = None
    b: Any = None
    transposed: bool = False
    rows_only: bool = False  # takes nothing but matrices

    def run(self, x: Array) -> Array:
        if self.rows_only and x.ndim != 2:
            raise ValueError(f"expected a matrix, got shape {x.shape}")
        name = self._name()
        if self.transposed:
            return self.ended(ops.linear(x, self.W, self.b))
        rows = x if x.ndim == 2 else x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
        y = ops.affine(rows, self.W, self.b, activation=name)
        return (y if name else self.ended(y)).reshape(*x.shape[:-1], self.W.shape[1])

    @property
    def outputs(self) -> int:
        return self.W.shape[0 if self.transposed else 1]

    def steps(self, shape: Shape, dtype: np.dtype) -> Any:
        if len(shape) != 2 or self.W.dtype != dtype or shape[1] != self.W.shape[self.transposed]:
            return None
        return _with_activation(
            lambda name: prepare.affine(shape, self.W, self.b, name, 1.0, self.transposed), self.activation, dtype
        )


def _with_activation(made: Any, activation: Activation | None, dtype: np.dtype) -> Any:
    """The step with its activation inside where its kernel has that, or followed by a step of the activation's."""
    if activation is not None and activation.in_kernels:
        step, shape = made(activation.name)
        if step is not None:
            return [step], shape
    step, shape = made(None)
    if step is None:
        return None
    if activation is None:
        return [step], shape
    then = activation.steps(shape, dtype)
    return None if then is None else ([step, *then[0]], shape)


@dataclass(slots=True)
class Norm(_Activated):
    """Batch normalisation at inference: gamma, beta, mean and variance of every channel, in float64."""

    gamma: Any = None
    beta: Any = None
    mean: Any = None
    var: Any = None
    eps: float = 0.0
    dtype: Any = None
    _ready: Any = field(default=None, repr=False)

    def scale_and_shift(self) -> tuple[Array, Array]:
        """y = x * scale + shift."""
        scale = self.gamma / np.sqrt(self.var + self.eps)
        return scale, self.beta - self.mean * scale

    def then(self, other: "Norm") -> "Norm":
        """This one with another one behind it."""
        (a, b), (c, d) = self.scale_and_shift(), other.scale_and_shift()
        return Norm(other.activation, a * c, b * c + d, np.zeros_like(a), np.ones_like(a), 0.0, self.dtype)

    def _vectors(self) -> Any:
        """In the dtype of the images."""
        if self._ready is None:
            self._ready = tuple(v.astype(self.dtype) for v in (self.gamma, self.beta, self.mean, self.var))
        return self._ready

    def run(self, x: Array) -> Array:
        name = self._name()
        planes = x if x.ndim in (2, 4) else x.reshape(*x.shape[:2], -1, 1)
        gamma, beta, mean, var = self._vectors()
        y = ops.batch_norm(planes, gamma, beta, mean, var, False, eps=self.eps, activation=name)[0]
        return (y if name else self.ended(y)).reshape(x.shape)

    def steps(self, shape: Shape, dtype: np.dtype) -> Any:
        if len(shape) not in (2, 4) or dtype != self.dtype or shape[1] != len(self.gamma):
            return None
        return _with_activation(
            lambda name: prepare.batch_norm(shape, self._vectors(), self.eps, name), self.activation, dtype
        )


@dataclass(slots=True)
class Sum(_Activated):
    """The sum of two values."""

    def run(self, x: Array, y: Array) -> Array:
        if x.shape == y.shape and x.dtype == y.dtype and x.dtype.kind == "f":
            name = self._name()
            total = add_activation(x, y, name)
            return total if name else self.ended(total)
        return self.ended(np.add(x, y))

    def direct(self, x: Array, y: Array) -> Any:
        if x.shape != y.shape or x.dtype != y.dtype or x.dtype not in (np.float32, np.float64):
            return None
        name = self._name()
        p = check.added(x, y, name)[0]
        return Direct("add_activation", p, (), x.shape, None if name else self.activation)


@dataclass(slots=True)
class Gate(_Activated):
    """Images times a number for each channel of each, as squeeze-and-excitation has it."""

    def run(self, x: Array, scale: Array) -> Array:
        return self.ended(np.multiply(x, scale))

    def direct(self, x: Array, scale: Array) -> Any:
        fits = x.ndim == 4 and scale.shape == (*x.shape[:2], 1, 1) and scale.dtype == x.dtype and x.size > 0
        return Scaled(x, self.activation) if fits and x.dtype in (np.float32, np.float64) else None


@dataclass(slots=True)
class MaxPool:
    """Maxima without their indices."""

    window: Any
    ceil_mode: bool
    generic: Any

    def run(self, x: Array) -> Array:
        return self.generic(x)

    def steps(self, shape: Shape, dtype: np.dtype) -> Any:
        if len(shape) != 4:
            return None
        strides, dilations, pads = self.window.over(shape[2:], self.window.kernel)
        if max(dilations) > 1:
            return None
        step, shape = prepare.max_pool2d(shape, dtype, self.window.kernel, strides, pads, self.ceil_mode)
        return None if step is None else ([step], shape)


@dataclass(slots=True)
class AveragePool:
    """Averages of windows."""

    window: Any
    ceil_mode: bool
    include_pad: bool
    generic: Any

    def run(self, x: Array) -> Array:
        return self.generic(x)

    def steps(self, shape: Shape, dtype: np.dtype) -> Any:
        strides, dilations, pads = self.window.over(shape[2:], self.window.kernel)
        if len(shape) != 4 or max(dilations) > 1:
            return None
        step, shape = prepare.avg_pool2d(
            shape, dtype, self.window.kernel, strides, pads, self.ceil_mode, self.include_pad
        )
        return None if step is None else ([step], shape)


@dataclass(slots=True)
class Flat:
    """Images as rows."""

    generic: Any

    def run(self, x: Array) -> Array:
        return self.generic(x)

    def steps(self, shape: Shape, dtype: np.dtype) -> Any:
        return [], (shape[0], int(np.prod(shape[1:])))


@dataclass(slots=True, eq=False)
class Op:
    """One or more nodes of a model that run as one.

    Attributes
    ----------
    kind : str
        What the graph's fusions call it, "" for what they do not know.
    node : Node
        The last of its nodes, which errors name.
    inputs, outputs : tuple of str
    run : callable
    layer : object
        One of the classes above, or None.
    """

    kind: str
    node: Node
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[..., Any]
    layer: Any = None

    @property
    def output(self) -> str:
        """The value that a node of a known kind makes."""
        return self.outputs[0]
