"""Pooling, the readable truth: running reductions over the filter's taps.

Maximum: padding counts as -inf, a NaN wins, the first of equal maxima wins; indices are flat in H*W (PyTorch's), -1 for
a window of padding alone.
Average: the divisor is the window's size with its padding (count_include_pad), without it, or a given number. A window
of padding alone has the mean 0, of which no pixel has a part.
Adaptive average: bin i covers rows floor(i*H/OH) to ceil((i+1)*H/OH) (PyTorch's rule).
Stochastic: M. Zeiler and R. Fergus, Stochastic Pooling for Regularization of Deep CNNs, 2013; a window of padding alone
gives 0 and the index -1.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..._problem import AdaptivePool2d, Pool2d
from ..conv2d.ref import meetings, taps

Array = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]


def _near(p: Pool2d) -> Pool2d:
    """The same windows without the taps that always miss the image, by the thousand where they are larger than it."""

    def axis(windows: int, stride: int, pad: int, dilation: int, taps: int, extent: int) -> tuple[int, int]:
        first = max(0, -(((windows - 1) * stride - pad) // dilation))
        return first, max(0, min(taps, (extent - 1 + pad) // dilation + 1) - first)

    first_h, FH = axis(p.OH, p.stride_h, p.pad_top, p.dilation_h, p.FH, p.H)
    first_w, FW = axis(p.OW, p.stride_w, p.pad_left, p.dilation_w, p.FW, p.W)
    top, left = p.pad_top - first_h * p.dilation_h, p.pad_left - first_w * p.dilation_w
    return replace(p, FH=FH, FW=FW, pad_top=top, pad_left=left)


def _positions(p: Pool2d) -> Indices:
    """The flat index in H*W of every pixel; shape (1, 1, H, W)."""
    return np.arange(p.H * p.W, dtype=np.int64).reshape(1, 1, p.H, p.W)


def max_forward(out: Array, indices: Indices, x: Array, p: Pool2d) -> None:
    p = _near(p)
    out[...] = -np.inf
    indices[...] = -1
    pairs = zip(taps(x, p, -np.inf), taps(_positions(p), p, -1), strict=True)
    for (_, _, value), (_, _, position) in pairs:
        position = np.broadcast_to(position, value.shape)
        better = (value > out) | np.isnan(value) | (indices < 0)
        better &= position >= 0
        out[better] = value[better]
        indices[better] = position[better]


def max_backward(dx: Array, dout: Array, indices: Indices, p: Pool2d) -> bool:
    """False if an index was outside of its plane; its dout is left out."""
    planes = p.N * p.C
    flat = dx.reshape(planes, p.H * p.W)
    flat[...] = 0
    rows = np.broadcast_to(np.arange(planes).reshape(p.N, p.C, 1, 1), indices.shape)
    inside = (indices >= 0) & (indices < p.H * p.W)
    np.add.at(flat, (rows[inside], indices[inside]), dout[inside])
    return bool(inside.all())


def max_shared_backward(dx: Array, dout: Array, x: Array, y: Array, p: Pool2d) -> None:
    """Where equal maxima of a window share its gradient; windows that tile the planes."""
    cells = p.N, p.C, p.OH, p.FH, p.OW, p.FW
    largest = x.reshape(cells) == y[:, :, :, None, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # a window with a NaN has no maximum: 0 / 0
        shared = np.where(largest, dout[:, :, :, None, :, None], 0) / largest.sum(
            axis=(3, 5), keepdims=True, dtype=p.dtype
        )
    dx.reshape(cells)[...] = shared


def _divisors(p: Pool2d) -> Array:
    """Elements that each window's mean divides by, (OH, OW)."""
    if p.divisor:
        return np.full((p.OH, p.OW), p.divisor, p.dtype)
    start_h = np.arange(p.OH) * p.stride_h - p.pad_top
    start_w = np.arange(p.OW) * p.stride_w - p.pad_left
    if p.count_include_pad:
        rows = np.minimum(start_h + p.FH, p.H + p.pad_bottom) - start_h
        columns = np.minimum(start_w + p.FW, p.W + p.pad_right) - start_w
    else:
        rows = np.minimum(start_h + p.FH, p.H) - np.maximum(start_h, 0)
        columns = np.minimum(start_w + p.FW, p.W) - np.maximum(start_w, 0)
    return np.outer(np.maximum(rows, 1), np.maximum(columns, 1)).astype(p.dtype)


