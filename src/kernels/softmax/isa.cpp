// Softmax, log-softmax, and softmax with cross entropy.
//
// A line passes three times through the first-level cache: maximum; exponentials and their sum; quotient. Memory is
// read once and written once. Rows are taken in groups of as many as a vector has lanes, so that the logarithms of a
// group are one vector; losses are added up in double in the order of the rows.
//
// The loss of a row is sum(t) * log(sum(exp(x - max))) - sum(t * (x - max)): never the logarithm of a probability that
// may be 0. ref.py has the formulas and is the truth.
#include "kernel.h"
#include "lines.h"

namespace {

using fc::Line;
using fc::Lines;
using fc::Vec;

constexpr int64_t kElements = 8192;  // of a task
constexpr double kNanosecondsPerElement = 0.4;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// f(first row, number of rows <= lanes<T>) for all rows of n elements, in parallel.
template <class T, class F>
void for_row_groups(int64_t rows, int64_t n, F f) {
    constexpr int L = fc::lanes<T>;
    fc::parallel_blocks(ceil_div(rows, L), ceil_div(kElements, n * L), double(n * L) * kNanosecondsPerElement,
                        [&](int64_t begin, int64_t end) {
                            for (int64_t k = begin; k < end; ++k) f(k * L, std::min<int64_t>(rows - k * L, L));
                        });
}

// f(group of lines, offset of its first element) for all lines of (outer, n, inner), in parallel.
template <class T, class F>
void for_lines(int64_t outer, int64_t n, int64_t inner, F f) {
    if (outer * n * inner == 0) return;
    if (inner == 1) {
        for_row_groups<T>(outer, n, [&](int64_t first, int64_t rows) {
            for (int64_t row = first; row < first + rows; ++row) f(Line<T>{n}, row * n);
        });
        return;
    }
    constexpr int64_t most = Lines<T>::strip * fc::lanes<T>;
    const int64_t strips = ceil_div(inner, most), width = std::min(inner, most);
    fc::parallel_blocks(outer * strips, ceil_div(kElements, n * width), double(n * width) * kNanosecondsPerElement,
                        [&](int64_t begin, int64_t end) {
                            for (int64_t k = begin; k < end; ++k) {
                                const int64_t column = k % strips * most;
                                f(Lines<T>{n, inner, std::min(inner - column, most)}, k / strips * n * inner + column);
                            }
                        });
}

template <class T>
void forward(T* out, const T* x, int64_t outer, int64_t n, int64_t inner) {
    for_lines<T>(outer, n, inner, [=](const auto& group, int64_t at) { fc::softmax(group, out + at, x + at); });
}

// A vector of numbers that come one by one.
template <class T>
struct Lanes {
    T lane[fc::lanes<T>];

