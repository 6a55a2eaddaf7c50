// The micro-kernel of all convolutions by vectors over output channels, and of products of packed panels.
//
//   strip[j][0:NV*L]  =  sum over c, u, v of  weights[c][u][v][0:NV*L]  *  x[c*channel + u*row + v + j*STEP]
//
// NV vectors times PIXELS scalars of accumulators live in registers; x is broadcast, the weights are packed in the
// order in which they are met. One instance for each number of pixels, so that none is wasted. The filter's width is a
// template argument: at run time it costs up to 1.6 times. Width 0 is the general case: a table says where, from the
// first pixel, each tap of a channel reads.
//
// With one row and one tap this is the matrix product strip (pixels, lanes) = x^T (pixels, channels) * weights
// (channels, lanes), for whoever has packed both, as Winograd's kernels do.
#pragma once
#include <array>
#include <utility>

#include "ahead.h"
#include "kernel.h"
#include "simd.h"

namespace fc::conv {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// Beside `vectors` accumulators for each pixel: as many for weights, and one or two for the broadcast and its product.
constexpr int max_pixels(int vectors) { return kRegisters == 32 ? 14 : 12 / vectors; }

// What one tile sums over.
template <class T>
struct Reduction {
    int64_t channels, channel_stride;  // channel_stride, row_stride: distances in x
    int64_t rows, row_stride;          // filter rows
    const int64_t* offsets;            // general case: `taps` distances in x, and no rows
    int64_t taps;
    const T* weights;
};

template <class T>
using TileKernel = void (*)(const Reduction<T>& sum, const T* x, T* strip, Ahead<T>& ahead);

template <class T, int NV, int PIXELS, int STEP>
FC_INLINE void multiply_tap(Vec<T> (&acc)[PIXELS][NV], const T* x, const T* weights) {
    Vec<T> w[NV];
    FC_UNROLL for (int v = 0; v < NV; ++v) w[v] = load(weights + v * lanes<T>);
    FC_UNROLL for (int j = 0; j < PIXELS; ++j) {
        const Vec<T> pixel = set1(x[j * STEP]);
        FC_UNROLL for (int v = 0; v < NV; ++v) acc[j][v] = fma(pixel, w[v], acc[j][v]);
    }
    barrier();
}

template <class T, int NV, int PIXELS, int STEP, int FW>
void tile(const Reduction<T>& sum, const T* x, T* strip, Ahead<T>& ahead) {
    constexpr int kLanes = NV * lanes<T>;
    const T *next_source = ahead.source.next(), *next_result = ahead.result.next();
    const int64_t source_stride = ahead.source.channel_stride, result_stride = ahead.result.channel_stride;

    Vec<T> acc[PIXELS][NV] = {};
    const T* w = sum.weights;
    for (int64_t c = 0; c < sum.channels; ++c, x += sum.channel_stride) {
        prefetch(next_source + c * source_stride);
        if (c < ahead.result_channels) prefetch_for_write(next_result + c * result_stride);
        if constexpr (FW == 0) {
            for (int64_t k = 0; k < sum.taps; ++k, w += kLanes)
                multiply_tap<T, NV, PIXELS, STEP>(acc, x + sum.offsets[k], w);
        } else {
            const T* row = x;
            for (int64_t u = 0; u < sum.rows; ++u, row += sum.row_stride)
                FC_UNROLL for (int v = 0; v < FW; ++v, w += kLanes)
                    multiply_tap<T, NV, PIXELS, STEP>(acc, row + v, w);
        }
    }

    FC_UNROLL for (int j = 0; j < PIXELS; ++j)
        FC_UNROLL for (int v = 0; v < NV; ++v) store(strip + j * kLanes + v * lanes<T>, acc[j][v]);
}

template <class T, int NV, int STEP, int FW, int... J>
constexpr std::array<TileKernel<T>, sizeof...(J)> tile_table(std::integer_sequence<int, J...>) {
    return {&tile<T, NV, J + 1, STEP, FW>...};
}

// The kernels for 1, 2, ... max_pixels(NV) pixels.
template <class T, int NV, int STEP, int FW>
const TileKernel<T>* tiles() {
    static constexpr auto table = tile_table<T, NV, STEP, FW>(std::make_integer_sequence<int, max_pixels(NV)>());
    return table.data();
}

// The kernels for a filter's width and step, or null where there are none; width 0: by a table, step 1.
template <class T, int NV>
const TileKernel<T>* find_tiles(int64_t width, int64_t step) {
    switch (width * 10 + step) {
        case 1: return tiles<T, NV, 1, 0>();
        case 11: return tiles<T, NV, 1, 1>();
        case 21: return tiles<T, NV, 1, 2>();
        case 31: return tiles<T, NV, 1, 3>();
        case 51: return tiles<T, NV, 1, 5>();
        case 71: return tiles<T, NV, 1, 7>();
        case 32: return tiles<T, NV, 2, 3>();
        case 72: return tiles<T, NV, 2, 7>();
        default: return nullptr;
    }
}

template <class T>
const TileKernel<T>* find_tiles(int vectors, int64_t width, int64_t step) {
    return vectors == 2 ? find_tiles<T, 2>(width, step) : find_tiles<T, 1>(width, step);
}

// Splits n pixels into near-equal tiles and computes them; x moves on by `step`, the strip by a pixel's lanes.
template <class T>
void compute_row(const TileKernel<T>* kernels, int vectors, const Reduction<T>& sum, const T* x, int64_t step, T* strip,
                 int64_t pixels, Ahead<T>& ahead) {
    const int64_t ntiles = (pixels + max_pixels(vectors) - 1) / max_pixels(vectors);
    const int64_t width = pixels / ntiles, wider = pixels % ntiles;
    for (int64_t t = 0; t < ntiles; ++t) {
        const int64_t n = width + (t < wider);
        kernels[n - 1](sum, x, strip, ahead);
        x += n * step;
        strip += n * vectors * lanes<T>;
    }
}

}  // namespace fc::conv
