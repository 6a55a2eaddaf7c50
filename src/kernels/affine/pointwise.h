// Convolution by 1x1 filters as products of matrices: an affine map of the channels of every pixel.
//
//   forward         out[n] (FN, pixels)  =  w (FN, C) . x[n] (C, pixels) + b, then ReLU if asked for
//   backward_data   dx[n]  (C, pixels)   =  w^T . dout[n]
//
// Vectors run over pixels, so that results are written as they lie in memory. conv2d's direct kernel has them over
// channels and transposes its results: that is better where many channels become few.
#pragma once
#include "gemm.h"
#include "step.h"

namespace fc {

struct Pointwise {
    int64_t N, Cin, Cout, pixels;
    bool upside_down;  // w is (Cin, Cout): backward_data
    bool relu;

    double nanoseconds(int lanes, int64_t images) const {
        return double(images) * double(pixels) * double(Cin) * double(Cout) / (3.0 * lanes);
    }
};

// Images, or parts of their pixels where there are too few of them for the threads.
template <class T>
void pointwise(T* out, const T* x, const T* w, const T* b, const Pointwise& s) {
    constexpr int64_t kTasksPerThread = 4, kFewPixels = 16 * lanes<T>;
    const int nthreads = threads_for(s.nanoseconds(lanes<T>, s.N));
    const int64_t wanted = nthreads > 1 ? detail::ceil_div(kTasksPerThread * nthreads, std::max<int64_t>(s.N, 1)) : 1;
    const int64_t most = std::max<int64_t>(s.pixels / kFewPixels, 1);
    const int64_t part = detail::equal_parts(s.pixels, detail::ceil_div(s.pixels, std::min(wanted, most)), 2 * lanes<T>);
    const int64_t parts = detail::ceil_div(s.pixels, part);
    parallel(s.N * parts, nthreads, [&](int64_t task, int) {
        const int64_t image = task / parts, first = task % parts * part;
        Product<T> p{s.Cout, s.pixels, s.Cin, {w, s.Cin, 1}, {x + image * s.Cin * s.pixels, s.pixels, 1},
                     out + image * s.Cout * s.pixels, s.pixels, {b, 1, 0}, s.relu};
        if (s.upside_down) p.A = {w, 1, s.Cout};
        gemm_on_this_thread(p.part(0, s.Cout, first, std::min(part, s.pixels - first)));
    });
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
