"""What each type of node computes: one table, filled by one module per family.

An operator is a function of a node's `Attributes` that returns the function of its inputs: what the attributes say is
checked once, at load. It raises `Unsupported` for what it cannot do.
"""

from . import (  # noqa: F401
    activation,
    branch,
    constant,
    convolution,
    elementwise,
    indexing,
    matrix,
    normalization,
    pooling,
    reduction,
    resize,
    shape,
)
from ._table import OPERATORS, Operator

__all__ = ["OPERATORS", "Operator"]
