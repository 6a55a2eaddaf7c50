// Batch normalisation where a plane is short, P = 1 above all: x is a matrix of N rows and C*P columns, and vectors
// run along a row. A block has at most kColumns columns (whole channels), which the N rows are gone through with.
//
// Sums are made in T over kRows rows, for every column by itself, and added up in double; then a channel's columns are
// put together.
#pragma once
#include <algorithm>

#include "moments.h"
#include "sizes.h"
#include "vectors.h"

namespace fc {

template <class T>
struct Columns {
    static constexpr int64_t kColumns = 64, kRows = 128;

    int64_t C, P;

    void moments(const T* x, const Block& block, Moments* out) const {
        slices(block, [&](const Block& b) { slice_moments(x, b, out); });
    }

    void gradient_sums(const T* dout, const T* x, const T* mean, const Block& block, GradientSums* out) const {
        slices(block, [&](const Block& b) { slice_gradient_sums(dout, x, mean, b, out); });
    }

    void apply(T* y, const T* x, const Affine<T>* affine, const Block& block) const {
        slices(block, [&](const Block& b) {
            T scale[kColumns], mean[kColumns], shift[kColumns];
            columns(b, [&](int64_t j, int64_t c) {
                scale[j] = affine[c].scale;
                mean[j] = affine[c].mean;
                shift[j] = affine[c].shift;
            });
            for_vectors<T>(width(b), [&](int64_t j, auto lanes, int) {
                const Vec<T> a = lanes.load(scale + j), m = lanes.load(mean + j), s = lanes.load(shift + j);
                for (int64_t n = b.n0; n < b.n1; ++n)
                    lanes.store(y + index(n, b, j), fma(lanes.load(x + index(n, b, j)) - m, a, s));
            });
        });
    }

    void apply(T* dx, const T* dout, const T* x, const Gradient<T>* gradient, const Block& block) const {
        slices(block, [&](const Block& b) {
            T scale[kColumns], slope[kColumns], mean[kColumns], offset[kColumns];
            columns(b, [&](int64_t j, int64_t c) {
                scale[j] = gradient[c].scale;
                slope[j] = gradient[c].slope;
                mean[j] = gradient[c].mean;
                offset[j] = gradient[c].offset;
            });
            for_vectors<T>(width(b), [&](int64_t j, auto lanes, int) {
                const Vec<T> a = lanes.load(scale + j), e = lanes.load(slope + j);
                const Vec<T> m = lanes.load(mean + j), o = lanes.load(offset + j);
                for (int64_t n = b.n0; n < b.n1; ++n) {
                    const int64_t at = index(n, b, j);
                    lanes.store(dx + at, fma(lanes.load(dout + at), a, fma(lanes.load(x + at) - m, e, o)));
                }
            });
        });
    }

private:
    int64_t width(const Block& b) const { return (b.c1 - b.c0) * P; }
    int64_t index(int64_t n, const Block& b, int64_t j) const { return (n * C + b.c0) * P + j; }

    // A block in slices of at most kColumns columns.
    template <class F>
    void slices(const Block& b, F f) const {
        const int64_t channels = kColumns / P;
        for (int64_t c = b.c0; c < b.c1; c += channels) f(Block{c, std::min(c + channels, b.c1), b.n0, b.n1});
    }

    // f(column of the slice, its channel)
    template <class F>
    void columns(const Block& b, F f) const {
        for (int64_t c = b.c0, j = 0; c < b.c1; ++c)
            for (int64_t p = 0; p < P; ++p) f(j++, c);
    }

    void slice_moments(const T* x, const Block& b, Moments* out) const {
        T shift[kColumns] = {}, sum[kColumns], square[kColumns];
        double total[kColumns] = {}, m2[kColumns] = {};
        for (int64_t n = b.n0; n < b.n1; n += kRows) {
            const int64_t end = std::min(n + kRows, b.n1), before = n - b.n0, rows = end - n;
            if (before == 0) column_means(x, b, end, shift);
            for_vectors<T>(width(b), [&](int64_t j, auto lanes, int) {
                const Vec<T> s = lanes.load(shift + j);
                Chains<T> sums, squares;
                for_rows(n, end, [&](int64_t row, int k) {
                    const Vec<T> d = lanes.load(x + index(row, b, j)) - s;
                    sums[k] += d;
                    squares[k] = fma(d, d, squares[k]);
                });
                lanes.store(sum + j, sums.vector());
                lanes.store(square + j, squares.vector());
            });
            // Moments::add for all columns at once: the counts are theirs in common.
            const double to_mean = 1.0 / double(rows), to_mean_before = before ? 1.0 / double(before) : 0.0;
            const double weight = double(before) * double(rows) / double(before + rows);
            const double to_mean_after = 1.0 / double(before + rows);
            for (int64_t j = 0; j < width(b); ++j) {
                const Moments fresh = shifted_moments(double(rows), shift[j], sum[j], square[j]);
                const double difference = fresh.sum * to_mean - total[j] * to_mean_before;
                total[j] += fresh.sum;
                m2[j] += fresh.m2 + difference * difference * weight;
                shift[j] = finite(total[j] * to_mean_after);
            }
        }
        for (int64_t c = b.c0; c < b.c1; ++c) out[c] = {0, 0, 0};
        columns(b, [&](int64_t j, int64_t c) { out[c].add({double(b.n1 - b.n0), total[j], m2[j]}); });
    }

    // Means of the columns over the slice's rows up to `end`.
    void column_means(const T* x, const Block& b, int64_t end, T* mean) const {
        for_vectors<T>(width(b), [&](int64_t j, auto lanes, int) {
            Chains<T> sums;
            for_rows(b.n0, end, [&](int64_t row, int k) { sums[k] += lanes.load(x + index(row, b, j)); });
            lanes.store(mean + j, sums.vector() / T(end - b.n0));
        });
        for (int64_t j = 0; j < width(b); ++j) mean[j] = finite(mean[j]);
    }

    static T finite(double value) { return std::isfinite(value) ? T(value) : T(0); }

    void slice_gradient_sums(const T* dout, const T* x, const T* mean, const Block& b, GradientSums* out) const {
        T column_mean[kColumns], sum[kColumns], product[kColumns];
        columns(b, [&](int64_t j, int64_t c) { column_mean[j] = mean[c]; });
        for (int64_t c = b.c0; c < b.c1; ++c) out[c] = {0, 0};
        for (int64_t n = b.n0; n < b.n1; n += kRows) {
            const int64_t end = std::min(n + kRows, b.n1);
            for_vectors<T>(width(b), [&](int64_t j, auto lanes, int) {
                const Vec<T> m = lanes.load(column_mean + j);
                Chains<T> sums, products;
                for_rows(n, end, [&](int64_t row, int k) {
                    const Vec<T> g = lanes.load(dout + index(row, b, j));
                    sums[k] += g;
                    products[k] = fma(g, lanes.load(x + index(row, b, j)) - m, products[k]);
                });
                lanes.store(sum + j, sums.vector());
                lanes.store(product + j, products.vector());
            });
            columns(b, [&](int64_t j, int64_t c) { out[c].add({sum[j], product[j]}); });
        }
    }
};

}  // namespace fc
