"""Prepared steps run in a row, and a watch over what they were prepared from."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt

class Step:
    @property
    def copies(self) -> bool: ...

class WeightsStep: ...
class BackwardStep: ...

class Chain:
    @property
    def nanoseconds(self) -> float: ...
    def __init__(self, steps: Sequence[Step], x: npt.NDArray[Any], shape: tuple[int, ...]) -> None: ...
    def __call__(self, x: Any, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any] | None: ...

def fingerprint(array: Any) -> int | None: ...

class Watch:
    def __init__(
        self,
        bindings: Iterable[tuple[dict[str, Any], str]],
        copied: Iterable[npt.NDArray[Any]] = (),
        in_place: Iterable[npt.NDArray[Any]] = (),
        holders: Iterable[Any] = (),
    ) -> None: ...
    def unchanged(self) -> bool: ...
