"""Pooling, the readable truth: running reductions over the filter's taps.

Maximum: padding counts as -inf, a NaN wins, the first of equal maxima wins; indices are flat in H*W (PyTorch's).
Average: the divisor is the window's size with its padding (count_include_pad), without it, or a given number.
Adaptive average: bin i covers rows floor(i*H/OH) to ceil((i+1)*H/OH) (PyTorch's rule).
Stochastic: M. Zeiler and R. Fergus, Stochastic Pooling for Regularization of Deep CNNs, 2013.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..._problem import AdaptivePool2d, Pool2d
from ..conv2d.ref import inside, padded, taps

Array = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]


def _reaching(p: Pool2d) -> Pool2d:
    """The same windows with the bottom and right padding that ceil mode's last windows reach into."""
    needed_h = (p.OH - 1) * p.stride_h + p.dilation_h * (p.FH - 1) + 1 - p.H - p.pad_top
    needed_w = (p.OW - 1) * p.stride_w + p.dilation_w * (p.FW - 1) + 1 - p.W - p.pad_left
    return replace(p, pad_bottom=max(p.pad_bottom, needed_h), pad_right=max(p.pad_right, needed_w))


def _positions(p: Pool2d) -> Array:
    """For every pixel of the padded plane its flat index in H*W, or -1 in the padding; shape (1, 1, ...)."""
    plane = np.arange(p.H * p.W, dtype=np.int64).reshape(1, 1, p.H, p.W)
    return padded(plane, p, -1)


def max_forward(out: Array, indices: Indices, x: Array, p: Pool2d) -> None:
    p = _reaching(p)
    out[...] = -np.inf
    indices[...] = -1
    pairs = zip(taps(padded(x, p, -np.inf), p), taps(_positions(p), p), strict=True)
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
    return np.outer(rows, columns).astype(p.dtype)


def avg_forward(out: Array, x: Array, p: Pool2d) -> None:
    divisors = _divisors(p)
    p = _reaching(p)
    out[...] = sum(x_tap for _, _, x_tap in taps(padded(x, p), p))
    out /= divisors


def avg_backward(dx: Array, dout: Array, p: Pool2d) -> None:
    share = dout / _divisors(p)
    p = _reaching(p)
    dxp = np.zeros((p.N, p.C, p.H + p.pad_top + p.pad_bottom, p.W + p.pad_left + p.pad_right), p.dtype)
    for _, _, dx_tap in taps(dxp, p):
        dx_tap += share
    dx[...] = inside(dxp, p)


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


def _weights(x: Array, p: Pool2d) -> tuple[Array, Array]:
    """Each window's non-negative activations and their flat positions: (taps, N, C, OH, OW), (taps, 1, 1, OH, OW).

    A window without a positive activation is drawn from evenly."""
    p = _reaching(p)
    positions = np.stack([tap for _, _, tap in taps(_positions(p), p)])
    values = np.stack([tap for _, _, tap in taps(padded(x, p), p)])
    weights = np.maximum(values, 0)
    empty = weights.sum(axis=0) == 0
    return np.where(empty, 1.0, weights) * (positions >= 0), positions


def stochastic_forward(out: Array, indices: Indices, x: Array, u: Array, p: Pool2d) -> None:
    """One element of each window, drawn with probability proportional to max(x, 0): the first whose running sum of
    weights exceeds u times their total."""
    weights, positions = _weights(x, p)
    sums = weights.cumsum(axis=0)
    before = sums <= u * sums[-1]
    # Rounding may leave u*total at the total itself: then the last element with a weight is taken. A NaN among them
    # makes every comparison false: then the first.
    last = weights.shape[0] - 1 - np.argmax(weights[::-1] > 0, axis=0)
    chosen = np.maximum(np.minimum(before.sum(axis=0), last), np.argmax(weights != 0, axis=0))
    positions = np.broadcast_to(positions, weights.shape)
    indices[...] = np.take_along_axis(positions, chosen[None], axis=0)[0]
    planes = x.reshape(p.N, p.C, p.H * p.W)
    out[...] = np.take_along_axis(planes, indices.reshape(p.N, p.C, p.OH * p.OW), axis=2).reshape(out.shape)


def stochastic_inference(out: Array, x: Array, p: Pool2d) -> None:
    """The expectation under the same probabilities: sum of weight * x over sum of weight."""
    weights, _ = _weights(x, p)
    p = _reaching(p)
    values = np.stack([tap for _, _, tap in taps(padded(x, p), p)])
    out[...] = (weights * values).sum(axis=0) / weights.sum(axis=0)
