"""Convolutions: forward and backward, dense and depthwise, with and without ReLU, in both precisions."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from book import convolution as book_convolution
from work import F32, Calls, Work, memory_formats, sizes

import fastconv as fc
from fastconv.testing import SPEED, ConvCase, normal

WITH_RELU = [
    ConvCase(100, 1, 28, 28, 30, (5, 5)),
    ConvCase(100, 1, 28, 28, 16, padding=1),
    ConvCase(100, 16, 28, 28, 16, padding=1),
    ConvCase(8, 64, 56, 56, 64, padding=1),
    ConvCase(8, 256, 56, 56, 64, (1, 1)),
]


def shape_text(case: ConvCase) -> str:
    text = f"{case.N}x{case.C}x{case.H}x{case.W} {case.FN}@{case.kernel[0]}x{case.kernel[1]}"
    text += f" s{case.stride}" if case.stride != 1 else ""
    text += f" p{case.padding}" if case.padding else ""
    return text + (f" g{case.groups}" if case.groups > 1 else "")


def output_shape(case: ConvCase) -> tuple[int, int, int, int]:
    OH = (case.H + 2 * case.padding - case.kernel[0]) // case.stride + 1
    OW = (case.W + 2 * case.padding - case.kernel[1]) // case.stride + 1
    return case.N, case.FN, OH, OW


def flops(case: ConvCase) -> float:
    return 2.0 * np.prod(output_shape(case)) * case.C // case.groups * case.kernel[0] * case.kernel[1]


def moved(case: ConvCase) -> tuple[float, float]:
    """Bytes of x and w, and of the output."""
    x, w = (case.N, case.C, case.H, case.W), (case.FN, case.C // case.groups, *case.kernel)
    return sizes(x, w), sizes(output_shape(case))


def forward(case: ConvCase, precision: str = "high", **options: Any) -> Calls:
    fc.set_float32_conv_precision(precision)
    x, w, b = case.arrays(F32)
    return [lambda: fc.conv2d(x, w, b, **case.options, **options)]


def backward(case: ConvCase, precision: str = "high") -> Calls:
    fc.set_float32_conv_precision(precision)
    x, w, _ = case.arrays(F32)
    dout = normal(output_shape(case), F32, 9)
    return [lambda: fc.conv2d_backward(dout, x, w, **case.options)]


def torch_forward(case: ConvCase) -> Calls:
    from torch.nn.functional import conv2d

    return [partial(conv2d, *tensors, **case.options) for tensors in memory_formats(*case.arrays(F32))]


def torch_forward_relu(case: ConvCase) -> Calls:
    """ReLU in place: nothing is allocated for it."""
    import torch

    return [lambda call=call: torch.relu_(call()) for call in torch_forward(case)]


def torch_backward(case: ConvCase) -> Calls:
    import torch

    x, w, _ = case.arrays(F32)
    s, p, d = ([v, v] for v in (case.stride, case.padding, case.dilation))
    rest = ([case.FN], s, p, d, False, [0, 0], case.groups, [True, True, True])
    arrays = normal(output_shape(case), F32, 9), x, w
    return [partial(torch.ops.aten.convolution_backward, *tensors, *rest) for tensors in memory_formats(*arrays)]


def book_forward(case: ConvCase) -> Calls:
    return [partial(book_convolution, *case.arrays(F32), case.stride, case.padding)]


def rows_of(case: ConvCase, direction: str) -> tuple[str, ...]:
    """The rows of the table of targets in which a shape counts."""
    yes = {
        f"conv {direction}": True,
        f"depthwise {direction}": case.groups > 1,
        "first layer": direction == "backward" and case.C == 1 and case.kernel == (5, 5),
        "stem": direction == "backward" and case.kernel == (7, 7),
        "3x3 high": wide(case),
        "batch 1": case.N == 1,
        "two threads": True,
    }
    return tuple(row for row, counts in yes.items() if counts)


def wide(case: ConvCase) -> bool:
    """3x3 of stride 1 with 64 channels and filters or more."""
    return (case.kernel, case.stride, case.groups) == ((3, 3), 1, 1) and min(case.C, case.FN) >= 64


def both(case: ConvCase, group: str) -> Iterator[Work]:
    name, (given, out) = shape_text(case), moved(case)
    sides = {"fastconv": partial(forward, case), "torch": partial(torch_forward, case)}
    if case.groups == 1:
        sides["book32"] = partial(book_forward, case)
    yield Work(f"{group} forward", name, rows_of(case, "forward"), sides, flops(case), given + out)
    sides = {"fastconv": partial(backward, case), "torch": partial(torch_backward, case)}
    yield Work(f"{group} backward", name, rows_of(case, "backward"), sides, 2 * flops(case), 2 * given + out)


def convolutions() -> Iterator[Work]:
    dense = [*SPEED["conv2d"], *SPEED["conv2d_batch1"]]
    for case in dense:
        yield from both(case, "conv2d")
    for case in SPEED["depthwise"]:
        yield from both(case, "depthwise")
    for case in filter(wide, dense):
        name, (given, out) = shape_text(case), moved(case)
        sides = {"fastconv": partial(forward, case, "highest"), "torch": partial(torch_forward, case)}
        yield Work("conv2d highest forward", name, ("3x3 highest",), sides, flops(case), given + out)
        sides = {"fastconv": partial(backward, case, "highest"), "torch": partial(torch_backward, case)}
        yield Work("conv2d highest backward", name, ("3x3 highest",), sides, 2 * flops(case), 2 * given + out)
    for case in WITH_RELU:
        name, (given, out) = shape_text(case), moved(case)
        sides = {"fastconv": partial(forward, case, activation="relu"), "torch": partial(torch_forward_relu, case)}
        yield Work("conv2d + ReLU forward", name, ("bias + relu",), sides, flops(case), given + out)
