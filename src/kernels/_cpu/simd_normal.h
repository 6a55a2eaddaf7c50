// The normal distribution on vectors of float and double: its density and its distribution function, for GELU.
//
//   Phi(-a) = exp(-a^2/2) * erfcx(a/sqrt(2)) / 2,   Phi(a) = 1 - Phi(-a)   for a >= 0
//
// erfcx(t) = exp(t^2)*erfc(t) falls smoothly from 1 to 0. As a function of z = (t - 3.75)/(t + 3.75) it is a polynomial of
// low degree: M. Shepherd and J. Laframboise, Chebyshev approximation of (1 + 2x)exp(x^2)erfc x in 0 <= x < inf, 1981.
// The coefficients are those of the Chebyshev series of erfcx itself, computed with 40 digits, in powers of z. What a^2
// loses when it is rounded is made good, so that small results have small relative errors: those of GELU
// are at most 3.2 epsilons, in float and in double, down to x = -13.
#pragma once
#include "simd_math.h"

namespace fc {
namespace detail {

// Of powers of z, for t up to 10.2, beyond which Phi is 0 in float; and up to 27.3, in double.
constexpr double erfcx_of_float(int k) {
    constexpr double c[] = {
        0.14558972138747815, -0.27342193454610634, 0.22600805086758631, -0.16357174020311491,
        0.10260477614403253, -0.054804335687330254, 0.024137631821725671, -0.0082124170545564932,
        0.0018325890907114589, -2.4614638790703147e-5, -0.00020781176724937044,
    };
    return c[k];
}
constexpr double erfcx_of_double(int k) {
    constexpr double c[] = {
        0.14558972127503854, -0.27342193149542654, 0.22600806691662149, -0.16357189552391682,
        0.10260431203219641, -0.054802326695224329, 0.024143223972422751, -0.0082206211502235661,
        0.0018029624180415825, -2.5535365393081506e-5, -0.0001524626830440514, 4.7898963222188515e-5,
        3.5838446857632473e-6, -6.1840335542769667e-6, 7.4800970629394137e-7, 6.6068456777200012e-7,
        -1.8205349522921527e-7, -7.4090735619269048e-8, 2.9442976941570647e-8, 1.000365450945883e-8,
        -3.1506646617001007e-9, -1.3062283785998729e-9, -3.374397276915393e-11,
    };
    return c[k];
}

template <class V>
FC_INLINE V erfcx(V t) {
    const V z = (t - Element<V>(3.75)) / (t + Element<V>(3.75));
    if constexpr (sizeof(Element<V>) == 4)
        return polynomial<erfcx_of_float, 0, 10>(z);
    else
        return polynomial<erfcx_of_double, 0, 22>(z);
}

}  // namespace detail

template <class V>
struct Normal {
    V distribution, density;
};

// Phi(x) and phi(x).
template <class V, class T = Element<V>>
FC_INLINE Normal<V> normal(V x) {
    constexpr double half_root = 0.70710678118654752, density_at_0 = 0.39894228040143268;
    const V a = min(set1(T(sizeof(T) == 4 ? 14.4 : 38.6)), abs(x));  // beyond: 0 and 1; NaN stays
    using Bits = std::make_unsigned_t<Int<T>>;
    constexpr Bits low = (Bits(1) << (sizeof(T) == 4 ? 12 : 27)) - 1;
    const V high = bits<T>(bits<Bits>(a) & Bits(~low)), rest = a - high;  // the square of `high` is exact
    const V square = a * a, lost = (high * high - square) + rest * (a + high);
    const V power = exp(T(-0.5) * square);
    const V e = fma(power, T(-0.5) * lost, power);
    const V tail = T(0.5) * e * detail::erfcx(a * T(half_root));
    return {select(x < zero<T>(), tail, T(1) - tail), e * T(density_at_0)};
}

}  // namespace fc
