// The fast path: vectors of columns, four rows of the result at a time, edges by masks. No copy, no transposition.
//
//   forward            y[i + r]  +=  w[u, v] * x[(i + r)*S + u - top, columns j*S + v - left]            r < 4
//   backward weights   dw[u, v]  +=  dout[i + r] * the same vector of x                 lanes are summed in the end
//   backward data      stride 1: forward, with the filter turned round; stride 2: see rows_backward_data_2
//
// A vector of x is loaded once for all the rows of the result that meet it. Rows outside of a plane are read from a row
// of zeros, so that nothing branches. Square filters of K taps, stride S = 1 or 2, no dilation.
#pragma once
#include <vector>

#include "clip.h"
#include "planes.h"

namespace {

using fc::Clip;
using fc::LaneRange;

constexpr int kRows = 4;
constexpr int64_t kBandBytes = 2048;  // of rows that vectors go down together; with more, memory is read in leaps

// A plane to read, with zeros above and below.
template <class T>
struct Source {
    const T* data;
    int64_t rows, width;
    const T* zeros;  // width of them

    const T* row(int64_t h) const { return h >= 0 && h < rows ? data + h * width : zeros; }
};

// OH x OW windows over a plane of H x W; `top` and `left` may be negative: rows and columns left out.
struct Windows {
    int64_t H, W, OH, OW, top, left;
};

// For the windows j to j + lanes - 1: their taps in a row of x, zero where there is no window or no x.
template <class T, int K, int S>
class Columns {
public:
    Columns() = default;
    Columns(const Windows& p, int64_t j)
        : start_(j * S - p.left), whole_(start_ >= 0 && start_ + S * lanes<T> + K - 1 <= p.W && j + lanes<T> <= p.OW) {
        if (whole_) return;
        FC_UNROLL for (int k = 0; k < kLoads; ++k) {
            const int64_t lane = k % S * lanes<T>, column = start_ + first_tap(k) + lane;
            range_[k] = LaneRange<T>(-column, std::min(p.W - column, (p.OW - j) * S - lane));
        }
    }

    bool whole() const { return whole_; }

    // Whole: if whole() is known, which spares the masks.
    template <bool Whole = false>
    __attribute__((always_inline)) void load(const T* row, Vec<T>* taps) const {
        FC_UNROLL for (int k = 0; k < kLoads; k += S) {
            const int v = first_tap(k);
            const auto get = [&](int n, const T* from) __attribute__((always_inline)) {
                return Whole ? fc::load(from) : range_[n].load(from);
            };
            taps[v] = get(k, row + start_ + v);
            if constexpr (S == 2) {
                const Vec<T> next = get(k + 1, row + start_ + v + lanes<T>);
                if (v + 1 < K) taps[v + 1] = fc::odd(taps[v], next);
                taps[v] = fc::even(taps[v], next);
            }
        }
    }

private:
    // With stride 2, two loads make two taps.
    static constexpr int kLoads = S == 1 ? K : (K + 1) / 2 * 2;
    static constexpr int first_tap(int k) { return S == 1 ? k : k / 2 * 2; }

    int64_t start_;
    bool whole_;
    LaneRange<T> range_[kLoads];
};

// Rows that vectors go down together.
template <class T>
int64_t rows_of_band(int64_t columns) {
    return std::max<int64_t>(kBandBytes / (columns * int64_t(sizeof(T))) / kRows, 1) * kRows;
}

// strip(j, begin, end) for the columns from j on and the rows of a band: vector after vector, band after band.
template <class T, class Strip>
FC_INLINE void for_strips(int64_t row_begin, int64_t row_end, int64_t columns, int64_t band_rows, Strip strip) {
    for (int64_t band = row_begin; band < row_end; band += band_rows)
        for (int64_t j = 0; j < columns; j += lanes<T>) strip(j, band, std::min(band + band_rows, row_end));
}

// What is the same for all planes: forward and dx of 28 x 28 and 56 x 56 planes are 1.1 times as fast as with masks made
// for each. (The gradient of the filters, whose registers are full, is slower with masks from memory.)
template <class T, int K, int S>
struct Strips {
    const Windows p;
    int64_t band_rows;
    std::vector<Columns<T, K, S>> columns;

    explicit Strips(const Windows& windows) : p(windows), band_rows(rows_of_band<T>(p.OW)) {
        for (int64_t j = 0; j < p.OW; j += lanes<T>) columns.emplace_back(p, j);
    }

