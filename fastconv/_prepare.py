"""Operations prepared for prediction: everything decided and packed but the input's numbers.

The same road as an operation's own: its check makes the Problem, dispatch chooses the kernel, and the kernel's row in
the table says how it is prepared. Each function returns a step for `fastconv.kernels.chain.cy.Chain`, or None where
the chosen kernel has no prepared form, or would read a copy of an argument that the check made.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _check as check
from . import _dispatch
from . import _memory as memory

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


def conv2d(
    shape: Shape,
    w: Array,
    b: Array | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: str | None,
) -> tuple[Any, Shape]:
    """The step and the shape of its result, for images of `shape` in the dtype of w."""
    x = memory.pooled(shape, w.dtype)
    p, _, *given = check.conv2d(x, w, b, stride, padding, dilation, groups, activation)
    return _prepared("conv2d_forward", p, (w, b), given), p.out_shape


def affine(shape: Shape, w: Array, b: Array | None, activation: str | None, scale: float) -> tuple[Any, Shape]:
    """The same for `scale` times an affine map."""
    p, _, *given = check.affine(memory.pooled(shape, w.dtype), w, b, activation)
    return _prepared("affine_forward", p, (w, b), given, scale), (p.N, p.M)


def max_pool2d(
    shape: Shape, dtype: npt.DTypeLike, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> tuple[Any, Shape]:
    """The same for maxima without their indices."""
    p, _ = check.max_pool2d(memory.pooled(shape, dtype), kernel_size, stride, padding, 1, ceil_mode)
    return _prepared("max_pool2d_forward", p), p.out_shape


def elementwise(op: str, shape: Shape, dtype: npt.DTypeLike, negative_slope: float = 0.0) -> tuple[Any, Shape]:
    """The same for "relu", "leaky_relu", "sigmoid" or "tanh"."""
    p, x = check.elementwise(memory.pooled(shape, dtype), negative_slope)
    return _prepared(f"{op}_forward", p, (), (), x[0].size), shape


def _prepared(op: str, p: Any, weights: tuple[Any, ...] = (), given: Any = (), *more: Any) -> Any:
    prepare = _dispatch.prepare(op, p)
    in_place = all(w is g for w, g in zip(weights, given, strict=True)) and p.dtype == p.result_dtype
    return prepare(*weights, p, *more) if prepare and in_place and p.dtype in (np.float32, np.float64) else None
