// Maximum pooling, backward: every dout is added at its window's index, in the order of the windows.
//
// In general the plane is zeroed in cache and scattered into; the time goes into waiting for its stores. Windows of 2 x 2
// with stride 2 do not overlap: there an index's distance from the first of its window says which of four positions it is,
// and dx is written once, in whole rows. That is 1.2 to 1.6 times as fast. An index may lie outside of its window (the
// caller may have changed it): then some dout has no place there, and the plane is scattered after all.
#pragma once
#include <limits>

#include "stride2.h"

namespace {

using fc::LaneRange;

// False if an index was outside of the plane; its dout is left out.
template <class T>
bool scatter(T* dx, const T* dout, const int64_t* indices, const Window& p) {
    const int64_t inside = p.H * p.W, count = p.OH * p.OW;
    std::fill_n(dx, inside, T(0));
    bool all = true;
    for (int64_t i = 0; i < count; ++i) {
        const uint64_t at = uint64_t(indices[i]);
        if (at < uint64_t(inside)) dx[at] += dout[i];
        else all = false;
    }
    return all;
}

template <class T>
class Place2x2 {
    using I = Int<T>;
    static constexpr int64_t L = lanes<T>;

public:
    static bool takes(const Window& p) {
        return is_2x2(p) && p.OW >= kLeastWindows && p.H * p.W <= std::numeric_limits<I>::max();
    }

    explicit Place2x2(const Window& p)
        : p_(p), whole_(p.W / (2 * L) * (2 * L)), windows_(p.OW - whole_ / 2), values_(0, windows_), indices_(0, windows_),
          more_indices_(0, windows_ - lanes<int64_t>) {}

    bool plane(T* dx, const T* dout, const int64_t* indices) const {
        const int64_t W = p_.W, OH = p_.OH, OW = p_.OW, whole = whole_, left = W - whole;
        const LaneRange<T> values = values_;
        const LaneRange<int64_t> ranges[2] = {indices_, more_indices_};
        const Vec<I> below = fc::set1(I(W)), there = fc::set1(I(windows_));
        Vec<I> misplaced = fc::zero<I>();
        for (int64_t i = 0; i < OH; ++i) {
            T* const row = dx + 2 * i * W;
            const T* const d = dout + i * OW;
            const int64_t* const at = indices + i * OW;
            for (int64_t w = 0; w < whole; w += 2 * L) {
                const auto all = [&](int half) { return fc::load(at + w / 2 + half * lanes<int64_t>); };
                const Vec<I> offset = narrow(all, misplaced) - fc::iota<I>() * 2 - fc::set1(I(2 * i * W + w));
                put(fc::load(d + w / 2), offset, below, misplaced, [&](int lower, int half, Vec<T> v) {
                    fc::store(row + lower * W + w + half * L, v);
                });
            }
            if (left == 0) continue;
            const auto some = [&](int half) { return ranges[half].load(at + whole / 2 + half * lanes<int64_t>); };
            const Vec<I> offset = narrow(some, misplaced) - fc::iota<I>() * 2 - fc::set1(I(2 * i * W + whole));
            put(values.load(d + whole / 2), fc::select(fc::iota<I>() < there, offset, fc::zero<I>()), below, misplaced,
                [&](int lower, int half, Vec<T> v) {
                    if (half * L < left) fc::store_n(row + lower * W + whole + half * L, v, left - half * L);
                });
        }
        std::fill(dx + 2 * OH * W, dx + p_.H * W, T(0));
        const Vec<I> found = fc::select(misplaced == fc::zero<I>(), fc::zero<I>(), fc::set1(I(1)));
        return fc::sum(found) == 0 || scatter(dx, dout, indices, p_);
    }

private:
    // A vector of indices in integers as wide as T, from its halves. What does not fit is misplaced.
    template <class Half>
    FC_INLINE Vec<I> narrow(Half half, Vec<I>& misplaced) {
        if constexpr (sizeof(T) == 8) {
            return half(0);
        } else {
            const Vec<I> first = fc::bits<I>(half(0)), second = fc::bits<I>(half(1));
            misplaced |= fc::odd(first, second);
            return fc::even(first, second);
        }
    }

    // Values to their places: `offset` from the first of its window.
    template <class Store>
    FC_INLINE void put(Vec<T> value, Vec<I> offset, Vec<I> below, Vec<I>& misplaced, Store store) {
        const Vec<T> zero = fc::zero<T>();
        const auto lower = offset >= below;
        const Vec<I> column = fc::select(lower, offset - below, offset);
        const auto right = column == fc::set1(I(1));
        misplaced |= column & ~fc::set1(I(1));
        const Vec<T> rows[2] = {fc::select(lower, zero, value), fc::select(lower, value, zero)};
        FC_UNROLL for (int u = 0; u < 2; ++u) {
            const Vec<T> even = fc::select(right, zero, rows[u]), odd = fc::select(right, rows[u], zero);
            store(u, 0, fc::interleave_lo(even, odd));
            store(u, 1, fc::interleave_hi(even, odd));
        }
    }

    static constexpr int64_t kLeastWindows = 8;  // columns of windows from which placing wins:
                                                 // docs/decisions/pool2d.md#maximum-backward

    const Window p_;
    const int64_t whole_, windows_;  // columns in whole vectors, and windows in what is left
    const LaneRange<T> values_;
    const LaneRange<int64_t> indices_, more_indices_;
};

// 0 if an index was outside of its plane, else 1.
template <class T>
int max_backward(T* dx, const T* dout, const int64_t* indices, const Window* window) {
    const Window& p = *window;
    const int64_t planes = p.N * p.C, inside = p.H * p.W, count = p.OH * p.OW;
    std::atomic<bool> all{true};
    over_planes(planes, 1, double(planes) * (0.1 * double(inside) + 0.5 * double(count)), [&](const Part& part) {
        const auto run = [&](auto plane) {
            for (int64_t n = part.plane_begin; n < part.plane_end; ++n)
                if (!plane(dx + n * inside, dout + n * count, indices + n * count)) all = false;
        };
        if (Place2x2<T>::takes(p)) {
            const Place2x2<T> place(p);
            run([&](T* x, const T* d, const int64_t* at) { return place.plane(x, d, at); });
        } else {
            run([&](T* x, const T* d, const int64_t* at) { return scatter(x, d, at, p); });
        }
    });
    return all;
}

}  // namespace
