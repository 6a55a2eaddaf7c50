// Windows of K columns with stride 2, the common ones, in registers: two vectors of a row give its even and its odd
// columns, and a window's third column is the neighbouring lane of one of them.
#pragma once
#include "planes.h"

namespace {

inline bool is_stride2(const Window& p, int64_t K, int64_t pad) {
    return p.FH == K && p.FW == K && p.stride_w == 2 && p.pad_left == pad && p.dilation_h == 1 && p.dilation_w == 1;
}

// 2 x 2 windows with stride 2 that lie in x. Its last row and its last column may belong to none.
inline bool is_2x2(const Window& p) {
    return is_stride2(p, 2, 0) && p.stride_h == 2 && p.pad_top == 0 && 2 * p.OH <= p.H && 2 * p.OW <= p.W;
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

// Rows [begin, end) of 2 x 2 windows. windows(load, upper, lower) makes a vector of results; load(row, half) is one of the
// two vectors that a row gives to them. Where a row is not made of whole vectors, the last overlaps the one before it.
template <class T>
class Rows2x2 {
    static constexpr int64_t L = lanes<T>;

public:
    explicit Rows2x2(const Window& p)
        : W_(p.W), OW_(p.OW), few_{fc::LaneRange<T>(0, 2 * OW_), fc::LaneRange<T>(0, 2 * OW_ - L)} {}

    template <class Windows>
    void plane(T* out, const T* x, int64_t begin, int64_t end, Windows windows) const {
        const int64_t W = W_, OW = OW_;
        const fc::LaneRange<T> few[2] = {few_[0], few_[1]};
        for (int64_t i = begin; i < end; ++i) {
            const T* const upper = x + 2 * i * W;
            T* const row = out + i * OW;
            if (OW < L) {
                const auto some = [&](const T* p, int half) { return few[half].load(p + half * L); };
                fc::store_n(row, windows(some, upper, upper + W), OW);
                continue;
            }
            const auto whole = [](const T* p, int half) { return fc::load(p + half * L); };
            const auto put = [=](int64_t j) { fc::store(row + j, windows(whole, upper + 2 * j, upper + W + 2 * j)); };
            for (int64_t j = 0; j + L <= OW; j += L) put(j);
            if (OW % L) put(OW - L);
        }
    }

private:
    const int64_t W_, OW_;
    const fc::LaneRange<T> few_[2];  // of a row with fewer windows than lanes
};

}  // namespace
