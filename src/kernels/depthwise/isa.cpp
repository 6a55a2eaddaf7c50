// Depthwise convolution: every channel has filters of its own, `multiplier` of them (1, mostly).
//
//   out[n, f]  =  b[f] + x[n, f/multiplier] (*) w[f]        (*): 2-D cross-correlation of two planes
//
// No channel meets another: there is nothing to reuse across channels, and memory sets the pace. Vectors run over columns.
// slide.h is for 3 x 3 filters with stride 1, rows.h for the other square ones that networks use, general.h for the rest.
// conv2d/ref.py is the truth.
#include <algorithm>

#include "general.h"
#include "kernel.h"
#include "slide.h"
#include "step.h"

namespace {

constexpr int64_t kTotalsBytes = 8 << 10;  // of the filters' vectors of sums

template <class T>
using Planewise = void (*)(const Windows&, const Run<T>&);
template <class T>
using BackwardWeights = void (*)(const Windows&, const WeightsRun<T>&);

// One of the fast path's functions for each filter size and stride.
template <class F>
struct Fast {
    F size3_stride1, size3_stride2, size5_stride1, size5_stride2, size7_stride1;

    // The function for a window, null when there is none.
    F operator()(const Window& p) const {
        const int64_t stride = p.stride_h;
        const bool square = p.FH == p.FW && p.stride_w == stride;
        if (!square || stride > 2 || p.dilation_h > 1 || p.dilation_w > 1) return nullptr;
        switch (p.FH) {
            case 3: return stride == 1 ? size3_stride1 : size3_stride2;
            case 5: return stride == 1 ? size5_stride1 : size5_stride2;
            case 7: return stride == 1 ? size7_stride1 : nullptr;
            default: return nullptr;
        }
    }
};

// x86 without AVX2 has no fast path for filters of 5 and 7: such processors are rare, and it is 0.1 MB of a wheel of 5.
constexpr bool kHasLarge = FC_VECTOR_BYTES > 16 || fc::kVectorRegisters == 32;

template <class F>
constexpr Fast<F> fast(F size3_stride1, F size3_stride2) {
    return {size3_stride1, size3_stride2, nullptr, nullptr, nullptr};
}

template <class T>
constexpr Fast<Planewise<T>> fast_forward() {
    if constexpr (!kHasLarge) return fast<Planewise<T>>(slide_forward<T>, rows_forward<T, 3, 2>);
    else
        return {slide_forward<T>, rows_forward<T, 3, 2>, rows_forward<T, 5, 1>, rows_forward<T, 5, 2>,
                rows_forward<T, 7, 1>};
}
template <class T, int Odd>
constexpr Fast<Planewise<T>> fast_backward_data() {
    if constexpr (!kHasLarge) return fast<Planewise<T>>(slide_backward_data<T>, rows_backward_data_2<T, 3, Odd>);
    else
        return {slide_backward_data<T>, rows_backward_data_2<T, 3, Odd>, rows_backward_data_1<T, 5>,
                rows_backward_data_2<T, 5, Odd>, rows_backward_data_1<T, 7>};
}
template <class T>
constexpr Fast<BackwardWeights<T>> fast_backward_weights() {
    if constexpr (!kHasLarge)
        return fast<BackwardWeights<T>>(slide_backward_weights<T>, rows_backward_weights<T, 3, 2>);
    else
        return {slide_backward_weights<T>, rows_backward_weights<T, 3, 2>, rows_backward_weights<T, 5, 1>,
                rows_backward_weights<T, 5, 2>, rows_backward_weights<T, 7, 1>};
}

Windows windows_of(const Window& p) { return {p.H, p.W, p.OH, p.OW, p.pad_top, p.pad_left}; }

// A row of zeros, as wide as any.
template <class T>
class Zeros {
public:
    explicit Zeros(const Window& p) : zeros_(std::max(p.W, p.OW)) { std::fill_n(zeros_.get(), std::max(p.W, p.OW), T(0)); }
    operator const T*() const { return zeros_; }

private:
    Scratch<T> zeros_;
};

// One thread's time for all filters, and reading and writing all planes, of x and of out.
template <class T>
double nanoseconds(const Window& p, int64_t FN) {
    const double pixels = double(p.N * FN) * double(p.OH * p.OW), inputs = double(p.N * p.C) * double(p.H * p.W);
    return pixels * double(p.FH * p.FW) / (2.0 * lanes<T>) + (pixels + inputs) * sizeof(T) * 0.05;
}

template <class T>
void forward(T* out, const T* x, const T* w, const T* b, const Window* window, int64_t FN, double most) {
    const Window& p = *window;
    const auto fast = fast_forward<T>()(p);
    const int64_t multiplier = FN / p.C;
    const Clip<T> clip{T(most)};
    const Zeros<T> zeros(p);
    over_planes(p.N * FN, p.OH, nanoseconds<T>(p, FN), [&](const Part& part) {
        if (fast) return fast(windows_of(p), {part, FN, multiplier, x, w, b, clip, out, zeros});
        General<T> general(p);
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane) {
            const int64_t f = plane % FN;
            general.forward(x + plane / multiplier * p.H * p.W, w + f * p.FH * p.FW, b ? b[f] : T(0), clip,
                            out + plane * p.OH * p.OW, part.row_begin, part.row_end);
        }
    });
}

