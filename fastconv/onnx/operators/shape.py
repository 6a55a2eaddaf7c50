"""Shapes."""

from typing import Any

from ._table import Run, operator


@operator("Flatten")
def flatten(a: Any) -> Run:
    axis = a.int("axis", 1)

    def run(x: Any) -> Any:
        rows = 1
        for n in x.shape[: axis if axis >= 0 else axis + x.ndim]:
            rows *= n
        return x.reshape(rows, -1)

    return run
