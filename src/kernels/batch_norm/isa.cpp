// Batch normalisation, forward and backward.
//
// One task goes through some channels from beginning to end: add up, finish the statistics, normalise. Its slice of x
// stays in the second-level cache meanwhile, so that memory is read once and written once. Where there are too few
// channels to keep the threads busy, images are shared out too, and the two passes are two parallel regions.
//
//   forward    y  = scale * (x - mean) + shift, between the bounds of a ReLU or ReLU6
//   backward   dx = scale * (dout + slope * (x - mean) + offset)
//
// planes.h and columns.h are the two ways through memory. Sums end in double, in an order fixed by the sizes and the
// number of threads. ref.py has the formulas and is the truth.
#include <cmath>

#include "columns.h"
#include "kernel.h"
#include "planes.h"
#include "response.h"
#include "step.h"

namespace {

using fc::Affine;
using fc::BatchNorm;
using fc::Block;
using fc::Gradient;
using fc::GradientSums;
using fc::Moments;

constexpr double kNanosecondsPerByte = 0.05;  // read or written, from cache
constexpr int64_t kShortPlane = 64;           // bytes; docs/decisions/batch_norm.md#matrices
constexpr int64_t kSlice = 512 << 10;         // bytes of a task's columns, which should stay in the second-level cache
constexpr int64_t kRun = 2048;                // bytes of neighbouring planes that are worth a jump to the next image
constexpr int64_t kElements = 16384;          // of a task that only normalises
constexpr int64_t kTasksPerThread = 4;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The blocks that are tasks: `channels` by `images` of the N x C planes.
struct Grid {
    BatchNorm p;
    int64_t channels, images;

    int64_t groups() const { return ceil_div(p.C, channels); }
    int64_t parts() const { return std::max<int64_t>(ceil_div(p.N, images), 1); }
    int64_t tasks() const { return groups() * parts(); }
    int64_t part(int64_t task) const { return task / groups(); }
    Block block(int64_t task) const {
        const int64_t c = task % groups() * channels, n = part(task) * images;
        return {c, std::min(c + channels, p.C), n, std::min(n + images, p.N)};
    }
};

// Whole channels if they can be dealt out evenly, fewer at a time if that helps, else images are divided as well.
Grid whole_channels(const BatchNorm& p, int64_t channels, int nthreads) {
    Grid grid{p, std::min(channels, p.C), std::max<int64_t>(p.N, 1)};
    const auto uneven = [&] {
        const int64_t groups = grid.groups();
        return ceil_div(groups, nthreads) * nthreads * 4 > groups * 5;  // a quarter more than its share
    };
    while (uneven() && grid.channels > 1) grid.channels = ceil_div(grid.channels, 2);
    if (uneven()) grid.images = std::max<int64_t>(p.N * grid.groups() / (nthreads * kTasksPerThread), 1);
    return grid;
}

// Blocks of about kElements, as long as possible in memory, with at most `channels`.
Grid runs(const BatchNorm& p, int64_t channels) {
    channels = std::clamp<int64_t>(kElements / p.P, 1, std::min(p.C, channels));
    return {p, channels, std::max<int64_t>(kElements / (channels * p.P), 1)};
}

// collect(block, part), then finish(c0, c1) when all parts of channels [c0, c1) are there, then apply(block).
template <class Collect, class Finish, class Apply>
void in_two_passes(const Grid& grid, int nthreads, Collect collect, Finish finish, Apply apply) {
    if (grid.parts() == 1) {
        fc::parallel(grid.groups(), nthreads, [&](int64_t task, int) {
            const Block b = grid.block(task);
            collect(b, 0);
            finish(b.c0, b.c1);
            apply(b);
        });
        return;
    }
    fc::parallel(grid.tasks(), nthreads, [&](int64_t task, int) { collect(grid.block(task), grid.part(task)); });
    finish(0, grid.p.C);
    fc::parallel(grid.tasks(), nthreads, [&](int64_t task, int) { apply(grid.block(task)); });
}

// Calls f(layout, channels of a task that adds them up, most channels of one that only normalises).
template <class T, class F>
void with_layout(const BatchNorm& p, F f) {
    using fc::Columns;
    constexpr int64_t bytes = sizeof(T);
    const fc::Trusted<T> trusted(p.eps);
    if (p.P * bytes < kShortPlane) {
        const int64_t columns = kSlice / (std::max<int64_t>(p.N, 1) * bytes), most = Columns<T>::kColumns;
        f(Columns<T>{p.C, p.P, trusted, T(p.least), T(p.most)}, std::clamp<int64_t>(columns, 64, most) / p.P, most / p.P);
    } else {
        f(fc::Planes<T>{p.C, p.P, trusted, T(p.least), T(p.most)}, ceil_div(kRun, p.P * bytes), p.C);
    }
}

int threads_for(const BatchNorm& p, size_t bytes_per_element) {
    return fc::threads_for(double(p.N * p.C * p.P) * double(bytes_per_element) * kNanosecondsPerByte);
}

template <class Sum>
Sum total(const Sum* partial, int64_t c, int64_t C, int64_t parts) {
    Sum sum = partial[c];
    for (int64_t part = 1; part < parts; ++part) sum.add(partial[part * C + c]);
    return sum;
}

template <class T>
void training(T* out, T* mean, T* inv_std, const T* x, const T* gamma, const T* beta, T* running_mean, T* running_var,
              const BatchNorm* sizes) {
    const BatchNorm p = *sizes;
    const int nthreads = threads_for(p, 2 * sizeof(T));
    const double to_mean = 1 / double(p.N * p.P), to_running = 1 / (double(p.N * p.P) - p.degrees_lost);
    with_layout<T>(p, [&](auto layout, int64_t channels, int64_t) {
        const Grid grid = whole_channels(p, channels, nthreads);
        fc::Scratch<Moments> partial(grid.parts() * p.C);
        fc::Scratch<Affine<T>> affine(p.C);
        in_two_passes(
            grid, nthreads, [&](const Block& b, int64_t part) { layout.moments(x, b, partial + part * p.C); },
            [&](int64_t c0, int64_t c1) {
                for (int64_t c = c0; c < c1; ++c) {
                    const Moments m = total(partial.get(), c, p.C, grid.parts());
                    const double exact_mean = m.sum * to_mean, inverse = 1 / std::sqrt(m.m2 * to_mean + p.eps);
                    const double scale = gamma[c] * inverse;
                    mean[c] = T(exact_mean);
                    inv_std[c] = T(inverse);
                    affine[c] = {T(scale), mean[c], T(beta[c] - scale * (exact_mean - mean[c]))};
                    if (running_mean) {
                        running_mean[c] += T(p.momentum * (exact_mean - running_mean[c]));
                        running_var[c] += T(p.momentum * (m.m2 * to_running - running_var[c]));
                    }
                }
            },
            [&](const Block& b) { layout.apply(out, x, affine, b); });
    });
}

template <class T>
void inference(T* out, const T* x, const T* gamma, const T* beta, const T* mean, const T* var, const BatchNorm* sizes) {
    const BatchNorm p = *sizes;
    fc::Scratch<Affine<T>> affine(p.C);
    for (int64_t c = 0; c < p.C; ++c) affine[c] = {T(gamma[c] / std::sqrt(double(var[c]) + p.eps)), mean[c], beta[c]};
    with_layout<T>(p, [&](auto layout, int64_t, int64_t most_channels) {
        const Grid grid = runs(p, most_channels);
        fc::parallel(grid.tasks(), threads_for(p, 2 * sizeof(T)),
                     [&](int64_t task, int) { layout.apply(out, x, affine, grid.block(task)); });
    });
}

// Everything is read in place.
template <class T>
class Prepared final : public fc::Step {
public:
    Prepared(const T* gamma, const T* beta, const T* mean, const T* var, const BatchNorm& sizes)
        : gamma(gamma), beta(beta), mean(mean), var(var), sizes(sizes) {}

