// Vectors. One source, compiled once per instruction set, with GCC's vector extensions (Clang has them too).
//
//   fc::Vec<T>          a vector of T as wide as the instruction set's registers; + - * / & | ^ < == ... work lane by lane
//   fc::lanes<T>        its number of lanes: float 16, 8, 4 (AVX-512, AVX2, SSE2 and NEON); double half of these
//   load store          unaligned; load_half; load_n store_n LaneRange touch some lanes only, and no memory beyond them
//   set1 zero iota      constants
//   fma max min abs sqrt isnan any_nan select     arithmetic; a comparison gives a vector of integers, all ones or zero
//   sum max_lane        over the lanes, in a fixed order
//   lane_bits lanes_of    between such vectors of integers and bits, lane 0's the lowest
//   bits convert widen_lo widen_hi narrow                   between element types
//   interleave_lo interleave_hi even odd twice              between two vectors, and from half of one
//   transpose load_transposed store_transposed              between rows and columns: simd_transpose.h
//   prefetch prefetch_to_l2 prefetch_for_write store_past_caches barrier keep
//
// max(a, b) and min(a, b) are x86's: the second operand where either is NaN. So max(constant, x) lets NaN pass.
// A 64-byte vector compiled for AVX2 is taken apart badly (40 times slower), hence one width per instruction set.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define FC_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define FC_VECTOR_BYTES 32
#else
#define FC_VECTOR_BYTES 16
#endif

#define FC_INLINE static inline __attribute__((always_inline))
#define FC_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define FC_UNROLL FC_PRAGMA(clang loop unroll(full))
#else
#define FC_UNROLL FC_PRAGMA(GCC unroll 64)
#endif

namespace fc {

template <class T, int Bytes>
struct VectorType {
    typedef T type __attribute__((vector_size(Bytes)));
    typedef T unaligned __attribute__((vector_size(Bytes), aligned(alignof(T)), may_alias));
};

template <class T>
using Vec = typename VectorType<T, FC_VECTOR_BYTES>::type;
template <class T>
using HalfVec = typename VectorType<T, FC_VECTOR_BYTES / 2>::type;

template <class T>
constexpr int lanes = FC_VECTOR_BYTES / int(sizeof(T));

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectorRegisters = 32;
#else
constexpr int kVectorRegisters = 16;
#endif

// The element type of a vector type, and the signed integer of an element's size (what a comparison gives).
template <class V>
using Element = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<V&>()[0])>>;
template <class T>
using Int = std::conditional_t<sizeof(T) == 8, int64_t, std::conditional_t<sizeof(T) == 4, int32_t, int8_t>>;

// ---- constants -------------------------------------------------------------------------------------------------

template <class T>
FC_INLINE Vec<T> zero() {
    return Vec<T>{};
}

template <class T>
FC_INLINE Vec<T> set1(T value) {
    return value - Vec<T>{};  // a broadcast; x - 0 is x for every x, -0 and NaN included
}

// 0, 1, 2, ...
template <class T>
FC_INLINE Vec<T> iota() {
    Vec<T> v{};
    FC_UNROLL for (int i = 0; i < lanes<T>; ++i) v[i] = T(i);
    return v;
}

// ---- memory ----------------------------------------------------------------------------------------------------

template <class T>
FC_INLINE Vec<T> load(const T* p) {
    return *reinterpret_cast<const typename VectorType<T, FC_VECTOR_BYTES>::unaligned*>(p);
}

template <class T>
FC_INLINE HalfVec<T> load_half(const T* p) {
    return *reinterpret_cast<const typename VectorType<T, FC_VECTOR_BYTES / 2>::unaligned*>(p);
}

template <class V>
FC_INLINE void store(Element<V>* p, V v) {
    *reinterpret_cast<typename VectorType<Element<V>, FC_VECTOR_BYTES>::unaligned*>(p) = v;
}

#if defined(__AVX512F__)
template <class T>
FC_INLINE __mmask16 first_lanes(int64_t n) {
    return __mmask16(_bzhi_u32(0xffff, unsigned(n < lanes<T> ? n : lanes<T>)));
}
#elif defined(__AVX2__)
template <class T>
FC_INLINE __m256i first_lanes(int64_t n) {
    return (__m256i)(iota<Int<T>>() < set1(Int<T>(n < lanes<T> ? n : lanes<T>)));
}
#endif

