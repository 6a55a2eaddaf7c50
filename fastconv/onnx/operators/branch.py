"""If."""

from typing import Any

from .._branches import Branch
from .._graph import Unsupported
from ._table import Run, operator
from ._windows import Array


@operator("If", inputs=(1, 1 << 30), outputs=1 << 30)
def if_(a: Any) -> Run:
    """The values that the branches read follow the condition."""
    branches = a.get("else_branch", Branch), a.get("then_branch", Branch)
    if None in branches:
        raise Unsupported("attributes then_branch and else_branch are missing")
    names = a.node.inputs[1:]

    def run(condition: Array, *captured: Array) -> tuple[Array, ...]:
        return branches[bool(condition.reshape(()))].run(dict(zip(names, captured, strict=True)))

    return run
