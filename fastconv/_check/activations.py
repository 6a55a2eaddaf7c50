"""Checks of activations, of residuals and of other arguments about what happens to a result."""

from typing import Any

FUSED = "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu"


def activation_of(activation: Any) -> str | None:
    if activation is not None and not (isinstance(activation, str) and activation in FUSED):
        raise ValueError(f"activation: expected None or one of {', '.join(map(repr, FUSED))}, got {activation!r}")
    return activation


def gelu_of(approximate: Any) -> str:
    """The kernels' name of a GELU."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate: expected 'none' or 'tanh', got {approximate!r}")
    return "gelu" if approximate == "none" else "gelu_tanh"