// The first n lanes from memory, the others 0; all lanes when n >= lanes<T>.
template <class T>
FC_INLINE Vec<T> load_n(const T* p, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_epi32(first_lanes<T>(n), p);
    if constexpr (sizeof(T) == 8) return (Vec<T>)_mm512_maskz_loadu_epi64(__mmask8(first_lanes<T>(n)), p);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), first_lanes<T>(n));
    if constexpr (sizeof(T) == 8)
        return (Vec<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), first_lanes<T>(n));
#endif
    if (n >= lanes<T>) return load(p);
    Vec<T> v{};
    for (int i = 0; i < int(n); ++i) v[i] = p[i];
    return v;
}

// Lanes [begin, end), which may lie outside of the vector, for many loads: the mask is made once.
template <class T>
class LaneRange {
public:
#if defined(__AVX512F__)
    explicit LaneRange(int64_t begin = 0, int64_t end = lanes<T>)
        : mask_(first_lanes<T>(end < 0 ? 0 : end) & ~first_lanes<T>(begin < 0 ? 0 : begin)) {}

    __attribute__((always_inline)) Vec<T> load(const T* p) const {
        if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_epi32(mask_, p);
        if constexpr (sizeof(T) == 8) return (Vec<T>)_mm512_maskz_loadu_epi64(__mmask8(mask_), p);
    }

private:
    __mmask16 mask_;
#elif defined(__AVX2__)
    explicit LaneRange(int64_t begin = 0, int64_t end = lanes<T>)
        : mask_(_mm256_andnot_si256(first_lanes<T>(begin), first_lanes<T>(end))) {}

    __attribute__((always_inline)) Vec<T> load(const T* p) const {
        if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), mask_);
        if constexpr (sizeof(T) == 8)
            return (Vec<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), mask_);
    }

private:
    __m256i mask_;
#else
    explicit LaneRange(int64_t begin = 0, int64_t end = lanes<T>)
        : begin_(begin < 0 ? 0 : begin), end_(end < lanes<T> ? end : lanes<T>) {}

    __attribute__((always_inline)) Vec<T> load(const T* p) const {
        if (all()) return fc::load(p);
        Vec<T> v{};
        for (int64_t i = begin_; i < end_; ++i) v[i] = p[i];
        return v;
    }

private:
    bool all() const { return begin_ == 0 && end_ == lanes<T>; }
    int64_t begin_, end_;
#endif
};

// Lanes [begin, end) from memory, the others 0; both may lie outside of the vector.
template <class T>
FC_INLINE Vec<T> load_between(const T* p, int64_t begin, int64_t end) {
    return LaneRange<T>(begin, end).load(p);
}

// The first n lanes to memory; all when n >= lanes<T>.
template <class V, class T = Element<V>>
FC_INLINE void store_n(T* p, V v, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return _mm512_mask_storeu_epi32(p, first_lanes<T>(n), (__m512i)v);
    if constexpr (sizeof(T) == 8) return _mm512_mask_storeu_epi64(p, __mmask8(first_lanes<T>(n)), (__m512i)v);
#endif  // AMD's masked store of AVX2 takes tens of cycles, hence by halves
    if (n >= lanes<T>) return store(p, v);
    T whole[lanes<T>];
    store(whole, v);
    const T* from = whole;
    FC_UNROLL for (int count = lanes<T> / 2; count > 0; count /= 2)
        if (n & count) {
            std::memcpy(p, from, count * sizeof(T));
            from += count;
            p += count;
        }
}

// To memory, where no cache keeps it: for what is read much later. The address is a multiple of the vector's size. Other
// threads may read it after the writer's fence.
template <class V>
FC_INLINE void store_past_caches(Element<V>* p, V v) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif defined(__AVX2__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#elif defined(__x86_64__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#else
    store(p, v);
#endif
}
FC_INLINE void fence_past_caches() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

