"""Products of matrices."""

from typing import Any

import numpy as np

from ... import ops
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array


def floats(*arrays: Array) -> bool:
    """Whether these are of one dtype that the kernels compute in."""
    return all(a.dtype == arrays[0].dtype for a in arrays) and arrays[0].dtype in (np.float32, np.float64)


@operator("Gemm", inputs=(2, 3))
def gemm(a: Any) -> Run:
    alpha, beta = a.float("alpha", 1.0), a.float("beta", 1.0)
    if a.opset < 7:
        a.ignored("broadcast")  # c is spread as NumPy does it
    turned, w_turned = a.flag("transA"), a.flag("transB")

    def run(x: Array, w: Array, c: Array | None = None) -> Array:
        if x.ndim != 2 or w.ndim != 2:
            raise ValueError(f"expected two matrices, got shapes {x.shape} and {w.shape}")
        x = x.T if turned else x
        w = w.T if w_turned else w
        if not floats(x, w):
            y = x @ w
            y = y if alpha == 1 else (y * alpha).astype(x.dtype)
        elif c is not None and alpha == beta == 1 and c.shape in ((w.shape[1],), (1, w.shape[1])) and floats(x, c):
            return ops.affine(x, w, c)
        else:
            y = ops.affine(x, w)
            y = y if alpha == 1 else y * y.dtype.type(alpha)
        if c is None or beta == 0:
            return y
        return y + (c if beta == 1 else (c * c.dtype.type(beta)).astype(y.dtype))

    run.turned, run.w_turned, run.alpha, run.beta = turned, w_turned, alpha, beta  # type: ignore[attr-defined]
    return run


@operator("MatMul", inputs=2)
def matmul(a: Any) -> Run:
    return multiplied


def multiplied(x: Array, w: Array) -> Array:
    """NumPy's matmul; by fastconv's kernel where the second is one matrix."""
    if w.ndim == 2 and x.ndim >= 2 and floats(x, w):
        rows = x.reshape(-1, x.shape[-1]) if x.size else x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
        return ops.affine(rows, w).reshape(*x.shape[:-1], w.shape[1])
    return np.matmul(x, w)


@operator("Einsum", inputs=(1, 1 << 30))
def einsum(a: Any) -> Run:
    equation = a.get("equation", str)
    if equation is None:
        raise Unsupported("attribute equation is missing")
    return lambda *arrays: np.einsum(equation, *arrays)
