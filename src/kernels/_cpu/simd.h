// Vectors. One source, compiled once per instruction set, with GCC's vector extensions (Clang has them too).
//
//   fc::Vec<T>          a vector of T as wide as the instruction set's registers; + - * / & | ^ < == ... work lane by lane
//   fc::lanes<T>        its number of lanes: float 16, 8, 4 (AVX-512, AVX2, SSE2 and NEON); double half of these
//   load store          unaligned; load_n store_n touch the first n lanes only, and no memory beyond them
//   set1 zero iota      constants
//   fma max min select  arithmetic; comparisons give vectors of integers, all ones or zero, for select
//   sum max_lane        over the lanes, in a fixed order
//   transpose store_transposed interleave deinterleave      data movement
//   widen narrow convert bits                               between element types
//
// max(a, b) and min(a, b) are x86's: the second operand where either is NaN. So max(constant, x) lets NaN pass.
// A 64-byte vector compiled for AVX2 is taken apart badly (40 times slower), hence one width per instruction set.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define FC_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define FC_VECTOR_BYTES 32
#else
#define FC_VECTOR_BYTES 16
#endif

#define FC_INLINE inline __attribute__((always_inline))
#define FC_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define FC_UNROLL FC_PRAGMA(clang loop unroll(full))
#else
#define FC_UNROLL FC_PRAGMA(GCC unroll 64)
#endif

namespace fc {

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(FC_VECTOR_BYTES)));
    typedef T unaligned __attribute__((vector_size(FC_VECTOR_BYTES), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename VectorOf<T>::type;

template <class T>
constexpr int lanes = FC_VECTOR_BYTES / int(sizeof(T));

// The element type of a vector type, and the signed integer of an element's size (what comparisons give).
template <class V>
using Element = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<V&>()[0])>>;
template <class T>
using Int = std::conditional_t<sizeof(T) == 4, int32_t, std::conditional_t<sizeof(T) == 8, int64_t, int8_t>>;

// ---- memory ----------------------------------------------------------------------------------------------------

template <class T>
static FC_INLINE Vec<T> load(const T* p) {
    return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(p);
}

template <class V>
static FC_INLINE void store(Element<V>* p, V v) {
    *reinterpret_cast<typename VectorOf<Element<V>>::unaligned*>(p) = v;
}

template <class T>
static FC_INLINE Vec<T> zero() {
    return Vec<T>{};
}

template <class T>
static FC_INLINE Vec<T> set1(T value) {
    return value - Vec<T>{};  // a broadcast; x - 0 is x for every x, -0 and NaN included
}

// 0, 1, 2, ...
template <class T>
static FC_INLINE Vec<T> iota() {
    Vec<T> v{};
    FC_UNROLL for (int i = 0; i < lanes<T>; ++i) v[i] = T(i);
    return v;
}

// The first n lanes from memory, the others 0; all lanes when n >= lanes<T>.
template <class T>
static FC_INLINE Vec<T> load_n(const T* p, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm512_maskz_loadu_epi32(__mmask16(_bzhi_u32(0xffff, unsigned(n < 16 ? n : 16))), p);
    else
        return (Vec<T>)_mm512_maskz_loadu_epi64(__mmask8(_bzhi_u32(0xff, unsigned(n < 8 ? n : 8))), p);
#elif defined(__AVX2__)
    const Vec<Int<T>> mask = iota<Int<T>>() < set1(Int<T>(n < lanes<T> ? n : lanes<T>));
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), (__m256i)mask);
    else
        return (Vec<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), (__m256i)mask);
#else
    if (n >= lanes<T>) return load(p);
    Vec<T> v{};
    for (int i = 0; i < int(n); ++i) v[i] = p[i];
    return v;
#endif
}

// The first n lanes to memory; all when n >= lanes<T>.
template <class V, class T = Element<V>>
static FC_INLINE void store_n(T* p, V v, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        _mm512_mask_storeu_epi32(p, __mmask16(_bzhi_u32(0xffff, unsigned(n < 16 ? n : 16))), (__m512i)v);
    else
        _mm512_mask_storeu_epi64(p, __mmask8(_bzhi_u32(0xff, unsigned(n < 8 ? n : 8))), (__m512i)v);
#elif defined(__AVX2__)
    const Vec<Int<T>> mask = iota<Int<T>>() < set1(Int<T>(n < lanes<T> ? n : lanes<T>));
    if constexpr (sizeof(T) == 4)
        _mm256_maskstore_epi32(reinterpret_cast<int*>(p), (__m256i)mask, (__m256i)v);
    else
        _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), (__m256i)mask, (__m256i)v);
#else
    if (n >= lanes<T>) return store(p, v);
    for (int i = 0; i < int(n); ++i) p[i] = v[i];
#endif
}

// ---- arithmetic ------------------------------------------------------------------------------------------------

template <class M, class V>
static FC_INLINE V select(M mask, V a, V b) {
    return mask ? a : b;
}

template <class V>
static FC_INLINE V max(V a, V b) {
    return a > b ? a : b;
}

template <class V>
static FC_INLINE V min(V a, V b) {
    return a < b ? a : b;
}

// a*b + c, rounded once where the instruction set has FMA (the compiler contracts it).
template <class V>
static FC_INLINE V fma(V a, V b, V c) {
    return a * b + c;
}

}  // namespace fc
