"""Batch normalisation, compiled."""

from typing import Any

from ..chain.cy import Step
from .ref import Array

def training(
    out: Array,
    mean: Array,
    inv_std: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array | None,
    running_var: Array | None,
    p: Any,
) -> None: ...
def inference(out: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, p: Any) -> None: ...
def prepare(gamma: Array, beta: Array, mean: Array, var: Array, p: Any) -> Step: ...
def backward(
    dx: Array,
    dgamma: Array,
    dbeta: Array,
    dout: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    inv_std: Array,
    p: Any,
) -> None: ...
def local_response_forward(out: Array, x: Array, p: Any) -> None: ...
def local_response_backward(dx: Array, dout: Array, x: Array, p: Any) -> None: ...
