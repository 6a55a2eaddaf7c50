// The register tile of the filters' gradient: filters in the vectors' lanes, filter taps side by side.
//
//   acc[k][f]  +=  x[pixel + offset(k)] * dout[pixel][f]        f: one or two vectors, k: ROWS x TAPS taps, all in registers
//
// A "row" is TAPS taps that are neighbours in memory, as one row of a filter is; its place in x is an offset from the
// pixel. dout has been transposed to [pixels][vectors]; x is read element by element, whatever its stride.
#pragma once
#include <algorithm>
#include <array>
#include <utility>

#include "simd.h"

namespace {

using fc::lanes;
using fc::Vec;

// The pixels of dout that one call sums over, and the steps between the x that they meet.
struct Pixels {
    int64_t images, rows, columns;
    int64_t image_step, row_step, column_step;

    int64_t count() const { return images * rows * columns; }
};

template <class T>
using Tile = void (*)(const Pixels& pixels, const T* x, const int64_t* offsets, const T* dout, T* acc);

template <class T>
FC_INLINE fc::HalfVec<T> load_half(const T* p) {
    return *reinterpret_cast<const typename fc::VectorType<T, sizeof(fc::HalfVec<T>)>::unaligned*>(p);
}

// HALVES: of vectors. The last one may be half a vector: processors that compute whole ones in two steps are then
// faster, and others as fast. It has a whole one's place in memory.
template <class T, int HALVES, int TAPS, int ROWS>
void tile(const Pixels& pixels, const T* x, const int64_t* offsets, const T* dout, T* acc) {
    constexpr int L = lanes<T>, NV = (HALVES + 1) / 2, kWhole = HALVES / 2, kHalf = HALVES % 2;
    Vec<T> sum[ROWS * TAPS][std::max(kWhole, 1)] = {};
    fc::HalfVec<T> half_sum[ROWS * TAPS] = {};
    for (int64_t image = 0; image < pixels.images; ++image) {
        for (int64_t i = 0; i < pixels.rows; ++i) {
            const T* start = x + image * pixels.image_step + i * pixels.row_step;
            const T* row[ROWS];
            FC_UNROLL for (int r = 0; r < ROWS; ++r) row[r] = start + offsets[r];
            const int64_t end = pixels.columns * pixels.column_step;
            for (int64_t j = 0; j < end; j += pixels.column_step) {
                Vec<T> d[std::max(kWhole, 1)];
                fc::HalfVec<T> half_d{};
                FC_UNROLL for (int v = 0; v < kWhole; ++v) d[v] = fc::load(dout + v * L);
                if constexpr (kHalf) half_d = load_half(dout + kWhole * L);
                dout += NV * L;
                FC_UNROLL for (int r = 0; r < ROWS; ++r) {
                    FC_UNROLL for (int t = 0; t < TAPS; ++t) {
                        const int k = r * TAPS + t;
                        const T s = row[r][j + t];
                        FC_UNROLL for (int v = 0; v < kWhole; ++v) sum[k][v] = fc::fma(fc::set1(s), d[v], sum[k][v]);
                        if constexpr (kHalf) half_sum[k] = fc::fma(s - fc::HalfVec<T>{}, half_d, half_sum[k]);
                    }
                }
                fc::barrier();
            }
        }
    }
    FC_UNROLL for (int k = 0; k < ROWS * TAPS; ++k) {
        T* a = acc + k * NV * L;
        FC_UNROLL for (int v = 0; v < kWhole; ++v) fc::store(a + v * L, fc::load(a + v * L) + sum[k][v]);
        if constexpr (kHalf)
            FC_UNROLL for (int l = 0; l < L / 2; ++l) a[kWhole * L + l] += half_sum[k][l];
    }
}

constexpr int kMaxRows = 8;  // each takes a general-purpose register

// How many rows of `taps` fit the registers beside dout's vectors and a broadcast.
constexpr int max_rows(int vectors, int taps) {
    return std::min((fc::kVectorRegisters - 2 - vectors) / vectors / taps, kMaxRows);
}

template <class T, int HALVES, int TAPS, size_t... I>
constexpr std::array<Tile<T>, kMaxRows> tiles_of(std::index_sequence<I...>) {
    return {tile<T, HALVES, TAPS, int(I) + 1>...};
}

// The tiles for 1, 2, ... rows, as many as fit the registers.
template <class T, int HALVES, int TAPS>
constexpr std::array<Tile<T>, kMaxRows> tiles =
    tiles_of<T, HALVES, TAPS>(std::make_index_sequence<max_rows((HALVES + 1) / 2, TAPS)>());

// A filter's row of an unusual width, or too wide for `vectors` vectors, is treated as so many rows of one tap.
constexpr int taps_per_row(int64_t FW, int64_t dilation_w, int vectors) {
    return (FW == 3 || FW == 5 || FW == 7) && dilation_w == 1 && max_rows(vectors, int(FW)) > 0 ? int(FW) : 1;
}

template <class T, int HALVES>
const std::array<Tile<T>, kMaxRows>& tiles_for(int taps) {
    switch (taps) {
        case 3: return tiles<T, HALVES, 3>;
        case 5: return tiles<T, HALVES, 5>;
        case 7: return tiles<T, HALVES, 7>;
        default: return tiles<T, HALVES, 1>;
    }
}

// For a panel of one or two vectors.
template <class T>
const std::array<Tile<T>, kMaxRows>& tiles_for(int64_t filters, int taps) {
    constexpr int64_t L = lanes<T>;
    if constexpr (FC_VECTOR_BYTES >= 64 && sizeof(T) == 4) {
        if (filters <= L / 2) return tiles_for<T, 1>(taps);
        if (filters > L && filters <= L + L / 2) return tiles_for<T, 3>(taps);
    }
    return filters <= L ? tiles_for<T, 2>(taps) : tiles_for<T, 4>(taps);
}

}  // namespace
