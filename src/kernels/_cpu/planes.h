// What kernels that slide windows over single planes share: how planes are divided among threads, and rows read so
// that taps are vectors.
#pragma once
#include <algorithm>

#include "kernel.h"
#include "simd.h"
#include "window.h"

namespace {

using fc::Int;
using fc::lanes;
using fc::Scratch;
using fc::Taps;
using fc::Vec;
using fc::Window;

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// A stride counts only between windows: with one window on an axis, a large one would only cost memory.
inline Window simplified(Window p) {
    if (p.OH == 1) p.stride_h = std::min(p.stride_h, p.reach_h());
    if (p.OW == 1) p.stride_w = std::min(p.stride_w, p.reach_w());
    return p;
}

// Whether the windows reach so far, for the size of x and of the result, that rows and planes with their padding should
// not be copied: a window at a time is computed instead, in place.
inline bool is_spread(const Window& p) {
    constexpr double kUsual = 1 << 22;
    const double rows = std::max((p.OH - 1) * p.stride_h + p.reach_h(), p.pad_top + p.H);
    const double columns = std::max((p.OW - 1) * p.stride_w + p.reach_w(), p.pad_left + p.W);
    return rows * columns > std::max(kUsual, 16 * (double(p.H) * double(p.W) + double(p.OH) * double(p.OW)));
}

// Some planes, and some rows of each of them.
struct Part {
    int64_t plane_begin, plane_end, row_begin, row_end;
};

// body(Part) for parts that cover all rows of all planes: groups of whole planes, or pieces of one where they are few.
template <class Body>
void over_planes(int64_t planes, int64_t rows, double nanoseconds, Body&& body) {
    const int nthreads = fc::threads_for(nanoseconds);
    if (nthreads == 1 || planes == 0) return body(Part{0, planes, 0, rows});
    const int64_t parts = 8 * int64_t(nthreads);
    const int64_t groups = std::min(planes, parts), pieces = std::min(rows, (parts + groups - 1) / groups);
    fc::parallel(groups * pieces, nthreads, [&](int64_t task, int) {
        const int64_t group = task / pieces, piece = task % pieces;
        body(Part{planes * group / groups, planes * (group + 1) / groups, rows * piece / pieces,
                  rows * (piece + 1) / pieces});
    });
}

// One row, padded, its columns dealt out by their number modulo the stride: tap v of the windows j, j+1, ... is then
// contiguous, whatever the stride, the padding and the dilation are.
//
//   padded column  k*stride + r   is   phase r, element k
//   tap v of window j             is   phase (v*dilation) % stride, element j + (v*dilation)/stride
template <class T>
class PhasedRow {
public:
    PhasedRow(const Window& p, T fill)
        : W_(p.W), left_(p.pad_left), stride_(p.stride_w),
          length_(std::max((p.W + left_) / stride_ + 1, round_up(p.OW, lanes<T>) + (p.reach_w() - 1) / stride_)),
          elements_(stride_ * length_), line_(stride_ > 2 ? round_up(p.W, lanes<T>) : 1), taps_(p.FW), columns_(stride_) {
        std::fill_n(elements_.get(), stride_ * length_, fill);
        for (int64_t v = 0; v < p.FW; ++v) taps_[v] = element(v * p.dilation_w);
        for (int64_t c = 0; c < stride_; ++c) columns_[c] = element(left_ + c);
    }

    // Fills the row with vectors from load(w, n): its columns w to w+n-1, in the first n lanes.
    template <class Load>
    void read(Load&& load) {
        constexpr int64_t L = lanes<T>;
        if (stride_ == 1) {
            T* row = elements_ + left_;
            int64_t w = 0;
            for (; w + L <= W_; w += L) fc::store(row + w, load(w, L));
            if (w < W_) fc::store_n(row + w, load(w, W_ - w), W_ - w);
        } else if (stride_ == 2) {
            T *even = columns_[0], *odd = columns_[1];
            int64_t w = 0;
            for (; w + 2 * L <= W_; w += 2 * L) {
                const Vec<T> a = load(w, L), b = load(w + L, L);
                fc::store(even + w / 2, fc::even(a, b));
                fc::store(odd + w / 2, fc::odd(a, b));
            }
            if (const int64_t n = W_ - w; n > 0) {
                const Vec<T> a = load(w, std::min(n, L)), b = n > L ? load(w + L, n - L) : fc::zero<T>();
                fc::store_n(even + w / 2, fc::even(a, b), (n + 1) / 2);
                fc::store_n(odd + w / 2, fc::odd(a, b), n / 2);
            }
        } else {
            for (int64_t w = 0; w < W_; w += L) fc::store(line_ + w, load(w, std::min(L, W_ - w)));
            for (int64_t c = 0; c < std::min(stride_, W_); ++c) {
                T* to = columns_[c];
                for (int64_t w = c; w < W_; w += stride_) *to++ = line_[w];
            }
        }
    }

    // Tap v of windows 0, 1, ...; whole vectors may be read up to OW.
    T* tap(int64_t v) const { return taps_[v]; }

    // The inverse of read, for a row that was summed up tap by tap: from zeros, then its columns without the padding.
    void clear() { std::fill_n(elements_.get(), stride_ * length_, T(0)); }
    void write(T* row) const {
        int64_t phase = left_ % stride_, k = left_ / stride_;
        for (int64_t w = 0; w < W_; ++w) {
            row[w] = elements_[phase * length_ + k];
            if (++phase == stride_) phase = 0, ++k;
        }
    }

private:
    T* element(int64_t column) const { return elements_ + (column % stride_) * length_ + column / stride_; }

    int64_t W_, left_, stride_, length_;
    Scratch<T> elements_, line_;
    Scratch<T*> taps_, columns_;  // where tap v and the columns c, c + stride, ... begin
};

}  // namespace
