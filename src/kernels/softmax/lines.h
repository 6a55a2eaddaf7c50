// Softmax runs along lines: the middle axis of x as (outer, n, inner).
//
// A Line is as many of them as one vector holds together. For inner = 1 that is one, and the vector's lanes are
// neighbours on it: reductions end across the lanes. For inner > 1 every lane is a line of its own.
#pragma once
#include <limits>

#include "simd_math.h"
#include "vectors.h"

namespace fc {

// The whole axis is consecutive in memory.
template <class T>
struct AlongLanes {
    int64_t n;

    // f(offset, lanes, chain) for every vector of the line.
    template <class F>
    __attribute__((always_inline)) void each(F f) const {
        for_vectors<T>(n, f);
    }
    static Vec<T> add_up(Chains<T>& sums) { return set1(sums.total()); }
    static Vec<T> largest(Vec<T> v) { return set1(max_lane(v)); }
};

// Neighbours in memory are on different lines; `width` of them fill the vector, or a part of it.
template <class T>
struct AcrossLanes {
    int64_t n, inner, width;

    template <class F>
    __attribute__((always_inline)) void each(F f) const {
        if (width == lanes<T>)
            for_rows(0, n, [&](int64_t i, int k) { f(i * inner, AllLanes{}, k); });
        else
            for_rows(0, n, [&](int64_t i, int k) { f(i * inner, FirstLanes{width}, k); });
    }
    static Vec<T> add_up(Chains<T>& sums) { return sums.vector(); }
    static Vec<T> largest(Vec<T> v) { return v; }
};

// The maximum of a line, in all lanes.
template <class T, class Line>
Vec<T> maximum(const Line& line, const T* x) {
    constexpr T lowest = -std::numeric_limits<T>::infinity();
    Vec<T> most[kChains];
    FC_UNROLL for (int k = 0; k < kChains; ++k) most[k] = set1(lowest);
    line.each([&](int64_t i, auto lanes, int k) { most[k] = max(most[k], lanes.keep(lanes.load(x + i), lowest)); });
    return line.largest(max(max(most[0], most[1]), max(most[2], most[3])));
}

// The sum of f(offset, lanes) over a line, in all lanes.
template <class T, class Line, class F>
Vec<T> sum_of(const Line& line, F f) {
    Chains<T> sums;
    line.each([&](int64_t i, auto lanes, int k) { sums[k] += lanes.keep(f(i, lanes), T(0)); });
    return line.add_up(sums);
}

// out = exp(x - m); returns their sum.
template <class T, class Line>
Vec<T> exponentials(const Line& line, T* out, const T* x, Vec<T> m) {
    return sum_of<T>(line, [&](int64_t i, auto lanes) {
        const Vec<T> e = exp(lanes.load(x + i) - m);
        lanes.store(out + i, e);
        return e;
    });
}

// Divides a line by s.
template <class T, class Line>
void divide(const Line& line, T* y, Vec<T> s) {
    const Vec<T> inverse = T(1) / s;
    line.each([&](int64_t i, auto lanes, int) { lanes.store(y + i, lanes.load(y + i) * inverse); });
}

}  // namespace fc
