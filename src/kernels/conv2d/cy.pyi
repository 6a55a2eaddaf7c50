"""Convolution, forward and backward-data, compiled."""

from typing import Any

from ..chain.cy import Step
from .ref import Array

def forward(out: Array, x: Array, w: Array, b: Array | None, p: Any) -> None: ...
def backward_data(dx: Array, dout: Array, w: Array, p: Any) -> None: ...
def prepare(w: Array, b: Array | None, p: Any) -> Step: ...
