// Windows of K columns with stride 2, the common ones, in registers: two vectors of a row give its even and its odd
// columns, and a window's third column is the neighbouring lane of one of them, the last one a number beside the vectors.
#pragma once
#include "planes.h"

namespace {

// With more padding than half of a window, more than the last vector of a row would reach beyond x.
inline bool is_stride2(const Window& p, int64_t K, int64_t pad) {
    return p.FH == K && p.FW == K && p.stride_w == 2 && p.pad_left == pad && p.dilation_h == 1 && p.dilation_w == 1 &&
           std::max({p.pad_top, p.pad_bottom, p.pad_right}) <= K / 2;
}

// 2 x 2 windows with stride 2 that lie in x. Its last row and its last column may belong to none.
inline bool is_2x2(const Window& p) {
    return is_stride2(p, 2, 0) && p.stride_h == 2 && p.pad_top == 0 && 2 * p.OH <= p.H && 2 * p.OW <= p.W;
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

// The columns of a plane, for K x K windows whose rows begin with Pad columns of padding. Outside of x is `fill`; or, for
// maxima, where it costs less, an element again that the window has anyway (Repeat).
template <class T, int K, int Pad, bool Repeat>
class Stride2Columns {
    static_assert((K == 2 && Pad == 0) || K == 3);
    static constexpr int64_t L = lanes<T>;
    using I = Int<T>;

public:
    Stride2Columns(const Window& p, T fill) : W_(p.W), OW_(p.OW) {
        const int64_t left = p.W - 2 * std::max(OW_ - L, int64_t(0));
        for (int half = 0; half < 2; ++half) {
            some_[half] = fc::LaneRange<T>(0, left - half * L);
            const auto there = fc::iota<I>() < fc::set1(I(std::clamp<int64_t>(left - half * L, 0, L)));
            others_[half] = fc::select(there, fc::zero<I>(), fc::bits<I>(fc::set1(fill)));
        }
    }

    // body(j, n, taps) for the windows j to j + n - 1, all of a row in turn; n is `lanes`, a constant, or less.
    // taps(value, tap) makes vectors of their taps; value(get) has one vector of x from get(row), or a sum of such.
    // The last vector overlaps the one before it, where that is possible.
    template <class Body>
    __attribute__((always_inline)) void each(Body body) const {
        const int64_t W = W_, OW = OW_;
        constexpr int64_t third = K == 3 && Pad == 0;  // a column beyond two vectors
        for (int64_t from = 0; from < OW; from += L) {
            const int64_t j = std::max(std::min(from, OW - L), int64_t(0)), w = 2 * j;
            const int64_t next_to = Pad ? std::max(w - 1, int64_t(0)) : std::min(w + 2 * L, W - 1);
            const auto beside = [=](const T* row) { return fc::set1(row[next_to]); };
            if (OW >= L && w + 2 * L + third <= W) {
                body(j, std::integral_constant<int64_t, L>{}, [=](auto value, Vec<T>* tap) __attribute__((always_inline)) {
                    taps(value([=](const T* row) { return fc::load(row + w); }),
                         value([=](const T* row) { return fc::load(row + w + L); }),
                         Repeat || !Pad || w ? value(beside) : fc::zero<T>(), tap);
                });
            } else {
                const auto half = [&](int k) {
                    return [&, k](const T* row) {
                        return fc::bits<T>(fc::bits<I>(some_[k].load(row + w + k * L)) | others_[k]);
                    };
                };
                body(j, std::min(OW, L), [&](auto value, Vec<T>* tap) __attribute__((always_inline)) {
                    const bool there = Pad ? w > 0 : w + 2 * L < W;
                    taps(value(half(0)), value(half(1)), Repeat || there ? value(beside) : fc::zero<T>(), tap);
                });
            }
        }
    }

private:
    // tap[v]: tap v of the windows whose tap Pad is in the columns of a and b; beside has the column before or behind.
    FC_INLINE void taps(Vec<T> a, Vec<T> b, Vec<T> beside, Vec<T>* tap) {
        fc::keep(a);
        fc::keep(b);
        const Vec<T> even = fc::even(a, b), odd = fc::odd(a, b);
        tap[Pad] = even, tap[Pad + 1] = odd;
        if constexpr (K == 3 && Pad == 0) tap[2] = first_lane_last(even, beside);
        if constexpr (K == 3 && Pad == 1) tap[0] = last_lane_first(beside, odd);
    }

    const int64_t W_, OW_;
    fc::LaneRange<T> some_[2];  // the last windows' columns that are there
    Vec<I> others_[2];          // the bits of `fill` in the others
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
