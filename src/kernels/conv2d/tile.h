// The micro-kernel of all convolutions by vectors over output channels, and of products of packed panels.
//
//   strip[j][0:NV*L]  (+)=  sum over c, u, v of  weights[c][u][v][0:NV*L]  *  x[c*channel + u*row + v*tap + j*STEP]
//
// NV vectors times PIXELS scalars of accumulators live in registers; x is broadcast, the weights are packed in the
// order in which they are met. One instance for each number of pixels, so that none is wasted. The filter's width is a
// template argument: at run time it costs up to 1.6 times. Width 0 is the general case: a table says where, from the
// first pixel, each tap of a channel reads.
//
// The last panel may need half of a vector only: processors that compute whole ones in two steps are then up to twice as
// fast by half vectors, and others as fast. Weights and strip are the same, whose other half is not read and not written.
//
// With one row and one tap this is the matrix product strip (pixels, lanes) (+)= x^T (pixels, channels) * weights
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

// x86 without AVX2 has only the kernels that every network needs: such processors are rare, and a wheel is for all.
constexpr bool kHasRareKernels = FC_VECTOR_BYTES > 16 || kRegisters == 32;

// Beside `vectors` accumulators for each pixel: as many for weights, and one or two for the broadcast and its product.
constexpr int max_pixels(int vectors) { return kRegisters == 32 ? 14 : 12 / vectors; }

// What one tile sums over.
template <class T>
struct Reduction {
    int64_t channels, channel_stride;  // channel_stride, row_stride: distances in x
    int64_t rows, row_stride;          // filter rows
    int64_t tap_stride;                // within a row
    const int64_t* offsets;            // general case: `taps` distances in x, and no rows
    int64_t step;                      // for kernels of any step
    int64_t taps;
    const T* weights;
    int64_t weights_stride;  // between channels
    bool accumulate;         // add to what the strip holds
};

template <class T>
using TileKernel = void (*)(const Reduction<T>& sum, const T* x, T* strip, Ahead<T>& ahead);

template <class V, class T>
FC_INLINE V load_as(const T* p) {
    return *reinterpret_cast<const typename VectorType<T, sizeof(V)>::unaligned*>(p);
}

// With 16 registers a tile is so small that a channel is done before the next one's rows come from L2: they are asked for
// this many channels early (3x3 of 64 to 256 channels 1.1 to 1.2 times as fast).
constexpr int64_t kChannelsLater = 2;

// A step that is known when the kernel runs: for those above 2, which are rare.
constexpr int kAnyStep = 0;

// One tap of the pixels BEGIN .. END - 1.
template <int BEGIN, int END, int STEP, class T, class V, int NV, int PIXELS>
FC_INLINE void multiply_tap(V (&acc)[PIXELS][NV], const T* x, const T* weights, int64_t any_step = 0) {
    constexpr int kGroup = 4;  // pixels that share a pointer: x86 adds a step once or twice to a base
    if constexpr (BEGIN < END) {
        V w[NV];
        FC_UNROLL for (int v = 0; v < NV; ++v) w[v] = load_as<V>(weights + v * lanes<T>);
        FC_UNROLL for (int j = BEGIN; j < END; ++j) {
            if (STEP == kAnyStep && j > BEGIN && j % kGroup == 0) x += kGroup * any_step;
            const V pixel = x[STEP == kAnyStep ? j % kGroup * any_step : j * STEP] - V{};
            FC_UNROLL for (int v = 0; v < NV; ++v) acc[j][v] = fma(pixel, w[v], acc[j][v]);
        }
        barrier();
    }
}

// One row of the filter, of which pixels near the edges of the image miss some taps.
template <int LEFT, int RIGHT, int STEP, class T, class V, int NV, int PIXELS, int... K>
FC_INLINE void multiply_row(V (&acc)[PIXELS][NV], const T* x, int64_t tap, const T* weights,
                            std::integer_sequence<int, K...>) {
    constexpr int FW = sizeof...(K);
    constexpr auto missing = [](int beyond) constexpr { return beyond > 0 ? (beyond + STEP - 1) / STEP : 0; };
    (multiply_tap<missing(LEFT - K), PIXELS - missing(RIGHT - (FW - 1 - K)), STEP>(acc, x + K * tap,
                                                                                   weights + K * NV * lanes<T>),
     ...);
}

