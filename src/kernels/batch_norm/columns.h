// Batch normalisation where a plane is short, P = 1 above all: x is a matrix of N rows and C*P columns, and vectors
// run along a row. A block has at most kColumns columns (whole channels); its rows are taken kBatch at a time.
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
    static constexpr int64_t kColumns = 256, kRows = 64;
    static constexpr int kBatch = 4;

    int64_t C, P;
    Trusted<T> trusted;
    T least, most;  // of apply's results

    void moments(const T* x, const Block& b, Moments* out) const {
        T shift[kColumns], sum[kColumns], squares[kColumns];
        double total[kColumns], m2[kColumns];
        const int64_t width = columns(b);
        std::fill_n(total, width, 0.0);
        std::fill_n(m2, width, 0.0);
        for (int64_t j = 0; j < width; ++j) shift[j] = finite<T>(x[start(b.n0, b) + j]);
        for (int64_t n = b.n0; n < b.n1; n += kRows) {
            const int64_t end = std::min(n + kRows, b.n1);
            const auto fresh_moments = [&](int64_t j) {
                return shifted_moments<T>(double(end - n), shift[j], sum[j], squares[j]);
            };
            shifted_sums(x, b, n, end, shift, sum, squares);
            int64_t again = 0;  // as wide as a double, so that the loop is made of vectors
            if (n == b.n0)
                for (int64_t j = 0; j < width; ++j) again |= too_far(shift[j], fresh_moments(j));
            if (again) {
                for (int64_t j = 0; j < width; ++j) shift[j] = finite<T>(fresh_moments(j).mean());
                shifted_sums(x, b, n, end, shift, sum, squares);
            }
            int32_t doubtful = 0;  // as wide as a float, for the same reason
            for (int64_t j = 0; j < width; ++j) doubtful |= !trusted(squares[j]);
            if (doubtful) {
                add_in_double(x, b, n, end, total, m2);
                for (int64_t j = 0; j < width; ++j) shift[j] = finite<T>(total[j] / double(end - b.n0));
                continue;
            }
            // Moments::add for all columns at once: the counts are theirs in common.
            const double before = double(n - b.n0), rows = double(end - n), weight = before * rows / (before + rows);
            const double to_mean_before = before ? 1 / before : 0, to_mean_after = 1 / (before + rows);
            for (int64_t j = 0; j < width; ++j) {
                const Moments fresh = fresh_moments(j);
                const double difference = fresh.sum * (1 / rows) - total[j] * to_mean_before;
                total[j] += fresh.sum;
                m2[j] += fresh.m2 + difference * weight * difference;  // 0 where weight is, also for an infinite square
                shift[j] = finite<T>(total[j] * to_mean_after);
            }
        }
        for (int64_t c = b.c0; c < b.c1; ++c) out[c] = {0, 0, 0};
        spread(b, [&](int64_t j, int64_t c) { out[c].add({double(b.n1 - b.n0), total[j], m2[j]}); });
    }

    void gradient_sums(const T* dout, const T* x, const T* mean, const Block& b, GradientSums* out) const {
        T column_mean[kColumns], sum[kColumns], products[kColumns];
        spread(b, [&](int64_t j, int64_t c) { column_mean[j] = mean[c]; });
        for (int64_t c = b.c0; c < b.c1; ++c) out[c] = {0, 0};
        for (int64_t n = b.n0; n < b.n1; n += kRows) {
            const int64_t end = std::min(n + kRows, b.n1);
            add_up(b, n, end, sum, products, [&](int64_t at, int64_t j, auto lanes, Vec<T>& s, Vec<T>& q) {
                const Vec<T> g = lanes.load(dout + at);
                s += g;
                q = fma(g, lanes.load(x + at) - lanes.load(column_mean + j), q);
            });
            spread(b, [&](int64_t j, int64_t c) {
                const bool fine = sizeof(T) == 8 || std::isfinite(products[j]);
                out[c].add(fine ? GradientSums{sum[j], products[j]} : in_double(dout, x, mean[c], start(n, b) + j, end - n));
            });
        }
    }

    void apply(T* y, const T* x, const Affine<T>* affine, const Block& block) const {
        slices(block, [&](const Block& b) {
            T scale[kColumns], mean[kColumns], shift[kColumns];
            spread(b, [&](int64_t j, int64_t c) {
                scale[j] = affine[c].scale;
                mean[j] = affine[c].mean;
                shift[j] = affine[c].shift;
            });
            elements(b, [=, scale = &scale[0], mean = &mean[0], shift = &shift[0]](int64_t j, auto lanes) {
                const Vec<T> s = lanes.load(scale + j), m = lanes.load(mean + j), o = lanes.load(shift + j);
                return [=](int64_t at) {
                    lanes.store(y + at, between(fma(lanes.load(x + at) - m, s, o), least, most));
                };
            });
        });
    }

    void apply(T* dx, const T* dout, const T* x, const Gradient<T>* gradient, const Block& block) const {
        slices(block, [&](const Block& b) {
            T scale[kColumns], slope[kColumns], mean[kColumns], offset[kColumns];
            spread(b, [&](int64_t j, int64_t c) {
                scale[j] = gradient[c].scale;
                slope[j] = gradient[c].slope;
                mean[j] = gradient[c].mean;
                offset[j] = gradient[c].offset;
            });
            elements(b, [=, scale = &scale[0], slope = &slope[0], mean = &mean[0], offset = &offset[0]](int64_t j, auto lanes) {
                const Vec<T> s = lanes.load(scale + j), a = lanes.load(slope + j), m = lanes.load(mean + j);
                const Vec<T> o = lanes.load(offset + j);
                return [=](int64_t at) {
                    lanes.store(dx + at, (lanes.load(dout + at) + fma(lanes.load(x + at) - m, a, o)) * s);
                };
            });
        });
    }

