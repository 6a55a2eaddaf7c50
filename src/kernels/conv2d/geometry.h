// Forward and backward-data as one thing: plain correlations of a source with re-ordered filters.
//
// Forward is one correlation. Backward-data of stride s is one for every residue of the result's rows and columns
// modulo s: those rows i = s*a + r meet only the filter rows u with (r + pad - u*d) divisible by s, which form an
// arithmetic progression, at source rows that move on by one with a. So each is a correlation of stride 1 with dilation
// d/gcd(d, s), with the filter upside down; for stride 1 there is a single one.
//
// Rows and columns are independent of each other: an Axis each. A start may be negative, the last source index too
// large: outside of the source are zeros.
#pragma once
#include <cstdint>
#include <numeric>
#include <vector>

#include "clip.h"
#include "window.h"

namespace fc::conv {

struct Axis {
    int64_t out, stride;            // outputs, and the source steps between them
    int64_t taps, dilation, start;  // output i meets source start + i*stride + k*dilation at tap k
    int64_t filter, filter_step;    // which is the filter's row (column) filter + k*filter_step
    int64_t dst, dst_step;          // output i is the result's row (column) dst + i*dst_step

    // The source range that outputs [begin, end) meet; empty if they are none.
    int64_t source_begin(int64_t begin) const { return start + begin * stride; }
    int64_t source_end(int64_t end) const { return start + (end - 1) * stride + (taps - 1) * dilation + 1; }
    // The part of all (output, tap) pairs that meet the source, of `extent` numbers, and not its padding.
    double inside(int64_t extent) const {
        int64_t pairs = 0;
        for (int64_t k = 0; k < taps; ++k) {
            const Taps outputs(start + k * dilation, extent, out, stride);
            pairs += outputs.end - outputs.begin;
        }
        return taps ? double(pairs) / double(out * taps) : 1;
    }

    bool meets_source(int64_t begin) const { return taps > 0 && begin < out; }
};

// The classes of rows, or of columns. Few need no memory of their own: a twentieth of a call of microseconds.
class Axes {
public:
    void push_back(const Axis& axis) {
        if (size_ == kFew) many_.assign(few_, few_ + kFew);
        if (size_ < kFew)
            few_[size_] = axis;
        else
            many_.push_back(axis);
        ++size_;
    }
    size_t size() const { return size_; }
    const Axis* begin() const { return size_ <= kFew ? few_ : many_.data(); }
    const Axis* end() const { return begin() + size_; }
    Axis* begin() { return size_ <= kFew ? few_ : many_.data(); }
    Axis& front() { return *begin(); }
    const Axis& front() const { return *begin(); }
    const Axis& back() const { return *(end() - 1); }
    const Axis& operator[](size_t i) const { return begin()[i]; }

private:
    static constexpr size_t kFew = 2;
    Axis few_[kFew];
    size_t size_ = 0;
    std::vector<Axis> many_;
};

inline Axes forward_axes(int64_t out, int64_t stride, int64_t taps, int64_t dilation, int64_t pad) {
    Axes axes;
    axes.push_back({out, stride, taps, dilation, -pad, 0, 1, 0, 1});
    return axes;
}

inline Axes backward_axes(int64_t extent, int64_t stride, int64_t taps, int64_t dilation, int64_t pad) {
    const int64_t step = stride / std::gcd(stride, dilation);
    Axes axes;
    for (int64_t residue = 0; residue < std::min(stride, extent); ++residue) {
        const auto offset = [=](int64_t u) { return residue + pad - u * dilation; };
        int64_t first = 0;
        while (first < std::min(step, taps) && offset(first) % stride != 0) ++first;
        const int64_t count = first < std::min(step, taps) ? (taps - 1 - first) / step + 1 : 0;
        const int64_t last = first + (count - 1) * step;
        axes.push_back({(extent - residue + stride - 1) / stride, 1, count, step * dilation / stride,
                        count ? offset(last) / stride : 0, last, -step, residue, stride});
    }
    return axes;
}

// source (N, groups*Cin, SH, SW) and filters give result (N, groups*Cout, DH, DW).
template <class T>
struct Correlation {
    int64_t N, groups, Cin, Cout, SH, SW, DH, DW;
    Axes rows, columns;
    const T* source;
    T* result;
    const T* weights;
    int64_t weights_group, weights_in, weights_out;  // distances between groups, source and result channels
    int64_t FH, FW;
    const T* bias;  // of the result's channels, or null
    Clip<T> clip;

    const T* source_plane(int64_t n, int64_t group) const { return source + (n * groups + group) * Cin * SH * SW; }
    T* result_plane(int64_t n, int64_t group, int64_t c) const {
        return result + ((n * groups + group) * Cout + c) * DH * DW;
    }

    // The outputs of the longest class of rows, and of columns: blocks are cut from these.
    int64_t out_rows() const { return rows.front().out; }
    int64_t out_columns() const { return columns.front().out; }

    double multiplications() const {
        double taps = 0;
        for (const Axis& h : rows)
            for (const Axis& w : columns) taps += double(h.out * h.taps) * double(w.out * w.taps);
        return taps * double(N * groups) * double(Cin * Cout);
    }
};

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
Correlation<T> forward_correlation(T* out, const T* x, const T* w, const T* b, const Window& p, int64_t FN,
                                   int64_t groups, double most) {
    const int64_t Cin = p.C / groups, Cout = FN / groups, taps = p.FH * p.FW;
    return {p.N, groups, Cin, Cout, p.H, p.W, p.OH, p.OW,
            forward_axes(p.OH, p.stride_h, p.FH, p.dilation_h, p.pad_top),
            forward_axes(p.OW, p.stride_w, p.FW, p.dilation_w, p.pad_left),
            x, out, w, Cout * Cin * taps, taps, Cin * taps, p.FH, p.FW, b, {T(most)}};
}

template <class T>
Correlation<T> backward_correlation(T* dx, const T* dout, const T* w, const Window& p, int64_t FN, int64_t groups) {
    const int64_t Cin = FN / groups, Cout = p.C / groups, taps = p.FH * p.FW;
    return {p.N, groups, Cin, Cout, p.OH, p.OW, p.H, p.W,
            backward_axes(p.H, p.stride_h, p.FH, p.dilation_h, p.pad_top),
            backward_axes(p.W, p.stride_w, p.FW, p.dilation_w, p.pad_left),
            dout, dx, w, Cin * Cout * taps, Cout * taps, taps, p.FH, p.FW, nullptr, {}};
}

// A filter of one tap that meets every pixel: one row of SH*SW columns instead of an image.
template <class T>
void fold_pointwise(Correlation<T>& c) {
    const auto is_identity = [](const Axes& axes, int64_t extent) {
        const Axis& a = axes.front();
        return axes.size() == 1 && a.taps == 1 && a.stride == 1 && a.start == 0 && a.out == extent && a.dst_step == 1;
    };
    if (!is_identity(c.rows, c.SH) || !is_identity(c.columns, c.SW)) return;
    c.columns.front().out = c.SW = c.DW = c.SH * c.SW;
    c.rows.front().out = c.SH = c.DH = 1;
}

}  // namespace fc::conv
