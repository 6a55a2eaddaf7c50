"""Checks of names of activations."""

from typing import Any


def gelu_of(approximate: Any) -> str:
    """The kernels' name of a GELU."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate: expected 'none' or 'tanh', got {approximate!r}")
    return "gelu" if approximate == "none" else "gelu_tanh"
