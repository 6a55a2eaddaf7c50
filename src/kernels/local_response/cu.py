"""Local response normalisation in CUDA: a thread for each number, which sums its window anew. See ref.py."""

import math
from typing import Any

from ..._problem import LocalResponse
from .._cuda.arrays import entry, flat, scratch
from .._cuda.elements import Elements
from .._cuda.kernels import WIDTH, family
from .._cuda.shim import cuda, require

require()


def _scale(E: Elements) -> Any:
    """s at place i of an array (N, C, P)."""
    T, load = E.T, E.load

    def scale(x, i, c, C, P, before, after, factor, k):
        total = T(0)
        for d in range(max(c - before, 0), min(c + after + 1, C)):
            value = load(x, i + (d - c) * P)
            total += value * value
        return k + factor * total

    return cuda.jit(device=True)(scale)


@family("S[] S[] i i i i i T T T")
def results(E: Elements) -> Any:
    """x * s^-beta."""
    T, load, store, scale = E.T, E.load, E.store, _scale(E)

    def kernel(out, x, count, C, P, before, after, factor, beta, k):
        i = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if i < count:
            s = scale(x, i, i // P % C, C, P, before, after, factor, k)
            store(out, i, load(x, i) * T(math.pow(s, -beta)))

    return kernel


@family("T[] S[] S[] i i i i i T T T")
def shares(E: Elements) -> Any:
    """dout * x * s^(-beta - 1)."""
    T, load, scale = E.T, E.load, _scale(E)

    def kernel(out, dout, x, count, C, P, before, after, factor, beta, k):
        i = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if i < count:
            s = scale(x, i, i // P % C, C, P, before, after, factor, k)
            out[i] = load(dout, i) * load(x, i) * T(math.pow(s, -beta)) / s

    return kernel


@family("S[] T[] S[] S[] i i i i i T T T")
def gradients(E: Elements) -> Any:
    """dout * s^-beta - 2*factor*beta * x * the sum of the shares of all windows that hold it."""
    T, load, store, scale = E.T, E.load, E.store, _scale(E)

    def kernel(dx, parts, dout, x, count, C, P, before, after, factor, beta, k):
        i = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if i < count:
            c = i // P % C
            total = T(0)
            for d in range(max(c - after, 0), min(c + before + 1, C)):
                total += parts[i + (d - c) * P]
            s = scale(x, i, c, C, P, before, after, factor, k)
            store(dx, i, load(dout, i) * T(math.pow(s, -beta)) - T(2) * factor * beta * load(x, i) * total)

    return kernel


def _launch(kernels: Any, p: LocalResponse, *arrays: Any) -> None:
    T, count = p.arithmetic.type, p.N * p.C * p.P
    sizes = count, p.C, p.P, p.size // 2, (p.size - 1) // 2
    numbers = T(p.alpha / p.size), T(p.beta), T(p.k)
    if count:
        kernels.launch(p.dtype, -(-count // WIDTH), WIDTH, *map(flat, arrays), *sizes, *numbers)


@entry("out")
def forward(out: Any, x: Any, p: LocalResponse) -> None:
    _launch(results, p, out, x)


@entry("dx")
def backward(dx: Any, dout: Any, x: Any, p: LocalResponse) -> None:
    parts = scratch(p.N * p.C * p.P, p.arithmetic)
    _launch(shares, p, parts, dout, x)
    _launch(gradients, p, dx, parts, dout, x)
