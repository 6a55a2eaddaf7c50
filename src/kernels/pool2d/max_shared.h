// Max pooling, backward, where equal maxima of a window share its gradient: windows of K x K that tile the planes.
//
//   dx = dout / count where x == y, else 0 / count;  count: how many of the window's numbers are its maximum y
//
// A window with a NaN equals its maximum nowhere: its gradient is NaN. Windows of 2 x 2 are taken a vector at a time.
#pragma once
#include "planes.h"

namespace {

// Windows 0, 1, ... of a row, as far as whole vectors go; how many these were.
template <class T>
int64_t share_row_2x2(T* dx, const T* dout, const T* x, const T* y, int64_t count, int64_t W) {
    constexpr int64_t L = lanes<T>;
    const Vec<T> zero = fc::zero<T>(), one = fc::set1(T(1));
    int64_t j = 0;
    for (; j + L <= count; j += L) {
        const Vec<T> maximum = fc::load(y + j);
        Vec<T> tap[4], equal = zero;
        FC_UNROLL for (int u = 0; u < 2; ++u) {
            const Vec<T> a = fc::load(x + u * W + 2 * j), b = fc::load(x + u * W + 2 * j + L);
            tap[2 * u] = fc::even(a, b), tap[2 * u + 1] = fc::odd(a, b);
        }
        FC_UNROLL for (int t = 0; t < 4; ++t) equal += fc::select(tap[t] == maximum, one, zero);
        const Vec<T> shared = fc::load(dout + j) / equal, none = zero / equal;
        FC_UNROLL for (int t = 0; t < 4; ++t) tap[t] = fc::select(tap[t] == maximum, shared, none);
        FC_UNROLL for (int u = 0; u < 2; ++u) {
            fc::store(dx + u * W + 2 * j, fc::interleave_lo(tap[2 * u], tap[2 * u + 1]));
            fc::store(dx + u * W + 2 * j + L, fc::interleave_hi(tap[2 * u], tap[2 * u + 1]));
        }
    }
    return j;
}

template <class T>
void share_row(T* dx, const T* dout, const T* x, const T* y, int64_t count, int64_t W, int64_t K) {
    for (int64_t j = 0; j < count; ++j) {
        int64_t equal = 0;
        for (int64_t u = 0; u < K; ++u)
            for (int64_t v = 0; v < K; ++v) equal += x[u * W + j * K + v] == y[j];
        const T shared = dout[j] / T(equal), none = T(0) / T(equal);
        for (int64_t u = 0; u < K; ++u)
            for (int64_t v = 0; v < K; ++v) dx[u * W + j * K + v] = x[u * W + j * K + v] == y[j] ? shared : none;
    }
}

template <class T>
void max_shared_backward(T* dx, const T* dout, const T* x, const T* y, const Window* window) {
    const Window& p = *window;
    const int64_t planes = p.N * p.C, K = p.FH;
    over_planes(planes, p.OH, 0.5 * double(planes) * double(p.H * p.W), [&](const Part& part) {
        for (int64_t n = part.plane_begin; n < part.plane_end; ++n)
            for (int64_t i = part.row_begin; i < part.row_end; ++i) {
                const int64_t at = (n * p.H + i * K) * p.W, to = (n * p.OH + i) * p.OW;
                const int64_t done = K == 2 ? share_row_2x2(dx + at, dout + to, x + at, y + to, p.OW, p.W) : 0;
                share_row(dx + at + done * K, dout + to + done, x + at + done * K, y + to + done, p.OW - done, p.W, K);
            }
    });
}

}  // namespace
