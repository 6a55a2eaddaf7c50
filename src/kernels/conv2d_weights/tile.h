// The register tile of the filters' gradient: filters in the vectors' lanes, filter taps side by side.
//
//   acc[k][f]  +=  x[pixel + offset(k)] * dout[pixel][f]        f: NV vectors, k: ROWS x TAPS taps, all in registers
//
// A "row" is TAPS taps that are neighbours in memory, as one row of a filter is; its place in x is an offset from the
// pixel. dout has been transposed to [pixels][NV vectors]; x is read element by element, whatever its stride.
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

template <class T, int NV, int TAPS, int ROWS>
void tile(const Pixels& pixels, const T* x, const int64_t* offsets, const T* dout, T* acc) {
    constexpr int L = lanes<T>;
    Vec<T> sum[ROWS * TAPS][NV] = {};
    for (int64_t image = 0; image < pixels.images; ++image) {
        for (int64_t i = 0; i < pixels.rows; ++i) {
            const T* start = x + image * pixels.image_step + i * pixels.row_step;
            const T* row[ROWS];
            FC_UNROLL for (int r = 0; r < ROWS; ++r) row[r] = start + offsets[r];
            const int64_t end = pixels.columns * pixels.column_step;
            for (int64_t j = 0; j < end; j += pixels.column_step) {
                Vec<T> d[NV];
                FC_UNROLL for (int v = 0; v < NV; ++v) d[v] = fc::load(dout + v * L);
                dout += NV * L;
                FC_UNROLL for (int r = 0; r < ROWS; ++r) {
                    FC_UNROLL for (int t = 0; t < TAPS; ++t) {
                        const Vec<T> s = fc::set1(row[r][j + t]);
                        FC_UNROLL for (int v = 0; v < NV; ++v)
                            sum[r * TAPS + t][v] = fc::fma(s, d[v], sum[r * TAPS + t][v]);
                    }
                }
                fc::barrier();
            }
        }
    }
    FC_UNROLL for (int k = 0; k < ROWS * TAPS; ++k)
        FC_UNROLL for (int v = 0; v < NV; ++v) {
            T* a = acc + (k * NV + v) * L;
            fc::store(a, fc::load(a) + sum[k][v]);
        }
}

constexpr int kMaxRows = 8;  // each takes a general-purpose register

// How many rows of `taps` fit the registers beside dout's vectors and a broadcast.
constexpr int max_rows(int vectors, int taps) {
    return std::min((fc::kVectorRegisters - 2 - vectors) / vectors / taps, kMaxRows);
}

template <class T, int NV, int TAPS, size_t... I>
constexpr std::array<Tile<T>, kMaxRows> tiles_of(std::index_sequence<I...>) {
    return {tile<T, NV, TAPS, int(I) + 1>...};
}

// The tiles for 1, 2, ... max_rows(NV, TAPS) rows.
template <class T, int NV, int TAPS>
constexpr std::array<Tile<T>, kMaxRows> tiles = tiles_of<T, NV, TAPS>(std::make_index_sequence<max_rows(NV, TAPS)>());

// A filter's row of an unusual width, or too wide for `vectors` vectors, is treated as so many rows of one tap.
constexpr int taps_per_row(int64_t FW, int64_t dilation_w, int vectors) {
    return (FW == 3 || FW == 5 || FW == 7) && dilation_w == 1 && max_rows(vectors, int(FW)) > 0 ? int(FW) : 1;
}

template <class T, int NV>
const std::array<Tile<T>, kMaxRows>& tiles_for(int taps) {
    switch (taps) {
        case 3: return tiles<T, NV, 3>;
        case 5: return tiles<T, NV, 5>;
        case 7: return tiles<T, NV, 7>;
        default: return tiles<T, NV, 1>;
    }
}

}  // namespace
