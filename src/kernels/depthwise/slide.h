// 3 x 3 filters with stride 1. Every row of x is read once, and meets three rows of the other operand:
//
//   forward, backward data    y[i - u]  +=  w[u, v] * x[i - top, columns j + v - left]     two rows of y stay open
//   backward weights          dw[u, v]  +=  dout[i - u] * the same vector of x             two rows of dout are remembered
//
// Whole rows are taken from left to right, and downwards: memory is read and written in its order. What passes from one
// row to the next, two vectors for every `lanes` columns, is in registers when Vectors says how many vectors a row has
// and there are 32 of them; else it goes through memory, which costs a tenth.
#pragma once
#include "rows.h"

namespace {

// Rows of so many vectors are unrolled. With 32 registers what passes between them is kept there, beside 9 weights or
// sums, 3 taps, and what is being summed.
constexpr int kMostVectors = 4, kMostVectorsOfProducts = fc::kVectorRegisters == 32 ? 4 : 1;
constexpr int kAny = 0, kFew = -1;  // others
constexpr bool kOverlaps = FC_VECTOR_BYTES < 64;

// A row's vectors: which columns they have, and where to keep what passes from row to row. Where results are stored, the
// last vector may overlap the one before it: without AVX-512, a store of some lanes takes as long as several of all.
template <class T>
struct Sweep {
    const Windows p;
    const T* zeros;
    const int64_t vectors, last;              // last: the column where the last vector begins
    int64_t whole_begin = 0, whole_end = 0;  // of the vectors that need no masks, the last left out
    std::vector<Columns<T, 3, 1>> columns;
    Scratch<T> memory;

    Sweep(const Windows& windows, const T* zeros, bool overlaps)
        : p(windows), zeros(zeros), vectors((windows.OW + lanes<T> - 1) / lanes<T>),
          last(overlaps && p.OW >= lanes<T> ? p.OW - lanes<T> : (vectors - 1) * lanes<T>), memory(2 * vectors * lanes<T>) {
        for (int64_t n = 0; n < vectors; ++n) columns.emplace_back(p, n + 1 < vectors ? n * lanes<T> : last);
        while (whole_begin < vectors && !columns[size_t(whole_begin)].whole()) ++whole_begin;
        whole_end = whole_begin;
        while (whole_end + 1 < vectors && columns[size_t(whole_end)].whole()) ++whole_end;
    }
};

template <class T, int Vectors>
class Sliding {
public:
    Sliding(const Sweep<T>& sweep, const T* x)
        : p_(sweep.p), x_{x, p_.H, p_.W, sweep.zeros}, vectors_(Vectors > 0 ? Vectors : sweep.vectors), last_(sweep.last),
          whole_begin_(sweep.whole_begin), whole_end_(sweep.whole_end) {
        if constexpr (Vectors > 0)
            FC_UNROLL for (int n = 0; n < Vectors; ++n) columns_[n] = sweep.columns[size_t(n)];
        else
            columns_ = sweep.columns.data(), passing_ = reinterpret_cast<Vec<T>*>(sweep.memory.get());
    }

    // body(n, taps of row i - top) for each vector n of the row.
    template <class Body>
    __attribute__((always_inline)) void row(int64_t i, Body body) const {
        const T* from = x_.row(i - p_.top);
        const auto step = [&](int64_t n) __attribute__((always_inline)) {
            Vec<T> taps[3];
            columns_[n].load(from, taps);
            body(n, taps);
        };
        if constexpr (Vectors > 0) {
            FC_UNROLL for (int64_t n = 0; n < Vectors; ++n) step(n);
        } else if constexpr (Vectors == kFew) {
            for (int64_t n = 0; n < vectors_; ++n) step(n);
        } else {
            int64_t n = 0;
            for (; n < whole_begin_; ++n) step(n);
            for (const T* at = from + n * lanes<T> - p_.left; n < whole_end_; ++n, at += lanes<T>) {
                const Vec<T> taps[3] = {fc::load(at), fc::load(at + 1), fc::load(at + 2)};
                body(n, taps);
            }
            for (; n < vectors_; ++n) step(n);
        }
    }

