// What goes into the products of a convolution and what comes out of them, on vectors:
//
//   source    [36][channels][tiles]     B^T d B      vectors over tiles
//   filters   [36][channels][panel]     G g G^T      vectors over result channels
//   sums      [36][tiles][panel]        the result is A^T sums A, transposed on its way out
#pragma once
#include "kernel.h"
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
};

inline Correlation forward_correlation(float* out, const float* x, const float* w, const float* b, const Window& p,
                                       int64_t FN, bool relu) {
    return {p.N, p.C, FN, p.H, p.W, p.OH, p.OW, -p.pad_top, -p.pad_left, x, w, kTaps, p.C * kTaps, false, out, b, relu};
}

inline Correlation backward_correlation(float* dx, const float* dout, const float* w, const Window& p, int64_t FN) {
    return {p.N,        FN, p.C,         p.OH,  p.OW, p.H,  p.W,     p.pad_top - 2, p.pad_left - 2, dout, w,
            p.C * kTaps, kTaps, true, dx,  nullptr, false};
}

inline void transform_source(const Correlation& c, const Bands& bands, Range channels, float* band, Matrices m,
                             float* source) {
    const int64_t pitch = bands.pitch(), step = m.step();
    for (int64_t k = 0; k < channels.size(); k += bands.channels()) {
        bands.copy(c.source + (channels.begin + k) * c.SH * c.SW, band);
        for (int64_t tile = 0; tile < bands.lanes(); tile += L) {
            const int64_t* offsets = bands.offsets() + tile;
            float* dst = source + k * m.width + tile;
            transform_2d<6, 6>(
                source_1d,
                [&](int i, Vector (&row)[6]) {
                    Vector last[4];
                    load_transposed(band + i * pitch, offsets, row);
                    load_transposed(band + i * pitch + 4, offsets, last);
                    row[4] = last[0];
                    row[5] = last[1];
                },
                [&](int j, const Vector (&t)[6]) {
                    FC_UNROLL for (int i = 0; i < 6; ++i) store(dst + (6 * i + j) * step, t[i]);
                });
        }
    }
}

// Backward-data meets the filters upside down. Lanes without a channel repeat the last one.
inline void transform_filters(const Correlation& c, Panel panel, Range channels, Matrices m, float* filters) {
    for (int64_t lane = 0; lane < panel.width(); lane += L) {
        int64_t offsets[L];
        for (int64_t l = 0; l < L; ++l)
            offsets[l] = std::min(panel.first + lane + l, c.Cout - 1) * c.filters_out;
        for (int64_t k = 0; k < channels.size(); ++k) {
            const float* w = c.filters + (channels.begin + k) * c.filters_in;
            float* dst = filters + k * m.width + lane;
            Vector taps[9], last[4];
            load_transposed(w, offsets, taps);
            load_transposed(w + 4, offsets, taps + 4);
            load_transposed(w + 5, offsets, last);
            taps[8] = last[3];
            transform_2d<3, 6>(
                filter_1d,
                [&](int i, Vector (&row)[3]) {
                    FC_UNROLL for (int j = 0; j < 3; ++j) row[j] = taps[c.upside_down ? 8 - 3 * i - j : 3 * i + j];
                },
                [&](int j, const Vector (&t)[6]) {
                    FC_UNROLL for (int i = 0; i < 6; ++i) store(dst + (6 * i + j) * m.step(), t[i]);
                });
        }
    }
}

// As many tiles at a time as make a vector of pixels in a row of the result. strip: kStrip numbers of scratch memory.
constexpr int64_t kStrip = kOutputs * L * kPanel;

inline void store_result(const Correlation& c, const Grid& grid, Range tiles, Panel panel, const float* sums,
                         Matrices m, float* strip) {
    const float* bias = c.bias ? c.bias + panel.first : nullptr;
    const auto finish = [bias, relu = c.relu](Vector v, int channel) {
        if (bias) v += set1(bias[channel]);
        return relu ? max(zero<float>(), v) : v;  // NaN stays NaN
    };
    for (int64_t tile = tiles.begin, count; tile < tiles.end; tile += count) {
        const int64_t row = tile / grid.cols, i = row % grid.rows * kOutputs, j = tile % grid.cols * kOutputs;
        float* result = c.result + ((row / grid.rows * c.Cout + panel.first) * c.DH + i) * c.DW + j;
        const int64_t rows = std::min<int64_t>(kOutputs, c.DH - i);
        count = std::min({L / kOutputs, tiles.end - tile, grid.cols - tile % grid.cols});
        for (int64_t channel = 0; channel < panel.channels; ++channel)
            for (int64_t u = 0; u < rows; ++u) prefetch_for_write(result + channel * c.DH * c.DW + u * c.DW);
        for (int64_t k = 0; k < count; ++k)
            for (int64_t lane = 0; lane < m.width; lane += L) {
                const float* src = sums + (tile - tiles.begin + k) * m.width + lane;
                float* pixels = strip + k * kOutputs * m.width + lane;
                transform_2d<6, 4>(
                    result_1d,
                    [&](int u, Vector (&t)[6]) {
                        FC_UNROLL for (int v = 0; v < 6; ++v) t[v] = load(src + (6 * u + v) * m.step());
                    },
                    [&](int v, const Vector (&y)[4]) {
                        FC_UNROLL for (int u = 0; u < 4; ++u) store(pixels + (u * L + v) * m.width, y[u]);
                    });
            }
        for (int64_t u = 0; u < rows; ++u)
            store_transposed(strip + u * L * m.width, m.width, result + u * c.DW, c.DH * c.DW,
                             int(std::min(count * kOutputs, c.DW - j)), int(panel.channels), finish);
    }
}

}  // namespace fc::winograd