// Fetch the cache line of an address that will be read, or written: then no read-for-ownership stalls the store.
FC_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
FC_INLINE void prefetch_to_l2(const void* p) { __builtin_prefetch(p, 0, 2); }
FC_INLINE void prefetch_for_write(const void* p) { __builtin_prefetch(p, 1, 3); }

// Keeps the compiler from moving memory accesses across. After each tap of a convolution it stops GCC from merging
// overlapping broadcasts, for which it would spill the accumulators.
FC_INLINE void barrier() { __asm__ volatile("" ::: "memory"); }

// Keeps a loaded vector in its register: GCC likes to load it again as the operand of every instruction that uses it.
template <class V>
FC_INLINE void keep(V& v) {
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
}

// ---- element types ---------------------------------------------------------------------------------------------

// The same bits seen as vectors of U.
template <class U, class V>
FC_INLINE Vec<U> bits(V v) {
    return (Vec<U>)v;
}

// Lane by lane to a type of the same size (float - int32_t, double - int64_t); towards zero to integers.
template <class U, class V>
FC_INLINE Vec<U> convert(V v) {
    static_assert(sizeof(U) == sizeof(Element<V>));
    return __builtin_convertvector(v, Vec<U>);
}

namespace detail {

// The vector of a[Pattern::at(i)] for i = 0, 1, ..., where indices past a's lanes mean b's.
template <class Pattern, class V, size_t... I>
FC_INLINE auto shuffle(V a, V b, std::index_sequence<I...>) {
    return __builtin_shufflevector(a, b, Pattern::at(int(I))...);
}
template <class Pattern, class V>
FC_INLINE V shuffle(V a, V b) {
    return shuffle<Pattern>(a, b, std::make_index_sequence<lanes<Element<V>>>());
}

template <int Start>
struct From {
    static constexpr int at(int i) { return Start + i; }
};
template <int Distance>
struct Exchange {
    static constexpr int at(int i) { return i ^ Distance; }
};
template <int Lanes, int Start>
struct Interleave {  // a[Start], b[Start], a[Start + 1], ...
    static constexpr int at(int i) { return Start + i / 2 + i % 2 * Lanes; }
};
template <int Start>
struct EverySecond {
    static constexpr int at(int i) { return Start + 2 * i; }
};
template <int Lanes, int Block, int Start>
struct InterleaveInBlocks {  // Interleave inside every block
    static constexpr int at(int i) { return i / Block * Block + Interleave<Lanes, Start>::at(i % Block); }
};
template <int Lanes, int Block, int Start>
struct EverySecondBlock {
    static constexpr int at(int i) { return EverySecond<Start>::at(i / Block) * Block + i % Block; }
};

// The lanes from Start on as U, which is twice as wide. GCC 12 converts the halves one by one.
template <class U, int Start, class V>
FC_INLINE Vec<U> widen(V v) {
    const auto half = shuffle<From<Start>>(v, v, std::make_index_sequence<lanes<U>>());
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<U, double>) return (Vec<U>)_mm512_maskz_cvtps_pd(0xff, (__m256)half);
    if constexpr (std::is_same_v<U, int64_t> && sizeof(Element<V>) == 4)
        return (Vec<U>)_mm512_maskz_cvtepi32_epi64(0xff, (__m256i)half);
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<U, double>) return (Vec<U>)_mm256_cvtps_pd((__m128)half);
    if constexpr (std::is_same_v<U, int64_t> && sizeof(Element<V>) == 4)
        return (Vec<U>)_mm256_cvtepi32_epi64((__m128i)half);
#endif
    return __builtin_convertvector(half, Vec<U>);
}

}  // namespace detail

// float to double, int32_t to int64_t: the lower and the upper half of the lanes.
template <class V, class U = std::conditional_t<std::is_floating_point_v<Element<V>>, double, int64_t>>
FC_INLINE Vec<U> widen_lo(V v) {
    return detail::widen<U, 0>(v);
}
template <class V, class U = std::conditional_t<std::is_floating_point_v<Element<V>>, double, int64_t>>
FC_INLINE Vec<U> widen_hi(V v) {
    return detail::widen<U, lanes<U>>(v);
}

