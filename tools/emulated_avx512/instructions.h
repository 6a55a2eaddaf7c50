// AVX-512's instructions that the kernels name, lane by lane, for code compiled for AVX2: see cxx.
#pragma once
#undef __AVX512F__
#include <Python.h>
#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace emulated {

typedef float Floats __attribute__((vector_size(64)));
typedef double Doubles __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef int32_t HalfInts __attribute__((vector_size(32)));
typedef long long Longs __attribute__((vector_size(64)));

// The vector of f(0), f(1), ...
template <class V, class F>
static inline V lanes(F f) {
    V v;
#pragma clang loop unroll(full)
    for (int i = 0; i < int(sizeof(V) / sizeof(v[0])); ++i) v[i] = f(i);
    return v;
}

template <class V, class T>
static inline V load(unsigned mask, const T* p) {
    return lanes<V>([=](int i) { return mask >> i & 1 ? p[i] : T(0); });
}

template <class V, class T>
static inline void store(T* p, unsigned mask, V v) {
#pragma clang loop unroll(full)
    for (int i = 0; i < int(sizeof(V) / sizeof(T)); ++i)
        if (mask >> i & 1) p[i] = v[i];
}

static inline void stream(Longs* p, Longs v) {
    if (reinterpret_cast<uintptr_t>(p) % sizeof(Longs)) __builtin_trap();
    *p = v;
}

template <class V>
static inline unsigned unordered(V a, V b) {
    unsigned mask = 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < int(sizeof(V) / sizeof(a[0])); ++i) mask |= unsigned(a[i] != a[i] || b[i] != b[i]) << i;
    return mask;
}

// The sign bits of the lanes.
template <class V>
static inline unsigned signs(V v) {
    unsigned mask = 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < int(sizeof(V) / sizeof(v[0])); ++i) mask |= unsigned(v[i] < 0) << i;
    return mask;
}

// a * 2^floor(n)
template <class V>
static inline V scalef(V a, V n) {
    using T = std::remove_reference_t<decltype(a[0] + 0)>;
    return lanes<V>([=](int i) -> T {
        if (a[i] != a[i] || n[i] != n[i]) return a[i] + n[i];
        return std::scalbn(a[i], int(std::floor(n[i] > 1e6 ? T(1e6) : n[i] < -1e6 ? T(-1e6) : n[i])));
    });
}

static inline Floats with_upper(__m256 lower, __m256 upper) {
    return lanes<Floats>([=](int i) { return i < 8 ? lower[i] : upper[i - 8]; });
}

}  // namespace emulated

#undef _mm512_cmp_pd_mask
#undef _mm512_cmp_ps_mask
#undef _mm512_insertf32x8
#define __m512 emulated::Floats
#define __m512d emulated::Doubles
#define __m512i emulated::Longs
#define _mm512_castps256_ps512(lower) (lower)
#define _mm512_insertf32x8(lower, upper, one) emulated::with_upper(lower, upper)
#define _mm512_cmp_pd_mask(a, b, unordered_quiet) emulated::unordered(a, b)
#define _mm512_cmp_ps_mask(a, b, unordered_quiet) emulated::unordered(a, b)
#define _mm512_mask_storeu_epi32(p, mask, v) emulated::store((int32_t*)(p), mask, (emulated::Ints)(v))
#define _mm512_mask_storeu_epi64(p, mask, v) emulated::store((long long*)(p), mask, v)
#define _mm512_maskz_cvtepi32_epi64(all, v) __builtin_convertvector((emulated::HalfInts)(v), emulated::Longs)
#define _mm512_maskz_cvtps_pd(all, v) __builtin_convertvector(v, emulated::Doubles)
#define _mm512_maskz_loadu_epi32(mask, p) ((emulated::Longs)emulated::load<emulated::Ints>(mask, (const int32_t*)(p)))
#define _mm512_maskz_loadu_epi64(mask, p) emulated::load<emulated::Longs>(mask, (const long long*)(p))
#define _mm512_maskz_max_pd(all, a, b) ((a) > (b) ? (a) : (b))
#define _mm512_maskz_max_ps(all, a, b) ((a) > (b) ? (a) : (b))
#define _mm512_maskz_min_pd(all, a, b) ((a) < (b) ? (a) : (b))
#define _mm512_maskz_min_ps(all, a, b) ((a) < (b) ? (a) : (b))
#define _mm512_maskz_scalef_pd(all, a, n) emulated::scalef<emulated::Doubles>(a, n)
#define _mm512_maskz_scalef_ps(all, a, n) emulated::scalef<emulated::Floats>(a, n)
#define _mm512_maskz_sqrt_pd(all, v) emulated::lanes<emulated::Doubles>([=](int i) { return std::sqrt((v)[i]); })
#define _mm512_maskz_sqrt_ps(all, v) emulated::lanes<emulated::Floats>([=](int i) { return std::sqrt((v)[i]); })
#define _mm512_movepi32_mask(v) emulated::signs((emulated::Ints)(v))
#define _mm512_movepi64_mask(v) emulated::signs(v)
#define _mm512_stream_si512(p, v) emulated::stream(p, v)

#define __AVX512F__ 1
#undef __x86_64__  // simd.h's other instructions for x86: a fence, and a register that no vector of 64 bytes fits