    Vec<T>& first(int64_t n) { return passing_[2 * n]; }
    Vec<T>& second(int64_t n) { return passing_[2 * n + 1]; }

    // The columns of a row of p.OW, n-th vector.
    __attribute__((always_inline)) void put(T* row, int64_t n, Vec<T> v) const {
        if (n + 1 < vectors_)
            fc::store(row + n * lanes<T>, v);
        else
            store_columns(row + last_, v, p_.OW - last_);
    }
    __attribute__((always_inline)) Vec<T> get(const T* row, int64_t n) const {
        return n + 1 < vectors_ ? fc::load(row + n * lanes<T>) : fc::load_n(row + n * lanes<T>, p_.OW - n * lanes<T>);
    }

private:
    const Windows p_;
    const Source<T> x_;
    const int64_t vectors_, last_;
    const int64_t whole_begin_, whole_end_;
    static constexpr int kKept = Vectors > 0 ? Vectors : 1;
    std::conditional_t<(Vectors > 0), Columns<T, 3, 1>[kKept], const Columns<T, 3, 1>*> columns_;
    std::conditional_t<(Vectors > 0), Vec<T>[2 * kKept], Vec<T>*> passing_{};
};

// The sum of three products with row u of the filter.
template <class T>
FC_INLINE Vec<T> add_row(const Vec<T>* weights, int u, const Vec<T>* taps, Vec<T> sum) {
    FC_UNROLL for (int v = 0; v < 3; ++v) sum = fc::fma(weights[3 * u + v], taps[v], sum);
    return sum;
}

template <class T, int Vectors>
void slide(const Sweep<T>& sweep, const T* x, const T* w, T bias, Clip<T> clip, T* y, int64_t row_begin,
           int64_t row_end) {
    Sliding<T, Vectors> rows(sweep, x);
    const int64_t OW = sweep.p.OW;
    Vec<T> weights[9];
    FC_UNROLL for (int k = 0; k < 9; ++k) weights[k] = fc::set1(w[k]);
    const Vec<T> start = fc::set1(bias);
    const auto finish = [&](int64_t i, int64_t n, const Vec<T>* taps) __attribute__((always_inline)) {
        rows.put(y + i * OW, n, clip(add_row<T>(weights, 2, taps, rows.first(n))));
    };
    rows.row(row_begin, [&](int64_t n, const Vec<T>* taps) __attribute__((always_inline)) {
        rows.first(n) = add_row<T>(weights, 0, taps, start);
    });
    rows.row(row_begin + 1, [&](int64_t n, const Vec<T>* taps) __attribute__((always_inline)) {
        rows.first(n) = add_row<T>(weights, 1, taps, rows.first(n));
        rows.second(n) = add_row<T>(weights, 0, taps, start);
    });
    int64_t i = row_begin;
    for (; i + 2 < row_end; ++i)
        rows.row(i + 2, [&](int64_t n, const Vec<T>* taps) __attribute__((always_inline)) {
            finish(i, n, taps);
            rows.first(n) = add_row<T>(weights, 1, taps, rows.second(n));
            rows.second(n) = add_row<T>(weights, 0, taps, start);
        });
    for (; i < row_end; ++i)
        rows.row(i + 2, [&](int64_t n, const Vec<T>* taps) __attribute__((always_inline)) {
            finish(i, n, taps);
            rows.first(n) = add_row<T>(weights, 1, taps, rows.second(n));
        });
}

// choose(Vectors) for rows of so many vectors, if that is at most Most; else kFew where all are at an edge, or kAny.
template <int Most, int Tried = Most, class Choose>
auto by_vectors(int64_t vectors, Choose choose) {
    if constexpr (Tried > 0) {
        if (vectors == Tried) return choose(std::integral_constant<int, Tried>());
        return by_vectors<Most, Tried - 1>(vectors, choose);
    } else {
        if (Most < 3 && vectors <= 3) return choose(std::integral_constant<int, Most < 3 ? kFew : kAny>());
        return choose(std::integral_constant<int, kAny>());
    }
}

// body(filter, its plane of the source, its plane of the result). No divisions for each plane: they cost a tenth of one
// of 14 x 14.
template <class T, class Body>
void for_planes(const Run<T>& run, int64_t source_plane, int64_t result_plane, Body body) {
    int64_t f = run.part.plane_begin % run.filters, m = run.part.plane_begin % run.multiplier;
    const T* source = run.source + run.part.plane_begin / run.multiplier * source_plane;
    for (int64_t plane = run.part.plane_begin; plane < run.part.plane_end; ++plane) {
        body(f, source, run.result + plane * result_plane);
        if (++f == run.filters) f = 0;
        if (++m == run.multiplier) m = 0, source += source_plane;
    }
}

template <class T>
void slide_forward(const Windows& p, const Run<T>& run) {
    const Sweep<T> sweep(p, run.zeros, kOverlaps);
    const auto plane_forward = by_vectors<kMostVectors>(sweep.vectors, [](auto n) { return &slide<T, n()>; });
    for_planes(run, p.H * p.W, p.OH * p.OW, [&](int64_t f, const T* x, T* y) {
        plane_forward(sweep, x, run.w + f * 9, run.b ? run.b[f] : T(0), run.clip, y,
                      run.part.row_begin, run.part.row_end);
    });
}

// A convolution of dout with the filter turned round.
template <class T>
void slide_backward_data(const Windows& p, const Run<T>& run) {
    const Sweep<T> sweep({p.OH, p.OW, p.H, p.W, 2 - p.top, 2 - p.left}, run.zeros, kOverlaps);
    const auto plane_backward = by_vectors<kMostVectors>(sweep.vectors, [](auto n) { return &slide<T, n()>; });
    for_planes(run, p.OH * p.OW, p.H * p.W, [&](int64_t f, const T* dout, T* dx) {
        T turned[9];
        FC_UNROLL for (int k = 0; k < 9; ++k) turned[k] = run.w[f * 9 + 8 - k];
        plane_backward(sweep, dout, turned, T(0), {}, dx, run.part.row_begin, run.part.row_end);
    });
}

// Adds one plane's products to totals: 9 vectors for dw, then one for db.
template <class T, int Vectors>
void slide_products(const Sweep<T>& sweep, const T* x, const T* dout, Vec<T>* totals) {
    Sliding<T, Vectors> rows(sweep, x);
    const int64_t OH = sweep.p.OH, OW = sweep.p.OW;
    Vec<T> sum[10] = {};
    const auto add = [&](int u, Vec<T> d, const Vec<T>* taps) __attribute__((always_inline)) {
        FC_UNROLL for (int v = 0; v < 3; ++v) sum[3 * u + v] = fc::fma(d, taps[v], sum[3 * u + v]);
    };
    // Row i - top of x, and whether rows i - 2, i - 1 and i of dout are there.
    const auto step = [&](int64_t i, bool before, bool middle, bool last) __attribute__((always_inline)) {
        rows.row(i, [&](int64_t n, const Vec<T>* taps) __attribute__((always_inline)) {
            if (before) add(2, rows.first(n), taps);
            rows.first(n) = rows.second(n);
            if (middle) add(1, rows.first(n), taps);
            if (!last) return;
            rows.second(n) = rows.get(dout + i * OW, n);
            add(0, rows.second(n), taps);
            sum[9] += rows.second(n);
        });
    };
    step(0, false, false, true);
    if (OH > 1) step(1, false, true, true);
    for (int64_t i = 2; i < OH; ++i) step(i, true, true, true);
    step(OH, OH > 1, true, false);
    step(OH + 1, true, false, false);
    FC_UNROLL for (int k = 0; k < 10; ++k) totals[k] += sum[k];
}

template <class T>
void slide_backward_weights(const Windows& p, const WeightsRun<T>& run) {
    const Sweep<T> sweep(p, run.zeros, false);
    const auto add_products = by_vectors<kMostVectorsOfProducts>(sweep.vectors, [](auto n) { return &slide_products<T, n()>; });
    for (int64_t n = run.image_begin; n < run.image_end; ++n)
        for (int64_t f = run.filter_begin; f < run.filter_end; ++f) {
            const int64_t plane = run.plane(n, f);
            add_products(sweep, run.x + plane / run.multiplier * p.H * p.W, run.dout + plane * p.OH * p.OW,
                         run.totals + (f - run.filter_begin) * 10);
        }
}

}  // namespace
