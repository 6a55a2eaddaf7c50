// Rows become columns: transpositions in registers, on the way from memory, and on the way to it. Part of simd.h.
#pragma once
#include "simd.h"

namespace fc {

namespace detail {

constexpr int kBlockBytes = 16;  // shuffles inside blocks of 16 bytes are the cheap ones on every x86

template <class T>
constexpr int block_lanes = kBlockBytes / int(sizeof(T));
template <class T>
constexpr int blocks = FC_VECTOR_BYTES / kBlockBytes;

// Transposes the squares that blocks make: lane (b, i) of row k becomes lane (b, k) of row i.
template <class T>
FC_INLINE void transpose_in_blocks(Vec<T>* r) {
    constexpr int L = lanes<T>, B = block_lanes<T>;
    FC_UNROLL for (int stage = 1; stage < B; stage *= 2) {
        Vec<T> s[B];
        FC_UNROLL for (int j = 0; j < B / 2; ++j) {
            s[2 * j] = shuffle<InterleaveInBlocks<L, B, 0>>(r[j], r[j + B / 2]);
            s[2 * j + 1] = shuffle<InterleaveInBlocks<L, B, B / 2>>(r[j], r[j + B / 2]);
        }
        FC_UNROLL for (int j = 0; j < B; ++j) r[j] = s[j];
    }
}

// Transposes whole blocks: block b of row q*step becomes block q of row b*step.
template <class T>
FC_INLINE void transpose_blocks(Vec<T>* r, int step) {
    constexpr int L = lanes<T>, B = block_lanes<T>, Q = blocks<T>;
    FC_UNROLL for (int stage = 1; stage < Q; stage *= 2) {
        Vec<T> s[Q];
        FC_UNROLL for (int j = 0; j < Q / 2; ++j) {
            s[j] = shuffle<EverySecondBlock<L, B, 0>>(r[2 * j * step], r[(2 * j + 1) * step]);
            s[Q / 2 + j] = shuffle<EverySecondBlock<L, B, 1>>(r[2 * j * step], r[(2 * j + 1) * step]);
        }
        FC_UNROLL for (int j = 0; j < Q; ++j) r[j * step] = s[j];
    }
}

// The vector of the blocks of 16 bytes at address(0), address(1), ... (GCC does not find the inserts from memory, which
// spare the shuffle unit, in a __builtin_shufflevector).
template <class T, class Address>
FC_INLINE Vec<T> load_blocks(Address address) {
#if defined(__AVX2__)
    const auto block = [=](int i) { return _mm_loadu_ps(reinterpret_cast<const float*>(address(i))); };
    const __m256 lower = _mm256_insertf128_ps(_mm256_castps128_ps256(block(0)), block(1), 1);
#if defined(__AVX512F__)
    const __m256 upper = _mm256_insertf128_ps(_mm256_castps128_ps256(block(2)), block(3), 1);
    return (Vec<T>)_mm512_insertf32x8(_mm512_castps256_ps512(lower), upper, 1);
#else
    return (Vec<T>)lower;
#endif
#else
    return load(address(0));
#endif
}

// The first columns of some rows; row i + block * block_lanes<T> begins at row(i, block).
template <class T, class Row>
FC_INLINE void load_transposed(Row row, Vec<T>* out) {
    FC_UNROLL for (int i = 0; i < block_lanes<T>; ++i)
        out[i] = load_blocks<T>([=](int block) { return row(i, block); });
    transpose_in_blocks<T>(out);
}

}  // namespace detail

// Rows become columns, in registers: lanes<T> vectors.
template <class T>
FC_INLINE void transpose(Vec<T>* r) {
    constexpr int L = lanes<T>, B = detail::block_lanes<T>;
    FC_UNROLL for (int k = 0; k < L; k += B) detail::transpose_in_blocks<T>(r + k);
    FC_UNROLL for (int k = 0; k < B; ++k) detail::transpose_blocks<T>(r + k, B);
}

// out[k] = column k of lanes<T> rows, for as many columns as fit 16 bytes. The rows begin `row` apart, or at offsets[0],
// offsets[1], ... from p.
template <class T>
FC_INLINE void load_transposed(const T* p, int64_t row, Vec<T>* out) {
    const int64_t block_rows = detail::block_lanes<T> * row;  // few addresses, so that they stay in registers
    detail::load_transposed<T>([=](int i, int block) { return p + i * row + block * block_rows; }, out);
}
template <class T>
FC_INLINE void load_transposed(const T* p, const int64_t* offsets, Vec<T>* out) {
    constexpr int B = detail::block_lanes<T>;
    detail::load_transposed<T>([=](int i, int block) { return p + offsets[i + block * B]; }, out);
}

// dst[c*plane + p] = f(strip[p*row + c], c) for p < npixels <= lanes<T>, c < nchannels: the way out of a kernel whose
// vectors run over channels. The strip must be readable for lanes<T> rows, and to a multiple of 16 bytes of channels.
template <class T, class F>
FC_INLINE void store_transposed(const T* strip, int64_t row, T* dst, int64_t plane, int npixels, int nchannels, F f) {
    constexpr int B = detail::block_lanes<T>;
    for (int c = 0; c < nchannels; c += B) {
        Vec<T> column[B];
        load_transposed(strip + c, row, column);
        FC_UNROLL for (int k = 0; k < B; ++k)
            if (c + k < nchannels) store_n(dst + (c + k) * plane, f(column[k], c + k), npixels);
    }
}

template <class T>
FC_INLINE void store_transposed(const T* strip, int64_t row, T* dst, int64_t plane, int npixels, int nchannels) {
    store_transposed(strip, row, dst, plane, npixels, nchannels, [](Vec<T> v, int) { return v; });
}

}  // namespace fc
