// What a kernel reads: a band of the source, in place or copied with its padding, or unfolded along the columns.
#pragma once
#include "ahead.h"
#include "blocks.h"
#include "simd.h"

namespace fc::conv {

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

// dst[j] = row[begin + j*step] for j < count, zero outside of [0, extent). Writes up to a vector too much.
template <class T>
FC_INLINE void copy_row(T* dst, const T* row, int64_t extent, int64_t begin, int64_t step, int64_t count) {
    if (step == 1) {
        for (int64_t j = 0; j < count; j += lanes<T>)
            store(dst + j, load_between(row + begin + j, -begin - j, std::min(extent - begin, count) - j));
        return;
    }
    const int64_t left = std::clamp<int64_t>(begin < 0 ? divide_up(-begin, step) : 0, 0, count);
    const int64_t right = std::clamp<int64_t>(begin < extent ? divide_up(extent - begin, step) : 0, left, count);
    fill_zero(dst, left);
    int64_t j = left;
    const T* src = row + begin + left * step;
    if (step == 2) {
        constexpr int L = lanes<T>;
        for (; j + L < right; j += L, src += 2 * L)  // reads one number past the last used
            store(dst + j, even(load(src), load(src + L)));
        const int64_t rest = std::max<int64_t>(2 * (right - j) - 1, 0);
        store(dst + j, even(load_n(src, rest), load_n(src + L, std::max<int64_t>(rest - L, 0))));
        j = right;
    }
    for (; j < right; ++j, src += step) dst[j] = *src;
    fill_zero(dst + right, count - right);
}

// Short runs from plane to plane are not foreseen by hardware: 8 x 256 x 56 x 56 taken by twos, 3.1 -> 1.9 ms.
constexpr int64_t kChannelsAhead = 4;

template <class T>
FC_INLINE void ask_for(const T* first, int64_t count) {
    for (int64_t i = 0; i < count; i += 64 / int64_t(sizeof(T))) prefetch(first + i);
}

// The lines of a rectangle of sources.
template <class T>
Lines<T> source_lines(const Correlation<T>& c, const T* plane, const Rectangle& r) {
    const int64_t row = std::max<int64_t>(r.row, 0), rows = std::min(r.row_end, c.SH) - row;
    const int64_t col = std::max<int64_t>(r.col, 0), cols = std::min(r.col_end, c.SW) - col;
    const int64_t step = c.rows.front().taps == 1 ? c.rows.front().stride : 1;  // rows that are met
    const T* start = plane + row * c.SW + col;
    if (step == 1) return {start, 1, 0, (rows - 1) * c.SW + cols, c.SH * c.SW};
    return {start, divide_up(rows, step), step * c.SW, cols, c.SH * c.SW};
}

// A band of one image's sources for one group.
template <class T>
struct Band {
    const T* data;
    int64_t channel_stride, pitch;
    int64_t row, col;  // of data[0] in the source

    const T* at(int64_t r, int64_t c) const { return data + (r - row) * pitch + (c - col); }

    // Numbers that a copy takes.
    static int64_t size(const Correlation<T>& c, const Rectangle& r) { return c.Cin * r.rows() * r.cols() + lanes<T>; }

    // With zeros beyond the image.
    static Band copy(const Correlation<T>& c, const T* plane, const Rectangle& r, T* buffer) {
        T* dst = buffer;
        for (int64_t channel = 0; channel < c.Cin; ++channel, plane += c.SH * c.SW)
            for (int64_t row = r.row; row < r.row_end; ++row, dst += r.cols())
                copy_row(dst, plane + row * c.SW, row < 0 || row >= c.SH ? 0 : c.SW, r.col, 1, r.cols());
        return {buffer, r.rows() * r.cols(), r.cols(), r.row, r.col};
    }
};

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

    std::vector<int64_t> offsets(const Axis& h, const Axis& w, const Rectangle& out) const {
        std::vector<int64_t> offsets;
        for (int64_t u = 0; u < h.taps; ++u)
            for (int64_t v = 0; v < w.taps; ++v) {
                const int64_t row = h.source_begin(out.row) - first_row + u * h.dilation;
                offsets.push_back(((v * stride + row % stride) * rows + row / stride) * cols);
            }
        return offsets;
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
                        if (w.stride > 1)
                            ask_for(plane + kChannelsAhead * c.SH * c.SW + row * c.SW + col, cols * w.stride);
                        copy_row(dst, plane + row * c.SW, row < 0 || row >= c.SH ? 0 : c.SW, col, w.stride, cols);
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

// The unfolded sources of a block, one for each class of columns.
template <class T>
class UnfoldedBlock {
public:
    static int64_t size(const Correlation<T>& c, const Rectangle& out) {
        int64_t size = lanes<T>;
        for (const Axis& w : c.columns) size += c.Cin * layout(c, w, out).channel_stride;
        return size;
    }

    UnfoldedBlock(const Correlation<T>& c, const Place& p, T* buffer) {
        for (const Axis& w : c.columns) {
            data.push_back(buffer);
            if (!w.meets_source(p.out.col) || source_rectangle(c, p.out).rows() == 0) continue;
            layout(c, w, p.out).copy(c, c.source_plane(p.n, p.group), c.rows.front(), w, p.out, buffer);
            buffer += c.Cin * layout(c, w, p.out).channel_stride;
        }
    }

    static Unfolded<T> layout(const Correlation<T>& c, const Axis& w, const Rectangle& out) {
        return {source_rectangle(c, out), c.rows.front().stride, w, out};
    }

    std::vector<const T*> data;
};

}  // namespace fc::conv
