// The gradients of filters and bias.
//
//   dw  =  G^T [ sum over tiles of  (A dout) . (B^T x) ]
//   db  =  sum of dout
//
// Lanes are columns of dout, and are added up last: for each position, filter and term a vector of sums. Up to 4 filters x 3
// (32 registers: 6) terms are accumulated together over a band; both operands are loaded as vectors, and nothing is
// transposed, which is what a first layer's gradient spends its time with otherwise. Each part of the images has sums of
// its own, which are added in their order.
#pragma once
#include <cmath>

#include "source.h"

namespace fc::winograd_rows {

constexpr int kMostFilters = 4;
constexpr int kMostTerms = fc::kVectorRegisters == 32 ? 6 : 3;
constexpr int64_t kGradientBandBytes = 192 << 10;  // of x; dout of a few filters is as large again
constexpr int64_t kLongestSum = 128;               // of vectors, before it is added to the others: rounding grows with length

// The operands of one position: a tile's columns and filters.
struct Operands {
    const float* band;
    const int64_t* offsets;  // of the terms
    int64_t tile_step;
    const float* dout;  // [filter][tile][columns]
    int64_t tiles, columns;
};

using Products = void (*)(const Operands& o, float* sums);

// sums[k][m] += ..., vectors of them
template <int M, int K>
void add_products(const Operands& o, float* sums) {
    Vector acc[K][M] = {};
    const int64_t plane = o.tiles * o.columns;
    const float* d = o.dout;
    for (int64_t t = 0; t < o.tiles; ++t) {
        const float* x[K];
        FC_UNROLL for (int k = 0; k < K; ++k) x[k] = o.band + t * o.tile_step + o.offsets[k];
        for (int64_t j = 0; j < o.columns; j += L, d += L) {
            Vector columns[K];
            FC_UNROLL for (int k = 0; k < K; ++k) keep(columns[k] = load(x[k] + j));
            FC_UNROLL for (int m = 0; m < M; ++m) {
                Vector dm = load(d + m * plane);
                keep(dm);
                FC_UNROLL for (int k = 0; k < K; ++k) acc[k][m] = fma(dm, columns[k], acc[k][m]);
            }
        }
    }
    FC_UNROLL for (int k = 0; k < K; ++k)
        FC_UNROLL for (int m = 0; m < M; ++m) {
            float* s = sums + (k * M + m) * L;
            store(s, load(s) + acc[k][m]);
        }
}

template <int M, int... K>
constexpr std::array<Products, sizeof...(K)> products_of_filters(std::integer_sequence<int, K...>) {
    return {&add_products<M, K + 1>...};
}
template <int... M>
constexpr std::array<std::array<Products, kMostTerms>, sizeof...(M)> all_products(std::integer_sequence<int, M...>) {
    return {products_of_filters<M + 1>(std::make_integer_sequence<int, kMostTerms>())...};
}

template <class F>
class Gradient {
public:
    Gradient(float* dw, float* db, const float* dout, const float* x, const Window& p, int64_t FN)
        : p(p), c(forward_correlation(nullptr, x, nullptr, nullptr, p, FN, false)), dw(dw), db(db), dout(dout), band(c),
          terms(int64_t(band.offsets().size())), groups(divide_up(FN, kMostFilters)), columns(band.vectors * L),
          nthreads(threads_for(nanoseconds())) {
        const int64_t in_cache = kGradientBandBytes / int64_t(sizeof(float)) / band.size(1);
        const int64_t fitting = std::max<int64_t>(std::min(in_cache, kLongestSum / band.vectors), 1);
        bands = divide_up(band.tiles, fitting);
        if (c.N * bands < nthreads) bands = std::min(band.tiles, divide_up(nthreads, std::max<int64_t>(c.N, 1)));
        parts = std::clamp<int64_t>(c.N * bands, 1, nthreads);
    }

    void run() const {
        const int64_t size = products_size() + c.Cout * L;  // dw's, and db's
        const Scratch<float> sums(parts * size);
        parallel(parts, nthreads, [&](int64_t part, int) { accumulate(part, sums + part * size, size); });
        parallel(groups, threads_for(double(parts * size) * 0.3), [&](int64_t g, int) { finish(g, sums, size); });
        if (!db) return;
        for (int64_t f = 0; f < c.Cout; ++f) db[f] = fc::sum(total(sums + products_size() + f * L, size));
        winograd::repair_bias_gradient(db, dout, p, c.Cout);
    }

private:
    const Window& p;
    const Correlation c;
    float *const dw, *const db;
    const float* const dout;
    const Band<F> band;
    const int64_t terms, groups, columns;
    const int nthreads;
    int64_t bands, parts;

    double nanoseconds() const {
        const double products = double(F::kInputs * terms + 45) * double(c.Cout), source = 60.0 * double(c.stride_h * c.Cin);
        return double(c.N * band.tiles * band.vectors) * (products + source) / 3.0;
    }

    int64_t first_of(int64_t group) const { return c.Cout * group / groups; }
    int64_t products_size() const { return c.Cout * F::kInputs * terms * L; }

    // A vector of sums of all parts.
    Vector total(const float* sums, int64_t size) const {
        Vector total = load(sums);
        for (int64_t part = 1; part < parts; ++part) total += load(sums + part * size);
        return total;
    }

