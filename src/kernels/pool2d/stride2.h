// Windows of K columns with stride 2, the common ones, in registers: two vectors of a row give its even and its odd
// columns, and a window's third column is the neighbouring lane of one of them.
#pragma once
#include "planes.h"

namespace {

inline bool is_stride2(const Window& p, int64_t K, int64_t pad) {
    return p.FH == K && p.FW == K && p.stride_w == 2 && p.pad_left == pad && p.dilation_h == 1 && p.dilation_w == 1;
}

// The first n lanes from memory, the others `fill`; all when n >= lanes<T>, none when n <= 0.
template <class T>
Vec<T> load_or(const T* p, int64_t n, T fill) {
    if (n >= lanes<T>) return fc::load(p);
    if (n <= 0) return fc::set1(fill);
    return fc::select(fc::iota<Int<T>>() < fc::set1(Int<T>(n)), fc::load_n(p, n), fc::set1(fill));
}

// a's last lane, then b without its last; and a without its first lane, then b's first.
template <class V, int L = lanes<fc::Element<V>>>
V last_lane_first(V a, V b) {
    return fc::detail::shuffle<fc::detail::From<L - 1>>(a, b);
}
template <class V>
V first_lane_last(V a, V b) {
    return fc::detail::shuffle<fc::detail::From<1>>(a, b);
}

// One row of x; its vectors are asked for from left to right.
template <class T, int K, int Pad>
class Stride2 {
    static_assert((K == 2 && Pad == 0) || K == 3);

public:
    void begin(T fill) { previous_odd_ = fc::set1(fill); }

    // tap[v]: tap v of the windows whose tap Pad is in the columns w, w + 2, ... ; `fill` outside of the row.
    void taps(const T* row, int64_t w, int64_t W, T fill, Vec<T>* tap) {
        constexpr int64_t L = lanes<T>;
        taps([=](int64_t i) { return load_or(row + w + i * L, W - w - i * L, fill); }, tap);
    }

    // The same from vector(0), vector(1) and, if there is a third column without padding, vector(2).
    template <class Vector>
    void taps(Vector&& vector, Vec<T>* tap) {
        const Vec<T> a = vector(0), b = vector(1), even = fc::even(a, b), odd = fc::odd(a, b);
        if constexpr (K == 2) {
            tap[0] = even, tap[1] = odd;
        } else if constexpr (Pad == 1) {
            tap[0] = last_lane_first(previous_odd_, odd), tap[1] = even, tap[2] = odd;
            previous_odd_ = odd;
        } else {
            tap[0] = even, tap[1] = odd, tap[2] = first_lane_last(even, vector(2));
        }
    }

private:
    Vec<T> previous_odd_;
};

// Backwards: what one row of windows gives to the columns of x, from left to right.
template <class T, int K, int Pad>
class Stride2Cover {
public:
    explicit Stride2Cover(Vec<T> first) : previous_(fc::zero<T>()), current_(first) {}

    // The sums for the columns 2j, 2j + 2, ... and their right neighbours; sum(j) is a vector of the windows' values.
    template <class Sum>
    void columns(Sum&& sum, int64_t j, Vec<T>& even, Vec<T>& odd) {
        const Vec<T> next = sum(j + lanes<T>);
        even = odd = current_;
        if constexpr (K == 3 && Pad == 0) even += last_lane_first(previous_, current_);
        if constexpr (K == 3 && Pad == 1) odd += first_lane_last(current_, next);
        previous_ = current_;
        current_ = next;
    }

private:
    Vec<T> previous_, current_;
};

}  // namespace