def avg_forward(out: Array, x: Array, p: Pool2d) -> None:
    out[...] = 0
    for _, _, x_tap in taps(x, _near(p)):
        out += x_tap
    out /= _divisors(p)


def avg_backward(dx: Array, dout: Array, p: Pool2d) -> None:
    share = dout / _divisors(p)
    dx[...] = 0
    for _, _, windows, pixels in meetings(_near(p)):
        dx[:, :, *pixels] += share[:, :, *windows]


def _bins(extent: int, count: int) -> list[slice]:
    return [slice(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]


def adaptive_avg_forward(out: Array, x: Array, p: AdaptivePool2d) -> None:
    for i, rows in enumerate(_bins(p.H, p.OH)):
        for j, columns in enumerate(_bins(p.W, p.OW)):
            out[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))


def adaptive_avg_backward(dx: Array, dout: Array, p: AdaptivePool2d) -> None:
    dx[...] = 0
    for i, rows in enumerate(_bins(p.H, p.OH)):
        for j, columns in enumerate(_bins(p.W, p.OW)):
            window = dx[:, :, rows, columns]
            window += (dout[:, :, i, j] / (window.shape[2] * window.shape[3]))[:, :, None, None]


def _weights(x: Array, p: Pool2d) -> tuple[Array, Array, Indices]:
    """Each window's elements, their weights and their flat positions: (taps, N, C, OH, OW), the last (taps, 1, 1, ...).

    Weights are max(x, 0); those of a window without a positive activation are even. There is a tap more, a zero without
    a weight in the padding, for windows of padding alone.
    """
    p = _near(p)
    nothing = np.zeros((p.N, p.C, p.OH, p.OW), x.dtype)
    values = np.stack([*(tap for _, _, tap in taps(x, p)), nothing])
    missing = np.full((1, 1, p.OH, p.OW), -1)
    positions = np.stack([*(tap for _, _, tap in taps(_positions(p), p, -1)), missing])
    weights = np.maximum(values, 0)
    empty = weights.sum(axis=0) == 0
    return values, np.where(empty, 1.0, weights) * (positions >= 0), positions


def stochastic_forward(out: Array, indices: Indices, x: Array, u: Array, p: Pool2d) -> None:
    """One element of each window, drawn with probability proportional to max(x, 0): the first whose running sum of
    weights exceeds u times their total."""
    values, weights, positions = _weights(x, p)
    sums = weights.cumsum(axis=0)
    before = sums <= u * sums[-1]
    # Rounding may leave u*total at the total itself: then the last element with a weight is taken. A NaN among them
    # makes every comparison false: then the first. In a window of padding alone the last is the tap that is none.
    last = weights.shape[0] - 1 - np.argmax(weights[::-1] > 0, axis=0)
    first = np.where((weights != 0).any(axis=0), np.argmax(weights != 0, axis=0), last)
    chosen = np.maximum(np.minimum(before.sum(axis=0), last), first)[None]
    indices[...] = np.take_along_axis(np.broadcast_to(positions, weights.shape), chosen, axis=0)[0]
    out[...] = np.take_along_axis(values, chosen, axis=0)[0]


def stochastic_inference(out: Array, x: Array, p: Pool2d) -> None:
    """The expectation under the same probabilities: sum of weight * x over sum of weight."""
    values, weights, positions = _weights(x, p)
    total = weights.sum(axis=0)
    out[...] = (weights * values).sum(axis=0) / np.where((positions >= 0).any(axis=0), total, 1)
