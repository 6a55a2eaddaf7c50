// What goes into the products of a convolution and what comes out of them, on vectors:
//
//   source    [positions][channels / L][tiles][L]     forward: x, all phases; backward-data: dout
//   filters   [filter positions][channels][panel]     vectors over result channels
//   sums      [positions][tiles][panel]               forward: of the result; backward-data: of dx, phase after phase
#pragma once
#include "../winograd/operands.h"
#include "products.h"

namespace fc::winograd_stride2 {

// Tiles of 4 x 4 results of forward, or of the pixels of dx, 8 x 8, that the four phases of such a tile make.
template <bool BACKWARD>
struct Tiling {
    static constexpr int kSource = BACKWARD ? kResultPositions : kPositions;
    static constexpr int kSums = BACKWARD ? kPositions : kResultPositions;
    static constexpr int kStep = BACKWARD ? kTile : 2 * kTile;  // of tiles, in the source
    static constexpr int kRead = kStep + 1;                     // rows and columns of the source that a tile meets
    static constexpr int kOut = BACKWARD ? 2 * kTile : kTile;
};

// Forward or backward-data, and where in the result the first tile begins: at -1 it has a row or column too many.
struct Convolution : Correlation {
    int64_t result_top, result_left;
};

inline Convolution forward_convolution(float* out, const float* x, const float* w, const float* b, const Window& p,
                                       int64_t FN, bool relu) {
    return {forward_correlation(out, x, w, b, p, FN, relu), 0, 0};
}

// Rows of phase b and of phase a take turns in dx. Those of a tile begin with row 2i - 1 - pad, for the i that makes it
// 0 or -1, and meet dout from row i - 1 on.
inline Convolution backward_convolution(float* dx, const float* dout, const float* w, const Window& p, int64_t FN) {
    Convolution c{backward_correlation(dx, dout, w, p, FN), p.pad_top % 2 - 1, p.pad_left % 2 - 1};
    c.top = (p.pad_top + 1) / 2 - 1;
    c.left = (p.pad_left + 1) / 2 - 1;
    return c;
}

// The transforms of `count` neighbours in a row of tiles, of every STRIDE-th row and column of pixels.
template <int STRIDE, int RowIn, int RowOut, void (*ALONG_ROWS)(const Vector (&)[RowIn], Vector (&)[RowOut]), int In,
          int Out, void (*ALONG_COLUMNS)(const Vector (&)[In], Vector (&)[Out])>
FC_APART void transform_phase(const float* const* rows, int64_t column, int64_t count, Steps to, float* dst) {
    const float* from[In];
    FC_UNROLL for (int i = 0; i < In; ++i) from[i] = rows[STRIDE * i] + column * L;
    for (int64_t t = 0; t < count; ++t, dst += to.tile)
        transform_2d(
            ALONG_ROWS, ALONG_COLUMNS,
            [&](int i, Vector (&row)[RowIn]) {
                FC_UNROLL for (int j = 0; j < RowIn; ++j) keep(row[j] = load(from[i] + STRIDE * (t * kTile + j) * L));
            },
            [&](int j, const Vector (&out)[Out]) {
                FC_UNROLL for (int i = 0; i < Out; ++i) store(dst + (i * RowOut + j) * to.position, out[i]);
            });
}

// All positions of what some tiles read of `count` channels.
template <bool BACKWARD>
void transform_source(const Grid& grid, Range tiles, const float* planes, int64_t count, Steps to, float* dst) {
    using T = Tiling<BACKWARD>;
    read_planes<T::kStep, T::kRead>(
        grid, tiles, planes, count, [](int64_t, const float*, int64_t) {},
        [&](int64_t lane, const Band& band, const float* const(&rows)[T::kRead]) {
            float* first = dst + lane / L * to.group + band.first * to.tile;
            if constexpr (BACKWARD) {
                transform_phase<1, 5, 5, source<5>, 5, 5, source<5>>(rows, 0, band.count, to, first);
            } else {
                const auto at = [&](int phase) { return first + first_position(phase) * to.position; };
                transform_phase<2, 5, 5, source<5>, 5, 5, source<5>>(rows, 0, band.count, to, at(0));
                transform_phase<2, 4, 4, source<4>, 5, 5, source<5>>(rows, 1, band.count, to, at(1));
                transform_phase<2, 5, 5, source<5>, 4, 4, source<4>>(rows + 1, 0, band.count, to, at(2));
                transform_phase<2, 4, 4, source<4>, 4, 4, source<4>>(rows + 1, 1, band.count, to, at(3));
            }
        });
}

// One filter of each lane for each of `count` source channels. distances: between the lanes' filters, or their offsets.
template <class Distances>
FC_APART void transform_lanes(const float* w, int64_t next, Distances distances, bool upside_down, int64_t count,
                              int64_t step, int64_t width, float* filters) {
    for (int64_t k = 0; k < count; ++k, w += next, filters += width) {
        Vector taps[kTaps], last[4];
        load_transposed(w, distances, taps);
        load_transposed(w + 4, distances, taps + 4);
        load_transposed(w + 5, distances, last);
        taps[8] = last[3];
        if (upside_down) std::reverse(taps, taps + kTaps);
        const auto tap = [&](int u, int v) { return taps[3 * u + v]; };
        const auto put = [&](int phase, int i, int j, Vector t) {
            store(filters + filter_position(phase, i, j) * step, t);
        };
        transform_2d(
            filter, filter,
            [&](int i, Vector (&row)[2]) { FC_UNROLL for (int j = 0; j < 2; ++j) row[j] = tap(2 * i, 2 * j); },
            [&](int j, const Vector (&t)[kNodes]) { FC_UNROLL for (int i = 0; i < kNodes; ++i) put(0, i, j, t[i]); });
        Vector t[kNodes];
        filter({tap(0, 1), tap(2, 1)}, t);
        FC_UNROLL for (int i = 0; i < kNodes; ++i) put(1, i, 0, t[i]);
        filter({tap(1, 0), tap(1, 2)}, t);
        FC_UNROLL for (int j = 0; j < kNodes; ++j) put(2, 0, j, t[j]);
        put(3, 0, 0, tap(1, 1));
    }
}

// Backward-data meets the filters upside down. Lanes without a channel repeat the last one.
inline void transform_filters(const Correlation& c, Panel panel, Range channels, Matrices m, float* filters) {
    for (int64_t lane = 0; lane < panel.width(); lane += L) {
        const float* w = c.filters + channels.begin * c.filters_in + (panel.first + lane) * c.filters_out;
        const auto transform = [&](auto distances) {
            transform_lanes(w, c.filters_in, distances, c.upside_down, channels.size(), m.step(), m.width,
                            filters + lane);
        };
        if (const int64_t left = c.Cout - panel.first - lane; left >= L) {
            transform(c.filters_out);
        } else {
            int64_t offsets[L];
            for (int64_t l = 0; l < L; ++l) offsets[l] = std::min(l, left - 1) * c.filters_out;
            transform(static_cast<const int64_t*>(offsets));
        }
    }
}

// Phases are summed up together if they make no longer sum than this: several short ones are more precise.
constexpr int64_t kLongestSum = 128;

// All products of some tiles with one panel.
template <bool BACKWARD>
void multiply_tiles(int64_t tiles, int64_t channels, const float* source, Matrices src, const float* filters,
                    Matrices f, float* sums, Matrices s, bool accumulate) {
    const int most = int(std::clamp<int64_t>(kLongestSum / channels, 1, kPhases));
    const auto multiply_to = [&](int position, const Factors* factors, int count) {
        for (int f = 0; f < count; f += most)
            multiply<Sum::over_channels>(factors + f, std::min(most, count - f), tiles, channels, s.width,
                                         sums + position * s.step(), accumulate || f > 0);
    };
    for (int i = 0; i < kNodes; ++i)
        for (int j = 0; j < kNodes; ++j) {
            Factors factors[kPhases];
            int count = 0;
            for (int phase = 0; phase < kPhases; ++phase) {
                if (i >= nodes(phase / 2) || j >= nodes(phase % 2)) continue;
                const float* panel = filters + filter_position(phase, i, j) * f.step();
                if constexpr (BACKWARD) {
                    const Factors one{source + position(0, i, j) * src.step(), panel};
                    multiply_to(position(phase, i, j), &one, 1);
                } else {
                    factors[count++] = {source + position(phase, i, j) * src.step(), panel};
                }
            }
            if constexpr (!BACKWARD) multiply_to(position(0, i, j), factors, count);
        }
}

// Of scratch memory: the pixels of a band, of which whole vectors are read.
template <int OUT>
constexpr int64_t kBandTiles = OUT == kTile ? 16 : 8;
template <int OUT>
constexpr int64_t kBandSize = (kBandTiles<OUT> * OUT * OUT + L) * L;

// The results of `count` neighbours in a row of tiles, as every STRIDE-th pixel of rows `pitch` apart. sums: `step`
// apart for each position, `width` for each tile. The sum of all before `finish`: if it is finite, they are.
template <int ROWS, int COLUMNS, int STRIDE, class Finish>
FC_APART Vector transform_results(const float* sums, int64_t step, int64_t width, int64_t count, int64_t pitch,
                                float* pixels, Finish finish) {
    const float* rows[ROWS];  // few addresses, so that they stay in registers
    FC_UNROLL for (int u = 0; u < ROWS; ++u) rows[u] = sums + u * COLUMNS * step;
    Vector total{};
    for (int64_t t = 0; t < count; ++t, pixels += STRIDE * kTile * L) {
        transform_2d(
            result<COLUMNS>, result<ROWS>,
            [&](int u, Vector (&in)[COLUMNS]) {
                FC_UNROLL for (int v = 0; v < COLUMNS; ++v) keep(in[v] = load(rows[u] + v * step));
            },
            [&](int v, const Vector (&y)[kTile]) {
                FC_UNROLL for (int u = 0; u < kTile; ++u) store(pixels + STRIDE * (u * pitch + v * L), finish(y[u]));
                total += sum_of(y);
            });
        FC_UNROLL for (int u = 0; u < ROWS; ++u) rows[u] += width;
    }
    return total;
}

template <bool BACKWARD>
Vector transform_band(const float* sums, int64_t step, int64_t width, int64_t count, int64_t pitch, float* pixels,
                    Vector bias, bool relu) {
    if constexpr (BACKWARD) {
        const auto as_it_is = [](Vector y) { return y; };
        const auto from = [&](int phase) { return sums + first_position(phase) * step; };
        return transform_results<5, 5, 2>(from(0), step, width, count, pitch, pixels + pitch + L, as_it_is) +
               transform_results<5, 4, 2>(from(1), step, width, count, pitch, pixels + pitch, as_it_is) +
               transform_results<4, 5, 2>(from(2), step, width, count, pitch, pixels + L, as_it_is) +
               transform_results<4, 4, 2>(from(3), step, width, count, pitch, pixels, as_it_is);
    } else if (relu) {
        return transform_results<5, 5, 1>(sums, step, width, count, pitch, pixels,
                                          [=](Vector y) { return max(zero<float>(), y + bias); });  // NaN stays NaN
    } else {
        return transform_results<5, 5, 1>(sums, step, width, count, pitch, pixels, [=](Vector y) { return y + bias; });
    }
}

// Band by band, without the pixels that lie outside of the planes. Where it is as wide as they are, its rows follow
// each other in them, and are one run of pixels.
template <bool BACKWARD>
void store_result(const Convolution& c, const Grid& grid, Range tiles, Panel panel, const float* sums, Matrices m,
                  float* strip) {
    constexpr int64_t OUT = Tiling<BACKWARD>::kOut;
    const int64_t plane = c.DH * c.DW;
    for_bands(grid, tiles, kBandTiles<OUT>, [&](const Band& band) {
        const int64_t i = c.result_top + band.row * OUT, j = c.result_left + band.col * OUT, pitch = band.count * OUT;
        const int64_t skipped = std::max<int64_t>(-i, 0) * pitch + std::max<int64_t>(-j, 0);  // pixels of the strip
        const int64_t row = std::max<int64_t>(i, 0), col = std::max<int64_t>(j, 0);
        const int64_t rows = std::min(i + OUT, c.DH) - row, cols = std::min(j + pitch, c.DW) - col;
        const int64_t runs = pitch == c.DW && cols == c.DW ? 1 : rows, length = runs == 1 ? rows * cols : cols;
        float* result = c.result + ((band.image * c.Cout + panel.first) * c.DH + row) * c.DW + col;
        for (int64_t lane = 0; lane < panel.channels; lane += L, result += L * plane) {
            const int64_t channels = std::min(L, panel.channels - lane);
            for (int64_t channel = 0; channel < channels; ++channel)
                for (int64_t run = 0; run < runs; ++run)
                    for (int64_t p = 0; p < length; p += kLine)
                        prefetch_for_write(result + channel * plane + run * c.DW + p);
            const Vector bias = c.bias ? load_n(c.bias + panel.first + lane, channels) : Vector{};
            const auto transform = [&](bool relu) {
                return transform_band<BACKWARD>(sums + band.first * m.width + lane, m.step(), m.width, band.count,
                                                pitch * L, strip, bias, relu);
            };
            if (!all_finite(transform(c.relu))) {
                if (c.relu) transform(false);
                repair_pixels(c, band.image, panel.first + lane, channels, row, col, rows, cols, pitch,
                              strip + skipped * L);
            }
            for (int64_t run = 0; run < runs; ++run)
                for (int64_t p = 0; p < length; p += L)
                    store_transposed(strip + (skipped + run * pitch + p) * L, L, result + run * c.DW + p, plane,
                                     int(std::min(L, length - p)), int(channels));
        }
    });
}

}  // namespace fc::winograd_stride2
