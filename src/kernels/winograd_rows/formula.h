// Minimal filtering F(m, r) along one axis, on vectors of independent columns.
//
//   y  =  A^T [ (G g) . (B^T d) ]                 m results of r taps from n = m + r - 1 numbers, with n products
//   gradient of g  =  G^T [ (A dy) . (B^T d) ]
//
// The points are +-p for each p of a list, infinity, and maybe 0. In pairs they share their even and odd parts: a product
// for each pair instead of two. The points were searched for the least error: docs/decisions/winograd_rows.md#points.
//
// S. Winograd, Arithmetic Complexity of Computations, 1980; the transforms as polynomials: A. Toom, 1963, and S. Cook, 1966.
#pragma once
#include <array>

#include "simd.h"

namespace fc::winograd_rows {

using Vector = Vec<float>;
constexpr int64_t L = lanes<float>;

template <int PAIRS>
using Points = std::array<double, PAIRS>;

template <int N>
struct Choice;
template <>
struct Choice<6> {
    static constexpr bool kZero = true;
    static constexpr Points<2> kPoints = {5 / 8., 13 / 8.};
};
template <>
struct Choice<7> {
    static constexpr bool kZero = false;
    static constexpr Points<3> kPoints = {1 / 4., 7 / 8., 2};
};
template <>
struct Choice<8> {
    static constexpr bool kZero = true;
    static constexpr Points<3> kPoints = {1 / 2., 1, 2};
};

// The coefficients of the product of x - p*p over the points, without the one that is `left_out`.
template <size_t PAIRS>
constexpr std::array<double, PAIRS + 1> product_of_squares(const Points<PAIRS>& points, int left_out = -1) {
    std::array<double, PAIRS + 1> c{1};
    int degree = 0;
    for (int j = 0; j < int(PAIRS); ++j) {
        if (j == left_out) continue;
        ++degree;
        for (int k = degree; k >= 0; --k) c[k] = (k > 0 ? c[k - 1] : 0) - points[j] * points[j] * (k < degree ? c[k] : 0);
    }
    return c;
}

template <size_t N>
constexpr std::array<float, N> rounded(const std::array<double, N>& c) {
    std::array<float, N> r{};
    for (size_t k = 0; k < N; ++k) r[k] = float(c[k]);
    return r;
}

constexpr double power(double x, int n) { return n == 0 ? 1 : x * power(x, n - 1); }

// N products, OUTPUTS results: position 0 belongs to the point 0 if that is one, then come p and -p for each pair, and
// infinity.
template <int N, int OUTPUTS>
struct Formula {
    static constexpr int kInputs = N, kOutputs = OUTPUTS, kTaps = N - OUTPUTS + 1;
    static constexpr bool kZero = Choice<N>::kZero;
    static constexpr auto kPoints = Choice<N>::kPoints;
    static constexpr int kPairs = int(kPoints.size());
    static_assert(2 * kPairs + kZero + 1 == N);

    static constexpr auto kAll = rounded(product_of_squares(kPoints));
    static constexpr auto kOthers = [] {
        std::array<std::array<float, kPairs + 1>, kPairs> c{};
        for (int i = 0; i < kPairs; ++i) c[size_t(i)] = rounded(product_of_squares(kPoints, i));
        return c;
    }();
    static constexpr auto kPowers = [] {
        std::array<std::array<float, OUTPUTS>, kPairs> c{};
        for (int i = 0; i < kPairs; ++i)
            for (int k = 0; k < OUTPUTS; ++k) c[size_t(i)][size_t(k)] = float(power(kPoints[size_t(i)], k));
        return c;
    }();

    // B^T d
    FC_INLINE void source(const Vector (&d)[N], Vector (&t)[N]) {
        if constexpr (kZero) t[0] = polynomial<kPairs>(kAll, &d[0]);
        t[N - 1] = polynomial<kPairs>(kAll, &d[kZero]);
        FC_UNROLL for (int i = 0; i < kPairs; ++i) {
            const Vector even = polynomial<kPairs - 1>(kOthers[i], &d[kZero + 1]);
            Vector odd = kPowers[i][1] * polynomial<kPairs - 1>(kOthers[i], &d[kZero]);
            keep(odd);  // not contracted into two multiply-adds: additions have units of their own
            t[kZero + 2 * i] = even + odd;
            t[kZero + 2 * i + 1] = even - odd;
        }
    }

    // A^T t
    FC_INLINE void result(const Vector (&t)[N], Vector (&y)[OUTPUTS]) {
        Vector half[kPairs][2];
        FC_UNROLL for (int i = 0; i < kPairs; ++i) {
            half[i][0] = t[kZero + 2 * i] + t[kZero + 2 * i + 1];
            half[i][1] = t[kZero + 2 * i] - t[kZero + 2 * i + 1];
        }
        FC_UNROLL for (int k = 0; k < OUTPUTS; ++k) {
            y[k] = kPowers[0][k] * half[0][k % 2];
            FC_UNROLL for (int i = 1; i < kPairs; ++i) y[k] += kPowers[i][k] * half[i][k % 2];
            if (k == 0 && kZero) y[k] += t[0];
            if (k == OUTPUTS - 1) y[k] += t[N - 1];
        }
    }

    // A y
    FC_INLINE void result_adjoint(const Vector (&y)[OUTPUTS], Vector (&t)[N]) {
        if constexpr (kZero) t[0] = y[0];
        t[N - 1] = y[OUTPUTS - 1];
        FC_UNROLL for (int i = 0; i < kPairs; ++i) {
            Vector half[2] = {y[0], kPowers[i][1] * y[1]};
            FC_UNROLL for (int k = 2; k < OUTPUTS; ++k) half[k % 2] += kPowers[i][k] * y[k];
            keep(half[1]);
            t[kZero + 2 * i] = half[0] + half[1];
            t[kZero + 2 * i + 1] = half[0] - half[1];
        }
    }

    // G[position][tap]
    static constexpr std::array<std::array<float, kTaps>, N> filters() {
        std::array<std::array<float, kTaps>, N> g{};
        std::array<double, N> at{};  // the points in the order of the positions
        for (int i = 0; i < kPairs; ++i) {
            at[size_t(kZero + 2 * i)] = kPoints[size_t(i)];
            at[size_t(kZero + 2 * i + 1)] = -kPoints[size_t(i)];
        }
        for (int j = 0; j < N - 1; ++j) {
            double distances = 1;
            for (int k = 0; k < N - 1; ++k)
                if (k != j) distances *= at[size_t(j)] - at[size_t(k)];
            for (int r = 0; r < kTaps; ++r) g[size_t(j)][size_t(r)] = float(power(at[size_t(j)], r) / distances);
        }
        g[N - 1][kTaps - 1] = 1;
        return g;
    }

private:
    // c[0] d[0] + c[1] d[2] + ... + d[2 DEGREE]: the last factor is 1
    template <int DEGREE, size_t SIZE>
    FC_INLINE Vector polynomial(const std::array<float, SIZE>& c, const Vector* d) {
        Vector sum = d[2 * DEGREE];
        FC_UNROLL for (int k = DEGREE - 1; k >= 0; --k) sum += c[size_t(k)] * d[2 * k];
        return sum;
    }
};

}  // namespace fc::winograd_rows
