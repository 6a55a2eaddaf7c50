// Single numbers of a convolution and of its gradients as direct sums in double: for what is not finite in the result of
// a fast algorithm.
//
// Winograd's transforms add numbers of x (or of w, or of dout) that the direct sum of a result does not meet, and scale
// them. So an infinity or a NaN reaches results whose windows do not hold it, and finite numbers from about 1e37 on can
// overflow on the way. No such result is finite and wrong: each is made of additions and of multiplications alone, of
// which none turns what is not finite into a finite number, and it depends on every number that its window holds. So
// what is finite met finite numbers alone, and what is not (before the ReLU, which makes 0 of -infinity) is computed
// again here. Numbers of the result keep their bits if they are finite, whatever their neighbours are.
//
// Products of two floats are exact in double, and their sums do not overflow there: finite input gives no NaN, and an
// infinity only where the sum is beyond the largest float. A filter's taps in the padding are left out, as by the direct
// kernels.
#pragma once
#include <algorithm>
#include <cmath>

#include "vectors.h"
#include "window.h"

namespace fc::winograd {

// Along one axis, result i meets under tap u the source's number (i*stride + start + u) / spacing, if that is whole.
struct DirectAxis {
    int64_t stride, start, spacing, extent, taps;

    // The taps `tap`, tap + spacing, ... that do not lie in the padding, and the first number that they meet.
    struct Meeting {
        int64_t tap, source, count;
    };
    Meeting meeting(int64_t i) const {
        const int64_t n = i * stride + start, tap = n < 0 ? -n : (spacing - n % spacing) % spacing;
        const int64_t source = (n + tap) / spacing, last = taps - 1 - tap;
        return {tap, source, last < 0 ? 0 : std::max<int64_t>(std::min(last / spacing + 1, extent - source), 0)};
    }
};

// Forward or backward-data; the latter with filters that are turned upside down.
struct DirectSums {
    int64_t Cin;
    DirectAxis rows, columns;
    const float* filters;
    int64_t filters_in, filters_out;  // distances between successive source and result channels
    bool upside_down;

    // One number of the result of an image of Cin planes: number i of a column, j of a row.
    float operator()(const float* image, float bias, int64_t channel, int64_t i, int64_t j) const {
        return at(image, bias, channel, rows.meeting(i), columns.meeting(j));
    }
    float at(const float* image, float bias, int64_t channel, const DirectAxis::Meeting& vertical,
             const DirectAxis::Meeting& horizontal) const {
        const auto [u, row, row_count] = vertical;
        const auto [v, column, column_count] = horizontal;
        const int64_t turn = upside_down ? -1 : 1, tap = u * columns.taps + v;
        const int64_t tap_row = turn * rows.spacing * columns.taps, tap_column = turn * columns.spacing;
        const float* x = image + row * columns.extent + column;
        const float* w = filters + channel * filters_out + (upside_down ? rows.taps * columns.taps - 1 - tap : tap);
        double total = bias;
        for (int64_t c = 0; c < Cin; ++c, x += rows.extent * columns.extent, w += filters_in) {
            double sum = 0;
            for (int64_t k = 0; k < row_count; ++k)
                for (int64_t l = 0; l < column_count; ++l)
                    sum += double(x[k * columns.extent + l]) * double(w[k * tap_row + l * tap_column]);
            total += sum;
            if (std::isnan(total)) break;  // for good: where all is NaN, this is what keeps it fast
        }
        return float(total);
    }
};

inline DirectSums direct_forward(const float* w, const Window& p) {
    const int64_t taps = p.FH * p.FW;
    return {p.C, {p.stride_h, -p.pad_top, 1, p.H, p.FH}, {p.stride_w, -p.pad_left, 1, p.W, p.FW},
            w, taps, p.C * taps, false};
}

inline DirectSums direct_backward(const float* w, const Window& p, int64_t FN) {
    const int64_t taps = p.FH * p.FW;
    return {FN, {1, p.pad_top - p.FH + 1, p.stride_h, p.OH, p.FH}, {1, p.pad_left - p.FW + 1, p.stride_w, p.OW, p.FW},
            w, p.C * taps, taps, true};
}

// Whether every lane is finite, or every lane of a sum's terms: what is not finite stays so in a sum.
FC_INLINE bool all_finite(Vec<float> v) { return !any_nan(v - v); }

inline bool all_finite(const float* numbers, int64_t count) {
    Chains<float> sum;
    for_vectors<float>(count, [&](int64_t i, auto some, int k) { sum[k] += some.load(numbers + i); });
    return all_finite(sum.vector());
}

// dw[f, c, u, v]. The padding is zeros, which a dout that is not finite makes NaN.
inline float direct_filter_gradient(const float* dout, const float* x, const Window& p, int64_t FN, int64_t f,
                                    int64_t c, int64_t u, int64_t v) {
    double total = 0;
    for (int64_t n = 0; n < p.N; ++n)
        for (int64_t i = 0; i < p.OH; ++i) {
            const float* d = dout + ((n * FN + f) * p.OH + i) * p.OW;
            const int64_t row = i * p.stride_h + u - p.pad_top, left = v - p.pad_left;
            const bool inside = row >= 0 && row < p.H;
            const float* from = x + ((n * p.C + c) * p.H + (inside ? row : 0)) * p.W;
            double sum = 0;
            for (int64_t j = 0; j < p.OW; ++j) {
                const int64_t column = j * p.stride_w + left;
                sum += double(d[j]) * (inside && column >= 0 && column < p.W ? double(from[column]) : 0.);
            }
            total += sum;
            if (std::isnan(total)) return float(total);
        }
    return float(total);
}

// What is not finite in the gradients of some filters' [begin, end) channels.
__attribute__((noinline)) inline void repair_filter_gradients(float* dw, const float* dout, const float* x,
                                                              const Window& p, int64_t FN, int64_t filter,
                                                              int64_t filter_end, int64_t begin, int64_t end) {
    const int64_t taps = p.FH * p.FW;
    for (int64_t f = filter; f < filter_end; ++f) {
        float* gradient = dw + (f * p.C + begin) * taps;
        if (all_finite(gradient, (end - begin) * taps)) continue;
        for (int64_t c = begin; c < end; ++c)
            for (int64_t tap = 0; tap < taps; ++tap, ++gradient)
                if (!std::isfinite(*gradient))
                    *gradient = direct_filter_gradient(dout, x, p, FN, f, c, tap / p.FW, tap % p.FW);
    }
}

// All gradients of one filter.
__attribute__((noinline)) inline void recompute_filter_gradients(float* dw, const float* dout, const float* x,
                                                                 const Window& p, int64_t FN, int64_t f) {
    const int64_t taps = p.FH * p.FW;
    for (int64_t i = 0; i < p.C * taps; ++i)
        dw[f * p.C * taps + i] = direct_filter_gradient(dout, x, p, FN, f, i / taps, i % taps / p.FW, i % p.FW);
}

// What is not finite in the gradients of the bias.
__attribute__((noinline)) inline void repair_bias_gradient(float* db, const float* dout, const Window& p, int64_t FN) {
    const int64_t plane = p.OH * p.OW;
    for (int64_t f = 0; f < FN; ++f) {
        if (std::isfinite(db[f])) continue;
        double total = 0;
        for (int64_t n = 0; n < p.N; ++n)
            for (int64_t k = 0; k < plane; ++k) total += dout[(n * FN + f) * plane + k];
        db[f] = float(total);
    }
}

}  // namespace fc::winograd
