"""Batch normalisation in CUDA: one pass over x for the moments, split over blocks; one for the result. See ref.py.

Each thread sums x and x**2, both minus the first number that it meets, over about a hundred numbers; these sums are its
count, mean and sum of squares about the mean. Those of threads, then of blocks, are merged in a fixed order by Chan's
formula in float64, which does not cancel where the mean is far from zero.
Source: T. Chan, G. Golub and R. LeVeque, Updating formulae and a pairwise algorithm for computing sample variances,
1979.
"""

import math
from typing import Any

import numpy as np

from ..._problem import BatchNorm
from .._cuda import sums
from .._cuda.arrays import entry, flat, nothing, scratch
from .._cuda.elements import Elements
from .._cuda.kernels import WIDTH, Family, family
from .._cuda.shim import cuda, require
from .._cuda.sums import Channels
from .._cuda.sweeps import sweep

require()


@cuda.jit(device=True)
def merged(count_a, mean_a, squares_a, count_b, mean_b, squares_b):
    """Count, mean and squares about the mean of two sets of numbers together."""
    count = count_a + count_b
    if count_b == 0.0:
        return count_a, mean_a, squares_a
    if count_a == 0.0:
        return count_b, mean_b, squares_b
    apart = mean_b - mean_a
    share = count_b / count
    return count, mean_a + apart * share, squares_a + squares_b + apart * apart * count_a * share


