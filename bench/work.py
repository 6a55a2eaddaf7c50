"""A piece of work: for each side that can do it, a builder that returns the callables to time.

A builder runs in its side's own process, so torch is imported by the torch side alone. Several callables are variants of
one side (PyTorch's memory formats): the fastest counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Calls = list[Callable[[], Any]]
F32 = np.float32


@dataclass
class Work:
    """One line of the list, and the rows of the table of targets (targets.py) in which it counts."""

    group: str
    name: str
    rows: tuple[str, ...]
    sides: dict[str, Callable[[], Calls]]
    flops: float = 0.0  # of the direct formula
    bytes: float = 0.0  # operands and results, each once: what cannot be avoided
    pause: float = 0.0  # seconds asleep before each call that is timed, or before a burst of calls
    following: int = 0  # calls of such a burst behind the first: these are timed, and not the first

    @property
    def id(self) -> str:
        return f"{self.group}/{self.name}"


def times(*shape: int) -> str:
    return "x".join(map(str, shape))


def sizes(*shapes: Any) -> float:
    """Bytes of float32 arrays of these shapes."""
    return 4.0 * sum(float(np.prod(shape)) for shape in shapes)


def memory_formats(*arrays: Any) -> list[list[Any]]:
    """The arrays as PyTorch's tensors twice: contiguous, and those of four dimensions in channels-last format."""
    import torch

    tensors = [torch.tensor(a) for a in arrays]
    last = [t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
    return [tensors, last] if any(t.dim() == 4 for t in tensors) else [tensors]


def all_work() -> list[Work]:
    """Every piece of work, in the order of the list."""
    from work_calls import calls
    from work_conv import convolutions
    from work_deep import deep
    from work_ops import operations
    from work_steps import steps

    return [*convolutions(), *operations(), *calls(), *steps(), *deep()]
