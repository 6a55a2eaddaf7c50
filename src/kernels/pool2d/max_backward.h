// Maximum pooling, backward: every dout is added at its window's index, in the order of the windows.
//
// In general the plane is zeroed in cache and scattered into; the time goes into waiting for its stores. Windows of 2 x 2
// with stride 2 do not overlap: there a vector of indices is compared with each of the window's four positions, and dx is
// written once, in whole rows. On wide planes that wins, by 1.6 when they come from memory. An index may lie outside of
// its window (the caller may have changed it): then some dout has no place there, and the plane is scattered after all.
#pragma once
#include <limits>

#include "planes.h"

namespace {

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

// The first n indices, in integers as wide as T.
template <class T>
Vec<Int<T>> narrow_indices(const int64_t* indices, int64_t n) {
    using I = Int<T>;
    constexpr int64_t half = lanes<int64_t>;
    if constexpr (sizeof(T) == 8)
        return fc::load_between(indices, 0, n);
    else
        return fc::even(fc::bits<I>(fc::load_between(indices, 0, n)),
                        fc::bits<I>(fc::load_between(indices + half, 0, n - half)));
}

// 2 x 2 windows, stride 2, no padding before. The last row and column of x may have no window, or half of one.
template <class T>
bool place_2x2(T* dx, const T* dout, const int64_t* indices, const Window& p) {
    using I = Int<T>;
    constexpr int64_t L = lanes<T>;
    const int64_t H = p.H, W = p.W, OH = p.OH, OW = p.OW;
    const Vec<I> right = fc::set1(I(1)), below = fc::set1(I(W));
    const Vec<T> zero = fc::zero<T>();
    Vec<I> misplaced = fc::zero<I>();
    for (int64_t i = 0; i < OH; ++i) {
        T* const row = dx + 2 * i * W;
        const bool has_lower = 2 * i + 1 < H;
        for (int64_t w = 0; w < W; w += 2 * L) {
            const int64_t at = i * OW + w / 2, n = OW - w / 2;
            const Vec<T> value = fc::load_between(dout + at, 0, n);
            const Vec<I> index = narrow_indices<T>(indices + at, n);
            const Vec<I> own = fc::iota<I>() * 2 + fc::set1(I(2 * i * W + w));
            const auto a = index == own, b = index == own + right, c = index == own + below, d = index == own + below + right;
            misplaced |= ~(a | b | c | d) & (fc::iota<I>() < fc::set1(I(std::min(n, L))));
            auto store = [=](T* to, Vec<T> even, Vec<T> odd) {
                fc::store_n(to, fc::interleave_lo(even, odd), W - w);
                if (w + L < W) fc::store_n(to + L, fc::interleave_hi(even, odd), W - w - L);
            };
            store(row + w, fc::select(a, value, zero), fc::select(b, value, zero));
            if (has_lower) store(row + W + w, fc::select(c, value, zero), fc::select(d, value, zero));
        }
    }
    for (int64_t h = 2 * OH; h < H; ++h) std::fill_n(dx + h * W, W, T(0));
    return fc::sum(misplaced) == 0 || scatter(dx, dout, indices, p);
}

constexpr int64_t kWide = 24;  // columns of windows from which on placing wins

// 0 if an index was outside of its plane, else 1.
template <class T>
int max_backward(T* dx, const T* dout, const int64_t* indices, const Window* window) {
    const Window& p = *window;
    const int64_t planes = p.N * p.C, inside = p.H * p.W, count = p.OH * p.OW;
    const bool place = p.FH == 2 && p.FW == 2 && p.stride_h == 2 && p.stride_w == 2 && p.pad_top == 0 &&
                       p.pad_left == 0 && p.dilation_h == 1 && p.dilation_w == 1 && p.OW >= kWide &&
                       inside <= std::numeric_limits<Int<T>>::max();
    std::atomic<bool> all{true};
    over_planes(planes, 1, double(planes) * (0.1 * double(inside) + 0.5 * double(count)), [&](const Part& part) {
        for (int64_t n = part.plane_begin; n < part.plane_end; ++n)
            if (!(place ? place_2x2<T> : scatter<T>)(dx + n * inside, dout + n * count, indices + n * count, p)) all = false;
    });
    return all;
}

}  // namespace
