// What goes into the products of a convolution and what comes out of them, on vectors:
//
//   source    [positions][channels / L][tiles][L]     B^T d B
//   filters   [positions][channels][panel]            G g G^T      vectors over result channels
//   sums      [positions][tiles][panel]               the result is A^T sums A, transposed on its way out
#pragma once
#include "direct_sums.h"
#include "tiles.h"
#include "window.h"

namespace fc::winograd {

// Forward and backward-data as one thing: the correlation of a source (N, Cin, SH, SW) with filters gives a result
// (N, Cout, DH, DW). Backward-data's source is dout and its filters are turned upside down.
struct Correlation {
    int64_t N, Cin, Cout, SH, SW, DH, DW;
    int64_t top, left;  // where in the source the window of the first result begins: negative in the padding
    const float* source;
    const float* filters;
    int64_t filters_in, filters_out;  // distances between successive source and result channels
    bool upside_down;
    float* result;
    const float* bias;  // of the result's channels, or null
    bool relu;
    DirectSums direct;  // the same correlation
};

// What is not finite of `channels` lanes of a strip of pixels, rows `pitch` apart: rows x cols results from (i, j) on.
// All have passed the way back without the ReLU, which they get now.
FC_APART inline void repair_pixels(const Correlation& c, int64_t image, int64_t channel, int64_t channels, int64_t i,
                                   int64_t j, int64_t rows, int64_t cols, int64_t pitch, float* pixels) {
    const float* source = c.source + image * c.Cin * c.SH * c.SW;
    for (int64_t u = 0; u < rows; ++u) {
        const auto vertical = c.direct.rows.meeting(i + u);
        for (int64_t v = 0; v < cols; ++v) {
            const auto horizontal = c.direct.columns.meeting(j + v);
            for (int64_t l = 0; l < channels; ++l) {
                float& y = pixels[(u * pitch + v) * L + l];
                if (!std::isfinite(y))
                    y = c.direct.at(source, c.bias ? c.bias[channel + l] : 0.f, channel + l, vertical, horizontal);
                if (c.relu && y < 0) y = 0;
            }
        }
    }
}

inline Correlation forward_correlation(float* out, const float* x, const float* w, const float* b, const Window& p,
                                       int64_t FN, bool relu) {
    return {p.N, p.C, FN, p.H, p.W, p.OH, p.OW, -p.pad_top, -p.pad_left, x, w, kTaps, p.C * kTaps, false, out, b, relu,
            direct_forward(w, p)};
}

inline Correlation backward_correlation(float* dx, const float* dout, const float* w, const Window& p, int64_t FN) {
    return {p.N,        FN, p.C,         p.OH,  p.OW, p.H,  p.W,     p.pad_top - 2, p.pad_left - 2, dout, w,
            p.C * kTaps, kTaps, true, dx,  nullptr, false, direct_backward(w, p, FN)};
}

// One filter of each lane for each of `count` source channels. distances: between the lanes' filters, or their offsets.
template <int OUTPUTS, bool UPSIDE_DOWN, class Distances>
FC_APART void transform_lanes(const float* w, int64_t next, Distances distances, int64_t count, int64_t step,
                              int64_t width, float* filters) {
    constexpr int kInputs = inputs(OUTPUTS);
    for (int64_t k = 0; k < count; ++k, w += next, filters += width) {
        Vector taps[kTaps], last[4];
        load_transposed(w, distances, taps);
        load_transposed(w + 4, distances, taps + 4);
        load_transposed(w + 5, distances, last);
        taps[8] = last[3];
        transform_2d<3, kInputs>(
            Formula<OUTPUTS>::filter,
            [&](int i, Vector (&row)[3]) {
                FC_UNROLL for (int j = 0; j < 3; ++j) row[j] = taps[UPSIDE_DOWN ? 8 - 3 * i - j : 3 * i + j];
            },
            [&](int j, const Vector (&t)[kInputs]) {
                FC_UNROLL for (int i = 0; i < kInputs; ++i) store(filters + (kInputs * i + j) * step, t[i]);
            });
    }
}

// Backward-data meets the filters upside down. Lanes without a channel repeat the last one.
template <int OUTPUTS>
void transform_filters(const Correlation& c, Panel panel, Range channels, Matrices m, float* filters) {
    for (int64_t lane = 0; lane < panel.width(); lane += L) {
        const float* w = c.filters + channels.begin * c.filters_in + (panel.first + lane) * c.filters_out;
        const auto transform = [&](auto distances) {
            using Distances = decltype(distances);
            (c.upside_down ? transform_lanes<OUTPUTS, true, Distances> : transform_lanes<OUTPUTS, false, Distances>)(
                w, c.filters_in, distances, channels.size(), m.step(), m.width, filters + lane);
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

// Of a column of results.
template <size_t OUTPUTS>
FC_INLINE Vector sum_of(const Vector (&y)[OUTPUTS]) {
    if constexpr (OUTPUTS == 2)
        return y[0] + y[1];
    else
        return (y[0] + y[1]) + (y[2] + y[3]);
}

constexpr int64_t kStripTiles = 16;
// Of scratch memory: pixels of a band, of which whole vectors are read.
constexpr int64_t strip_size(int outputs) { return (kStripTiles * outputs * outputs + L) * L; }

// The results of `count` neighbours in a row of tiles, as rows of pixels. sums: `step` apart for each position, `width`
// for each tile. The sum of all before bias and ReLU: if it is finite, they are.
template <int OUTPUTS, bool RELU>
FC_APART Vector transform_results(const float* sums, int64_t step, int64_t width, int64_t count, Vector bias,
                                float* pixels) {
    constexpr int kInputs = inputs(OUTPUTS);
    const int64_t pitch = count * OUTPUTS * L;
    const float* rows[kInputs];  // few addresses, so that they stay in registers
    FC_UNROLL for (int u = 0; u < kInputs; ++u) rows[u] = sums + u * kInputs * step;
    Vector total{};
    for (int64_t t = 0; t < count; ++t, pixels += OUTPUTS * L) {
        transform_2d<kInputs, OUTPUTS>(
            Formula<OUTPUTS>::result,
            [&](int u, Vector (&in)[kInputs]) {
                FC_UNROLL for (int v = 0; v < kInputs; ++v) keep(in[v] = load(rows[u] + v * step));
            },
            [&](int v, const Vector (&y)[OUTPUTS]) {
                FC_UNROLL for (int u = 0; u < OUTPUTS; ++u) {
                    const Vector z = y[u] + bias;
                    store(pixels + u * pitch + v * L, RELU ? max(zero<float>(), z) : z);  // NaN stays NaN
                }
                total += sum_of(y);
            });
        FC_UNROLL for (int u = 0; u < kInputs; ++u) rows[u] += width;
    }
    return total;
}

// Band by band. Where it is as wide as the planes, its rows follow each other in them, and are one run of pixels.
template <int OUTPUTS>
void store_result(const Correlation& c, const Grid& grid, Range tiles, Panel panel, const float* sums, Matrices m,
                  float* strip) {
    const int64_t plane = c.DH * c.DW;
    const auto transform = c.relu ? transform_results<OUTPUTS, true> : transform_results<OUTPUTS, false>;
    for_bands(grid, tiles, kStripTiles, [&](const Band& band) {
        const int64_t i = band.row * OUTPUTS, j = band.col * OUTPUTS, pitch = band.count * OUTPUTS;
        const int64_t rows = std::min<int64_t>(OUTPUTS, c.DH - i), cols = std::min(pitch, c.DW - j);
        const int64_t runs = pitch == c.DW ? 1 : rows, length = pitch == c.DW ? rows * cols : cols;
        float* result = c.result + ((band.image * c.Cout + panel.first) * c.DH + i) * c.DW + j;
        for (int64_t lane = 0; lane < panel.channels; lane += L, result += L * plane) {
            const int64_t channels = std::min(L, panel.channels - lane);
            for (int64_t channel = 0; channel < channels; ++channel)
                for (int64_t run = 0; run < runs; ++run)
                    for (int64_t p = 0; p < length; p += kLine)
                        prefetch_for_write(result + channel * plane + run * c.DW + p);
            const Vector bias = c.bias ? load_n(c.bias + panel.first + lane, channels) : Vector{};
            const float* from = sums + band.first * m.width + lane;
            if (!all_finite(transform(from, m.step(), m.width, band.count, bias, strip))) {
                if (c.relu) transform_results<OUTPUTS, false>(from, m.step(), m.width, band.count, bias, strip);
                repair_pixels(c, band.image, panel.first + lane, channels, i, j, rows, cols, pitch, strip);
            }
            for (int64_t run = 0; run < runs; ++run)
                for (int64_t p = 0; p < length; p += L)
                    store_transposed(strip + (run * pitch + p) * L, L, result + run * c.DW + p, plane,
                                     int(std::min(L, length - p)), int(channels));
        }
    });
}

}  // namespace fc::winograd