private:
    int64_t columns(const Block& b) const { return (b.c1 - b.c0) * P; }
    int64_t start(int64_t n, const Block& b) const { return (n * C + b.c0) * P; }

    // f(column of the block, its channel)
    template <class F>
    void spread(const Block& b, F f) const {
        for (int64_t c = b.c0, j = 0; c < b.c1; ++c)
            for (int64_t p = 0; p < P; ++p) f(j++, c);
    }

    // A block in slices of at most kColumns columns.
    template <class F>
    void slices(const Block& b, F f) const {
        const int64_t channels = kColumns / P;
        for (int64_t c = b.c0; c < b.c1; c += channels) f(Block{c, std::min(c + channels, b.c1), b.n0, b.n1});
    }

    // body(n, rows) for rows [n0, n1), kBatch at a time while there are as many.
    template <class Body>
    static void batches(int64_t n0, int64_t n1, Body body) {
        int64_t n = n0;
        for (; n + kBatch <= n1; n += kBatch) body(n, std::integral_constant<int, kBatch>{});
        for (; n < n1; ++n) body(n, std::integral_constant<int, 1>{});
    }

    // at_columns(column, lanes)(index in x) for all of a block: what belongs to the columns is loaded once for kBatch rows.
    template <class AtColumns>
    void elements(const Block& b, AtColumns at_columns) const {
        const int64_t width = columns(b), step = C * P;
        batches(b.n0, b.n1, [=](int64_t n, auto rows) {
            const int64_t row = start(n, b);
            for_vectors<T>(width, [=](int64_t j, auto lanes, int) {
                const auto element = at_columns(j, lanes);
                for (int k = 0; k < rows; ++k) element(row + k * step + j);
            });
        });
    }

    // Two sums for every column over rows [n0, n1): add(index in x, column, lanes, sum 1, sum 2).
    template <class Add>
    void add_up(const Block& b, int64_t n0, int64_t n1, T* first, T* second, Add add) const {
        std::fill_n(first, columns(b), T(0));
        std::fill_n(second, columns(b), T(0));
        batches(n0, n1, [&](int64_t n, auto rows) {
            const int64_t first_row = start(n, b);
            for_vectors<T>(columns(b), [&](int64_t j, auto lanes, int) {
                Vec<T> one = lanes.load(first + j), two = lanes.load(second + j);
                for (int row = 0; row < rows; ++row) add(first_row + row * C * P + j, j, lanes, one, two);
                lanes.store(first + j, one);
                lanes.store(second + j, two);
            });
        });
    }

    // The moments of rows [n0, n1) added up in double to those of the rows before, for the rare numbers whose squares T
    // cannot hold.
    void add_in_double(const T* x, const Block& b, int64_t n0, int64_t n1, double* total, double* m2) const {
        const double before = double(n0 - b.n0), rows = double(n1 - n0);
        for (int64_t j = 0; j < columns(b); ++j) {
            const T* column = x + start(n0, b) + j;
            double sum = 0, squares = 0;
            for (int64_t n = 0; n < n1 - n0; ++n) sum += double(column[n * C * P]);
            for (int64_t n = 0; n < n1 - n0; ++n) {
                const double d = double(column[n * C * P]) - sum / rows;
                squares += d * d;
            }
            Moments together{before, total[j], m2[j]};
            together.add({rows, sum, squares});
            total[j] = together.sum;
            m2[j] = together.m2;
        }
    }

    GradientSums in_double(const T* dout, const T* x, double mean, int64_t first, int64_t rows) const {
        GradientSums sums{0, 0};
        for (int64_t at = first; at < first + rows * C * P; at += C * P)
            sums.add({double(dout[at]), double(dout[at]) * (double(x[at]) - mean)});
        return sums;
    }

    // Sums over rows [n0, n1) of x - shift and of its square.
    void shifted_sums(const T* x, const Block& b, int64_t n0, int64_t n1, const T* shift, T* sum, T* squares) const {
        add_up(b, n0, n1, sum, squares, [&](int64_t at, int64_t j, auto lanes, Vec<T>& s, Vec<T>& q) {
            const Vec<T> d = lanes.load(x + at) - lanes.load(shift + j);
            s += d;
            q = fma(d, d, q);
        });
    }
};

}  // namespace fc
