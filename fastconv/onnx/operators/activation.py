"""Activations."""

from typing import Any

from ... import ops
from ._table import Run, operator


@operator("Relu")
def relu(a: Any) -> Run:
    return ops.relu
