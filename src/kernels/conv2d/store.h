// From a strip [pixels][lanes] in L1 to the planes of the result: transposed, with bias and ReLU.
#pragma once
#include "ahead.h"
#include "blocks.h"
#include "source.h"

namespace fc::conv {

// Where outputs (rows and columns of their classes) of one class of rows go in the result.
template <class T>
struct Destination {
    T* start;                       // the first output of the first channel
    int64_t plane, row_step, step;  // distances between channels, rows, and the outputs of one class of columns
    bool dense;                     // the rows follow each other
    int64_t rows, columns;

    Destination(const Correlation<T>& c, const Place& p, const Rectangle& out, const Axis& h, int64_t channel)
        : plane(c.DH * c.DW), row_step(h.dst_step * c.DW), step(c.columns.front().dst_step),
          dense(step == 1 && (out.rows() == 1 || (h.dst_step == 1 && out.cols() == c.DW))), rows(out.rows()),
          columns(out.cols()) {
        start = c.result_plane(p.n, p.group, channel) + h.dst * c.DW + out.row * row_step + out.col * step;
    }

    Lines<T> lines() const {
        return dense ? Lines<T>(start, 1, 0, rows * columns, plane) : Lines<T>(start, rows, row_step, columns * step, plane);
    }
};

// What happens to channel `c` of a panel on its way out.
template <class T>
struct Epilogue {
    const T* bias;  // of the panel's first channel, or null
    Clip<T> clip;

    inline __attribute__((always_inline)) Vec<T> operator()(Vec<T> v, int64_t c) const {
        if (bias) v = v + set1(bias[c]);
        return clip(v);
    }
};

// Columns of a block of pixels, a few channels at a time: f(channel, column) for the first `channels`.
template <class T, class F>
FC_INLINE void for_each_column(const T* strip, int64_t width, int64_t channels, F f) {
    constexpr int B = detail::block_lanes<T>;
    for (int64_t c = 0; c < channels; c += B) {
        Vec<T> column[B];
        load_transposed(strip + c, width, column);
        FC_UNROLL for (int k = 0; k < B; ++k)
            if (c + k < channels) f(c + k, column[k]);
    }
}

template <class T>
FC_INLINE void store_some(T* dst, Vec<T> v, int64_t count) {
    if (count >= lanes<T>)
        store(dst, v);
    else if (count > 0)
        store_n(dst, v, count);
}

// result[c*plane + p] = epilogue(strip[p*width + c], c)
template <class T>
void store_strip(const T* strip, int64_t width, int64_t pixels, int64_t channels, const Epilogue<T>& epilogue,
                 T* result, int64_t plane) {
    for (int64_t p = 0; p < pixels; p += lanes<T>)
        for_each_column(strip + p * width, width, channels, [&](int64_t c, Vec<T> v) {
            store_some(result + c * plane + p, epilogue(v, c), pixels - p);
        });
}

// Two strips whose pixels alternate in the result, which has `pixels` of both together.
template <class T>
void store_alternating(const T* even, const T* odd, int64_t width, int64_t pixels, int64_t channels,
                       const Epilogue<T>& epilogue, T* result, int64_t plane) {
    constexpr int L = lanes<T>, B = detail::block_lanes<T>;
    for (int64_t p = 0; p < pixels; p += 2 * L)
        for (int64_t c = 0; c < channels; c += B) {
            Vec<T> a[B], b[B];
            load_transposed(even + p / 2 * width + c, width, a);
            load_transposed(odd + p / 2 * width + c, width, b);
            FC_UNROLL for (int k = 0; k < B; ++k)
                if (c + k < channels) {
                    T* dst = result + (c + k) * plane + p;
                    store_some(dst, epilogue(interleave_lo(a[k], b[k]), c + k), pixels - p);
                    store_some(dst + L, epilogue(interleave_hi(a[k], b[k]), c + k), pixels - p - L);
                }
        }
}

// result = even[0], odd[0], even[1], ...: `count` numbers.
template <class T>
FC_INLINE void alternate(T* result, const T* even, const T* odd, int64_t count) {
    constexpr int L = lanes<T>;
    for (int64_t p = 0; p < count; p += 2 * L) {
        const Vec<T> a = load(even + p / 2), b = load(odd + p / 2);
        store_some(result + p, interleave_lo(a, b), count - p);
        store_some(result + p + L, interleave_hi(a, b), count - p - L);
    }
}

// result[c*plane + p*step]
template <class T>
void store_scattered(const T* strip, int64_t width, int64_t pixels, int64_t channels, const Epilogue<T>& epilogue,
                     T* result, int64_t plane, int64_t step) {
    constexpr int L = lanes<T>;
    for (int64_t p = 0; p < pixels; p += L)
        for_each_column(strip + p * width, width, channels, [&](int64_t c, Vec<T> v) {
            v = epilogue(v, c);
            T* dst = result + c * plane + p * step;
            if (p + L <= pixels)
                FC_UNROLL for (int i = 0; i < L; ++i) dst[i * step] = v[i];
            else
                for (int i = 0; i < int(pixels - p); ++i) dst[i * step] = v[i];
        });
}

// Rows of the result, of all classes of columns, that meet no source. Only backward-data has some, and no bias.
template <class T>
void store_zeros(const Correlation<T>& c, const Destination<T>& d, const Rectangle& out, int64_t channels) {
    int64_t columns = 0;
    for (const Axis& w : c.columns) columns += std::max<int64_t>(std::min(w.out, out.col_end) - out.col, 0);
    for (int64_t m = 0; m < channels; ++m)
        for (int64_t i = 0; i < out.rows(); ++i) fill_zero(d.start + m * d.plane + i * d.row_step, columns);
}

// result[j*STEP + k] = rows[k][j]: `count` numbers.
template <int STEP, class T>
void interleave(T* __restrict result, const T* const (&rows)[STEP], int64_t count) {
    int64_t i = 0, j = 0;
    for (; i + STEP <= count; i += STEP, ++j)
        FC_UNROLL for (int k = 0; k < STEP; ++k) result[i + k] = rows[k][j];
    for (int k = 0; i + k < count; ++k) result[i + k] = rows[k][j];
}

// The rows of all classes of columns into the result's: strips[class*strip + m*plane + row*columns + column].
template <class T>
void merge_columns(const Correlation<T>& c, const Destination<T>& d, const Rectangle& out, int64_t channels,
                   const T* strips, int64_t strip, int64_t plane) {
    for (int64_t m = 0; m < channels; ++m)
        for (int64_t i = 0; i < out.rows(); ++i) {
            T* result = d.start + m * d.plane + i * d.row_step;
            const auto columns_of = [&](size_t s) { return std::min(c.columns[s].out, out.col_end) - out.col; };
            const auto row_of = [&](size_t s) { return strips + int64_t(s) * strip + m * plane + i * columns_of(s); };
            if (d.step == 1)
                copy(result, row_of(0), out.cols());
            else if (d.step == 2 && c.columns.size() == 2)
                alternate(result, row_of(0), row_of(1), columns_of(0) + columns_of(1));
            else if (d.step == 3 && c.columns.size() == 3)
                interleave<3, T>(result, {row_of(0), row_of(1), row_of(2)},
                                 columns_of(0) + columns_of(1) + columns_of(2));
            else
                for (size_t s = 0; s < c.columns.size(); ++s)
                    for (int64_t j = 0; j < columns_of(s); ++j) result[c.columns[s].dst + j * d.step] = row_of(s)[j];
        }
}

}  // namespace fc::conv