    // strip(j, columns, begin, end)
    template <class Strip>
    __attribute__((always_inline)) void for_each(int64_t row_begin, int64_t row_end, Strip strip) const {
        for_strips<T>(row_begin, row_end, p.OW, band_rows, [&](int64_t j, int64_t begin, int64_t end) {
            strip(j, columns[size_t(j / lanes<T>)], begin, end);
        });
    }
};

// Planes of the result one after the other, some rows of each.
template <class T>
struct Run {
    Part part;
    int64_t filters, multiplier;  // of an image, and of a channel
    const T* source;
    const T *w, *b;  // b may be null
    Clip<T> clip;
    T* result;
    const T* zeros;
};

template <class T>
FC_INLINE void store_columns(T* y, Vec<T> v, int64_t n) {
    if (n >= lanes<T>)
        fc::store(y, v);
    else
        fc::store_n(y, v, n);
}

template <class T, int K, int S>
void correlate(const Strips<T, K, S>& strips, const Source<T> x, const T* w, T bias, Clip<T> clip, T* y, int64_t row_begin,
               int64_t row_end) {
    const Windows p = strips.p;
    Vec<T> weights[K * K];
    FC_UNROLL for (int k = 0; k < K * K; ++k) weights[k] = fc::set1(w[k]);
    constexpr T kInfinity = std::numeric_limits<T>::infinity();
    const Vec<T> start = fc::set1(bias);
    const Vec<T> least = fc::set1(clip ? T(0) : -kInfinity), most = fc::set1(clip ? clip.most : kInfinity);
    strips.for_each(row_begin, row_end, [&](int64_t j, const Columns<T, K, S> columns, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i += kRows) {
            Vec<T> sum[kRows];
            FC_UNROLL for (int r = 0; r < kRows; ++r) sum[r] = start;
            FC_UNROLL for (int k = 0; k < (kRows - 1) * S + K; ++k) {
                Vec<T> taps[K];
                columns.load(x.row(i * S - p.top + k), taps);
                FC_UNROLL for (int v = 0; v < K; ++v)
                    FC_UNROLL for (int r = 0; r < kRows; ++r)
                        if (k >= r * S && k < r * S + K)
                            sum[r] = fc::fma(weights[(k - r * S) * K + v], taps[v], sum[r]);
            }
            FC_UNROLL for (int r = 0; r < kRows; ++r)
                if (i + r < end) store_columns(y + (i + r) * p.OW + j, fc::min(most, fc::max(least, sum[r])), p.OW - j);
        }
    });
}

template <class T, int K, int S>
void rows_forward(const Windows& p, const Run<T>& run) {
    const Strips<T, K, S> strips(p);
    for (int64_t plane = run.part.plane_begin; plane < run.part.plane_end; ++plane) {
        const int64_t f = plane % run.filters;
        const Source<T> x{run.source + plane / run.multiplier * p.H * p.W, p.H, p.W, run.zeros};
        correlate(strips, x, run.w + f * K * K, run.b ? run.b[f] : T(0), run.clip, run.result + plane * p.OH * p.OW,
                  run.part.row_begin, run.part.row_end);
    }
}

// dx of a convolution with stride 1 is a convolution of dout with the filter turned round.
template <class T, int K>
void rows_backward_data_1(const Windows& p, const Run<T>& run) {
    const Strips<T, K, 1> strips({p.OH, p.OW, p.H, p.W, K - 1 - p.top, K - 1 - p.left});
    for (int64_t plane = run.part.plane_begin; plane < run.part.plane_end; ++plane) {
        const T* w = run.w + plane % run.filters * K * K;
        T turned[K * K];
        std::reverse_copy(w, w + K * K, turned);
        const Source<T> dout{run.source + plane * p.OH * p.OW, p.OH, p.OW, run.zeros};
        correlate(strips, dout, turned, T(0), {}, run.result + plane * p.H * p.W, run.part.row_begin,
                  run.part.row_end);
    }
}

// dx with stride 2. A row h = 2a - top meets the even rows of the filter, h + 1 the odd ones, and so do columns: with
// Odd = left % 2, the columns 0, 2, 4, ... of dx meet the filter's columns v with v % 2 = Odd, the columns 1, 3, 5, ...
// the others. The two vectors are interleaved.
template <class T, int K, int Odd>
void plane_backward_data_2(const Windows& p, const Source<T> dout, const T* w, T* dx, int64_t row_begin,
                           int64_t row_end) {
    constexpr int M = (K + 1) / 2;  // rows of dout, and vectors of each, one column apart
    Vec<T> weights[K * K];
    FC_UNROLL for (int k = 0; k < K * K; ++k) weights[k] = fc::set1(w[k]);
    const int64_t first = (row_begin + p.top) / 2, last = (row_end + p.top + 1) / 2;
    const int64_t columns = (p.W + 1) / 2;
    for_strips<T>(first, last, columns, rows_of_band<T>(columns), [&](int64_t j, int64_t begin, int64_t end) {
        const int64_t column = j + (p.left + Odd) / 2 - (M - 1), n = p.W - 2 * j;
        LaneRange<T> range[M];
        FC_UNROLL for (int m = 0; m < M; ++m) range[m] = LaneRange<T>(-column - m, p.OW - column - m);
        for (int64_t a = begin; a < end; ++a) {
            Vec<T> sum[2][2] = {};  // rows h and h + 1, even and odd columns
            FC_UNROLL for (int m = 0; m < M; ++m) {
                const T* row = dout.row(a - m) + column;
                Vec<T> d[M];
                FC_UNROLL for (int k = 0; k < M; ++k) d[k] = range[k].load(row + k);
                FC_UNROLL for (int r = 0; r < 2; ++r)
                    FC_UNROLL for (int v = 0; v < K; ++v) {
                        const int u = 2 * m + r, odd = v % 2 != Odd, k = M - 1 - (odd ? v : v + Odd) / 2;
                        if (u < K) sum[r][odd] = fc::fma(weights[u * K + v], d[k], sum[r][odd]);
                    }
            }
            FC_UNROLL for (int r = 0; r < 2; ++r) {
                const int64_t h = 2 * a - p.top + r;
                if (h < row_begin || h >= row_end) continue;
                T* y = dx + h * p.W + 2 * j;
                store_columns(y, fc::interleave_lo(sum[r][0], sum[r][1]), n);
                if (n > lanes<T>) store_columns(y + lanes<T>, fc::interleave_hi(sum[r][0], sum[r][1]), n - lanes<T>);
            }
        }
    });
}

