"""Local response normalisation, compiled."""

from typing import Any

from .ref import Array

def forward(out: Array, x: Array, p: Any) -> None: ...
def backward(dx: Array, dout: Array, x: Array, p: Any) -> None: ...
