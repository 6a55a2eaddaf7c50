"""Operations prepared: everything decided and packed but the input's numbers.

The same road as an operation's own: its check makes the Problem, dispatch chooses the kernel, and the kernel's row in
the table says how it is prepared. For prediction, each function returns a step for `fastconv.kernels.chain.cy.Chain`,
or None where the chosen kernel has no prepared form, or would read a copy of an argument that the check made. For
training, `block` prepares convolutions and their pooling for one step.
"""

from collections.abc import Sequence
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


def affine(
    shape: Shape, w: Array, b: Array | None, activation: str | None, scale: float, transposed: bool = False
) -> tuple[Any, Shape]:
    """The same for `scale` times an affine map; with `transposed`, w is (out, in)."""
    p, _, *given = check.affine(memory.pooled(shape, w.dtype), w, b, activation, transposed)
    return _prepared("affine_forward", p, (w, b), given, scale), (p.N, p.M)


def max_pool2d(
    shape: Shape, dtype: npt.DTypeLike, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> tuple[Any, Shape]:
    """The same for maxima without their indices."""
    p, _ = check.max_pool2d(memory.pooled(shape, dtype), kernel_size, stride, padding, 1, ceil_mode)
    return _prepared("max_pool2d_forward", p), p.out_shape


def avg_pool2d(
    shape: Shape, dtype: npt.DTypeLike, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, include_pad: bool
) -> tuple[Any, Shape]:
    """The same for averages."""
    p, _ = check.avg_pool2d(memory.pooled(shape, dtype), kernel_size, stride, padding, ceil_mode, include_pad)
    return _prepared("avg_pool2d_forward", p), p.out_shape


def batch_norm(shape: Shape, vectors: Sequence[Array], eps: float, activation: str | None) -> tuple[Any, Shape]:
    """The same for batch normalisation with these gamma, beta, running mean and running variance."""
    x = memory.pooled(shape, vectors[0].dtype)
    p, _, *given = check.batch_norm(x, *vectors, False, 0.0, eps, True, activation)
    return _prepared("batch_norm_inference", p, tuple(vectors), given), shape


def elementwise(op: str, shape: Shape, dtype: npt.DTypeLike, negative_slope: float = 0.0) -> tuple[Any, Shape]:
    """The same for "relu", "hard_swish" and the like."""
    p, x = check.elementwise(memory.pooled(shape, dtype), negative_slope)
    return _prepared(f"{op}_forward", p, (), (), x[0].size), shape


def _prepared(op: str, p: Any, weights: tuple[Any, ...] = (), given: Any = (), *more: Any) -> Any:
    prepare = _dispatch.prepare(op, p)
    in_place = all(w is g for w, g in zip(weights, given, strict=True)) and p.dtype == p.result_dtype
    return prepare(*weights, p, *more) if prepare and in_place and p.dtype in (np.float32, np.float64) else None


class BlockPass:
    """A step's pass through convolutions, each with its ReLU, and the maximum pooling behind them: see kernels/block.

    Parameters
    ----------
    convolutions : list of (Problem, x, w, b)
        The second x and the following ones are the results of the convolutions before: `forward` computes them.
    window : tuple
        The pooling's arguments.
    pool : Problem

    Attributes
    ----------
    sources : list of ndarray
        These x.
    pooled_shape : tuple of int
        Of the pooling's input.
    """

    def __init__(self, convolutions: list[tuple[Any, Array, Array, Array | None]], window: Any, pool: Any) -> None:
        self.sources, self.pooled_shape = [x for _, x, _, _ in convolutions], pool.x_shape
        self._weights = [(w, b) for _, _, w, b in convolutions]
        self._problems = [p for p, _, _, _ in convolutions]
        self._window, self._pool = window, pool
        self._steps = [_step("conv2d_forward", p, w, b) for p, _, w, b in convolutions]

    def forward(self) -> tuple[Array, Array]:
        """The pooled result and its indices."""
        self._y = memory.pooled(self._pool.out_shape, self._pool.dtype)
        self._indices = memory.pooled(self._pool.out_shape, np.int64)
        _kernels().forward(self._y, self._indices, self.sources, self._steps, self._pool)
        return self._y, self._indices

    def backward(self, dout: Array, needs_dx: bool) -> tuple[Array | None, list[tuple[Array, Array | None]]]:
        """dx, or None if it is not needed; and each convolution's (dw, db), db None for one without b."""
        dtype = self._pool.dtype
        _, dout, _ = check.max_pool2d_backward(dout, self._indices, self.pooled_shape, *self._window)
        dx = memory.pooled(self.sources[0].shape, dtype) if needs_dx else None
        dw = [memory.pooled(w.shape, dtype) for w, _ in self._weights]
        db = [None if b is None else memory.pooled(b.shape, dtype) for _, b in self._weights]
        inside = _kernels().backward(
            dx, dw, db, dout.astype(dtype, copy=False), self._indices, self._y, self.sources, self._steps,
            [
                _backward_steps(p, w, needs_dx or i > 0)
                for i, (p, (w, _)) in enumerate(zip(self._problems, self._weights, strict=True))
            ],
            self._pool,
        )  # fmt: skip
        check.max_pool2d_indices(inside, self._indices, self._pool)
        return dx, list(zip(dw, db, strict=True))


def _step(op: str, p: Any, *weights: Any) -> Any:
    prepare: Any = _dispatch.prepare(op, p)
    return prepare(*weights, p)


def _backward_steps(p: Any, w: Array, needs_dx: bool) -> tuple[Any, Any, Any]:
    """One for dx, one for dw and db, and one for all of them: None for what is not needed."""
    if needs_dx and _dispatch.prepare("conv2d_backward", p):
        return None, None, _step("conv2d_backward", p, w)
    return _step("conv2d_backward_data", p, w) if needs_dx else None, _step("conv2d_backward_weights", p), None


_CONVOLUTION = "conv2d_forward", "conv2d_backward_data", "conv2d_backward_weights"


def block(x: Array, convolutions: Sequence[tuple[Any, ...]], window: tuple[Any, ...]) -> BlockPass | None:
    """The pass of x, (N, C, H, W), through convolutions of (w, b, stride, padding, dilation, groups) with their ReLUs,
    and through a maximum pooling with these arguments. None where a chosen kernel has no prepared form.
    """
    checked = []
    for w, b, *geometry in convolutions:
        p, *given = check.conv2d(x, w, b, *geometry, "relu")
        if p.dtype != p.result_dtype or p.N == 0 or not all(_dispatch.prepare(op, p) for op in _CONVOLUTION):
            return None
        checked.append((p, *given))
        x = memory.pooled(p.out_shape, p.dtype)
    pool, _ = check.max_pool2d(x, *window)
    return BlockPass(checked, window, pool) if _dispatch.prepare("max_pool2d_forward", pool) else None


def _kernels() -> Any:
    from .kernels.block import cy

    return cy
