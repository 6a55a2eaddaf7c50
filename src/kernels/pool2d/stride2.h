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
    static Vec<T> last_lane_first(Vec<T> a, Vec<T> b) { return fc::detail::shuffle<fc::detail::From<lanes<T> - 1>>(a, b); }
    static Vec<T> first_lane_last(Vec<T> a, Vec<T> b) { return fc::detail::shuffle<fc::detail::From<1>>(a, b); }

    Vec<T> previous_odd_;
};

}  // namespace
