"""Activations and residuals that a kernel does not apply itself: a second pass over its result, in place.

`_table.fused` says which activations a kernel applies on the way out. All others, and every sum with a residual, are
applied here by the element-wise kernels, right behind the first kernel.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from . import _table
from ._problem import Elementwise, Problem

Kernel = Callable[..., None]


def operation(op: str, row: _table.Row, p: Problem) -> str:
    """The operation of the second pass that a Problem needs behind a row's kernel, or "". Gradients need none."""
    if "backward" in op:
        return ""
    activation = getattr(p, "activation", None)
    if getattr(p, "add", False):
        return "add_activation"
    if activation is None or activation in _table.fused(op, row) or isinstance(p, Elementwise):
        return ""
    return f"{activation}_forward"


def problem(p: Any) -> Elementwise:
    """What the second pass is asked to do. Leaky ReLU's slope is its default."""
    return Elementwise(
        dtype=p.dtype, result_dtype=p.result_dtype, device=p.device, size=p.result_size, negative_slope=0.01,
        activation=p.activation,
    )  # fmt: skip


def both(first: Kernel, second: Kernel, p: Any) -> Kernel:
    """One kernel of two, with the first one's arguments; the residual, if any, stands in front of the Problem."""
    plain, rest = replace(p, activation=None), problem(p)
    if getattr(p, "add", False):
        plain = replace(plain, add=False)

        @wraps(first)
        def run(out: Any, *args: Any) -> None:
            *inputs, residual, _ = args
            first(out, *inputs, plain)
            second(out, out, residual, rest)

    else:

        @wraps(first)
        def run(out: Any, *args: Any) -> None:
            first(out, *args[:-1], plain)
            second(out, out, rest)

    return run
