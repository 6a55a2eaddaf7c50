"""Softmax along the middle axis of (outer, n, inner) and its cross entropy in CUDA; formulas in ref.py.

A line is a thread's, where lines are short or lie beside each other (inner > 1, when neighbouring threads read
neighbouring numbers), or a block's, whose threads reduce in shared memory.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..._problem import CrossEntropy, Softmax
from .._cuda.arrays import empty, entry, filled, flat, nothing, scratch
from .._cuda.elements import Elements, Type
from .._cuda.kernels import WIDTH, Family, family
from .._cuda.shim import cuda, require
from .._cuda.sums import add_up, total

require()

SHORT = 32  # numbers in a line that one thread takes


class Lines(NamedTuple):
    """outer * inner lines of n numbers, `inner` apart. t: 0 no targets, 1 labels, 2 a target for each number."""

    lines: int
    n: int
    inner: int
    targets: int


def _variants(T: Type) -> list[tuple[int]]:
    return [(1,), (WIDTH,)]


def _reducer(E: Elements, lanes: int) -> tuple[Any, Any]:
    """Device functions: the maximum and the sum over the threads of one line; all threads of the block must call."""

    @cuda.jit(device=True)
    def maximum(shared, value, tid):
        if lanes == 1:
            return value
        shared[tid] = value
        cuda.syncthreads()
        half = lanes // 2
        while half > 0:
            if tid < half:
                shared[tid] = max(shared[tid], shared[tid + half])
            cuda.syncthreads()
            half //= 2
        value = shared[0]
        cuda.syncthreads()
        return value

    @cuda.jit(device=True)
    def total(shared, value, tid):
        if lanes == 1:
            return value
        shared[tid] = value
        add_up(shared, tid, 1)
        value = shared[0]
        cuda.syncthreads()
        return value

    return maximum, total


@cuda.jit(device=True)
def place(g, tid, lanes):
    """(line, its first number): one line for each block of `lanes` threads, or for each thread."""
    line = cuda.blockIdx.x if lanes > 1 else cuda.blockIdx.x * WIDTH + tid
    return line, (line // g.inner) * g.n * g.inner + line % g.inner


def _forward(E: Elements, lanes: int, result: Any) -> Any:
    """The body of a kernel (out, x, labels, targets, losses, offset, g): out = result(x - max, sum of exp(x - max) and
    its logarithm), and each line's loss, the logarithm taken of out + offset where that is not 0."""
    T, load, store = E.T, E.load, E.store
    maximum, total = _reducer(E, lanes)

    def kernel(out, x, labels, targets, losses, offset, g):
        shared = cuda.shared.array(WIDTH, T)
        tid = cuda.threadIdx.x
        line, at = place(g, tid, lanes)
        n = g.n if line < g.lines else 0
        first = tid if lanes > 1 else 0
        top = T(-np.inf)
        for j in range(first, n, lanes):
            top = max(top, load(x, at + j * g.inner))
        top = maximum(shared, top, tid)
        below = T(0)
        for j in range(first, n, lanes):
            below += T(math.exp(load(x, at + j * g.inner) - top))
        below = total(shared, below, tid)
        log_below = T(math.log(below)) if n > 0 else T(0)
        loss = T(0)
        for j in range(first, n, lanes):
            shifted = load(x, at + j * g.inner) - top
            y = result(shifted, below, log_below)
            store(out, at + j * g.inner, y)
            if g.targets > 0:
                wanted = (T(1) if labels[line] == j else T(0)) if g.targets == 1 else load(targets, at + j)
                if wanted != T(0):
                    loss -= wanted * (shifted - log_below if offset == T(0) else T(math.log(y + offset)))
        if g.targets > 0:
            loss = total(shared, loss, tid)
            if n > 0 and first == 0:
                losses[line] = loss

    return kernel


FORWARD = "S[] S[] i[] S[] T[] T g"


@family(FORWARD, _variants, Lines)
def normalise(E: Elements, lanes: int) -> Any:
    """exp(x - max) / sum."""
    T = E.T
    return _forward(E, lanes, cuda.jit(device=True)(lambda shifted, below, log_below: T(math.exp(shifted)) / below))


@family(FORWARD, _variants, Lines)
def log_normalise(E: Elements, lanes: int) -> Any:
    """x - max - log(sum)."""
    return _forward(E, lanes, cuda.jit(device=True)(lambda shifted, below, log_below: shifted - log_below))


def _backward(E: Elements, lanes: int, term: Any, result: Any) -> Any:
    """The body of a kernel (dx, dout, y, g): dx = result(dout, y, sum of term(dout, y))."""
    T, load, store = E.T, E.load, E.store
    _, total = _reducer(E, lanes)

    def kernel(dx, dout, y, g):
        shared = cuda.shared.array(WIDTH, T)
        tid = cuda.threadIdx.x
        line, at = place(g, tid, lanes)
        n = g.n if line < g.lines else 0
        first = tid if lanes > 1 else 0
        weight = T(0)
        for j in range(first, n, lanes):
            weight += term(load(dout, at + j * g.inner), load(y, at + j * g.inner))
        weight = total(shared, weight, tid)
        for j in range(first, n, lanes):
            store(dx, at + j * g.inner, result(load(dout, at + j * g.inner), load(y, at + j * g.inner), weight))

    return kernel