// The first pixel's window begins LEFT numbers before the row that x is in, the last one's ends RIGHT numbers after it.
// V: a whole vector or half of one.
template <class T, class V, int NV, int PIXELS, int STEP, int FW, int LEFT, int RIGHT>
void tile(const Reduction<T>& sum, const T* x, T* strip, Ahead<T>& ahead) {
    constexpr int kLanes = NV * lanes<T>;
    const T *next_source = ahead.source.next(), *next_result = ahead.result.next();
    const int64_t source_stride = ahead.source.channel_stride, result_stride = ahead.result.channel_stride;
    const int64_t result_channels = ahead.result_channels, burst = ahead.result_burst;
    int64_t asked = 0;
    const Reduction<T> s = sum;  // a copy, or every barrier would have it read again

    V acc[PIXELS][NV] = {};
    const T* weights = s.weights;
    for (int64_t c = 0; c < s.channels; ++c, x += s.channel_stride, weights += s.weights_stride) {
        prefetch(next_source);
        next_source += source_stride;
        for (const int64_t end = std::min(asked + burst, result_channels); asked < end; ++asked)
            prefetch_for_write(next_result + asked * result_stride);
        const T* w = weights;
        if constexpr (FW == 0) {
            for (int64_t k = 0; k < s.taps; ++k, w += kLanes) multiply_tap<0, PIXELS, STEP>(acc, x + s.offsets[k], w, s.step);
        } else {
            const T* row = x;
            const int64_t later = c + kChannelsLater < s.channels ? kChannelsLater * s.channel_stride : 0;
            for (int64_t u = 0; u < s.rows; ++u, row += s.row_stride, w += FW * kLanes) {
                if constexpr (kRegisters == 16) prefetch(row + later);
                multiply_row<LEFT, RIGHT, STEP>(acc, row, s.tap_stride, w, std::make_integer_sequence<int, FW>());
            }
        }
    }

    if (s.accumulate)
        FC_UNROLL for (int j = 0; j < PIXELS; ++j)
            FC_UNROLL for (int v = 0; v < NV; ++v) acc[j][v] += load_as<V>(strip + j * kLanes + v * lanes<T>);
    FC_UNROLL for (int j = 0; j < PIXELS; ++j)
        FC_UNROLL for (int v = 0; v < NV; ++v)
            *reinterpret_cast<typename VectorType<T, sizeof(V)>::unaligned*>(strip + j * kLanes + v * lanes<T>) = acc[j][v];
}

// Half vectors hide the latency of their sums from 8 pixels on.
constexpr int kHalfVectorPixels = 8;

// The kernels for `fewest` .. max_pixels(vectors) pixels, and maybe those by half vectors.
template <class T>
struct TileTable {
    const TileKernel<T>* kernels;
    int64_t fewest;
    const TileKernel<T>* halves;

    explicit operator bool() const { return kernels; }
    TileKernel<T> operator()(int64_t pixels, bool half) const {
        return half && halves && pixels >= kHalfVectorPixels ? halves[pixels - kHalfVectorPixels]
                                                              : kernels[pixels - fewest];
    }
};

// Only for the vectors of which a part is worth while, and the commonest filters.
template <class T>
constexpr bool has_halves(int vectors, int64_t step, int64_t width, int64_t left, int64_t right) {
    return FC_VECTOR_BYTES >= 64 && sizeof(T) == 4 && vectors == 1 && width <= (step == 1 ? 5 : 3) && left <= width / 2 &&
           right <= width / 2;
}

template <class T, class V, int NV, int STEP, int FW, int LEFT, int RIGHT, int FEWEST, int... J>
constexpr std::array<TileKernel<T>, sizeof...(J)> tile_kernels(std::integer_sequence<int, J...>) {
    return {&tile<T, V, NV, FEWEST + J, STEP, FW, LEFT, RIGHT>...};
}

// From FEWEST pixels on.
template <class T, class V, int NV, int STEP, int FW, int LEFT, int RIGHT, int FEWEST>
const TileKernel<T>* tile_kernels() {
    static constexpr auto kernels = tile_kernels<T, V, NV, STEP, FW, LEFT, RIGHT, FEWEST>(
        std::make_integer_sequence<int, max_pixels(NV) - FEWEST + 1>());
    return kernels.data();
}

template <class T, int NV, int STEP, int FW, int LEFT, int RIGHT, int FEWEST>
TileTable<T> tile_table() {
    TileTable<T> table{tile_kernels<T, Vec<T>, NV, STEP, FW, LEFT, RIGHT, FEWEST>(), FEWEST, nullptr};
    if constexpr (has_halves<T>(NV, STEP, FW, LEFT, RIGHT))
        table.halves = tile_kernels<T, HalfVec<T>, NV, STEP, FW, LEFT, RIGHT, kHalfVectorPixels>();
    return table;
}

