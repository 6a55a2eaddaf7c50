// The transforms of a 3 x 3 convolution with stride 2 as one minimal filtering F(4x4, 2x2) of four phases, on vectors
// of independent channels or filters.
//
// Rows and columns of x fall into two phases: those that meet the filter's taps 0 and 2, and those that meet tap 1,
//
//   out[o]  =  w0 a[o] + w2 a[o + 1]  +  w1 b[o],      a[i] = x[2i - pad],  b[i] = x[2i + 1 - pad]
//
// so that a plane is four planes, convolved at stride 1 with filters of 2x2, 2x1, 1x2 and 1x1. Phase a is evaluated at
// +-P, +-Q and infinity. At infinity a filter's value is its last tap; taken for the first of two taps, phase b's has
// no second one, and its products there are left out: of 4 x 25 there remain 25 + 20 + 20 + 16 = 81, for 144 of the
// direct sum. At the other nodes the value of a single tap is the tap itself, so that the transformed filters are 25 +
// 5 + 5 + 1 numbers. Interpolation's factors are where the results are: none is in the filters.
//
//   result               =  A^T [ sum over phases and channels of (G filter) . (B^T source) ] A
//   gradient of filters  =  G^T [ (A' dout) . (B^T source) ]        A' is A without the factors, which G^T has
//
// With P = 7/16 and Q = 11/8 the error was least of some 200 pairs; their squares have no rounding error in float32.
//
// S. Winograd, Arithmetic Complexity of Computations, 1980; the points: B. Barabasz, A. Anderson, K. M. Soodhalter and
// D. Gregg, Error analysis and improving the accuracy of Winograd convolution, 2020.
#pragma once
#include "../winograd/tiles.h"

namespace fc::winograd_stride2 {

using namespace winograd;

constexpr int kTile = 4;  // rows and columns of results in a tile
constexpr int kPhases = 4;
constexpr int kNodes = 5;
constexpr int nodes(int half) { return kNodes - half; }  // of phase a, which is half 0, and phase b
constexpr int kPositions = 25 + 20 + 20 + 16;            // of all phases: products of a tile for each pair of channels
constexpr int kResultPositions = kNodes * kNodes;
constexpr int kFilterPositions = 25 + 5 + 5 + 1;

// The phases are numbered 2 * rows' half + columns' half. Where each one's positions begin.
constexpr int first_position(int phase) { return phase == 0 ? 0 : phase == 1 ? 25 : phase == 2 ? 45 : 65; }
constexpr int position(int phase, int i, int j) { return first_position(phase) + i * nodes(phase % 2) + j; }
constexpr int filter_position(int phase, int i, int j) {
    return phase == 0 ? 5 * i + j : phase == 1 ? 25 + i : phase == 2 ? 30 + j : 35;
}

constexpr float P = 7 / 16.f, Q = 11 / 8.f, PP = P * P, QQ = Q * Q;
constexpr float kScaleP = 1 / (2 * P * (PP - QQ)), kScaleQ = 1 / (2 * Q * (QQ - PP));

// B^T d of either phase: only infinity's value needs the last row of phase a. Those of -P and -Q have the other sign,
// so that their factors are P's and Q's.
template <int N>
FC_INLINE void source(const Vector (&d)[N], Vector (&t)[N]) {
    const Vector odd_p = d[3] - QQ * d[1], even_p = d[2] - QQ * d[0];
    const Vector odd_q = d[3] - PP * d[1], even_q = d[2] - PP * d[0];
    t[0] = odd_p + P * even_p;
    t[1] = P * even_p - odd_p;
    t[2] = odd_q + Q * even_q;
    t[3] = Q * even_q - odd_q;
    if constexpr (N == kNodes) t[4] = d[4] - (PP + QQ) * d[2] + PP * QQ * d[0];
}

// G g of phase a.
FC_INLINE void filter(const Vector (&g)[2], Vector (&t)[kNodes]) {
    t[0] = g[0] + P * g[1];
    t[1] = g[0] - P * g[1];
    t[2] = g[0] + Q * g[1];
    t[3] = g[0] - Q * g[1];
    t[4] = g[1];
}

// G^T t, with the factors of interpolation: two taps of phase a, one of phase b.
template <int N>
FC_INLINE void filter_adjoint(const Vector (&t)[N], Vector (&g)[N - 3]) {
    g[0] = kScaleP * (t[0] + t[1]) + kScaleQ * (t[2] + t[3]);
    if constexpr (N == kNodes) g[1] = kScaleP * P * (t[0] - t[1]) + (kScaleQ * Q * (t[2] - t[3]) + t[4]);
}

// A^T t
template <int N>
FC_INLINE void result(const Vector (&t)[N], Vector (&y)[kTile]) {
    const Vector even_p = t[0] + t[1], odd_p = t[0] - t[1], even_q = t[2] + t[3], odd_q = t[2] - t[3];
    y[0] = kScaleP * even_p + kScaleQ * even_q;
    y[1] = kScaleP * P * odd_p + kScaleQ * Q * odd_q;
    y[2] = kScaleP * PP * even_p + kScaleQ * QQ * even_q;
    Vector last = kScaleQ * Q * QQ * odd_q;
    if constexpr (N == kNodes) last += t[4];
    y[3] = kScaleP * P * PP * odd_p + last;
}

// A' y
FC_INLINE void result_adjoint(const Vector (&y)[kTile], Vector (&t)[kNodes]) {
    const Vector even_p = y[0] + PP * y[2], odd_p = y[1] + PP * y[3];
    const Vector even_q = y[0] + QQ * y[2], odd_q = y[1] + QQ * y[3];
    t[0] = even_p + P * odd_p;
    t[1] = even_p - P * odd_p;
    t[2] = even_q + Q * odd_q;
    t[3] = even_q - Q * odd_q;
    t[4] = y[3];
}

// A transform of rows by one formula, then of columns by another: load_row(i, in) gives row i of what is transformed,
// store_column(j, out) takes column j of the result.
template <int RowIn, int RowOut, int In, int Out, class LoadRow, class StoreColumn>
FC_INLINE void transform_2d(void (*along_rows)(const Vector (&)[RowIn], Vector (&)[RowOut]),
                            void (*along_columns)(const Vector (&)[In], Vector (&)[Out]), LoadRow load_row,
                            StoreColumn store_column) {
    Vector half[In][RowOut];
    FC_UNROLL for (int i = 0; i < In; ++i) {
        Vector row[RowIn];
        load_row(i, row);
        along_rows(row, half[i]);
    }
    FC_UNROLL for (int j = 0; j < RowOut; ++j) {
        Vector column[In], out[Out];
        FC_UNROLL for (int i = 0; i < In; ++i) column[i] = half[i][j];
        along_columns(column, out);
        store_column(j, out);
    }
}

}  // namespace fc::winograd_stride2
