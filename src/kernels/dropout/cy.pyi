"""Dropout, compiled."""

from typing import Any

from .ref import Array, Mask

def forward(out: Array, mask: Mask, x: Array, seed: int, p: Any) -> None: ...
def backward(dx: Array, dout: Array, mask: Mask, p: Any) -> None: ...
