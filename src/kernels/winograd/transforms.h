// The transforms of Winograd's minimal filtering F(4x4, 3x3) and F(2x2, 3x3), on vectors of independent channels or
// filters.
//
//   result  = A^T [ (G filter G^T) . (B^T source B) ] A        4x4 from 3x3 and 6x6 with 36 products instead of 144
//   gradient of the filter  =  G^T [ (A dout A^T) . (B^T source B) ] G
//
// F(4x4, 3x3) evaluates polynomials at 0, +-P, +-Q and infinity. With P = 11/16 and Q = 3/2 instead of the usual 1 and
// 2 the error is half as large (its maximum a quarter) and the number of operations the same. P^2, Q^2, P^2 Q^2 and
// P^2 + Q^2 have no rounding error in float32. F(2x2, 3x3) evaluates them at 0, +-1 and infinity.
//
// A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016; the points: B. Barabasz, A. Anderson,
// K. M. Soodhalter and D. Gregg, Error analysis and improving the accuracy of Winograd convolution, 2020.
#pragma once
#include "simd.h"

namespace fc::winograd {

using Vector = Vec<float>;

constexpr int kTaps = 9;                                   // of a filter
constexpr int inputs(int outputs) { return outputs + 2; }  // rows and columns of the source that a tile meets
constexpr int positions(int outputs) { return inputs(outputs) * inputs(outputs); }  // its products

// The one-dimensional transforms of tiles with so many results.
template <int OUTPUTS>
struct Formula;

template <>
struct Formula<4> {
    static constexpr float P = 11 / 16.f, Q = 3 / 2.f;
    static constexpr float PP = P * P, QQ = Q * Q;
    // The factors of G's rows: 1 over the product of the distances to the other points.
    static constexpr float kScale0 = 1 / (PP * QQ);
    static constexpr float kScaleP = 1 / (2 * PP * (PP - QQ)), kScaleQ = 1 / (2 * QQ * (QQ - PP));

    // B^T d. A product that is kept is not contracted into two multiply-adds: additions have units of their own.
    FC_INLINE void source(const Vector (&d)[6], Vector (&t)[6]) {
        const Vector even_p = d[4] - QQ * d[2];
        Vector odd_p = P * (d[3] - QQ * d[1]);
        const Vector even_q = d[4] - PP * d[2];
        Vector odd_q = Q * (d[3] - PP * d[1]);
        keep(odd_p);
        keep(odd_q);
        t[0] = d[4] - (PP + QQ) * d[2] + PP * QQ * d[0];
        t[1] = even_p + odd_p;
        t[2] = even_p - odd_p;
        t[3] = even_q + odd_q;
        t[4] = even_q - odd_q;
        t[5] = d[5] - (PP + QQ) * d[3] + PP * QQ * d[1];
    }

    // G g
    FC_INLINE void filter(const Vector (&g)[3], Vector (&t)[6]) {
        const Vector even_p = kScaleP * g[0] + kScaleP * PP * g[2], even_q = kScaleQ * g[0] + kScaleQ * QQ * g[2];
        Vector odd_p = kScaleP * P * g[1], odd_q = kScaleQ * Q * g[1];
        keep(odd_p);
        keep(odd_q);
        t[0] = kScale0 * g[0];
        t[1] = even_p + odd_p;
        t[2] = even_p - odd_p;
        t[3] = even_q + odd_q;
        t[4] = even_q - odd_q;
        t[5] = g[2];
    }

    // G^T t
    FC_INLINE void filter_adjoint(const Vector (&t)[6], Vector (&g)[3]) {
        const Vector even_p = t[1] + t[2], odd_p = t[1] - t[2], even_q = t[3] + t[4], odd_q = t[3] - t[4];
        g[0] = kScale0 * t[0] + kScaleP * even_p + kScaleQ * even_q;
        g[1] = kScaleP * P * odd_p + kScaleQ * Q * odd_q;
        g[2] = kScaleP * PP * even_p + kScaleQ * QQ * even_q + t[5];
    }

    // A^T t
    FC_INLINE void result(const Vector (&t)[6], Vector (&y)[4]) {
        const Vector even_p = t[1] + t[2], odd_p = t[1] - t[2], even_q = t[3] + t[4], odd_q = t[3] - t[4];
        y[0] = t[0] + even_p + even_q;
        y[1] = P * odd_p + Q * odd_q;
        y[2] = PP * even_p + QQ * even_q;
        y[3] = P * PP * odd_p + (Q * QQ * odd_q + t[5]);
    }

    // A y
    FC_INLINE void result_adjoint(const Vector (&y)[4], Vector (&t)[6]) {
        const Vector even_p = y[0] + PP * y[2];
        Vector odd_p = P * (y[1] + PP * y[3]);
        const Vector even_q = y[0] + QQ * y[2];
        Vector odd_q = Q * (y[1] + QQ * y[3]);
        keep(odd_p);
        keep(odd_q);
        t[0] = y[0];
        t[1] = even_p + odd_p;
        t[2] = even_p - odd_p;
        t[3] = even_q + odd_q;
        t[4] = even_q - odd_q;
        t[5] = y[3];
    }
};

template <>
struct Formula<2> {
    FC_INLINE void source(const Vector (&d)[4], Vector (&t)[4]) {
        t[0] = d[0] - d[2];
        t[1] = d[2] + d[1];
        t[2] = d[2] - d[1];
        t[3] = d[3] - d[1];
    }

    FC_INLINE void filter(const Vector (&g)[3], Vector (&t)[4]) {
        const Vector even = .5f * (g[0] + g[2]);
        t[0] = g[0];
        t[1] = even + .5f * g[1];
        t[2] = even - .5f * g[1];
        t[3] = g[2];
    }

    FC_INLINE void filter_adjoint(const Vector (&t)[4], Vector (&g)[3]) {
        const Vector even = .5f * (t[1] + t[2]);
        g[0] = t[0] + even;
        g[1] = .5f * (t[1] - t[2]);
        g[2] = t[3] + even;
    }

    FC_INLINE void result(const Vector (&t)[4], Vector (&y)[2]) {
        y[0] = t[0] + (t[1] + t[2]);
        y[1] = t[3] + (t[1] - t[2]);
    }

    FC_INLINE void result_adjoint(const Vector (&y)[2], Vector (&t)[4]) {
        t[0] = y[0];
        t[1] = y[0] + y[1];
        t[2] = y[0] - y[1];
        t[3] = y[1];
    }
};

// A transform along both axes: load_row(i, in) gives row i of what is transformed, store_column(j, out) takes column j
// of the result.
template <int In, int Out, class LoadRow, class StoreColumn>
FC_INLINE void transform_2d(void (*transform)(const Vector (&)[In], Vector (&)[Out]), LoadRow load_row,
                            StoreColumn store_column) {
    Vector half[In][Out];
    FC_UNROLL for (int i = 0; i < In; ++i) {
        Vector row[In];
        load_row(i, row);
        transform(row, half[i]);
    }
    FC_UNROLL for (int j = 0; j < Out; ++j) {
        Vector column[In], out[Out];
        FC_UNROLL for (int i = 0; i < In; ++i) column[i] = half[i][j];
        transform(column, out);
        store_column(j, out);
    }
}

}  // namespace fc::winograd
