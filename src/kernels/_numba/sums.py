"""Sums and maxima of one line of numbers.

These functions alone may reorder additions ("reassoc"), so that LLVM adds a vector of partial sums; the order is fixed
when they are compiled, so it is the same at every call.
"""

import math

import numba
import numpy as np

from .elementary import exp
from .jit import OPTIONS

_reordered = numba.njit(**{**OPTIONS, "fastmath": {"contract", "reassoc"}})


@_reordered
def total(line):
    result = type(line[0])(0)
    for i in range(line.size):
        result += line[i]
    return result


@_reordered
def total_of_exp(line):
    result = type(line[0])(0)
    for i in range(line.size):
        result += exp(line[i])
    return result


@_reordered
def dot(a, b):
    result = type(a[0])(0)
    for i in range(a.size):
        result += a[i] * b[i]
    return result


@_reordered
def deviations(line, pivot):
    """(sum, sum of squares) of what the numbers differ from `pivot` by, in double."""
    first, second = 0.0, 0.0
    for i in range(line.size):
        d = np.float64(line[i]) - pivot
        first += d
        second += d * d
    return first, second


@_reordered
def total_and_dot(dy, x, pivot):
    """(sum of dy, sum of dy*(x - pivot))"""
    first, second = type(dy[0])(0), type(dy[0])(0)
    for i in range(dy.size):
        first += dy[i]
        second += dy[i] * (x[i] - pivot)
    return first, second


@_reordered
def total_and_dot_in_double(dy, x, pivot):
    """The same in double, for products that float32 cannot hold."""
    first, second = 0.0, 0.0
    for i in range(dy.size):
        first += dy[i]
        second += np.float64(dy[i]) * (np.float64(x[i]) - np.float64(pivot))
    return first, second


@numba.njit(**OPTIONS)
def largest(line):
    """The maximum; NaN is passed over, as every other step of a softmax keeps it."""
    a = b = c = d = type(line[0])(-math.inf)
    whole = line.size - line.size % 4
    for i in range(0, whole, 4):
        a = line[i] if line[i] > a else a
        b = line[i + 1] if line[i + 1] > b else b
        c = line[i + 2] if line[i + 2] > c else c
        d = line[i + 3] if line[i + 3] > d else d
    for i in range(whole, line.size):
        a = line[i] if line[i] > a else a
    a = b if b > a else a
    c = d if d > c else c
    return c if c > a else a


@numba.njit(**OPTIONS)
def total_of_columns(out, rows, left, right):
    """out[m] = the sum of column m, in double, for left <= m < right."""
    sums = np.zeros(right - left)
    for n in range(rows.shape[0]):
        row = rows[n, left:right]
        for i in range(row.size):
            sums[i] += row[i]
    for i in range(sums.size):
        out[left + i] = sums[i]
