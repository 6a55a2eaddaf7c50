"""Convolutions in a row, each with its ReLU, and a maximum pooling behind them, in training: compiled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._problem import Pool2d
from ..chain.cy import BackwardStep, Step, WeightsStep

Array = npt.NDArray[Any]

def forward(
    out: Array, indices: npt.NDArray[np.int64], sources: Sequence[Array], steps: Sequence[Step], p: Pool2d
) -> None: ...
def backward(
    dx: Array | None,
    dw: Sequence[Array],
    db: Sequence[Array | None],
    dout: Array,
    indices: npt.NDArray[np.int64],
    y: Array,
    sources: Sequence[Array],
    forward_steps: Sequence[Step],
    backward_steps: Sequence[tuple[Step | None, WeightsStep | None, BackwardStep | None]],
    p: Pool2d,
) -> bool: ...
