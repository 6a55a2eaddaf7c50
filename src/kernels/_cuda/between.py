"""What is computed between the table's kernels, on the device: biases, 1/sqrt(var + eps), losses that are a line."""

import math
from typing import Any

import numpy as np

from ..._problem import arithmetic
from . import sums
from .arrays import DeviceArray, empty, filled, flat, nothing, scratch
from .elements import Elements
from .kernels import WIDTH, Family, family
from .shim import cuda
from .sweeps import sweep


@family("S[] S[] i i i")
def biases(E: Elements) -> Any:
    """y[i] += b[channel of i]."""
    load = E.load

    @cuda.jit(device=True)
    def begin(i, arguments):
        b, C, P = arguments
        plane = i // P
        c = plane % C
        return i - plane * P, c, load(b, c)

    @cuda.jit(device=True)
    def following(state, arguments):
        b, C, P = arguments
        pixel, c, bias = state
        if pixel + 1 < P:
            return pixel + 1, c, bias
        c = c + 1 if c + 1 < C else 0
        return 0, c, load(b, c)

    run = sweep(E, 1, lambda y, other, state, arguments: y + state[2], begin, following)

    def kernel(y, b, count, C, P):
        run(y, y, y, (b, C, P), count)

    return kernel


@family("S[] S[] T i")
def inverse_roots(E: Elements) -> Any:
    """1 / sqrt(x + eps)."""
    T = E.T
    run = sweep(E, 1, lambda x, y, state, eps: T(1) / T(math.sqrt(x + eps)))

    def kernel(out, x, eps, count):
        run(out, x, x, eps, count)

    return kernel


def _planes(y: DeviceArray) -> tuple[int, int, int]:
    return y.shape[0], y.shape[1], math.prod(y.shape[2:])


def add_to_channels(y: DeviceArray, b: DeviceArray) -> None:
    """y[n, c] += b[c]."""
    _, C, P = _planes(y)
    biases.vectors(y.dtype, y.size, flat(y), flat(b), y.size, C, P)


def sum_channels(y: DeviceArray) -> DeviceArray:
    """The sum of each channel of y (N, C, H, W)."""
    out = empty((y.shape[1],), y.dtype)
    sums.sum_channels(out, y, *_planes(y))
    return out


def inverse_std(var: DeviceArray, eps: float) -> DeviceArray:
    """1 / sqrt(var + eps)."""
    out = empty(var.shape, var.dtype)
    inverse_roots.vectors(var.dtype, var.size, flat(out), flat(var), arithmetic(var.dtype).type(eps), var.size)
    return out


@family("d[] S[] S[] T[] T[] g", sizes=sums.Channels)
def squares(E: Elements) -> Any:
    """The sum of x**2 over each part of an array; the second sum is not used."""
    T = E.T
    square = cuda.jit(device=True)(lambda x, y, mean, scale: x * x)
    return sums.channel_sums(E, 1, square, cuda.jit(device=True)(lambda x, y, mean, scale: T(0)))


@family("d[] S[] S[] T[] T[] g", sizes=sums.Channels)
def distances(E: Elements) -> Any:
    """The sum of (x - y)**2 over each part of two arrays; the second sum is not used."""
    T = E.T
    square = cuda.jit(device=True)(lambda x, y, mean, scale: (x - y) * (x - y))
    return sums.channel_sums(E, 2, square, cuda.jit(device=True)(lambda x, y, mean, scale: T(0)))


@family("T[] S[] i[] i T")
def picked(E: Elements) -> Any:
    """out[n] = scale * x[n, t[n]], 0 where the label is no class."""
    T, load = E.T, E.load

    def kernel(out, x, t, classes, scale):
        n = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if n < out.size:
            out[n] = load(x, n * classes + t[n]) * scale if 0 <= t[n] < classes else T(0)

    return kernel


@family("S[] i[] i i T")
def placed(E: Elements) -> Any:
    """dx[n, c] = scale where c is the label of n, else 0."""
    T, store = E.T, E.store

    def kernel(dx, t, count, classes, scale):
        i = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if i < count:
            store(dx, i, scale if t[i // classes] == i % classes else T(0))

    return kernel


def _total(base: DeviceArray, x: Any, scale: float) -> DeviceArray:
    out = empty((), np.float64)
    sums.total.launch(x.dtype, 1, WIDTH, flat(out), flat(base), flat(x), x.size, scale)
    return out


def _squares(kernels: Family, pairs: list[tuple[DeviceArray, DeviceArray]], scale: float, base: DeviceArray) -> Any:
    """base and `scale` times the sum of squares that a kernel takes of all pairs."""
    parts = [sums.channels(1, 1, x.size) for x, _ in pairs]
    partial = scratch(2 * sum(g.splits for g in parts), np.float64)
    first = 0
    for (x, y), g in zip(pairs, parts, strict=True):
        none, part = nothing(arithmetic(x.dtype)), partial[first : first + 2 * g.splits]
        kernels.launch(x.dtype, (1, g.splits), WIDTH, flat(part), flat(x), flat(y), none, none, g)
        first += 2 * g.splits
    return _total(base, partial, scale)


def plus_squares(base: DeviceArray, arrays: list[DeviceArray], scale: float) -> DeviceArray:
    """base and `scale` times the sum of all squares in the arrays."""
    return _squares(squares, [(a, a) for a in arrays if a.size], scale, base)


def squared_distance(x: DeviceArray, y: DeviceArray, scale: float) -> DeviceArray:
    """`scale` times the sum of (x - y)**2."""
    return _squares(distances, [(x, y)] if x.size else [], scale, _zero())


def likelihood(log_y: DeviceArray, t: DeviceArray) -> DeviceArray:
    """The mean of -log_y[n, t[n]]."""
    N, classes = log_y.shape
    if not N:
        return filled(1, math.nan, np.dtype(np.float64)).reshape(())
    T = arithmetic(log_y.dtype)
    terms = scratch(N, T)
    picked.launch(log_y.dtype, -(-N // WIDTH), WIDTH, flat(terms), flat(log_y), flat(t), classes, T.type(-1))
    return _total(_zero(), terms, 1 / N)


def likelihood_gradient(log_y: DeviceArray, t: DeviceArray) -> DeviceArray:
    """-1/N at the labels, else 0."""
    dx, (N, classes) = empty(log_y.shape, log_y.dtype), log_y.shape
    scale = arithmetic(log_y.dtype).type(-1 / max(N, 1))
    placed.launch(log_y.dtype, -(-dx.size // WIDTH), WIDTH, flat(dx), flat(t), dx.size, classes, scale)
    return dx


def _zero() -> DeviceArray:
    return filled(1, 0.0, np.dtype(np.float64))