@family("S[] S[] S[] g", _variants, Lines)
def gradient(E: Elements, lanes: int) -> Any:
    """y * (dout - sum of dout*y)."""
    term = cuda.jit(device=True)(lambda dout, y: dout * y)
    return _backward(E, lanes, term, cuda.jit(device=True)(lambda dout, y, weight: y * (dout - weight)))


@family("S[] S[] S[] g", _variants, Lines)
def log_gradient(E: Elements, lanes: int) -> Any:
    """dout - exp(y) * sum of dout."""
    T = E.T
    term = cuda.jit(device=True)(lambda dout, y: dout)
    result = cuda.jit(device=True)(lambda dout, y, weight: dout - T(math.exp(y)) * weight)
    return _backward(E, lanes, term, result)


@family("S[] S[] i[] S[] T g", _variants, Lines)
def loss_gradient(E: Elements, lanes: int) -> Any:
    """(y * sum of t - t) * scale, t the label's indicator or the targets."""
    T, load, store = E.T, E.load, E.store
    _, total = _reducer(E, lanes)

    def kernel(dx, y, labels, targets, scale, g):
        shared = cuda.shared.array(WIDTH, T)
        tid = cuda.threadIdx.x
        line, at = place(g, tid, lanes)
        n = g.n if line < g.lines else 0
        first = tid if lanes > 1 else 0
        weight = T(0)
        if g.targets == 2:
            for j in range(first, n, lanes):
                weight += load(targets, at + j)
            weight = total(shared, weight, tid)
        for j in range(first, n, lanes):
            if g.targets == 2:
                store(dx, at + j, (load(y, at + j) * weight - load(targets, at + j)) * scale)
            else:
                store(dx, at + j, (load(y, at + j) - (T(1) if labels[line] == j else T(0))) * scale)

    return kernel


def _launch(kernels: Family, dtype: Any, g: Lines, *args: Any) -> None:
    lanes = 1 if g.inner > 1 or g.n <= SHORT else WIDTH
    blocks = g.lines if lanes > 1 else -(-g.lines // WIDTH)
    kernels.launch(dtype, blocks if g.n else 0, WIDTH, *args, g, options=(lanes,))


def _lines(p: Softmax) -> Lines:
    return Lines(p.outer * p.inner, p.n, p.inner, 0)


def _normalise(kernels: Family, out: Any, x: Any, p: Softmax) -> None:
    none, T = nothing(p.dtype), p.arithmetic.type
    _launch(kernels, p.dtype, _lines(p), flat(out), flat(x), nothing(np.int64), none, nothing(T), T(0))


@entry("out")
def forward(out: Any, x: Any, p: Softmax) -> None:
    _normalise(normalise, out, x, p)


@entry("out")
def log_forward(out: Any, x: Any, p: Softmax) -> None:
    _normalise(log_normalise, out, x, p)


@entry("dx")
def backward(dx: Any, dout: Any, y: Any, p: Softmax) -> None:
    _launch(gradient, p.dtype, _lines(p), flat(dx), flat(dout), flat(y))


@entry("dx")
def log_backward(dx: Any, dout: Any, y: Any, p: Softmax) -> None:
    _launch(log_gradient, p.dtype, _lines(p), flat(dx), flat(dout), flat(y))


def _targets(t: Any, p: CrossEntropy) -> tuple[Any, Any]:
    """(labels, targets), one of them a placeholder."""
    return (flat(t), nothing(p.dtype)) if p.labels else (nothing(np.int64), flat(t))


def _classes(p: CrossEntropy) -> Lines:
    return Lines(p.N, p.C, 1, 1 if p.labels else 2)


@entry("out")
def cross_entropy_forward(out: Any, x: Any, t: Any, p: CrossEntropy) -> Any:
    """The loss stays on the device until it is asked for: `float(loss)`."""
    if p.N == 0:
        return filled(1, math.nan, np.dtype(np.float64)).reshape(())
    losses, loss = scratch(p.N, p.arithmetic), empty((), np.float64)
    _launch(
        normalise, p.dtype, _classes(p), flat(out), flat(x), *_targets(t, p), flat(losses), p.arithmetic.type(p.offset)
    )
    zero = filled(1, 0.0, np.dtype(np.float64))
    total.launch(p.dtype, 1, WIDTH, flat(loss), flat(zero), flat(losses), p.N, 1 / p.N)
    return loss


@entry("dx")
def cross_entropy_backward(dx: Any, y: Any, t: Any, p: CrossEntropy) -> None:
    scale = p.arithmetic.type(1 / max(p.N, 1))
    _launch(loss_gradient, p.dtype, _classes(p), flat(dx), flat(y), *_targets(t, p), scale)
