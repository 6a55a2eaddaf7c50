// Softmax, log-softmax, and softmax with cross entropy.
//
// A row (or a vector's worth of lines, see lines.h) passes three times through the first-level cache: maximum;
// exponentials and their sum; quotient. Memory is read once and written once. The losses of a group of rows are taken
// together, so that their logarithms are one vector, and are added up in double in the order of the rows.
//
// The loss of a row is log(sum of exp(x - max)) - (x[t] - max): never the logarithm of a probability that may be 0.
// ref.py has the formulas and is the truth.
#include "kernel.h"
#include "lines.h"

namespace {

using fc::AcrossLanes;
using fc::AlongLanes;
using fc::Vec;

constexpr int64_t kElements = 8192;  // of a task
constexpr double kNanosecondsPerElement = 0.5;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// f(line, offset of its first element) for all lines of (outer, n, inner), in parallel.
template <class T, class F>
void for_lines(int64_t outer, int64_t n, int64_t inner, F f) {
    if (outer * n * inner == 0) return;
    const double ns = double(n) * kNanosecondsPerElement;
    if (inner == 1) {
        fc::parallel_blocks(outer, ceil_div(kElements, n), ns, [&](int64_t begin, int64_t end) {
            for (int64_t row = begin; row < end; ++row) f(AlongLanes<T>{n}, row * n);
        });
        return;
    }
    constexpr int L = fc::lanes<T>;
    const int64_t strips = ceil_div(inner, L);
    fc::parallel_blocks(outer * strips, ceil_div(kElements, n * L), ns * L, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
            const int64_t column = k % strips * L;
            f(AcrossLanes<T>{n, inner, std::min<int64_t>(inner - column, L)}, k / strips * n * inner + column);
        }
    });
}

template <class T>
void forward(T* out, const T* x, int64_t outer, int64_t n, int64_t inner) {
    for_lines<T>(outer, n, inner, [=](const auto& line, int64_t at) {
        const Vec<T> sum = fc::exponentials(line, out + at, x + at, fc::maximum(line, x + at));
        fc::divide(line, out + at, sum);
    });
}

template <class T>
void log_forward(T* out, const T* x, int64_t outer, int64_t n, int64_t inner) {
    for_lines<T>(outer, n, inner, [=](const auto& line, int64_t at) {
        const Vec<T> m = fc::maximum(line, x + at);
        const Vec<T> log_sum = fc::log(
            fc::sum_of<T>(line, [&](int64_t i, auto lanes) { return fc::exp(lanes.load(x + at + i) - m); }));
        line.each([&](int64_t i, auto lanes, int) {
            lanes.store(out + at + i, (lanes.load(x + at + i) - m) - log_sum);
        });
    });
}

template <class T>
void backward(T* dx, const T* dout, const T* y, int64_t outer, int64_t n, int64_t inner) {
    for_lines<T>(outer, n, inner, [=](const auto& line, int64_t at) {
        const Vec<T> dot = fc::sum_of<T>(
            line, [&](int64_t i, auto lanes) { return lanes.load(dout + at + i) * lanes.load(y + at + i); });
        line.each([&](int64_t i, auto lanes, int) {
            lanes.store(dx + at + i, lanes.load(y + at + i) * (lanes.load(dout + at + i) - dot));
        });
    });
}

template <class T>
void log_backward(T* dx, const T* dout, const T* y, int64_t outer, int64_t n, int64_t inner) {
    for_lines<T>(outer, n, inner, [=](const auto& line, int64_t at) {
        const Vec<T> sum = fc::sum_of<T>(line, [&](int64_t i, auto lanes) { return lanes.load(dout + at + i); });
        line.each([&](int64_t i, auto lanes, int) {
            lanes.store(dx + at + i, lanes.load(dout + at + i) - fc::exp(lanes.load(y + at + i)) * sum);
        });
    });
}

// Sum over `rows` <= lanes<T> rows of C scores of sum(t) * log(sum exp(x)) - sum(t*x); the probabilities go to y.
template <class T>
double losses(T* y, const T* x, const int64_t* labels, const T* targets, int64_t rows, int64_t C) {
    constexpr int L = fc::lanes<T>;
    const AlongLanes<T> line{C};
    T most[L] = {}, sum[L];
    for (int i = 0; i < L; ++i) sum[i] = 1;  // its logarithm, 0, is the loss of a row that is not there
    for (int64_t row = 0; row < rows; ++row) {
        const Vec<T> m = fc::maximum(line, x + row * C);
        const Vec<T> s = fc::exponentials(line, y + row * C, x + row * C, m);
        fc::divide(line, y + row * C, s);
        most[row] = m[0];
        sum[row] = s[0];
    }
    T log_sum[L];
    fc::store(log_sum, fc::log(fc::load(sum)));

    double total = 0;
    for (int64_t row = 0; row < rows; ++row) {
        const T* scores = x + row * C;
        if (labels) {
            total += double(log_sum[row]) - (double(scores[labels[row]]) - most[row]);
        } else {
            const T* t = targets + row * C;
            const Vec<T> loss = fc::sum_of<T>(line, [&](int64_t i, auto lanes) {
                const Vec<T> weight = lanes.load(t + i);
                const Vec<T> log_y = (lanes.load(scores + i) - most[row]) - log_sum[row];
                return fc::select(weight == fc::zero<T>(), weight, -weight * log_y);
            });
            total += loss[0];
        }
    }
    return total;
}

// Labels or targets, the other is null. Returns the mean of the losses.
template <class T>
double cross_entropy_forward(T* out, const T* x, const int64_t* labels, const T* targets, int64_t N, int64_t C) {
    constexpr int L = fc::lanes<T>;
    const int64_t rows = ceil_div(kElements, C * L) * L, tasks = ceil_div(N, rows);
    fc::Scratch<double> partial(tasks);
    fc::parallel(tasks, fc::threads_for(double(N * C) * kNanosecondsPerElement), [&](int64_t task, int) {
        double sum = 0;
        for (int64_t row = task * rows; row < std::min(N, (task + 1) * rows); row += L)
            sum += losses(out + row * C, x + row * C, labels ? labels + row : nullptr,
                          targets ? targets + row * C : nullptr, std::min<int64_t>(N - row, L), C);
        partial[task] = sum;
    });
    double total = 0;
    for (int64_t task = 0; task < tasks; ++task) total += partial[task];
    return total / double(N);  // NaN for no rows
}

// dx = (y*sum(t) - t) / N
template <class T>
void cross_entropy_backward(T* dx, const T* y, const int64_t* labels, const T* targets, int64_t N, int64_t C) {
    const T share = T(1) / T(N);
    const AlongLanes<T> line{C};
    fc::parallel_blocks(N, ceil_div(kElements, C), double(C) * kNanosecondsPerElement, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const int64_t at = row * C;
            if (labels) {
                line.each([&](int64_t i, auto lanes, int) { lanes.store(dx + at + i, lanes.load(y + at + i) * share); });
                dx[at + labels[row]] = (y[at + labels[row]] - 1) * share;
            } else {
                const T* t = targets + at;
                const Vec<T> sum = fc::sum_of<T>(line, [&](int64_t i, auto lanes) { return lanes.load(t + i); });
                line.each([&](int64_t i, auto lanes, int) {
                    lanes.store(dx + at + i, (lanes.load(y + at + i) * sum - lanes.load(t + i)) * share);
                });
            }
        }
    });
}

}  // namespace

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(log_forward), FC_FLOATS(backward), FC_FLOATS(log_backward),
           FC_FLOATS(cross_entropy_forward), FC_FLOATS(cross_entropy_backward))
