// Convolution by 1x1 filters as products of matrices: an affine map of the channels of every pixel.
//
//   forward         out[n] (FN, pixels)  =  w (FN, C) . x[n] (C, pixels) + b, then ReLU or ReLU6 if asked for
//   backward_data   dx[n]  (C, pixels)   =  w^T . dout[n]
//
// Vectors run over pixels, so that results are written as they lie in memory. conv2d's direct kernel has them over
// channels and transposes its results: that is better where many channels become few, if there are registers for large
// tiles. Forward also takes strides: the pixels that are met are copied first.
#pragma once
#include "gemm.h"
#include "step.h"

namespace fc {

struct Pointwise {
    int64_t N, groups, Cin, Cout;              // channels: of a group
    int64_t H, W, OH, OW, stride_h, stride_w;  // of the source; pixel (i, j) of the result meets (i*stride_h, j*stride_w)
    bool upside_down;                          // w is (Cin, Cout): backward_data
    double most;                               // of the activation, see clip.h

    int64_t pixels() const { return OH * OW; }
    bool meets_all() const { return stride_h == 1 && stride_w == 1; }
    double nanoseconds(int lanes, int64_t images) const {
        return double(images * groups) * double(pixels()) * double(Cin) * double(Cout) / (3.0 * lanes);
    }
};

// dst[j] = src[j * step] for j < count.
template <class T>
void copy_every(T* dst, const T* src, int64_t step, int64_t count) {
    constexpr int64_t L = lanes<T>;
    int64_t j = 0;
    if (step == 2)
        for (; j + L < count; j += L)  // reads one number past the last used
            store(dst + j, even(load(src + 2 * j), load(src + 2 * j + L)));
    for (; j < count; ++j) dst[j] = src[j * step];
}

// What `count` pixels of the result from `first` on meet, in all channels of an image: [Cin][count]. Hardware does not
// foresee steps from plane to plane.
template <class T>
void copy_met(T* dst, const T* image, const Pointwise& s, int64_t first, int64_t count) {
    constexpr int64_t kChannelsAhead = 4, kLine = 64 / sizeof(T);
    const int64_t plane = s.H * s.W;
    for (int64_t channel = 0; channel < s.Cin; ++channel, image += plane)
        for (int64_t p = first, n; p < first + count; p += n, dst += n) {
            const int64_t i = p / s.OW, j = p % s.OW;
            n = std::min(s.OW - j, first + count - p);
            const T* row = image + i * s.stride_h * s.W + j * s.stride_w;
            for (int64_t k = 0; k < n * s.stride_w; k += kLine) prefetch(row + kChannelsAhead * plane + k);
            copy_every(dst, row, s.stride_w, n);
        }
}

// Threads take images, or parts of their pixels where there are too few of them, or channels where these are too few too.
template <class T>
void pointwise(T* out, const T* x, const T* w, const T* b, const Pointwise& s) {
    constexpr int64_t kTasksPerThread = 4, kFewPixels = 16 * lanes<T>, kNearBytes = 4 << 20;
    const int nthreads = threads_for(s.nanoseconds(lanes<T>, s.N));
    const int64_t pixels = s.pixels(), images = s.N * s.groups;  // a group is an image with filters of its own
    const int64_t wanted = nthreads > 1 ? detail::ceil_div(kTasksPerThread * nthreads, std::max<int64_t>(images, 1)) : 1;
    const int64_t most = std::max<int64_t>(pixels / kFewPixels, 1);
    const int64_t part = detail::equal_parts(pixels, detail::ceil_div(pixels, std::min(wanted, most)), 2 * lanes<T>);
    const int64_t parts = detail::ceil_div(pixels, part);
    const bool share_channels = images * parts < nthreads;
    const auto compute = [&](int64_t task, int) {
        const int64_t image = task / parts, group = image % s.groups;
        const int64_t first = task % parts * part, count = std::min(part, pixels - first);
        const T *source = x + image * s.Cin * s.H * s.W, *filters = w + group * s.Cin * s.Cout;
        const Scratch<T> met(s.meets_all() ? 0 : s.Cin * count);
        Product<T> p{s.Cout, count, s.Cin, {filters, s.Cin, 1}, {source + first, pixels, 1},
                     out + image * s.Cout * pixels + first, pixels, {b ? b + group * s.Cout : nullptr, 1, 0}, {T(s.most)}};
        if (s.upside_down) p.A = {filters, 1, s.Cout};
        p.B_is_near = !s.meets_all() || images * s.Cin * pixels <= kNearBytes / int64_t(sizeof(T));
        if (!s.meets_all()) {
            copy_met(met.get(), source, s, first, count);
            p.B = {met, count, 1};
        }
        share_channels ? gemm(p) : gemm_on_this_thread(p);
    };
    if (share_channels)
        for (int64_t task = 0; task < images * parts; ++task) compute(task, 0);
    else
        parallel(images * parts, nthreads, compute);
}

// Weights and bias are read in place.
template <class T>
class PreparedPointwise final : public Step {
public:
    PreparedPointwise(const T* w, const T* b, const Pointwise& sizes) : w(w), b(b), sizes(sizes) {}

    void run(void* out, const void* x, int64_t images) const override {
        Pointwise s = sizes;
        s.N = images;
        pointwise(static_cast<T*>(out), static_cast<const T*>(x), w, b, s);
    }
    double nanoseconds(int64_t images) const override { return sizes.nanoseconds(lanes<T>, images); }

private:
    const T *w, *b;
    const Pointwise sizes;
};

template <class T>
Step* prepare_pointwise(const T* w, const T* b, const Pointwise& s) {
    return new PreparedPointwise<T>(w, b, s);
}

}  // namespace fc