// The weights are read in place.
template <class T>
class Prepared final : public fc::Step {
public:
    Prepared(const T* w, const T* b, const Window& window, int64_t FN, double most)
        : w_(w), b_(b), window_(window), FN_(FN), most_(most) {}

    void run(void* out, const void* x, int64_t images) const override {
        const Window p = of(images);
        forward(static_cast<T*>(out), static_cast<const T*>(x), w_, b_, &p, FN_, most_);
    }
    double nanoseconds(int64_t images) const override { return ::nanoseconds<T>(of(images), FN_); }

private:
    Window of(int64_t images) const {
        Window p = window_;
        p.N = images;
        return p;
    }

    const T *w_, *b_;
    const Window window_;
    const int64_t FN_;
    const double most_;
};

template <class T>
fc::Step* prepare(const T* w, const T* b, const Window* p, int64_t FN, double most) {
    return new Prepared<T>(w, b, *p, FN, most);
}

template <class T>
void backward_data(T* dx, const T* dout, const T* w, const Window* window, int64_t FN) {
    const Window& p = *window;
    const int64_t multiplier = FN / p.C;
    const auto fast = multiplier > 1      ? nullptr
                      : p.pad_left % 2 ? fast_backward_data<T, 1>()(p)
                                       : fast_backward_data<T, 0>()(p);
    const Zeros<T> zeros(p);
    over_planes(p.N * p.C, p.H, nanoseconds<T>(p, FN), [&](const Part& part) {
        if (fast) return fast(windows_of(p), {part, FN, 1, dout, w, nullptr, {}, dx, zeros});
        General<T> general(p);
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
            general.backward_data(dout + plane * multiplier * p.OH * p.OW,
                                  w + plane % p.C * multiplier * p.FH * p.FW, multiplier, dx + plane * p.H * p.W,
                                  part.row_begin, part.row_end);
    });
}

template <class T>
void add_general(const Window& p, const WeightsRun<T>& run) {
    General<T> general(p);
    for (int64_t n = run.image_begin; n < run.image_end; ++n)
        for (int64_t f = run.filter_begin; f < run.filter_end; ++f) {
            const int64_t plane = run.plane(n, f);
            general.backward_weights(run.x + plane / run.multiplier * p.H * p.W, run.dout + plane * p.OH * p.OW,
                                     run.totals + (f - run.filter_begin) * (p.FH * p.FW + 1));
        }
}

// Neighbouring filters go through the images together, because their planes are neighbours in memory. A part is some of
// the images, where there are few filters; the parts' sums are added at the end, in their order.
template <class T>
void backward_weights(T* dw, T* db, const T* dout, const T* x, const Window* window, int64_t FN) {
    const Window& p = *window;
    const auto fast = fast_backward_weights<T>()(p);
    const int64_t sums_per_filter = p.FH * p.FW + 1, multiplier = FN / p.C;
    const int nthreads = fc::threads_for(nanoseconds<T>(p, FN));
    const int64_t parts = std::clamp<int64_t>(4 * nthreads / FN, 1, std::max<int64_t>(p.N, 1));
    const int64_t filters_at_once = std::clamp<int64_t>(kTotalsBytes / (sums_per_filter * FC_VECTOR_BYTES), 1,
                                                        (FN + nthreads - 1) / nthreads);
    const int64_t blocks = (FN + filters_at_once - 1) / filters_at_once;
    const Zeros<T> zeros(p);
    Scratch<T> sums(parts * FN * sums_per_filter);
    fc::parallel(parts * blocks, nthreads, [&](int64_t task, int) {
        const int64_t part = task / blocks, block = task % blocks;
        const int64_t begin = FN * block / blocks, end = FN * (block + 1) / blocks;
        Scratch<T> lane_sums(filters_at_once * sums_per_filter * lanes<T>);
        auto* totals = reinterpret_cast<Vec<T>*>(lane_sums.get());
        std::fill_n(totals, (end - begin) * sums_per_filter, Vec<T>{});
        const WeightsRun<T> run{p.N * part / parts, p.N * (part + 1) / parts, begin, end, FN, multiplier, x, dout, zeros,
                                totals};
        if (fast)
            fast(windows_of(p), run);
        else
            add_general(p, run);
        T* sum = sums + (part * FN + begin) * sums_per_filter;
        for (int64_t k = 0; k < (end - begin) * sums_per_filter; ++k) sum[k] = fc::sum(totals[k]);
    });
    for (int64_t f = 0; f < FN; ++f) {
        T* first = sums + f * sums_per_filter;
        for (int64_t part = 1; part < parts; ++part)
            for (int64_t k = 0; k < sums_per_filter; ++k) first[k] += first[part * FN * sums_per_filter + k];
        std::copy_n(first, sums_per_filter - 1, dw + f * (sums_per_filter - 1));
        if (db) db[f] = first[sums_per_filter - 1];
    }
}

}  // namespace

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(backward_data), FC_FLOATS(backward_weights),
           FC_FLOATS(prepare))
