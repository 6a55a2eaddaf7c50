// Local response normalisation across channels, forward and backward; local_response/ref.py has the formulas and is
// the truth. It is compiled with batch normalisation, since a module of its own would be 30 kB of the wheel.
//
// A task takes some neighbouring pixels of an image through all channels, so that what it reads `size` times stays in the
// first-level cache. The windows' sums are made anew for every channel: a sum carried along would lose digits, and an
// infinity would never leave it. s^-beta is exp(-beta*log(s)); for the usual beta of 3/4, two square roots and a division.
#pragma once
#include "kernel.h"
#include "simd_math.h"
#include "sizes.h"
#include "vectors.h"

namespace fc::response {

constexpr int64_t kPixelBytes = 256;            // of a task's pixels in one channel
constexpr double kNanosecondsPerElement = 0.7;  // of one thread, with windows of 5 channels

template <class T>
Vec<T> power(Vec<T> s, double beta) {
    if (beta == 0.75) {
        const Vec<T> root = sqrt(s);
        return T(1) / (root * sqrt(root));
    }
    return exp(T(-beta) * log(s));
}

// body(offset of the first pixel in an image's first channel, pixels) for all tasks.
template <class T, class Body>
void over_pixels(const LocalResponse& p, double work, Body body) {
    const int64_t width = kPixelBytes / int64_t(sizeof(T)), blocks = (p.P + width - 1) / width;
    const int nthreads = threads_for(double(p.N * p.C * p.P) * work * kNanosecondsPerElement);
    parallel(p.N * blocks, nthreads, [&](int64_t task, int) {
        const int64_t first = task % blocks * width;
        body(task / blocks * p.C * p.P + first, std::min(width, p.P - first));
    });
}

// The sum of f(channel) over the channels of a window that there are.
template <class T, class F>
Vec<T> window_sum(int64_t begin, int64_t end, int64_t C, F f) {
    Vec<T> sum{};
    for (int64_t d = std::max<int64_t>(begin, 0); d < std::min(end, C); ++d) sum += f(d);
    return sum;
}

// s of channel c at x, which points to a vector of pixels in the first channel.
template <class T, class Lanes>
Vec<T> scale(const T* x, int64_t c, const LocalResponse& p, Lanes lanes) {
    const Vec<T> sum = window_sum<T>(c - p.size / 2, c + (p.size - 1) / 2 + 1, p.C, [=, &p](int64_t d) {
        const Vec<T> v = lanes.load(x + d * p.P);
        return v * v;
    });
    return fma(sum, set1(T(p.alpha / double(p.size))), set1(T(p.k)));
}

template <class T>
void forward(T* out, const T* x, const LocalResponse* sizes) {
    const LocalResponse p = *sizes;
    over_pixels<T>(p, 1, [&](int64_t at, int64_t pixels) {
        for (int64_t c = 0; c < p.C; ++c)
            for_vectors<T, 1>(pixels, [&](int64_t i, auto lanes, int) {
                const T* here = x + at + i;
                lanes.store(out + at + c * p.P + i, lanes.load(here + c * p.P) * power<T>(scale(here, c, p, lanes), p.beta));
            });
    });
}

template <class T>
void backward(T* dx, const T* dout, const T* x, const LocalResponse* sizes) {
    const LocalResponse p = *sizes;
    const T factor = T(-2 * p.alpha * p.beta / double(p.size));
    constexpr int64_t width = kPixelBytes / int64_t(sizeof(T));
    over_pixels<T>(p, 2, [&](int64_t at, int64_t pixels) {
        Scratch<T> scratch(p.C * width);
        T* shares = scratch;  // [C][width]: dout*x*s^(-beta - 1)
        for (int64_t c = 0; c < p.C; ++c)
            for_vectors<T, 1>(pixels, [&](int64_t i, auto lanes, int) {
                const int64_t here = at + c * p.P + i;
                const Vec<T> s = scale(x + at + i, c, p, lanes), scaled = lanes.load(dout + here) * power<T>(s, p.beta);
                lanes.store(dx + here, scaled);
                lanes.store(shares + c * width + i, lanes.load(x + here) * scaled / s);
            });
        for (int64_t c = 0; c < p.C; ++c)
            for_vectors<T, 1>(pixels, [&](int64_t i, auto lanes, int) {
                const int64_t here = at + c * p.P + i;
                const Vec<T> sum = window_sum<T>(c - (p.size - 1) / 2, c + p.size / 2 + 1, p.C, [=](int64_t d) {
                    return lanes.load(shares + d * width + i);
                });
                lanes.store(dx + here, fma(set1(factor) * lanes.load(x + here), sum, lanes.load(dx + here)));
            });
    });
}

}  // namespace fc::response
