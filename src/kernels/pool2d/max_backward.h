// Maximum pooling, backward: every dout is added at its window's index.
//
// For the common windows an element of dx looks through the windows that cover it for its own index, in vectors: dx is
// written once, and never read. They run down a strip of columns, where the windows of the rows above stay in registers.
// All others are scattered into a plane that was zeroed in cache. Both add in the order of the windows. An index may lie
// outside of its window (the caller may have changed it): then fewer douts are found than there are, and the plane is
// scattered after all.
#pragma once
#include <limits>

#include "planes.h"

#define FC_MEMBER __attribute__((always_inline))

namespace {

template <class T>
void scatter(T* dx, const T* dout, const int64_t* indices, const Window& p) {
    std::fill_n(dx, p.H * p.W, T(0));
    for (int64_t i = 0; i < p.OH * p.OW; ++i) dx[indices[i]] += dout[i];
}

// Neighbouring windows of one row; where there is no window the index is -1.
template <class T>
struct Windows {
    Vec<T> dout;
    Vec<Int<T>> index;
};

// K x K windows with stride S and Pad rows and columns before them.
template <class T, int K, int S, int Pad>
class GatherMaxima {
public:
    explicit GatherMaxima(const Window& p) : H_(p.H), W_(p.W), OH_(p.OH), OW_(p.OW) {}

    // Whether every dout of the plane was found.
    bool plane(T* dx, const T* dout, const int64_t* indices) const {
        const GatherMaxima sizes = *this;  // a copy that no store can change: masks and offsets stay in registers
        Vec<I> found = fc::zero<I>();
        const int64_t rows = S * std::max(int64_t(1), kBand / (S * sizes.W_));
        for (int64_t h = 0; h < sizes.H_; h += rows)
            for (int64_t w = 0; w < sizes.W_; w += S * L)
                found += sizes.strip(dx + w, dout + w / S, indices + w / S, w, h, std::min(h + rows, sizes.H_));
        return fc::sum(found) == sizes.OH_ * sizes.OW_;
    }

private:
    using I = Int<T>;
    static constexpr int L = lanes<T>;
    static constexpr int64_t kBand = 1024;

    // The windows that cover row (or column) m*S + r of x: m + first(r) to m + last(r).
    static constexpr int first(int r) { return -((K - 1 - r - Pad + 2 * S) / S - 2); }
    static constexpr int last(int r) { return (r + Pad) / S; }
    static constexpr int kFirst = first(0), kNear = last(S - 1) - kFirst + 1;

    // S*L columns of dx from column w on. How many douts each lane found.
    FC_MEMBER Vec<I> strip(T* dx, const T* dout, const int64_t* indices, int64_t w, int64_t begin, int64_t end) const {
        Vec<I> found = fc::zero<I>();
        int64_t m = begin / S;
        Windows<T> near[kNear][kNear];  // from row h/S + kFirst and column w/S + kFirst
        FC_UNROLL for (int r = 1; r < kNear; ++r) fetch(near[r], dout, indices, m + kFirst + r - 1, w / S);
        for (int64_t h = begin; h < end; h += S, ++m) {
            FC_UNROLL for (int r = 1; r < kNear; ++r)
                FC_UNROLL for (int c = 0; c < kNear; ++c) near[r - 1][c] = near[r][c];
            fetch(near[kNear - 1], dout, indices, m + last(S - 1), w / S);
            write<0>(dx + h * W_, h * W_ + w, w, near, found);
            if (S == 2 && h + 1 < end) write<S - 1>(dx + (h + 1) * W_, (h + 1) * W_ + w, w, near, found);
        }
        return found;
    }

    // Row i of the windows: to[c] holds those at j + kFirst + c, and from lane to lane their right neighbours.
    FC_MEMBER void fetch(Windows<T>* to, const T* dout, const int64_t* indices, int64_t i, int64_t j) const {
        const bool exists = i >= 0 && i < OH_;
        FC_UNROLL for (int c = 0; c < kNear; ++c) {
            const int64_t at = i * OW_ + kFirst + c, begin = -(j + kFirst + c), end = OW_ + begin;
            to[c] = exists ? fetch(dout + at, indices + at, begin, end) : Windows<T>{fc::zero<T>(), fc::set1(I(-1))};
        }
    }