// double to float, int64_t to int32_t: widen_lo's and widen_hi's inverse.
template <class V, class U = std::conditional_t<std::is_floating_point_v<Element<V>>, float, int32_t>>
FC_INLINE Vec<U> narrow(V lo, V hi) {
    return detail::shuffle<detail::From<0>>(__builtin_convertvector(lo, HalfVec<U>),
                                            __builtin_convertvector(hi, HalfVec<U>),
                                            std::make_index_sequence<lanes<U>>());
}

// ---- arithmetic ------------------------------------------------------------------------------------------------

// a where the mask is set, else b.
template <class M, class V>
FC_INLINE V select(M mask, V a, V b) {
    return mask ? a : b;
}

// GCC turns the ternary into a comparison and a blend where an operand is a constant, hence the instructions by name.
template <class V, class T = Element<V>>
FC_INLINE V max(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) return (V)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
    if constexpr (std::is_same_v<T, double>) return (V)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, float>) return (V)_mm256_max_ps((__m256)a, (__m256)b);
    if constexpr (std::is_same_v<T, double>) return (V)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__x86_64__)
    if constexpr (std::is_same_v<T, float>) return (V)_mm_max_ps((__m128)a, (__m128)b);
    if constexpr (std::is_same_v<T, double>) return (V)_mm_max_pd((__m128d)a, (__m128d)b);
#endif
    return a > b ? a : b;
}

template <class V, class T = Element<V>>
FC_INLINE V min(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) return (V)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
    if constexpr (std::is_same_v<T, double>) return (V)_mm512_maskz_min_pd(0xff, (__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, float>) return (V)_mm256_min_ps((__m256)a, (__m256)b);
    if constexpr (std::is_same_v<T, double>) return (V)_mm256_min_pd((__m256d)a, (__m256d)b);
#elif defined(__x86_64__)
    if constexpr (std::is_same_v<T, float>) return (V)_mm_min_ps((__m128)a, (__m128)b);
    if constexpr (std::is_same_v<T, double>) return (V)_mm_min_pd((__m128d)a, (__m128d)b);
#endif
    return a < b ? a : b;
}

template <class V>
FC_INLINE auto isnan(V v) {
    return v != v;
}

// Whether some lane is NaN.
template <class V, class T = Element<V>>
FC_INLINE bool any_nan(V v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q) != 0;
    if constexpr (sizeof(T) == 8) return _mm512_cmp_pd_mask((__m512d)v, (__m512d)v, _CMP_UNORD_Q) != 0;
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return _mm256_movemask_ps((__m256)isnan(v)) != 0;
    if constexpr (sizeof(T) == 8) return _mm256_movemask_pd((__m256d)isnan(v)) != 0;
#endif
    bool found = false;
    FC_UNROLL for (int i = 0; i < lanes<T>; ++i) found |= v[i] != v[i];
    return found;
}

// Bit i is set where lane i of a comparison's result is.
template <class M, class I = Element<M>>
FC_INLINE uint32_t lane_bits(M mask) {
#if defined(__AVX512F__)
    if constexpr (sizeof(I) == 4) return _mm512_movepi32_mask((__m512i)mask);
    if constexpr (sizeof(I) == 8) return _mm512_movepi64_mask((__m512i)mask);
#elif defined(__AVX2__)
    if constexpr (sizeof(I) == 4) return uint32_t(_mm256_movemask_ps((__m256)mask));
    if constexpr (sizeof(I) == 8) return uint32_t(_mm256_movemask_pd((__m256d)mask));
#elif defined(__x86_64__)
    if constexpr (sizeof(I) == 4) return uint32_t(_mm_movemask_ps((__m128)mask));
    if constexpr (sizeof(I) == 8) return uint32_t(_mm_movemask_pd((__m128d)mask));
#endif
    uint32_t found = 0;
    FC_UNROLL for (int i = 0; i < lanes<I>; ++i) found |= uint32_t(mask[i] & 1) << i;
    return found;
}

// The inverse, for lanes of the size of T: all ones where bit i is set.
template <class T>
FC_INLINE Vec<Int<T>> lanes_of(uint32_t bits) {
    return ((Int<T>(1) << iota<Int<T>>()) & set1(Int<T>(bits))) != 0;
}