// The kernels for filters of a width, or none. Width 0: by offsets.
//
// Every kernel costs compilation and its place in the wheel, so there are only the commonest, most not for the narrow rows
// that no division into near-equal tiles gives, and on x86 without AVX2 none for the edges of images and for rare filters
// (0.2 MB of 5). What has none is read from a padded copy or by offsets.
template <class T, int NV>
TileTable<T> find_tiles(int64_t width, int64_t step, int64_t left, int64_t right) {
    constexpr int kHalf = kRegisters == 32 ? 6 : max_pixels(NV) / 2;
    if (left > 9 || right > 9) return {};
    if (step > 2) step = kAnyStep;
    const int64_t edges = left * 10 + right;
#define FC_TILES(FW, STEP, LEFT, RIGHT, FEWEST) \
    if (width == FW && step == STEP && edges == LEFT * 10 + RIGHT) \
        return tile_table<T, NV, STEP, FW, LEFT, RIGHT, FEWEST>();
    FC_TILES(0, 1, 0, 0, 1)
    FC_TILES(0, 2, 0, 0, 1)
    FC_TILES(0, kAnyStep, 0, 0, 1)
    FC_TILES(1, 1, 0, 0, 1)
    FC_TILES(1, 2, 0, 0, 1)
    FC_TILES(3, 1, 0, 0, 1)
    if constexpr (sizeof(T) == 4 || kHasRareKernels) FC_TILES(5, 1, 0, 0, kHalf)
    if constexpr (sizeof(T) == 4 && kHasRareKernels) {
        FC_TILES(2, 1, 0, 0, kHalf)
        FC_TILES(7, 1, 0, 0, kHalf)
        FC_TILES(3, 2, 0, 0, kHalf)
        FC_TILES(5, 2, 0, 0, kHalf)
        FC_TILES(7, 2, 0, 0, kHalf)
    }
    if constexpr (sizeof(T) == 4 && kHasRareKernels) {
        FC_TILES(2, 1, 0, 1, kHalf)
        FC_TILES(3, 1, 1, 0, kHalf)
        FC_TILES(3, 1, 0, 1, kHalf)
        FC_TILES(3, 1, 1, 1, 1)
        FC_TILES(3, 1, 2, 0, kHalf)
        FC_TILES(3, 1, 0, 2, kHalf)
        FC_TILES(5, 1, 2, 0, kHalf)
        FC_TILES(5, 1, 0, 2, kHalf)
        FC_TILES(5, 1, 2, 2, kHalf)
        FC_TILES(5, 1, 4, 0, kHalf)
        FC_TILES(5, 1, 0, 4, kHalf)
        FC_TILES(3, 2, 1, 0, kHalf)
        FC_TILES(7, 2, 3, 0, kHalf)
        FC_TILES(7, 2, 0, 2, kHalf)
    }
#undef FC_TILES
    return {};
}

// A row of pixels as near-equal tiles, of which the outer ones may reach beyond the image.
template <class T>
class RowTiles {
public:
    RowTiles(int vectors, int64_t width, int64_t step, int64_t left = 0, int64_t right = 0)
        : vectors(vectors), width(width), step(step), beyond(std::max(left, right)), inner(find(width, 0, 0)),
          first(find(width, left, 0)), last(find(width, 0, right)), only(find(width, left, right)) {}

    // Whether there are kernels for a row of so many pixels.
    bool can(int64_t pixels) const {
        if (!inner || !first || !last) return false;
        const int64_t n = count(pixels), narrowest = pixels / n;
        if (n == 1) return narrowest >= only.fewest;
        return narrowest * step >= beyond && narrowest >= std::max({inner.fewest, first.fewest, last.fewest});
    }

    bool by_offsets() const { return width == 0; }

    // x moves on by `step`, the strip by a pixel's lanes. half: the upper half of the one vector is of no use.
    void compute(const Reduction<T>& sum, const T* x, T* strip, int64_t pixels, bool half, Ahead<T>& ahead) const {
        const int64_t n = count(pixels), width = pixels / n, wider = pixels % n;
        for (int64_t t = 0; t < n; ++t) {
            const int64_t size = width + (t < wider);
            const TileTable<T>& kernels = n == 1 ? only : t == 0 ? first : t == n - 1 ? last : inner;
            kernels(size, half)(sum, x, strip, ahead);
            x += size * step;
            strip += size * vectors * lanes<T>;
        }
    }

private:
    TileTable<T> find(int64_t width, int64_t left, int64_t right) const {
        return vectors == 2 ? find_tiles<T, 2>(width, step, left, right) : find_tiles<T, 1>(width, step, left, right);
    }
    int64_t count(int64_t pixels) const {
        return std::max<int64_t>((pixels + max_pixels(vectors) - 1) / max_pixels(vectors), only ? 1 : 2);
    }

    int vectors;
    int64_t width, step, beyond;
    TileTable<T> inner, first, last, only;
};

}  // namespace fc::conv