template <class T, int K, int Odd>
void rows_backward_data_2(const Windows& p, const Run<T>& run) {
    for (int64_t plane = run.part.plane_begin; plane < run.part.plane_end; ++plane) {
        const Source<T> dout{run.source + plane * p.OH * p.OW, p.OH, p.OW, run.zeros};
        plane_backward_data_2<T, K, Odd>(p, dout, run.w + plane % run.filters * K * K, run.result + plane * p.H * p.W,
                                         run.part.row_begin, run.part.row_end);
    }
}

// How many rows of a filter's sums fit the registers, beside four rows of dout and a tap.
constexpr int sum_rows(int K) { return std::min(K, std::max(1, (fc::kVectorRegisters - 7) / K)); }

// Adds one plane's products for UN rows of the filter from U on to totals (K*K vectors for dw, then one for db).
template <class T, int K, int S, int U, int UN>
void add_products(const Windows& p, int64_t band_rows, const Source<T>& x, const Source<T>& dout, Vec<T>* totals) {
    Vec<T> sum[UN * K] = {}, bias{};
    for_strips<T>(0, p.OH, p.OW, band_rows, [&](int64_t j, int64_t begin, int64_t end) {
        const Columns<T, K, S> columns(p, j);
        const LaneRange<T> range(0, p.OW - j);
        const auto block = [&](int64_t i, auto rows) __attribute__((always_inline)) {
            constexpr int R = decltype(rows)::value;
            Vec<T> d[R];
            FC_UNROLL for (int r = 0; r < R; ++r) {
                d[r] = range.load(dout.row(i + r) + j);
                if (U == 0) bias += d[r];
            }
            FC_UNROLL for (int k = 0; k < (R - 1) * S + UN; ++k) {
                Vec<T> taps[K];
                columns.load(x.row(i * S - p.top + U + k), taps);
                FC_UNROLL for (int r = 0; r < R; ++r)
                    if (k >= r * S && k < r * S + UN)
                        FC_UNROLL for (int v = 0; v < K; ++v)
                            sum[(k - r * S) * K + v] = fc::fma(d[r], taps[v], sum[(k - r * S) * K + v]);
            }
        };
        int64_t i = begin;
        for (; i + kRows <= end; i += kRows) block(i, std::integral_constant<int, kRows>());
        for (; i < end; ++i) block(i, std::integral_constant<int, 1>());
    });
    FC_UNROLL for (int k = 0; k < UN * K; ++k) totals[U * K + k] += sum[k];
    if (U == 0) totals[K * K] += bias;
}

template <class T, int K, int S, int U = 0>
void plane_backward_weights(const Windows& p, int64_t band_rows, const Source<T>& x, const Source<T>& dout,
                            Vec<T>* totals) {
    constexpr int UN = std::min(sum_rows(K), K - U);
    add_products<T, K, S, U, UN>(p, band_rows, x, dout, totals);
    if constexpr (U + UN < K) plane_backward_weights<T, K, S, U + UN>(p, band_rows, x, dout, totals);
}

// Some filters' planes of some images, neighbours in memory one after the other.
template <class T>
struct WeightsRun {
    int64_t image_begin, image_end, filter_begin, filter_end, filters, multiplier;
    const T *x, *dout, *zeros;
    Vec<T>* totals;  // K*K + 1 for each filter

    int64_t plane(int64_t n, int64_t f) const { return n * filters + f; }
};

template <class T, int K, int S>
void rows_backward_weights(const Windows& p, const WeightsRun<T>& run) {
    const int64_t band_rows = rows_of_band<T>(p.OW);
    for (int64_t n = run.image_begin; n < run.image_end; ++n)
        for (int64_t f = run.filter_begin; f < run.filter_end; ++f) {
            const int64_t plane = run.plane(n, f);
            const Source<T> x{run.x + plane / run.multiplier * p.H * p.W, p.H, p.W, run.zeros};
            const Source<T> dout{run.dout + plane * p.OH * p.OW, p.OH, p.OW, run.zeros};
            plane_backward_weights<T, K, S>(p, band_rows, x, dout, run.totals + (f - run.filter_begin) * (K * K + 1));
        }
}

}  // namespace