    void run(void* out, const void* x, int64_t images) const override {
        BatchNorm p = sizes;
        p.N = images;
        inference(static_cast<T*>(out), static_cast<const T*>(x), gamma, beta, mean, var, &p);
    }
    double nanoseconds(int64_t images) const override {
        return kNanosecondsPerByte * 2 * sizeof(T) * double(images * sizes.C * sizes.P);
    }

private:
    const T *gamma, *beta, *mean, *var;
    const BatchNorm sizes;
};

template <class T>
fc::Step* prepare(const T* gamma, const T* beta, const T* mean, const T* var, const BatchNorm* sizes) {
    return new Prepared<T>(gamma, beta, mean, var, *sizes);
}

// `batch_statistics`: mean and inv_std come from this batch, so that the gradient passes through them.
template <class T>
void backward(T* dx, T* dgamma, T* dbeta, const T* dout, const T* x, const T* gamma, const T* mean, const T* inv_std,
              bool batch_statistics, const BatchNorm* sizes) {
    const BatchNorm p = *sizes;
    const int nthreads = threads_for(p, 3 * sizeof(T));
    const double to_mean = 1 / double(p.N * p.P);
    with_layout<T>(p, [&](auto layout, int64_t channels, int64_t) {
        const Grid grid = whole_channels(p, channels, nthreads);
        fc::Scratch<GradientSums> partial(grid.parts() * p.C);
        fc::Scratch<Affine<T>> affine(p.C);
        fc::Scratch<Gradient<T>> gradient(p.C);
        in_two_passes(
            grid, nthreads,
            [&](const Block& b, int64_t part) { layout.gradient_sums(dout, x, mean, b, partial + part * p.C); },
            [&](int64_t c0, int64_t c1) {
                for (int64_t c = c0; c < c1; ++c) {
                    const GradientSums sums = total(partial.get(), c, p.C, grid.parts());
                    const double inverse = inv_std[c], scale = gamma[c] * inverse;
                    dbeta[c] = T(sums.dout);
                    dgamma[c] = T(sums.product * inverse);
                    affine[c] = {T(scale), T(0), T(0)};
                    gradient[c] = {T(scale), T(-inverse * inverse * sums.product * to_mean), mean[c],
                                   T(-sums.dout * to_mean)};
                }
            },
            [&](const Block& b) {
                if (batch_statistics)
                    layout.apply(dx, dout, x, gradient, b);
                else
                    layout.apply(dx, dout, affine, b);
            });
    });
}

template <class T>
void local_response_forward(T* out, const T* x, const fc::LocalResponse* sizes) {
    fc::response::forward(out, x, sizes);
}

template <class T>
void local_response_backward(T* dx, const T* dout, const T* x, const fc::LocalResponse* sizes) {
    fc::response::backward(dx, dout, x, sizes);
}

}  // namespace

FC_KERNELS(FC_FLOATS(training), FC_FLOATS(inference), FC_FLOATS(backward), FC_FLOATS(local_response_forward),
           FC_FLOATS(local_response_backward), FC_FLOATS(prepare))
