"""Conv and ConvTranspose."""

from typing import Any

import numpy as np

from ... import ops
from ._table import Run, operator
from ._windows import Array, Window, same


@operator("Conv", inputs=(2, 3))
def conv(a: Any) -> Run:
    groups, window = a.int("group", 1), Window.read(a)

    def run(x: Array, w: Array, b: Array | None = None) -> Array:
        kernel = _kernel(window, x, w)
        strides, dilations, pads = window.over(x.shape[2:], kernel)
        if len(kernel) == 2:
            return ops.conv2d(x, w, b, strides, pads, dilations, groups)
        if len(kernel) == 1:
            y = ops.conv2d(x[:, :, None], w[:, :, None], b, (1, *strides), ((0, 0), *pads), (1, *dilations), groups)
            return y[:, :, 0]
        return _by_planes(x, w, b, strides, pads, dilations, groups)

    run.window, run.groups = window, groups  # type: ignore[attr-defined]
    return run


def _kernel(window: Window, x: Array, w: Array) -> tuple[int, ...]:
    if x.ndim < 3 or w.ndim != x.ndim or (window.kernel is not None and w.shape[2:] != window.kernel):
        expected = "" if window.kernel is None else f" and filters of {window.kernel}"
        raise ValueError(f"expected images (N, C, ...), filters of as many axes{expected}, got {x.shape} and {w.shape}")
    return w.shape[2:]


def _by_planes(x: Array, w: Array, b: Array | None, strides: Any, pads: Any, dilations: Any, groups: int) -> Array:
    """A convolution of volumes: for every plane of the result the sum of convolutions of planes."""
    if x.ndim != 5:
        raise ValueError(f"expected images of up to three axes, got shape {x.shape}")
    framed = np.pad(x, [(0, 0), (0, 0), pads[0], (0, 0), (0, 0)])
    depth = (framed.shape[2] - dilations[0] * (w.shape[2] - 1) - 1) // strides[0] + 1
    planes = []
    for at in range(depth):
        y: Any = b if b is None else b.reshape(-1, 1, 1)
        for tap in range(w.shape[2]):
            plane = framed[:, :, at * strides[0] + tap * dilations[0]]
            part = ops.conv2d(plane, w[:, :, tap], None, strides[1:], pads[1:], dilations[1:], groups)
            y = part if y is None else y + part
        planes.append(y)
    return np.stack(planes, axis=2)


@operator("ConvTranspose", inputs=(2, 3))
def conv_transpose(a: Any) -> Run:
    groups, window = a.int("group", 1), Window.read(a)
    output_shape, output_padding = a.ints("output_shape"), a.ints("output_padding")

    def run(x: Array, w: Array, b: Array | None = None) -> Array:
        kernel, rank = _kernel(window, x, w), x.ndim - 2
        strides, dilations = window.strides or (1,) * rank, window.dilations or (1,) * rank
        extra = list(output_padding or (0,) * rank)
        full = [
            s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)
        ]
        given = window.pads or (0,) * (2 * rank)
        pads = list(zip(given[:rank], given[rank:], strict=True))
        wanted = output_shape and output_shape[-rank:]
        if wanted is None and window.auto_pad.startswith("SAME"):
            wanted = tuple(n * s for n, s in zip(x.shape[2:], strides, strict=True))
        if wanted is not None:
            totals = [f + e - n for f, e, n in zip(full, extra, wanted, strict=True)]
            extra = [e + max(-total, 0) for e, total in zip(extra, totals, strict=True)]
            pads = [same(max(total, 0), window.auto_pad) for total in totals]
        if rank == 1:
            return _transposed(
                x[:, :, None], w[:, :, None], b, (1, *strides), [(0, 0), *pads], [0, *extra], groups, (1, *dilations)
            )[:, :, 0]
        if rank == 3:
            return _transposed_by_planes(x, w, b, strides, pads, extra, groups, dilations)
        return _transposed(x, w, b, strides, pads, extra, groups, dilations)

    return run


def _transposed(
    x: Array, w: Array, b: Array | None, strides: Any, pads: Any, extra: Any, groups: int, dilations: Any
) -> Array:
    fits = all(e < max(s, d) or e == 0 for e, s, d in zip(extra, strides, dilations, strict=True))
    if fits:
        return ops.conv_transpose2d(x, w, b, strides, tuple(pads), tuple(extra), groups, dilations)
    y = ops.conv_transpose2d(x, w, None, strides, 0, 0, groups, dilations)  # rows and columns that no filter reaches
    y = np.pad(y, [(0, 0), (0, 0), *((0, e) for e in extra)])
    (top, bottom), (left, right) = pads
    y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]
    return y if b is None else y + b.reshape(-1, 1, 1)


def _transposed_by_planes(
    x: Array, w: Array, b: Array | None, strides: Any, pads: Any, extra: Any, groups: int, dilations: Any
) -> Array:
    """A transposed convolution of volumes: each plane of x is added to several planes of the result."""
    (front, behind), (step, *across), (apart, *_) = pads[0], strides, dilations
    depth = step * (x.shape[2] - 1) + apart * (w.shape[2] - 1) + 1 + extra[0]
    planes: Any = [0] * depth
    for at in range(x.shape[2]):
        for tap in range(w.shape[2]):
            part = _transposed(x[:, :, at], w[:, :, tap], None, across, pads[1:], extra[1:], groups, dilations[1:])
            planes[step * at + apart * tap] = planes[step * at + apart * tap] + part
    y = np.stack([np.broadcast_to(plane, part.shape) for plane in planes[front : depth - behind]], axis=2)
    return y.astype(x.dtype, copy=False) if b is None else y + b.reshape(-1, 1, 1, 1)