// a*b + c, rounded once where the instruction set has FMA (the compiler contracts it).
template <class V>
FC_INLINE V fma(V a, V b, V c) {
    return a * b + c;
}

template <class V, class T = Element<V>>
FC_INLINE V abs(V v) {
    return bits<T>(bits<Int<T>>(v) & ~bits<Int<T>>(set1(T(-0.0))));
}

template <class V, class T = Element<V>>
FC_INLINE V sqrt(V v) {
    constexpr bool single = sizeof(T) == 4;
#if defined(__AVX512F__)
    if constexpr (single) return (V)_mm512_maskz_sqrt_ps(__mmask16(-1), (__m512)v);
    if constexpr (!single) return (V)_mm512_maskz_sqrt_pd(__mmask8(-1), (__m512d)v);
#elif defined(__AVX2__)
    if constexpr (single) return (V)_mm256_sqrt_ps((__m256)v);
    if constexpr (!single) return (V)_mm256_sqrt_pd((__m256d)v);
#elif defined(__x86_64__)
    if constexpr (single) return (V)_mm_sqrt_ps((__m128)v);
    if constexpr (!single) return (V)_mm_sqrt_pd((__m128d)v);
#elif defined(__aarch64__)
    if constexpr (single) return (V)vsqrtq_f32((float32x4_t)v);
    if constexpr (!single) return (V)vsqrtq_f64((float64x2_t)v);
#else
    for (int i = 0; i < lanes<T>; ++i) v[i] = std::sqrt(v[i]);
    return v;
#endif
}

namespace detail {

// Folds the upper half of `width` lanes onto the lower, down to one.
template <int Width, class V, class F>
FC_INLINE Element<V> fold(V v, F f) {
    if constexpr (Width == 1)
        return v[0];
    else
        return fold<Width / 2>(f(v, shuffle<Exchange<Width / 2>>(v, v)), f);
}

}  // namespace detail

template <class V>
FC_INLINE Element<V> sum(V v) {
    return detail::fold<lanes<Element<V>>>(v, [](V a, V b) { return a + b; });
}

// The largest lane; a NaN may be lost.
template <class V>
FC_INLINE Element<V> max_lane(V v) {
    return detail::fold<lanes<Element<V>>>(v, [](V a, V b) { return max(a, b); });
}

// ---- data movement ---------------------------------------------------------------------------------------------

// a0 b0 a1 b1 ... : the lower half of the lanes of a and b, and the upper half.
template <class V, int L = lanes<Element<V>>>
FC_INLINE V interleave_lo(V a, V b) {
    return detail::shuffle<detail::Interleave<L, 0>>(a, b);
}
template <class V, int L = lanes<Element<V>>>
FC_INLINE V interleave_hi(V a, V b) {
    return detail::shuffle<detail::Interleave<L, L / 2>>(a, b);
}

// a0 a0 a1 a1 ... of a half vector.
template <class H, class V = Vec<Element<H>>>
FC_INLINE V twice(H a) {
    constexpr int L = lanes<Element<H>>;
    return detail::shuffle<detail::Interleave<L / 2, 0>>(a, a, std::make_index_sequence<L>());
}

namespace detail {

// GCC makes two permutations across the halves and a blend of it, where one inside of them and one of pairs do.
template <int Start, class V>
FC_INLINE V every_second(V a, V b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    if constexpr (sizeof(Element<V>) == 4)
        return (V)_mm256_permute4x64_pd((__m256d)_mm256_shuffle_ps((__m256)a, (__m256)b, Start ? 0xdd : 0x88), 0xd8);
#endif
    return shuffle<EverySecond<Start>>(a, b);
}

}  // namespace detail

// a0 a2 ... b0 b2 ... and a1 a3 ... b1 b3 ... : the inverse.
template <class V>
FC_INLINE V even(V a, V b) {
    return detail::every_second<0>(a, b);
}
template <class V>
FC_INLINE V odd(V a, V b) {
    return detail::every_second<1>(a, b);
}

}  // namespace fc

#include "simd_transpose.h"
