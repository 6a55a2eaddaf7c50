"""Convolution, forward and backward-data, compiled."""

from typing import Any

from ..chain.cy import Step
from .ref import Array
from .ref import backward_data as backward_data_by_taps
from .ref import backward_weights as backward_weights_by_taps
from .ref import forward as forward_by_taps

__all__ = [
    "backward_data",
    "backward_data_by_taps",
    "backward_weights_by_taps",
    "forward",
    "forward_by_taps",
    "prepare",
    "prepare_data",
]

def forward(out: Array, x: Array, w: Array, b: Array | None, p: Any) -> None: ...
def backward_data(dx: Array, dout: Array, w: Array, p: Any) -> None: ...
def prepare(w: Array, b: Array | None, p: Any) -> Step: ...
def prepare_data(w: Array, p: Any) -> Step: ...
