// Backwards through windows: for every element of x, the windows that cover it.
//
// Window j has tap v at padded column j*stride + v. So padded column k*stride + r, which is in phase r, is covered by the
// windows k, k-1, ... : as many as there are taps r, r + stride, ... Over the columns of one phase that is a vector of
// windows for every one of these taps, and the phases together make a row.
#pragma once
#include "planes.h"

namespace {

struct Phase {
    int64_t k;      // the last window that covers the phase's first column in x
    int64_t count;  // windows that cover each of its columns, before the ends of the row are counted
};

// The first n lanes into each of `rows` rows.
template <class T, class V>
void store_rows(T* to, int64_t distance, int64_t rows, V v, int64_t n) {
    for (int64_t i = 0; i < rows; ++i, to += distance) fc::store_n(to, v, n);
}

class Covering {
public:
    explicit Covering(const Window& p)
        : p_(p), phases_(p.stride_w), margin((p.FW - 1) / p.stride_w) {
        for (int64_t c = 0; c < p.stride_w; ++c) {
            const int64_t padded = p.pad_left + c, r = padded % p.stride_w;
            phases_[c] = {padded / p.stride_w, r < p.FW ? (p.FW - 1 - r) / p.stride_w + 1 : 0};
        }
    }

    // body(h, rows, first, last) for the rows [begin, end) of x: from h on so many are covered by the same rows of windows,
    // first to last; by none where first > last.
    template <class Body>
    void each_group(int64_t begin, int64_t end, Body&& body) const {
        const int64_t OH = p_.OH, FH = p_.FH, stride = p_.stride_h, top = p_.pad_top;
        int64_t first = 0, last = -1;
        for (int64_t h = begin, next; h < end; h = next) {
            while (last + 1 < OH && (last + 1) * stride <= h + top) ++last;
            while (first * stride + FH <= h + top) ++first;
            next = end;
            if (last + 1 < OH) next = std::min(next, (last + 1) * stride - top);
            if (first <= last) next = std::min(next, first * stride + FH - top);
            body(h, next - h, first, last);
        }
    }

    // Rows of windows are read from `margin` elements before their beginning, for `length` elements in all.
    template <class T>
    int64_t length() const {
        return margin + std::max(round_up(p_.OW, lanes<T>), (p_.W + p_.pad_left) / p_.stride_w + 1 + lanes<T>);
    }

    // Fills `rows` equal rows of x. value(k, count) makes the column that the windows k - count + 1 to k cover, and from
    // lane to lane those that their right neighbours cover.
    template <class T, class Value>
    void write_rows(T* row, int64_t rows, Value&& value) const {
        constexpr int64_t L = lanes<T>;
        if (p_.stride_w == 1) {
            const Phase only = phases_[0];
            for (int64_t w = 0; w < p_.W; w += L) store_rows(row + w, p_.W, rows, value(only.k + w, only.count), p_.W - w);
        } else if (p_.stride_w == 2) {
            const Phase even = phases_[0], odd = phases_[1];
            for (int64_t w = 0; w < p_.W; w += 2 * L) {
                const Vec<T> a = value(even.k + w / 2, even.count), b = value(odd.k + w / 2, odd.count);
                store_rows(row + w, p_.W, rows, fc::interleave_lo(a, b), p_.W - w);
                if (w + L < p_.W) store_rows(row + w + L, p_.W, rows, fc::interleave_hi(a, b), p_.W - w - L);
            }
        } else {
            for (int64_t c = 0; c < std::min(p_.stride_w, p_.W); ++c) {
                Phase at = phases_[c];
                for (int64_t w = c; w < p_.W; w += L * p_.stride_w, at.k += L) {
                    T block[L];
                    fc::store(block, value(at.k, at.count));
                    const int64_t n = std::min(L, (p_.W - w + p_.stride_w - 1) / p_.stride_w);
                    for (int64_t i = 0; i < rows; ++i)
                        for (int64_t l = 0; l < n; ++l) row[i * p_.W + w + l * p_.stride_w] = block[l];
                }
            }
        }
    }

private:
    const Window& p_;
    Scratch<Phase> phases_;  // of the columns c, c + stride, ...

public:
    const int64_t margin;
};

}  // namespace
