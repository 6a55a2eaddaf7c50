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

template <int64_t N>
using Count = std::integral_constant<int64_t, N>;

class Covering {
public:
    explicit Covering(const Window& p)
        : p_(p), margin((p.FW - 1) / p.stride_w), phases_{phase(0), phase(1)} {}

    // The windows that cover row h of x: output rows first to last.
    int64_t first(int64_t h) const {
        const int64_t before = h + p_.pad_top - p_.FH;
        return before < 0 ? 0 : quotient(before, p_.stride_h) + 1;
    }
    int64_t last(int64_t h) const { return std::min(p_.OH - 1, quotient(h + p_.pad_top, p_.stride_h)); }

    // Rows of windows are read from `margin` elements before their beginning, for `length` elements in all.
    template <class T>
    int64_t length() const {
        return margin + std::max(round_up(p_.OW, lanes<T>), (p_.W + p_.pad_left) / p_.stride_w + 1 + lanes<T>);
    }

    // Fills `rows` equal rows of x. value(k, count, w) makes the columns w, w + stride, ... that the windows k - count + 1
    // to k, and from lane to lane their right neighbours, cover. Where both counts are known to the compiler, as First
    // and Second of columns 0 and 1, `count` is a constant.
    template <int64_t First, int64_t Second, class T, class Value>
    void write_rows(T* row, int64_t rows, Value&& value) const {
        constexpr int64_t L = lanes<T>;
        const auto first = known<First>(phases_[0].count), second = known<Second>(phases_[1].count);
        const auto store = [this, rows](T* to, Vec<T> v, int64_t n) {
            if (n >= L)
                for (int64_t i = 0; i < rows; ++i) fc::store(to + i * p_.W, v);
            else
                for (int64_t i = 0; i < rows; ++i) fc::store_n(to + i * p_.W, v, n);
        };
        if (p_.stride_w == 1) {
            for (int64_t w = 0; w < p_.W; w += L) store(row + w, value(phases_[0].k + w, first, w), p_.W - w);
        } else if (p_.stride_w == 2) {
            for (int64_t w = 0; w < p_.W; w += 2 * L) {
                const Vec<T> a = value(phases_[0].k + w / 2, first, w);
                const Vec<T> b = value(phases_[1].k + w / 2, second, w + 1);
                store(row + w, fc::interleave_lo(a, b), p_.W - w);
                if (w + L < p_.W) store(row + w + L, fc::interleave_hi(a, b), p_.W - w - L);
            }
        } else {
            for (int64_t c = 0; c < std::min(p_.stride_w, p_.W); ++c) {
                Phase at = phase(c);
                T block[L];
                for (int64_t w = c; w < p_.W; w += L * p_.stride_w, at.k += L) {
                    fc::store(block, value(at.k, at.count, w));
                    const int64_t n = std::min(L, (p_.W - w + p_.stride_w - 1) / p_.stride_w);
                    for (int64_t i = 0; i < rows; ++i)
                        for (int64_t l = 0; l < n; ++l) row[i * p_.W + w + l * p_.stride_w] = block[l];
                }
            }
        }
    }

    // f(First, Second) as compiled constants for the common filters: 2 or 3 columns, stride 1 or 2. Others: zeros.
    template <class F>
    void with_counts(F&& f) const {
        const int64_t first = phases_[0].count, second = phases_[1].count;
        const auto is = [&](int64_t stride, int64_t a, int64_t b) {
            return p_.stride_w == stride && first == a && second == b;
        };
        if (is(2, 1, 1)) return f(Count<1>{}, Count<1>{});
        if (is(2, 1, 2)) return f(Count<1>{}, Count<2>{});
        if (is(2, 2, 1)) return f(Count<2>{}, Count<1>{});
        if (is(1, 3, 3)) return f(Count<3>{}, Count<3>{});
        f(Count<0>{}, Count<0>{});
    }

private:
    template <int64_t Constant>
    static auto known(int64_t count) {
        if constexpr (Constant != 0) return Count<Constant>{};
        else return count;
    }

    static int64_t quotient(int64_t a, int64_t b) { return b == 1 ? a : b == 2 ? a >> 1 : a / b; }

    // The phase of column c of x.
    Phase phase(int64_t c) const {
        const int64_t padded = p_.pad_left + c, r = padded % p_.stride_w;
        return {padded / p_.stride_w, r < p_.FW ? (p_.FW - 1 - r) / p_.stride_w + 1 : 0};
    }

    const Window& p_;

public:
    const int64_t margin;

private:
    const Phase phases_[2];  // of columns 0 and 1
};

}  // namespace