@family("d[] S[] d g", sizes=Channels)
def moments(E: Elements) -> Any:
    """Count, mean and squares about the mean of each channel and split. Grid: channels / wide, splits.

    Squares that T cannot hold, too large or below `least`, are summed again in float64.
    """
    T = E.T

    @cuda.jit(device=True)
    def visit(total, x, y, state):
        pivot = x if total[0] == T(0) else total[1]
        apart = x - pivot
        return total[0] + T(1), pivot, total[2] + apart, total[3] + apart * apart

    @cuda.jit(device=True)
    def visit_in_double(total, x, y, state):
        apart = np.float64(x) - state[0]
        return total[0] + apart, total[1] + apart * apart

    visit_all, visit_all_in_double = sums.walk(E, 1, visit), sums.walk(E, 1, visit_in_double)

    def kernel(partial, x, least, g):
        counts = cuda.shared.array(WIDTH, np.float64)
        means = cuda.shared.array(WIDTH, np.float64)
        squares = cuda.shared.array(WIDTH, np.float64)
        tid = cuda.threadIdx.x
        c = cuda.blockIdx.x * g.wide + tid % g.wide
        counts[tid], means[tid], squares[tid] = 0.0, 0.0, 0.0
        if c < g.C:
            count, pivot, total, square = visit_all((T(0), T(0), T(0), T(0)), x, x, (0,), g, c, tid // g.wide)
            if count > T(0):
                first, second = np.float64(total), np.float64(square)
                if math.isinf(second) or second < least:
                    state = (np.float64(pivot),)
                    first, second = visit_all_in_double((0.0, 0.0), x, x, state, g, c, tid // g.wide)
                shift = first / np.float64(count)
                counts[tid] = count
                means[tid] = np.float64(pivot) + shift
                overflow = math.isinf(second) and math.isfinite(first)
                squares[tid] = second if overflow else max(second - shift * first, 0.0)
        cuda.syncthreads()
        half = WIDTH // 2
        while half >= g.wide:
            if tid < half:
                other = tid + half
                counts[tid], means[tid], squares[tid] = merged(
                    counts[tid], means[tid], squares[tid], counts[other], means[other], squares[other]
                )
            cuda.syncthreads()
            half //= 2
        if tid < g.wide and c < g.C:
            at = (c * g.splits + cuda.blockIdx.y) * 3
            partial[at], partial[at + 1], partial[at + 2] = counts[tid], means[tid], squares[tid]

    return kernel


@family("T[] T[] T[] T[] T[] T[] T[] d[] i i i d d d")
def statistics(E: Elements) -> Any:
    """mean, 1/sqrt(var + eps) and, if `keep`, the running statistics, from the moments of the splits in order.

    shift: beta less what the mean loses when it is stored, scaled: of a large one, more than the spread may have.
    """
    T = E.T

    def kernel(
        mean, inv_std, shift, gamma, beta, running_mean, running_var, partial, C, splits, keep, momentum, eps, lost
    ):  # fmt: skip
        c = cuda.blockIdx.x * WIDTH + cuda.threadIdx.x
        if c < C:
            count, middle, squares = 0.0, 0.0, 0.0
            for s in range(splits):
                at = (c * splits + s) * 3
                count, middle, squares = merged(count, middle, squares, partial[at], partial[at + 1], partial[at + 2])
            var = squares / count
            mean[c] = middle
            inv_std[c] = 1.0 / math.sqrt(var + eps)
            shift[c] = T(beta[c] - gamma[c] * inv_std[c] * (middle - np.float64(mean[c])))
            if keep:
                running_mean[c] += momentum * (middle - running_mean[c])
                running_var[c] += momentum * (squares / (count - lost) - running_var[c])

    return kernel


def _over_planes(E: Elements, reads: int, formula: Any) -> Any:
    """The body of a kernel (out, x, dout, mean, spread, gamma, v, w, factor, g): `formula` of x and dout at each place
    and of the vectors at its channel. dout is not read if `reads` is 1."""

    @cuda.jit(device=True)
    def at_channel(pixel, c, vectors):
        mean, spread, gamma, v, w = vectors
        return pixel, c, mean[c], spread[c], gamma[c], v[c], w[c]

    @cuda.jit(device=True)
    def begin(i, arguments):
        vectors, factor, C, P = arguments
        plane = i // P
        return at_channel(i - plane * P, plane % C, vectors)

    @cuda.jit(device=True)
    def following(state, arguments):
        vectors, factor, C, P = arguments
        pixel, c, mean, spread, gamma, v, w = state
        if pixel + 1 < P:
            return pixel + 1, c, mean, spread, gamma, v, w
        return at_channel(0, c + 1 if c + 1 < C else 0, vectors)

    @cuda.jit(device=True)
    def value(x, dout, state, arguments):
        pixel, c, mean, spread, gamma, v, w = state
        return formula(x, dout, mean, spread, gamma, v, w, arguments[1])

    run = sweep(E, reads, value, begin, following)

    def kernel(out, x, dout, mean, spread, gamma, v, w, factor, count, C, P):
        run(out, x, dout, ((mean, spread, gamma, v, w), factor, C, P), count)

    return kernel


OVER_PLANES = "S[] S[] S[] T[] T[] T[] T[] T[] T i i i"


@family(OVER_PLANES)
def normalise(E: Elements) -> Any:
    """gamma * inv_std * (x - mean) + beta; spread is inv_std, v is beta."""

    @cuda.jit(device=True)
    def formula(x, dout, mean, inv_std, gamma, beta, w, factor):
        return gamma * inv_std * (x - mean) + beta

    return _over_planes(E, 1, formula)


@family(OVER_PLANES)
def normalise_by_variance(E: Elements) -> Any:
    """The same with spread the variance, and eps the factor."""
    T = E.T

    @cuda.jit(device=True)
    def formula(x, dout, mean, var, gamma, beta, w, eps):
        return gamma * (T(1) / T(math.sqrt(var + eps))) * (x - mean) + beta

    return _over_planes(E, 1, formula)


@family(OVER_PLANES)
def gradient(E: Elements) -> Any:
    """gamma * inv_std * (dout - factor*(dbeta + x_hat*dgamma)); factor is 1/M, or 0 at inference."""

    @cuda.jit(device=True)
    def formula(x, dout, mean, inv_std, gamma, dgamma, dbeta, factor):
        return gamma * inv_std * (dout - factor * (dbeta + (x - mean) * inv_std * dgamma))

    return _over_planes(E, 2, formula)


@family("d[] S[] S[] T[] T[] g", sizes=Channels)
def gradient_sums(E: Elements) -> Any:
    """For each channel the sums of dout and of dout * x_hat."""
    first = cuda.jit(device=True)(lambda dout, x, mean, inv_std: dout)
    second = cuda.jit(device=True)(lambda dout, x, mean, inv_std: dout * ((x - mean) * inv_std))
    return sums.channel_sums(E, 2, first, second)


def _launch(
    kernels: Family, p: BatchNorm, out: Any, x: Any, dout: Any, vectors: tuple[Any, ...], factor: float
) -> None:
    count, flattened = p.N * p.C * p.P, (flat(a) for a in (out, x, dout, *vectors))
    kernels.vectors(p.dtype, count, *flattened, p.arithmetic.type(factor), count, p.C, p.P)


@entry("out", "mean", "inv_std", "running_mean", "running_var")
def training(
    out: Any,
    mean: Any,
    inv_std: Any,
    x: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    p: BatchNorm,
) -> None:
    g, keep = sums.channels(p.N, p.C, p.P), running_mean is not None
    partial = scratch(3 * p.C * g.splits, np.float64)
    least = 1e-28 if p.arithmetic == np.float32 and p.eps < 1e-20 else 0.0
    moments.launch(p.dtype, (-(-p.C // g.wide), g.splits), WIDTH, flat(partial), flat(x), least, g)
    shift = scratch(p.C, p.arithmetic)
    running = [flat(r) if keep else nothing(p.arithmetic) for r in (running_mean, running_var)]
    vectors = (*(flat(a) for a in (mean, inv_std, shift, gamma, beta)), *running, flat(partial))
    statistics.launch(
        p.dtype,
        -(-p.C // WIDTH),
        WIDTH,
        *vectors,
        p.C,
        g.splits,
        int(keep),
        float(p.momentum),
        float(p.eps),
        float(p.unbiased),
    )
    _launch(normalise, p, out, x, x, (mean, inv_std, gamma, shift, shift), 0.0)


@entry("out")
def inference(out: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, p: BatchNorm) -> None:
    _launch(normalise_by_variance, p, out, x, x, (mean, var, gamma, beta, beta), p.eps)


@entry("dx", "dgamma", "dbeta")
def backward(
    dx: Any, dgamma: Any, dbeta: Any, dout: Any, x: Any, gamma: Any, mean: Any, inv_std: Any, p: BatchNorm
) -> None:
    g = sums.channels(p.N, p.C, p.P)
    partial = scratch(2 * p.C * g.splits, np.float64)
    arguments = flat(partial), flat(dout), flat(x), flat(mean), flat(inv_std), g
    gradient_sums.launch(p.dtype, (-(-p.C // g.wide), g.splits), WIDTH, *arguments)
    sums.join_sums.launch(
        p.arithmetic, -(-p.C // WIDTH), WIDTH, flat(dbeta), flat(dgamma), flat(partial), p.C, g.splits, 1, 1.0
    )
    factor = 1 / (p.N * p.P) if p.training and p.N * p.P else 0.0
    _launch(gradient, p, dx, x, dout, (mean, inv_std, gamma, dgamma, dbeta), factor)
