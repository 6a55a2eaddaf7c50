// Small planes, a lane for each of several: a row with fewer windows than lanes would leave most of a vector unused, and
// windows of any size, stride, dilation and padding are alike to vectors that run over planes. The planes are transposed
// on the way in, [element][plane], and the results on the way out.
#pragma once
#include "stride2.h"

namespace {

// Whether that pays: for strides above 2, and rows that fill no vector, or half of one where the window has kernels of its
// own; if there are planes for all lanes and they fit an L1 cache or two.
template <class T>
bool pays_across(const Window& p) {
    constexpr int64_t L = lanes<T>, kTransposedBytes = 64 << 10;
    const bool common = is_stride2(p, 2, 0) || is_stride2(p, 3, 0) || is_stride2(p, 3, 1);
    const int64_t few_windows = common ? std::min<int64_t>(4, L / 2) : std::min<int64_t>(8, L);
    return (p.stride_w > 2 || (p.OW <= few_windows && !is_2x2(p))) && p.N * p.C >= L &&
           p.H * p.W * L * int64_t(sizeof(T)) <= kTransposedBytes;
}

// to[k*lanes + i] = from[i*plane + k] for k < elements and i < planes, of at most `lanes`; 0 in the other lanes.
template <class T>
void transpose_planes(T* to, const T* from, int64_t plane, int64_t elements, int64_t planes) {
    constexpr int64_t L = lanes<T>, B = fc::detail::block_lanes<T>;
    int64_t k = 0;
    if (planes == L)
        for (; k + B <= elements; k += B) {
            Vec<T> columns[B];
            fc::load_transposed(from + k, plane, columns);
            FC_UNROLL for (int64_t i = 0; i < B; ++i) fc::store(to + (k + i) * L, columns[i]);
        }
    for (; k < elements; k += L) {
        const int64_t n = std::min(elements - k, L);
        Vec<T> block[L];
        FC_UNROLL for (int64_t i = 0; i < L; ++i)
            block[i] = i < planes ? fc::load_n(from + i * plane + k, n) : fc::zero<T>();
        fc::transpose<T>(block);
        for (int64_t i = 0; i < n; ++i) fc::store(to + (k + i) * L, block[i]);
    }
}

// body(kernel, first, count) for bundles of as many planes as there are lanes, shared among the threads, which have a kernel
// for each of their parts.
template <class Kernel, class T, class Body, class... Arguments>
void over_bundles(const Window& p, double nanoseconds, Body body, const Arguments&... arguments) {
    constexpr int64_t L = lanes<T>;
    const int64_t planes = p.N * p.C;
    over_planes((planes + L - 1) / L, 1, nanoseconds, [&](const Part& part) {
        const Kernel kernel(p, arguments...);
        for (int64_t bundle = part.plane_begin; bundle < part.plane_end; ++bundle)
            body(kernel, bundle * L, std::min<int64_t>(planes - bundle * L, L));
    });
}

// The taps of each window along one axis that are in x: where the first one is, and how many.
class Reach {
public:
    struct Inside {
        int64_t first, count;
    };

    Reach(int64_t windows, int64_t stride, int64_t pad, int64_t extent, int64_t taps, int64_t dilation) : inside_(windows) {
        for (int64_t i = 0; i < windows; ++i) {
            const int64_t start = i * stride - pad;
            const Taps of_window(start, extent, taps, dilation);
            inside_[i] = {start + of_window.begin * dilation, of_window.end - of_window.begin};
        }
    }
    const Inside& operator[](int64_t i) const { return inside_[i]; }

    static Reach rows(const Window& p) { return {p.OH, p.stride_h, p.pad_top, p.H, p.FH, p.dilation_h}; }
    static Reach columns(const Window& p) { return {p.OW, p.stride_w, p.pad_left, p.W, p.FW, p.dilation_w}; }

private:
    const Scratch<Inside> inside_;
};

// body(i, j, k) for the windows `at` to at + n - 1 of a plane: window k of them is in row i, column j.
template <class Body>
void for_each_window(const Window& p, int64_t at, int64_t n, Body body) {
    int64_t i = at / p.OW, j = at % p.OW;
    for (int64_t k = 0; k < n; ++k) {
        body(i, j, k);
        if (++j == p.OW) j = 0, ++i;
    }
}

}  // namespace
