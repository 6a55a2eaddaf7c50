// What the products read: a band of the source, its columns padded and dealt out by stride, its rows transformed.
//
//   band   [position][tile][row phase][channel][column phase][pitch]      B^T d, d: the rows that a tile meets in a phase
//
// A tile is kOutputs rows of the result, as wide as it is. With a stride of 2 the filter's even rows meet the source's
// rows of one parity, its odd rows the others: two filters of half the height, both with stride 1, whose products are
// added before the way back. Columns are not transformed: tap v of the results j, j + 1, ... is contiguous.
#pragma once
#include <algorithm>
#include <vector>

#include "../winograd/direct_sums.h"
#include "formula.h"
#include "kernel.h"
#include "window.h"

namespace fc::winograd_rows {

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t multiple) { return divide_up(a, multiple) * multiple; }

// Forward and backward-data as one thing: a correlation of a source (N, Cin, SH, SW) with filters gives (N, Cout, DH, DW).
struct Correlation {
    int64_t N, Cin, Cout, SH, SW, DH, DW;
    int64_t FH, FW, stride_h, stride_w, top, left;
    const float* source;
    const float* filters;
    int64_t filters_in, filters_out;  // distances between successive source and result channels
    bool upside_down;
    float* result;
    const float* bias;  // of the result's channels, or null
    bool relu;
    winograd::DirectSums direct;  // the same correlation
    int64_t H = 0, W = 0;  // if not 0: each 4 channels are the phases of one of H x W, by rows and columns

    bool interleaves() const { return H > 0; }
};

inline Correlation forward_correlation(float* out, const float* x, const float* w, const float* b, const Window& p,
                                       int64_t FN, bool relu) {
    const int64_t taps = p.FH * p.FW;
    return {p.N, p.C, FN, p.H, p.W, p.OH, p.OW, p.FH, p.FW, p.stride_h, p.stride_w, p.pad_top, p.pad_left,
            x, w, taps, p.C * taps, false, out, b, relu, winograd::direct_forward(w, p)};
}

inline Correlation backward_correlation(float* dx, const float* dout, const float* w, const Window& p, int64_t FN) {
    const int64_t taps = p.FH * p.FW;
    return {p.N, FN, p.C, p.OH, p.OW, p.H, p.W, p.FH, p.FW, 1, 1, p.FH - 1 - p.pad_top, p.FW - 1 - p.pad_left,
            dout, w, p.C * taps, taps, true, dx, nullptr, false, winograd::direct_backward(w, p, FN)};
}

// One axis of backward-data with stride 2. Its number 2a + r, phase r, meets dout's numbers a + start, ..., under the
// taps tap(r, 0), tap(r, 1), ...; a tap outside of the filter does not exist.
struct PhasedAxis {
    int64_t filter, pad, start, taps;

    PhasedAxis(int64_t filter, int64_t pad) : filter(filter), pad(pad) {
        start = std::min(last(0) - count(0), last(1) - count(1)) + 1;
        taps = std::max(last(0), last(1)) - start + 1;
    }
    int64_t tap(int64_t phase, int64_t k) const { return parity(phase) + 2 * (last(phase) - start - k); }

private:
    int64_t parity(int64_t phase) const { return (phase + pad) % 2; }
    int64_t count(int64_t phase) const { return (filter - parity(phase) + 1) / 2; }
    int64_t last(int64_t phase) const { return (phase + pad - parity(phase)) / 2; }
};

// Backward-data with stride 2 is a correlation of dout with 4 filters for each of x's channels, one for each phase of its
// rows and columns: `filters`, of phased_size.
inline int64_t phased_size(const Window& p, int64_t FN) {
    return 4 * p.C * FN * PhasedAxis(p.FH, p.pad_top).taps * PhasedAxis(p.FW, p.pad_left).taps;
}
inline Correlation phased_correlation(float* dx, const float* dout, const float* w, const Window& p, int64_t FN,
                                      float* filters) {
    const PhasedAxis rows(p.FH, p.pad_top), columns(p.FW, p.pad_left);
    float* to = filters;
    for (int64_t c = 0; c < p.C; ++c)
        for (int64_t phase = 0; phase < 4; ++phase)
            for (int64_t f = 0; f < FN; ++f)
                for (int64_t i = 0; i < rows.taps; ++i)
                    for (int64_t j = 0; j < columns.taps; ++j) {
                        const int64_t u = rows.tap(phase / 2, i), v = columns.tap(phase % 2, j);
                        const bool exists = u >= 0 && u < p.FH && v >= 0 && v < p.FW;
                        *to++ = exists ? w[((f * p.C + c) * p.FH + u) * p.FW + v] : 0.f;
                    }
    const int64_t taps = rows.taps * columns.taps;
    return {p.N, FN, 4 * p.C, p.OH, p.OW, (p.H + 1) / 2, (p.W + 1) / 2, rows.taps, columns.taps, 1, 1, -rows.start,
            -columns.start, dout, filters, taps, FN * taps, false, dx, nullptr, false,
            winograd::direct_backward(w, p, FN), p.H, p.W};
}

