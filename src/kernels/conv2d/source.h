// What a kernel reads: a band of the source, in place or copied with its padding, or unfolded along the columns.
#pragma once
#include "geometry.h"
#include "kernel.h"
#include "simd.h"

namespace fc::conv {

// Half-open ranges of rows and columns.
struct Rectangle {
    int64_t row, row_end, col, col_end;

    int64_t rows() const { return row_end - row; }
    int64_t cols() const { return col_end - col; }
};

// The sources that rows [begin, end) of the outputs of every class meet, all columns; beyond the source's edges too.
template <class T>
Rectangle source_rectangle(const Correlation<T>& c, const Rectangle& out) {
    Rectangle r{INT64_MAX, INT64_MIN, INT64_MAX, INT64_MIN};
    for (const Axis& h : c.rows)
        if (h.meets_source(out.row)) {
            r.row = std::min(r.row, h.source_begin(out.row));
            r.row_end = std::max(r.row_end, h.source_end(std::min(h.out, out.row_end)));
        }
    for (const Axis& w : c.columns)
        if (w.meets_source(out.col)) {
            r.col = std::min(r.col, w.source_begin(out.col));
            r.col_end = std::max(r.col_end, w.source_end(std::min(w.out, out.col_end)));
        }
    return r.row < r.row_end && r.col < r.col_end ? r : Rectangle{0, 0, 0, 0};
}

template <class T>
FC_INLINE void fill_zero(T* dst, int64_t count) {
    for (int64_t i = 0; i < count; i += lanes<T>) store_n(dst + i, zero<T>(), count - i);
}

template <class T>
FC_INLINE void copy(T* dst, const T* src, int64_t count) {
    int64_t i = 0;
    for (; i + lanes<T> <= count; i += lanes<T>) store(dst + i, load(src + i));
    if (i < count) store_n(dst + i, load_n(src + i, count - i), count - i);
}

// dst[j] = row[begin + j*step], zero outside of [0, extent).
template <class T>
void copy_row(T* dst, const T* row, int64_t extent, int64_t begin, int64_t step, int64_t count) {
    const int64_t left = std::clamp<int64_t>(begin < 0 ? (-begin + step - 1) / step : 0, 0, count);
    const int64_t right = std::clamp<int64_t>(begin < extent ? (extent - begin + step - 1) / step : 0, left, count);
    fill_zero(dst, left);
    const T* src = row + begin + left * step;
    if (step == 1) {
        copy(dst + left, src, right - left);
    } else {
        int64_t j = left;
        if (step == 2)
            for (; j + lanes<T> < right; j += lanes<T>, src += 2 * lanes<T>)  // reads one number past the last used
                store(dst + j, even(load(src), load(src + lanes<T>)));
        for (; j < right; ++j, src += step) dst[j] = *src;
    }
    fill_zero(dst + right, count - right);
}

// A band of one image's sources for one group.
template <class T>
struct Band {
    const T* data;
    int64_t channel_stride, pitch;
    int64_t row, col;  // of data[0] in the source

    const T* at(int64_t r, int64_t c) const { return data + (r - row) * pitch + (c - col); }
};

template <class T>
bool inside(const Correlation<T>& c, const Rectangle& r) {
    return r.row >= 0 && r.row_end <= c.SH && r.col >= 0 && r.col_end <= c.SW;
}

// Numbers that a copied band takes.
template <class T>
int64_t band_size(const Correlation<T>& c, const Rectangle& r) {
    return c.Cin * r.rows() * r.cols();
}

template <class T>
Band<T> copy_band(const Correlation<T>& c, const T* plane, const Rectangle& r, T* buffer) {
    T* dst = buffer;
    for (int64_t channel = 0; channel < c.Cin; ++channel, plane += c.SH * c.SW)
        for (int64_t row = r.row; row < r.row_end; ++row, dst += r.cols()) {
            if (row < 0 || row >= c.SH)
                fill_zero(dst, r.cols());
            else
                copy_row(dst, plane + row * c.SW, c.SW, r.col, 1, r.cols());
        }
    return {buffer, r.rows() * r.cols(), r.cols(), r.row, r.col};
}

// A band unfolded along one class of columns: for each filter column v the source columns that it meets, so that
// outputs of consecutive columns and rows are consecutive numbers, whatever the stride and dilation.
//
//   [Cin][taps of the columns][residue of the row modulo its stride][rows][out columns]
//
// Output number p = (i - out.row)*out.cols() + (j - out.col) meets, at tap (u, v), number p + offsets[u*taps + v].
template <class T>
struct Unfolded {
    int64_t first_row, stride, rows, cols, channel_stride;

    // source: the rows that all classes of rows meet; with more classes than one their stride is 1.
    Unfolded(const Rectangle& source, int64_t row_stride, const Axis& w, const Rectangle& out)
        : first_row(source.row), stride(row_stride), rows((source.rows() + row_stride - 1) / row_stride),
          cols(std::min(w.out, out.col_end) - out.col), channel_stride(w.taps * stride * rows * cols) {}

    void fill_offsets(const Axis& h, const Axis& w, const Rectangle& out, int64_t* offsets) const {
        for (int64_t u = 0; u < h.taps; ++u)
            for (int64_t v = 0; v < w.taps; ++v) {
                const int64_t row = h.source_begin(out.row) - first_row + u * h.dilation;
                *offsets++ = ((v * stride + row % stride) * rows + row / stride) * cols;
            }
    }

    void copy(const Correlation<T>& c, const T* plane, const Axis& h, const Axis& w, const Rectangle& out, T* dst) const {
        for (int64_t channel = 0; channel < c.Cin; ++channel, plane += c.SH * c.SW)
            for (int64_t v = 0; v < w.taps; ++v)
                for (int64_t residue = 0; residue < stride; ++residue) {
                    if (!is_met(h, residue)) {
                        dst += rows * cols;
                        continue;
                    }
                    const int64_t col = w.source_begin(out.col) + v * w.dilation;
                    for (int64_t i = 0; i < rows; ++i, dst += cols) {
                        const int64_t row = first_row + i * stride + residue;
                        if (row < 0 || row >= c.SH)
                            fill_zero(dst, cols);
                        else
                            copy_row(dst, plane + row * c.SW, c.SW, col, w.stride, cols);
                    }
                }
    }

private:
    bool is_met(const Axis& h, int64_t residue) const {
        for (int64_t u = 0; u < std::min(h.taps, stride); ++u)
            if (u * h.dilation % stride == residue) return true;
        return stride == 1;
    }
};

}  // namespace fc::conv