    // The windows exist in the lanes [begin, end).
    static FC_MEMBER Windows<T> fetch(const T* dout, const int64_t* indices, int64_t begin, int64_t end) {
        constexpr int half = lanes<int64_t>;
        const Vec<I> lane = fc::iota<I>();
        const auto exist = (lane >= fc::set1(I(begin))) & (lane < fc::set1(I(std::min<int64_t>(end, L))));
        Vec<I> index;
        if constexpr (sizeof(T) == 8)
            index = fc::load_between(indices, begin, end);
        else
            index = fc::narrow(fc::load_between(indices, begin, end),
                               fc::load_between(indices + half, begin - half, end - half));
        return {fc::load_between(dout, begin, end), fc::select(exist, index, fc::set1(I(-1)))};
    }

    // S*L columns of a row h = m*S + Row of dx; the first has the position `at` in the plane and is in column w.
    template <int Row>
    FC_MEMBER void write(T* dx, int64_t at, int64_t w, const Windows<T> (&near)[kNear][kNear], Vec<I>& found) const {
        const Vec<I> own = fc::iota<I>() * S + fc::set1(I(at));
        const Vec<T> even = sum<Row, 0>(own, near, found);
        if constexpr (S == 1) {
            fc::store_n(dx, even, W_ - w);
        } else {
            const Vec<T> odd = sum<Row, 1>(own + fc::set1(I(1)), near, found);
            fc::store_n(dx, fc::interleave_lo(even, odd), W_ - w);
            if (w + L < W_) fc::store_n(dx + L, fc::interleave_hi(even, odd), W_ - w - L);
        }
    }

    // The douts whose index is `own`, among the windows that cover Row and Column.
    template <int Row, int Column>
    static FC_MEMBER Vec<T> sum(Vec<I> own, const Windows<T> (&near)[kNear][kNear], Vec<I>& found) {
        Vec<T> sum = fc::zero<T>();
        for (int i = first(Row); i <= last(Row); ++i)
            for (int j = first(Column); j <= last(Column); ++j) {
                const Windows<T>& windows = near[i - kFirst][j - kFirst];
                const auto hit = windows.index == own;
                sum = fc::select(hit, sum + windows.dout, sum);
                found = fc::select(hit, found + fc::set1(I(1)), found);
            }
        return sum;
    }

    int64_t H_, W_, OH_, OW_;
};

// Anything else: nothing is found without a scatter.
struct NoGather {
    bool plane(void*, const void*, const int64_t*) const { return false; }
};

// f(gather) with the gather that p's windows have, NoGather where they are few or uncommon.
template <class T, class F>
void with_gather(const Window& p, F&& f) {
    const auto is = [&](int64_t K, int64_t stride, int64_t pad) {
        return p.FH == K && p.FW == K && p.stride_h == stride && p.stride_w == stride && p.pad_top == pad &&
               p.pad_left == pad && p.dilation_h == 1 && p.dilation_w == 1;
    };
    if (p.H * p.W > std::numeric_limits<Int<T>>::max()) return f(NoGather());
    if (is(2, 2, 0)) return f(GatherMaxima<T, 2, 2, 0>(p));
    if (is(3, 2, 0)) return f(GatherMaxima<T, 3, 2, 0>(p));
    if (is(3, 2, 1)) return f(GatherMaxima<T, 3, 2, 1>(p));
    if (is(3, 1, 1)) return f(GatherMaxima<T, 3, 1, 1>(p));
    f(NoGather());
}

template <class T>
void max_backward(T* dx, const T* dout, const int64_t* indices, const Window* window) {
    const Window& p = *window;
    const int64_t planes = p.N * p.C, inside = p.H * p.W, count = p.OH * p.OW;
    over_planes(planes, 1, double(planes) * (0.1 * double(inside) + 0.5 * double(count)), [&](const Part& part) {
        with_gather<T>(p, [&](const auto& gather) {
            for (int64_t n = part.plane_begin; n < part.plane_end; ++n)
                if (!gather.plane(dx + n * inside, dout + n * count, indices + n * count))
                    scatter(dx + n * inside, dout + n * count, indices + n * count, p);
        });
    });
}

}  // namespace
