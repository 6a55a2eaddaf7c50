"""exp, tanh and the logistic function, written so that LLVM can compute a vector of them at a time.

The method and the bounds of the errors are the compiled kernels' (_cpu/simd_math.h): x = n*ln2 + r, |r| <= ln2/2,
exp(x) = 2^n * exp(r) by its Taylor series; ln2 is subtracted in two parts, the first so short that n times it is exact
(Cody & Waite, Software Manual for the Elementary Functions, 1980). libm's functions, which Numba would call for one
number at a time, are several times slower.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from .jit import inline, named


class _Constants(NamedTuple):
    """What differs between the two precisions."""

    mantissa: int
    bias: int
    ln2_high: float
    ln2_low: float
    exp_least: float  # beyond: 0
    exp_most: float  # beyond: infinity
    tanh_most: float  # beyond: 1
    coefficients: tuple[float, ...]  # of (exp(r) - 1 - r)/r^2, highest power first


def _taylor(most: int) -> tuple[float, ...]:
    return tuple(1 / math.factorial(k) for k in range(most, 1, -1))


_CONSTANTS = {
    32: _Constants(
        23, 127, float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20"), -104.0, 89.0, 10.0, _taylor(7)
    ),
    64: _Constants(
        52, 1023, float.fromhex("0x1.62e42fefa0000p-1"), float.fromhex("0x1.cf79abc9e3b3ap-40"), -746.0, 710.0, 20.0,
        _taylor(13),
    ),
}  # fmt: skip


def _same_bits(typingctx: Any, number: Any) -> Any:
    floats, integers = {32: types.float32, 64: types.float64}, {32: types.int32, 64: types.int64}
    result = (integers if isinstance(number, types.Float) else floats)[number.bitwidth]

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(number), codegen


bits = intrinsic(_same_bits)
"""A number's bits as an integer of its size, and back."""


def _functions(width: int) -> tuple[Any, Any, Any]:
    """exp, tanh and sigmoid of one precision."""
    c = _CONSTANTS[width]
    T, I = (np.float32, np.int32) if width == 32 else (np.float64, np.int64)
    mantissa, bias, coefficients = I(c.mantissa), I(c.bias), tuple(T(a) for a in c.coefficients)
    log2e, high, low, round_ = T(1 / math.log(2)), T(c.ln2_high), T(c.ln2_low), T(1.5 * 2**c.mantissa)
    least, most, tanh_most = T(c.exp_least), T(c.exp_most), T(c.tanh_most)
    zero, one, two = T(0), T(1), T(2)

    @inline
    @named(f"power_of_two_{width}")
    def power_of_two(n):
        return bits(I((n + bias) << mantissa))

    @inline
    @named(f"reduce_{width}")
    def reduce(x):
        """(n, exp(r) - 1) with x = n*ln2 + r"""
        shifted = x * log2e + round_  # adding 1.5 * 2^mantissa leaves the nearest integer in the low bits
        whole = shifted - round_
        r = (x - whole * high) - whole * low
        series = zero
        for a in coefficients:
            series = series * r + a
        return I(bits(shifted) - bits(round_)), r + r * r * series

    @inline
    @named(f"exp_{width}")
    def exp(x):
        clipped = x
        if clipped < least:
            clipped = least
        if clipped > most:
            clipped = most
        n, e = reduce(clipped)
        half = I((n + two_biases) >> 1) - bias  # 2^n in two factors, neither of which overflows
        return (e + one) * power_of_two(half) * power_of_two(I(n - half))

    two_biases = I(2 * c.bias)

    @inline
    @named(f"quotient_{width}")
    def quotient(a, b, c):
        """a/(b + c) for b >= c, with most of what the sum and the division lose made good."""
        divisor = b + c
        lost = (b - divisor) + c
        inverse = one / divisor
        q = a * inverse
        return q + ((a - q * divisor) - q * lost) * inverse

    @inline
    @named(f"tanh_{width}")
    def tanh(x):
        """e/(e + 2) with e = exp(2|x|) - 1, and x's sign"""
        size = abs(x)
        if size > tanh_most:
            size = tanh_most
        n, e = reduce(two * size)
        power = power_of_two(n)
        e = e * power + (power - one)
        return math.copysign(quotient(e, two, e), x)

    @inline
    @named(f"sigmoid_{width}")
    def sigmoid(x):
        """1/(1 + exp(-x)) from exp(-|x|), which neither overflows nor loses the small results"""
        e = exp(-abs(x))
        return quotient(e if x < zero else one, one, e)

    return exp, tanh, sigmoid


_FUNCTIONS = {width: _functions(width) for width in _CONSTANTS}


def exp(x: Any) -> Any:
    """e^x in x's own precision."""


def tanh(x: Any) -> Any:
    """The hyperbolic tangent in x's own precision."""


def sigmoid(x: Any) -> Any:
    """1/(1 + e^-x) in x's own precision."""


def _overload(function: Any, index: int) -> None:
    @overload(function)
    def choose(x):
        implementation = _FUNCTIONS[x.bitwidth][index]
        return named(f"{function.__name__}_of_{x.bitwidth}")(lambda x: implementation(x))


for _index, _function in enumerate((exp, tanh, sigmoid)):
    _overload(_function, _index)