template <class F>
class Band {
public:
    explicit Band(const Correlation& c)
        : tiles(divide_up(c.DH, F::kOutputs)), vectors(divide_up(c.DW, L)), c_(c),
          pitch_(round_up(std::max(vectors * L + (c.FW - 1) / c.stride_w, (c.left + round_up(c.SW, L * c.stride_w)) / c.stride_w + 1),
                          L)),
          rows_(c.stride_h * c.Cin * c.stride_w), zeros_(round_up(c.SW, L)) {
        std::fill_n(zeros_.get(), round_up(c.SW, L), 0.f);
        for (int64_t phase = 0; phase < c.stride_h; ++phase)
            for (int64_t channel = 0; channel < c.Cin; ++channel)
                for (int64_t v = 0; v < c.FW; ++v)
                    offsets_.push_back(row(phase, channel, v % c.stride_w) + v / c.stride_w);
    }

    const int64_t tiles, vectors;  // of the result: in an image's height, and in a row

    // Where tap k = (row phase, channel, filter column) of a tile's first result is, from the tile on.
    const std::vector<int64_t>& offsets() const { return offsets_; }
    int64_t tile_step() const { return rows_ * pitch_; }
    // Between positions: an odd number of cache lines, so that they do not meet in the same cache sets.
    int64_t position_step(int64_t count) const { return (divide_up(count * tile_step(), 16) | 1) * 16; }
    int64_t size(int64_t count) const { return F::kInputs * position_step(count); }

    // The filter rows of a phase.
    int64_t taps(int64_t phase) const { return divide_up(c_.FH - phase, c_.stride_h); }

    // `count` tiles of an image, from `first` on. The padding must be zero already; what is written to it is zero.
    void transform(int64_t image, int64_t first, int64_t count, float* band) const {
        const int64_t step = position_step(count);
        for (int64_t t = 0; t < count; ++t)
            for (int64_t phase = 0; phase < c_.stride_h; ++phase) {
                const int64_t met = F::kOutputs - 1 + taps(phase);
                for (int64_t channel = 0; channel < c_.Cin; ++channel) {
                    const float* plane = c_.source + (image * c_.Cin + channel) * c_.SH * c_.SW;
                    const float* rows[F::kInputs];
                    FC_UNROLL for (int64_t i = 0; i < F::kInputs; ++i) {
                        const int64_t h = ((first + t) * F::kOutputs + i) * c_.stride_h + phase - c_.top;
                        rows[i] = i < met && h >= 0 && h < c_.SH ? plane + h * c_.SW : zeros_.get();
                    }
                    float* to = band + t * tile_step();
                    c_.stride_w == 1 ? transform_row(rows, to + row(phase, channel, 0) + c_.left, step)
                                     : transform_row(rows, to + row(phase, channel, c_.left % 2) + c_.left / 2,
                                                     to + row(phase, channel, (c_.left + 1) % 2) + (c_.left + 1) / 2, step);
                }
            }
    }

private:
    const Correlation& c_;
    const int64_t pitch_, rows_;
    const Scratch<float> zeros_;
    std::vector<int64_t> offsets_;

    int64_t row(int64_t phase, int64_t channel, int64_t column_phase) const {
        return ((phase * c_.Cin + channel) * c_.stride_w + column_phase) * pitch_;
    }

    FC_INLINE void transform_columns(const float* const (&rows)[F::kInputs], int64_t j, int64_t n,
                                     Vector (&t)[F::kInputs]) {
        Vector d[F::kInputs];
        if (n >= L)
            FC_UNROLL for (int i = 0; i < F::kInputs; ++i) d[i] = load(rows[i] + j);
        else
            FC_UNROLL for (int i = 0; i < F::kInputs; ++i) d[i] = load_n(rows[i] + j, n);
        F::source(d, t);
    }

    void transform_row(const float* const (&rows)[F::kInputs], float* to, int64_t step) const {
        for (int64_t j = 0; j < c_.SW; j += L) {
            Vector t[F::kInputs];
            transform_columns(rows, j, c_.SW - j, t);
            FC_UNROLL for (int i = 0; i < F::kInputs; ++i) store(to + i * step + j, t[i]);
        }
    }

    // The columns 0, 2, ... to `even`, the others to `odd`.
    void transform_row(const float* const (&rows)[F::kInputs], float* even_to, float* odd_to, int64_t step) const {
        for (int64_t j = 0; j < c_.SW; j += 2 * L) {
            Vector a[F::kInputs], b[F::kInputs] = {};
            transform_columns(rows, j, c_.SW - j, a);
            if (j + L < c_.SW) transform_columns(rows, j + L, c_.SW - j - L, b);
            FC_UNROLL for (int i = 0; i < F::kInputs; ++i) {
                store(even_to + i * step + j / 2, even(a[i], b[i]));
                store(odd_to + i * step + j / 2, odd(a[i], b[i]));
            }
        }
    }
};

}  // namespace fc::winograd_rows
