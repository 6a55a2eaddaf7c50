// The formulas of the activations that gate, and of those made of straight pieces: value(x) and gradient(dout, x).
//
//   relu6         min(max(x, 0), 6)                     dout where 0 < x < 6 (x: the input, or the output)
//   hard_sigmoid  min(max(x + 3, 0), 6)/6               dout/6 where -3 < x < 3
//   hard_swish    x*hard_sigmoid(x)                     dout*(x/3 + 1/2) where -3 < x < 3, 0 below, dout above
//   silu          x*s, s = 1/(1 + exp(-x))              dout*(s + x*s*(1 - s))
//   gelu          x*Phi(x), Phi the normal distribution dout*(Phi(x) + x*phi(x))
//   gelu_tanh     x*s, s = 1/(1 + exp(-2u)),            dout*(s + x*s*(1 - s)*2u'),
//                 u = sqrt(2/pi)*(x + .044715*x^3)      u' = sqrt(2/pi)*(1 + .134145*x^2)
//
// (1 + tanh(u))/2 is 1/(1 + exp(-2u)), which loses no digits where it is small. NaN passes through all of them; where a
// formula is infinity times 0 (at -infinity), NaN is its value, as PyTorch's.
#pragma once
#include "simd_normal.h"

namespace fc::activations {

// Nanoseconds of one thread per byte read or written, with the data in cache, as between layers: ReLU 0.011; sigmoid and
// tanh 0.05 to 0.09. From memory it is more like 0.05 for all.
constexpr double kCopy = 0.015, kExponential = 0.08;

// max and min give their second operand where either is NaN.
template <class V, class T = Element<V>>
FC_INLINE V clamp(V v, double least, double most) {
    return min(set1(T(most)), max(set1(T(least)), v));
}

struct Relu6 {
    static constexpr double cost = kCopy, gradient_cost = kCopy;
    template <class V, class T = Element<V>>
    FC_INLINE V value(V x) {
        return clamp(x, 0, 6);
    }
    template <class V, class T = Element<V>>
    FC_INLINE V gradient(V dout, V x) {
        return select((x <= zero<T>()) | (x >= set1(T(6))), zero<T>(), dout);
    }
};

struct HardSigmoid {
    static constexpr double cost = kCopy, gradient_cost = kCopy;
    template <class V, class T = Element<V>>
    FC_INLINE V value(V x) {
        return clamp(x + T(3), 0, 6) / T(6);
    }
    template <class V, class T = Element<V>>
    FC_INLINE V gradient(V dout, V x) {
        return select((x <= set1(T(-3))) | (x >= set1(T(3))), zero<T>(), dout / T(6));
    }
};

struct HardSwish {
    static constexpr double cost = kCopy, gradient_cost = kCopy;
    template <class V, class T = Element<V>>
    FC_INLINE V value(V x) {
        return x * (clamp(x + T(3), 0, 6) / T(6));
    }
    template <class V, class T = Element<V>>
    FC_INLINE V gradient(V dout, V x) {
        const V inside = dout * (x / T(3) + T(0.5));
        return select(x <= set1(T(-3)), zero<T>(), select(x >= set1(T(3)), dout, inside));
    }
};

struct Silu {
    static constexpr double cost = kExponential, gradient_cost = kExponential;
    template <class V, class T = Element<V>>
    FC_INLINE V value(V x) {
        return x * sigmoid(x);
    }
    template <class V, class T = Element<V>>
    FC_INLINE V gradient(V dout, V x) {
        const V s = sigmoid(x);
        return dout * fma(x * s, T(1) - s, s);
    }
};

struct Gelu {
    static constexpr double cost = 2 * kExponential, gradient_cost = 2 * kExponential;
    template <class V, class T = Element<V>>
    FC_INLINE V value(V x) {
        return x * normal(x).distribution;
    }
    template <class V, class T = Element<V>>
    FC_INLINE V gradient(V dout, V x) {
        const Normal<V> n = normal(x);
        return dout * fma(x, n.density, n.distribution);
    }
};

struct GeluTanh {
    static constexpr double cost = kExponential, gradient_cost = kExponential;
    static constexpr double slope = 1.5957691216057308, cubic = 0.044715;  // 2*sqrt(2/pi)

    template <class V, class T = Element<V>>
    FC_INLINE V gate(V x) {  // beyond 30 it is 0 or 1, and x^3 must not overflow
        const V c = clamp(x, -30, 30);
        return sigmoid(T(slope) * c * fma(T(cubic) * c, c, set1(T(1))));
    }
    template <class V, class T = Element<V>>
    FC_INLINE V value(V x) {
        return x * gate(x);
    }
    template <class V, class T = Element<V>>
    FC_INLINE V gradient(V dout, V x) {
        const V s = gate(x), c = clamp(x, -30, 30);
        const V steepness = T(slope) * fma(T(3 * cubic) * c, c, set1(T(1)));
        return dout * fma(c * s * (T(1) - s), steepness, s);
    }
};

}  // namespace fc::activations
