// The fast path: vectors of columns, several rows at a time, edges by masks. No copy, no transposition.
//
//   forward            acc[r]   +=  w[u, v] * x[(i + r)*S + u - top, (j + lanes)*S + v - left]      r < R rows of the result
//   backward weights   dw[u, v] +=  dout[i + r, j + lanes] * the same x                             summed over lanes at the end
//   backward data      stride 1: forward, with the filter turned round; stride 2: row by row, see rows_backward_data_2
//
// A vector of x is loaded once for all the rows of the block that meet it: R + K - 1 rows of K vectors for R*K*K
// products. Square filters of K taps, strides S = 1 and 2 and no dilation; everything else is general.h's.
#pragma once
#include "planes.h"

namespace {

// One plane of x, one of out (or dout): the window's sizes. `left` and `top` may be negative: rows and columns left out.
struct Plane {
    int64_t H, W, OH, OW, top, left;
};

// The K taps' vectors in a row of x, for the windows j to j + lanes - 1; zero where there is no window or no x.
// With Inside all of them are there.
template <class T, int K, int S, bool Inside>
FC_INLINE void load_taps(const Plane& p, const T* row, int64_t j, Vec<T>* taps) {
    const int64_t start = j * S - p.left;
    const auto load = [&](int64_t v, int64_t lane) {
        const int64_t column = start + v + lane;
        if constexpr (Inside)
            return fc::load(row + column);
        else
            return fc::load_between(row + column, -column, std::min(p.W - column, (p.OW - j) * S - lane));
    };
    if constexpr (S == 1) {
        FC_UNROLL for (int v = 0; v < K; ++v) taps[v] = load(v, 0);
    } else {
        FC_UNROLL for (int v = 0; v < K; v += 2) {
            const Vec<T> a = load(v, 0), b = load(v, lanes<T>);
            taps[v] = fc::even(a, b);
            if (v + 1 < K) taps[v + 1] = fc::odd(a, b);
        }
    }
}

// body(r, u, taps) for the rows r < R and the filter rows u that meet each row of x; all unrolled.
template <class T, int K, int S, int R, bool Inside, class Body>
FC_INLINE void for_taps(const Plane& p, const T* x, int64_t i, int64_t j, Body body) {
    FC_UNROLL for (int k = 0; k < (R - 1) * S + K; ++k) {
        const int64_t h = i * S - p.top + k;
        if (h < 0 || h >= p.H) continue;
        Vec<T> taps[K];
        load_taps<T, K, S, Inside>(p, x + h * p.W, j, taps);
        FC_UNROLL for (int r = 0; r < R; ++r)
            if (k - r * S >= 0 && k - r * S < K) body(r, k - r * S, taps);
    }
}

// body(i, j, rows, inside) over blocks of R rows, then single ones, and vectors of columns. rows and inside are types:
// constants inside body.
template <class T, int K, int S, int R, class Body>
FC_INLINE void for_blocks(const Plane& p, int64_t row_begin, int64_t row_end, Body body) {
    constexpr int64_t L = lanes<T>, reach = K - 1 + S * L;  // columns that load_taps loads
    const auto columns = [&](int64_t i, auto rows) __attribute__((always_inline)) {
        for (int64_t j = 0; j < p.OW; j += L) {
            const int64_t start = j * S - p.left;
            if (start >= 0 && start + reach <= p.W && j + L <= p.OW)
                body(i, j, rows, std::true_type());
            else
                body(i, j, rows, std::false_type());
        }
    };
    int64_t i = row_begin;
    for (; i + R <= row_end; i += R) columns(i, std::integral_constant<int, R>());
    for (; i < row_end; ++i) columns(i, std::integral_constant<int, 1>());
}

template <class T, int K, int S>
void rows_forward(const Plane& p, const T* x, const T* w, T bias, bool relu, T* out, int64_t row_begin, int64_t row_end) {
    Vec<T> weights[K * K];
    FC_UNROLL for (int k = 0; k < K * K; ++k) weights[k] = fc::set1(w[k]);
    for_blocks<T, K, S, 4>(p, row_begin, row_end, [&](int64_t i, int64_t j, auto rows, auto inside) __attribute__((always_inline)) {
        constexpr int R = decltype(rows)::value;
        Vec<T> sum[R];
        FC_UNROLL for (int r = 0; r < R; ++r) sum[r] = fc::set1(bias);
        for_taps<T, K, S, R, decltype(inside)::value>(p, x, i, j, [&](int r, int u, const Vec<T>* taps) __attribute__((always_inline)) {
            FC_UNROLL for (int v = 0; v < K; ++v) sum[r] = fc::fma(weights[u * K + v], taps[v], sum[r]);
        });
        FC_UNROLL for (int r = 0; r < R; ++r)
            fc::store_n(out + (i + r) * p.OW + j, relu ? fc::max(fc::zero<T>(), sum[r]) : sum[r], p.OW - j);
    });
}

// Adds one plane's products to totals: K*K vectors for dw, then one for db.
template <class T, int K, int S>
void rows_backward_weights(const Plane& p, const T* x, const T* dout, Vec<T>* totals) {
    Vec<T> sum[K * K] = {}, bias{};
    for_blocks<T, K, S, 4>(p, 0, p.OH, [&](int64_t i, int64_t j, auto rows, auto inside) __attribute__((always_inline)) {
        constexpr int R = decltype(rows)::value;
        Vec<T> d[R];
        FC_UNROLL for (int r = 0; r < R; ++r) {
            d[r] = fc::load_n(dout + (i + r) * p.OW + j, p.OW - j);
            bias += d[r];
        }
        for_taps<T, K, S, R, decltype(inside)::value>(p, x, i, j, [&](int r, int u, const Vec<T>* taps) __attribute__((always_inline)) {
            FC_UNROLL for (int v = 0; v < K; ++v) sum[u * K + v] = fc::fma(d[r], taps[v], sum[u * K + v]);
        });
    });
    FC_UNROLL for (int k = 0; k < K * K; ++k) totals[k] += sum[k];
    totals[K * K] += bias;
}

// dx of a convolution with stride 1 is a convolution of dout with the filter turned round.
template <class T, int K>
void rows_backward_data_1(const Plane& p, const T* dout, const T* w, T* dx, int64_t row_begin, int64_t row_end) {
    T turned[K * K];
    std::reverse_copy(w, w + K * K, turned);
    const Plane turned_plane{p.OH, p.OW, p.H, p.W, K - 1 - p.top, K - 1 - p.left};
    rows_forward<T, K, 1>(turned_plane, dout, turned, T(0), false, dx, row_begin, row_end);
}

// dx with stride 2. Row h meets the filter rows u of h + top's parity; with Odd = left % 2, its columns 0, 2, 4, ... meet
// the filter columns v with v % 2 = Odd, and its columns 1, 3, 5, ... the others: two vectors, interleaved.
template <class T, int K, int Odd>
void rows_backward_data_2(const Plane& p, const T* dout, const T* w, T* dx, int64_t row_begin, int64_t row_end) {
    constexpr int64_t L = lanes<T>, M = (K + 1) / 2;  // vectors of dout, with steps of one column
    const int64_t shift = (p.left + Odd) / 2 - (M - 1);
    for (int64_t h = row_begin; h < row_end; ++h) {
        for (int64_t j = 0; 2 * j < p.W; j += L) {
            Vec<T> even{}, odd{};
            for (int64_t u = (h + p.top) % 2; u < K; u += 2) {
                const int64_t i = (h + p.top - u) / 2, column = j + shift;
                if (h + p.top < u || i >= p.OH) continue;
                Vec<T> d[M];
                FC_UNROLL for (int m = 0; m < M; ++m)
                    d[m] = fc::load_between(dout + i * p.OW + column + m, -column - m, p.OW - column - m);
                FC_UNROLL for (int v = 0; v < K; ++v) {
                    const Vec<T> weight = fc::set1(w[u * K + v]);
                    if (v % 2 == Odd)
                        even = fc::fma(weight, d[M - 1 - (v + Odd) / 2], even);
                    else
                        odd = fc::fma(weight, d[M - 1 - v / 2], odd);
                }
            }
            T* row = dx + h * p.W + 2 * j;
            fc::store_n(row, fc::interleave_lo(even, odd), p.W - 2 * j);
            if (2 * j + L < p.W) fc::store_n(row + L, fc::interleave_hi(even, odd), p.W - 2 * j - L);
        }
    }
}

}  // namespace