    // One part of the bands of all images: sums of some of them, then of these sums, as many of each.
    void accumulate(int64_t part, float* sums, int64_t size) const {
        const int64_t most = divide_up(band.tiles, bands), all = c.N * bands;
        const int64_t begin = all * part / parts, end = all * (part + 1) / parts;
        const int64_t together = std::max<int64_t>(int64_t(std::sqrt(double(end - begin))), 8);
        const Scratch<float> source(band.size(most) + L), transformed(F::kInputs * kMostFilters * most * columns);
        const Scratch<float> recent(size);
        std::fill_n(source.get(), band.size(most) + L, 0.f);
        std::fill_n(sums, size, 0.f);
        std::fill_n(recent.get(), size, 0.f);
        int64_t before = most;
        for (int64_t item = begin; item < end; ++item) {
            const int64_t image = item / bands, index = item % bands;
            const int64_t first = band.tiles * index / bands, count = band.tiles * (index + 1) / bands - first;
            if (count != before) std::fill_n(source.get(), band.size(count), 0.f);  // the padding is elsewhere then
            before = count;
            band.transform(image, first, count, source);
            for (int64_t g = 0; g < groups; ++g) {
                const int64_t f = first_of(g), filters = first_of(g + 1) - f;
                for (int64_t m = 0; m < filters; ++m)
                    transform_dout(image, f + m, first, count, transformed + m * count * columns, filters * count * columns,
                                   recent + products_size() + (f + m) * L);
                add(source, count, transformed, filters, recent + f * F::kInputs * terms * L);
            }
            if ((item - begin + 1) % together == 0 || item + 1 == end)
                for (int64_t i = 0; i < size; i += L) {
                    store(sums + i, load(sums + i) + load(recent + i));
                    store(recent + i, Vector{});
                }
        }
    }

    // A dout of one filter's tiles, [tile][columns] for each position, `step` apart.
    void transform_dout(int64_t image, int64_t f, int64_t first, int64_t count, float* to, int64_t step,
                        float* bias) const {
        Vector total{};
        for (int64_t t = 0; t < count; ++t) {
            const int64_t row = (first + t) * F::kOutputs, rows = std::min<int64_t>(F::kOutputs, c.DH - row);
            const float* from = dout + ((image * c.Cout + f) * c.DH + row) * c.DW;
            for (int64_t j = 0; j < columns; j += L, to += L) {
                Vector y[F::kOutputs], t[F::kInputs];
                if (rows == F::kOutputs && j + L <= c.DW)
                    FC_UNROLL for (int i = 0; i < F::kOutputs; ++i) y[i] = load(from + i * c.DW + j);
                else
                    FC_UNROLL for (int i = 0; i < F::kOutputs; ++i)
                        y[i] = i < rows ? load_n(from + i * c.DW + j, c.DW - j) : Vector{};
                FC_UNROLL for (int i = 0; i < F::kOutputs; ++i) total += y[i];
                F::result_adjoint(y, t);
                FC_UNROLL for (int i = 0; i < F::kInputs; ++i) store(to + i * step, t[i]);
            }
        }
        store(bias, load(bias) + total);
    }

    // [position][term][filter] of one group
    void add(const float* source, int64_t count, const float* transformed, int64_t filters, float* sums) const {
        static constexpr auto kProducts = all_products(std::make_integer_sequence<int, kMostFilters>());
        const int64_t blocks = divide_up(terms, kMostTerms);
        Operands o{source, nullptr, band.tile_step(), transformed, count, columns};
        for (int position = 0; position < F::kInputs; ++position) {
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t k = terms * block / blocks, end = terms * (block + 1) / blocks;
                o.offsets = band.offsets().data() + k;
                kProducts[size_t(filters - 1)][size_t(end - k - 1)](o, sums + k * filters * L);
            }
            sums += terms * filters * L;
            o.band += band.position_step(count);
            o.dout += filters * count * columns;
        }
    }

    // dw of a group's filters: the parts' sums and their lanes added up, then G^T.
    void finish(int64_t g, const float* sums, int64_t size) const {
        static constexpr auto kFilters = F::filters();
        const int64_t f = first_of(g), filters = first_of(g + 1) - f, count = F::kInputs * terms * filters;
        const Scratch<float> totals(count);
        const float* first = sums + f * F::kInputs * terms * L;
        for (int64_t i = 0; i < count; ++i) totals[i] = fc::sum(total(first + i * L, size));
        for (int64_t m = 0; m < filters; ++m)
            for (int64_t k = 0; k < terms; ++k) {
                const int64_t v = k % c.FW, channel = k / c.FW % c.Cin, phase = k / c.FW / c.Cin;
                float* to = dw + ((f + m) * c.Cin + channel) * c.FH * c.FW + phase * c.FW + v;
                for (int64_t r = 0; r < band.taps(phase); ++r) {
                    float sum = 0;
                    for (int position = 0; position < F::kInputs; ++position)
                        sum += kFilters[size_t(position)][size_t(r)] * totals[(position * terms + k) * filters + m];
                    to[r * c.stride_h * c.FW] = sum;
                }
            }
        winograd::repair_filter_gradients(dw, dout, c.source, p, c.Cout, f, f + filters, 0, c.Cin);
    }
};

}  // namespace fc::winograd_rows
