"""DeZero's module of convolutions, in whatever package: functions_conv."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from . import Recogniser


def candidates(module: str) -> Mapping[str, Any]:
    return _functions() if module.rpartition(".")[2] == "functions_conv" else {}


@cache
def _functions() -> Mapping[str, Any]:
    from .._columns import Columns
    from .._dezero import FUNCTIONS, KNOWN

    return {**FUNCTIONS, "im2col_array": Columns(False, KNOWN), "col2im_array": Columns(True, KNOWN)}


RECOGNISER = Recogniser("DeZero", candidates, libraries=frozenset(["dezero.functions_conv"]))