    explicit Lanes(T value) { std::fill_n(lane, fc::lanes<T>, value); }
    T& operator[](int64_t i) { return lane[i]; }
    Vec<T> vector() const { return fc::load(lane); }
};

template <class T>
void log_forward(T* out, const T* x, int64_t outer, int64_t n, int64_t inner) {
    const auto subtract = [=](const auto& group, int64_t at, auto most, auto log_sum) {
        group.each([&](int64_t i, auto lanes, int64_t w, int) {
            lanes.store(out + at + i, (lanes.load(x + at + i) - most[w]) - log_sum[w]);
        });
    };
    if (inner == 1 && n > 0) {
        for_row_groups<T>(outer, n, [&](int64_t first, int64_t rows) {
            const Line<T> line{n};
            Lanes<T> most(0), sum(1);
            for (int64_t row = 0; row < rows; ++row) {
                const auto scale = fc::scale_of(line, x + (first + row) * n);
                most[row] = scale.most[0][0];
                sum[row] = scale.sum[0][0];
            }
            Lanes<T> log_sum(0);
            fc::store(log_sum.lane, fc::log(sum.vector()));
            for (int64_t row = 0; row < rows; ++row) subtract(line, (first + row) * n, &most[row], &log_sum[row]);
        });
        return;
    }
    for_lines<T>(outer, n, inner, [&](const auto& group, int64_t at) {
        auto scale = fc::scale_of(group, x + at);
        for (Vec<T>& sum : scale.sum) sum = fc::log(sum);
        subtract(group, at, scale.most, scale.sum);
    });
}

template <class T>
void backward(T* dx, const T* dout, const T* y, int64_t outer, int64_t n, int64_t inner) {
    for_lines<T>(outer, n, inner, [=](const auto& group, int64_t at) {
        const auto dot = fc::sum_of(group, [&](int64_t i, auto lanes, int64_t) {
            return lanes.load(dout + at + i) * lanes.load(y + at + i);
        });
        group.each([&](int64_t i, auto lanes, int64_t w, int) {
            lanes.store(dx + at + i, lanes.load(y + at + i) * (lanes.load(dout + at + i) - dot[w]));
        });
    });
}

template <class T>
void log_backward(T* dx, const T* dout, const T* y, int64_t outer, int64_t n, int64_t inner) {
    for_lines<T>(outer, n, inner, [=](const auto& group, int64_t at) {
        const auto sum = fc::sum_of(group, [&](int64_t i, auto lanes, int64_t) { return lanes.load(dout + at + i); });
        group.each([&](int64_t i, auto lanes, int64_t w, int) {
            lanes.store(dx + at + i, lanes.load(dout + at + i) - fc::exp(lanes.load(y + at + i)) * sum[w]);
        });
    });
}

// The losses of `rows` <= lanes<T> rows, added up; their probabilities go to y. Labels or targets, the other is null.
template <class T>
double losses(T* y, const T* x, const int64_t* labels, const T* targets, int64_t rows, int64_t C) {
    const Line<T> line{C};
    Lanes<T> sum(1), weight(0), product(0);  // product: of weights and scores, less the largest score
    for (int64_t row = 0; row < rows; ++row) {
        const T* scores = x + row * C;
        const auto scale = fc::softmax(line, y + row * C, scores);
        const Vec<T> most = scale.most[0];
        sum[row] = scale.sum[0][0];
        if (labels) {
            weight[row] = 1;
            product[row] = scores[labels[row]] - most[0];
        } else {
            const T* t = targets + row * C;
            fc::Chains<T> weights, products;
            fc::for_vectors<T>(C, [&](int64_t i, auto lanes, int k) {
                const Vec<T> w = lanes.load(t + i);
                weights[k] += w;
                products[k] += fc::select(w == fc::zero<T>(), w, w * (lanes.load(scores + i) - most));  // not 0 * inf
            });
            weight[row] = weights.total();
            product[row] = products.total();
        }
    }
    Lanes<T> log_sum(0);
    fc::store(log_sum.lane, fc::log(sum.vector()));
    double total = 0;
    for (int64_t row = 0; row < rows; ++row) total += double(weight[row]) * log_sum[row] - product[row];
    return total;
}

// Returns the mean of the losses.
template <class T>
double cross_entropy_forward(T* out, const T* x, const int64_t* labels, const T* targets, int64_t N, int64_t C) {
    constexpr int L = fc::lanes<T>;
    fc::Scratch<double> partial(ceil_div(N, L));
    for_row_groups<T>(N, C, [&](int64_t first, int64_t rows) {
        partial[first / L] = losses(out + first * C, x + first * C, labels ? labels + first : nullptr,
                                    targets ? targets + first * C : nullptr, rows, C);
    });
    double total = 0;
    for (int64_t group = 0; group < ceil_div(N, L); ++group) total += partial[group];
    return total / double(N);  // NaN for no rows
}

// dx = (y*sum(t) - t) / N
template <class T>
void cross_entropy_backward(T* dx, const T* y, const int64_t* labels, const T* targets, int64_t N, int64_t C) {
    const T share = T(1) / T(N);
    for_row_groups<T>(N, C, [=](int64_t first, int64_t rows) {
        for (int64_t row = first; row < first + rows; ++row) {
            const int64_t at = row * C;
            if (labels) {
                fc::for_vectors<T>(
                    C, [=](int64_t i, auto lanes, int) { lanes.store(dx + at + i, lanes.load(y + at + i) * share); });
                dx[at + labels[row]] = (y[at + labels[row]] - 1) * share;
            } else {
                const T* t = targets + at;
                const Vec<T> sum =
                    fc::sum_of(Line<T>{C}, [=](int64_t i, auto lanes, int64_t) { return lanes.load(t + i); })[0];
                fc::for_vectors<T>(C, [=](int64_t i, auto lanes, int) {
                    lanes.store(dx + at + i, (lanes.load(y + at + i) * sum - lanes.load(t + i)) * share);
                });
            }
        }
    });
}

}  // namespace

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(log_forward), FC_FLOATS(backward), FC_FLOATS(log_backward),
           FC_FLOATS(cross_entropy_forward), FC_FLOATS(cross_entropy_backward))
