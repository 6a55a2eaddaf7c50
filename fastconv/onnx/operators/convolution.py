"""Conv."""

from typing import Any

from ... import ops
from ._table import Run, operator


@operator("Conv", inputs=(2, 3))
def conv(a: Any) -> Run:
    groups = a.int("group", 1)
    a.ints("kernel_shape")
    strides, dilations, pads = a.ints("strides", (1, 1)), a.ints("dilations", (1, 1)), a.ints("pads", (0, 0, 0, 0))
    padding = (pads[0], pads[2]), (pads[1], pads[3])
    return lambda x, w, b=None: ops.conv2d(x, w, b, strides, padding, dilations, groups)
