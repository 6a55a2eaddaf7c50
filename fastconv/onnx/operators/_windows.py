"""Windows over images: their padding by ONNX's rules, and windows of any rank as a view, for what has no kernel."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._graph import Unsupported

Array = npt.NDArray[Any]
Pads = tuple[tuple[int, int], ...]

_AUTO = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


class Window(NamedTuple):
    """What the attributes of a convolution or a pooling say; None where they say nothing."""

    kernel: tuple[int, ...] | None
    strides: tuple[int, ...] | None
    dilations: tuple[int, ...] | None
    pads: tuple[int, ...] | None
    auto_pad: str

    @classmethod
    def read(cls, a: Any, *, dilates: bool = True) -> "Window":
        """From a node's attributes."""
        window = cls(
            a.ints("kernel_shape"),
            a.ints("strides"),
            a.ints("dilations") if dilates else None,
            a.ints("pads"),
            a.text("auto_pad", "NOTSET", _AUTO),
        )
        for name, sizes in (("kernel_shape", window.kernel), ("strides", window.strides), ("dilations", window[2])):
            if sizes is not None and min(sizes, default=0) < 1:
                raise Unsupported(f"attribute {name} is {list(sizes)}, expected positive ints")
        if window.pads is not None and (len(window.pads) % 2 or min(window.pads, default=0) < 0):
            raise Unsupported(
                f"attribute pads is {list(window.pads)}, expected two ints for each axis, none below zero"
            )
        ranks = {len(sizes) for sizes in window[:3] if sizes is not None}
        ranks |= set() if window.pads is None else {len(window.pads) // 2}
        if len(ranks) > 1:
            raise Unsupported("attributes kernel_shape, strides, dilations and pads differ in their number of axes")
        return window

    def over(self, sizes: tuple[int, ...], kernel: Any) -> tuple[tuple[int, ...], tuple[int, ...], Pads]:
        """Strides, dilations and padding for planes of these sizes.

        Raises
        ------
        ValueError
            If there are more or fewer axes than the attributes have.
        """
        rank = len(sizes)
        strides, dilations = self.strides or (1,) * rank, self.dilations or (1,) * rank
        pads = self.pads or (0,) * (2 * rank)
        if not len(kernel) == len(strides) == len(dilations) == len(pads) // 2 == rank:
            raise ValueError(f"windows of {len(kernel)} axes with strides {strides} do not fit planes of {rank} axes")
        if self.auto_pad == "NOTSET":
            return strides, dilations, tuple(zip(pads[:rank], pads[rank:], strict=True))
        if self.auto_pad == "VALID":
            return strides, dilations, ((0, 0),) * rank
        return (
            strides,
            dilations,
            tuple(
                same(max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0), self.auto_pad)
                for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
            ),
        )


def same(total: int, auto_pad: str) -> tuple[int, int]:
    """Padding in front and behind: the odd one is behind for SAME_UPPER."""
    less = total // 2
    return (less, total - less) if auto_pad == "SAME_UPPER" else (total - less, less)


def counts(
    sizes: tuple[int, ...], kernel: Any, strides: Any, dilations: Any, pads: Pads, ceil_mode: bool
) -> tuple[int, ...]:
    """How many windows there are along each axis. With ceil_mode none begins in the padding behind."""
    found = []
    for n, k, s, d, (front, behind) in zip(sizes, kernel, strides, dilations, pads, strict=True):
        room = n + front + behind - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + front:
            count -= 1
        if count < 1:
            raise ValueError(
                f"a window of {k} with dilation {d} does not fit {n} numbers with padding {front}, {behind}"
            )
        found.append(count)
    return tuple(found)


def windows(x: Array, kernel: Any, strides: Any, dilations: Any, pads: Pads, out: tuple[int, ...], fill: Any) -> Array:
    """A view (N, C, *out, *kernel) of x in a frame of `fill`."""
    rank, sizes = len(kernel), x.shape[2:]
    behind = [
        max((o - 1) * s + d * (k - 1) + 1 - n - front, 0)
        for o, s, d, k, n, (front, _) in zip(out, strides, dilations, kernel, sizes, pads, strict=True)
    ]
    frame = [(0, 0), (0, 0), *((front, b) for (front, _), b in zip(pads, behind, strict=True))]
    framed = np.pad(x, frame, constant_values=fill)
    inner = framed.strides[2:]
    steps = tuple(i * s for i, s in zip(inner, strides, strict=True))
    taps = tuple(i * d for i, d in zip(inner, dilations, strict=True))
    return (
        np.lib.stride_tricks.as_strided(
            framed, (*x.shape[:2], *out, *kernel), (*framed.strides[:2], *steps, *taps), writeable=False
        ).reshape(*x.shape[:2], *out, math.prod(kernel))
        if rank
        else framed
    )
