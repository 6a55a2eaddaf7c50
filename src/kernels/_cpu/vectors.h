// Loops over a row of any length: whole vectors first, then the lanes that are left.
//
//   fc::for_vectors<T>(count, [&](int64_t i, auto lanes, int k) { total[k] += lanes.load(x + i); });
//
// `lanes` loads and stores all lanes, or the first few; k = 0 .. kChains - 1 is a constant after unrolling, so that
// sums can run in that many independent chains.
#pragma once
#include "simd.h"

namespace fc {

constexpr int kChains = 4;

struct AllLanes {
    template <class T>
    FC_INLINE Vec<T> load(const T* p) {
        return fc::load(p);
    }
    template <class V>
    FC_INLINE void store(Element<V>* p, V v) {
        fc::store(p, v);
    }
    // v, with `other` in the lanes that are not there.
    template <class V>
    FC_INLINE V keep(V v, Element<V>) {
        return v;
    }
};

struct FirstLanes {
    int64_t n;

    template <class T>
    __attribute__((always_inline)) Vec<T> load(const T* p) const {
        return load_n(p, n);
    }
    template <class V>
    __attribute__((always_inline)) void store(Element<V>* p, V v) const {
        store_n(p, v, n);
    }
    template <class V, class T = Element<V>>
    __attribute__((always_inline)) V keep(V v, T other) const {
        return select(iota<Int<T>>() < Int<T>(n), v, set1(other));
    }
};

template <class T, int Chains = kChains, class F>
FC_INLINE void for_vectors(int64_t count, F f) {
    constexpr int L = lanes<T>;
    int64_t i = 0;
    for (; i + Chains * L <= count; i += Chains * L)
        FC_UNROLL for (int k = 0; k < Chains; ++k) f(i + k * L, AllLanes{}, k);
    if constexpr (Chains > 1)
        for (; i + L <= count; i += L) f(i, AllLanes{}, 0);
    if (i < count) f(i, FirstLanes{count - i}, 0);
}

// A sum in several chains, one result.
template <class T, int Count = kChains>
struct Chains {
    static_assert(Count == 1 || Count == 4);
    Vec<T> chain[Count] = {};

    __attribute__((always_inline)) Vec<T>& operator[](int k) { return chain[k]; }
    __attribute__((always_inline)) Vec<T> vector() const {
        if constexpr (Count == 1)
            return chain[0];
        else
            return (chain[0] + chain[1]) + (chain[2] + chain[3]);
    }
    __attribute__((always_inline)) T total() const { return sum(vector()); }
};

}  // namespace fc
