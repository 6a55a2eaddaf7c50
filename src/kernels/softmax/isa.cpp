// Softmax, log-softmax, and softmax with cross entropy.
//
// A line passes three times through the first-level cache: maximum; exponentials and their sum; quotient. Memory is
// read once and written once. Rows are taken in groups of as many as a vector has lanes, so that the logarithms of a
// group are one vector, and short rows a lane each; losses are added up in double in the order of the rows.
//
// The loss of a row is sum(t) * log(sum(exp(x - max))) - sum(t * (x - max)): never the logarithm of a probability that
// may be 0. ref.py has the formulas and is the truth.
#include "kernel.h"
#include "lines.h"

namespace {

using fc::Line;
using fc::Lines;
using fc::ShortRows;
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

// f(group, out, in...) at the first element of every group of `rows` <= lanes<T> rows; `out` may be the first of `in`.
template <class T, class F, class... Others>
void for_rows(int64_t rows, int64_t n, F f, T* out, const T* x, const Others*... others) {
    if (ShortRows<T>::pays(n)) {
        ShortRows<T> transposed(x, rows, n);
        f(transposed.group(), transposed.data(), transposed.data(), ShortRows<T>(others, rows, n).data()...);
        transposed.store(out);
        return;
    }
    for (int64_t at = 0; at < rows * n; at += n) f(Line<T>{n}, out + at, x + at, (others + at)...);
}

// The same for all lines of (outer, n, inner), in parallel.
template <class T, class F, class... In>
void for_lines(int64_t outer, int64_t n, int64_t inner, F f, T* out, const In*... in) {
    if (outer * n * inner == 0) return;
    if (inner == 1) {
        for_row_groups<T>(outer, n, [=](int64_t first, int64_t rows) {
            for_rows(rows, n, f, out + first * n, (in + first * n)...);
        });
        return;
    }
    constexpr int64_t most = Lines<T>::strip * fc::lanes<T>;
    const int64_t strips = ceil_div(inner, most), width = std::min(inner, most);
    fc::parallel_blocks(outer * strips, ceil_div(kElements, n * width), double(n * width) * kNanosecondsPerElement,
                        [=](int64_t begin, int64_t end) {
                            for (int64_t k = begin; k < end; ++k) {
                                const int64_t column = k % strips * most, at = k / strips * n * inner + column;
                                f(Lines<T>{n, inner, std::min(inner - column, most)}, out + at, (in + at)...);
                            }
                        });
}

template <class T>
void forward(T* out, const T* x, int64_t outer, int64_t n, int64_t inner) {
    for_lines(outer, n, inner, [](const auto& group, T* out, const T* x) { fc::softmax(group, out, x); }, out, x);
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
    const auto subtract = [](const auto& group, T* out, const T* x, auto most, auto log_sum) {
        group.each([&](int64_t i, auto lanes, int64_t w, int) {
            lanes.store(out + i, (lanes.load(x + i) - most[w]) - log_sum[w]);
        });
    };
    if (inner == 1 && n > 0 && !ShortRows<T>::pays(n)) {
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
            for (int64_t row = 0; row < rows; ++row) {
                const int64_t at = (first + row) * n;
                subtract(line, out + at, x + at, &most[row], &log_sum[row]);
            }
        });
        return;
    }
    const auto kernel = [=](const auto& group, T* out, const T* x) {
        auto scale = fc::scale_of(group, x);
        for (Vec<T>& sum : scale.sum) sum = fc::log(sum);
        subtract(group, out, x, scale.most, scale.sum);
    };
    for_lines(outer, n, inner, kernel, out, x);
}

template <class T>
void backward(T* dx, const T* dout, const T* y, int64_t outer, int64_t n, int64_t inner) {
    const auto kernel = [](const auto& group, T* dx, const T* dout, const T* y) {
        const auto dot =
            fc::sum_of(group, [&](int64_t i, auto lanes, int64_t) { return lanes.load(dout + i) * lanes.load(y + i); });
        group.each([&](int64_t i, auto lanes, int64_t w, int) {
            lanes.store(dx + i, lanes.load(y + i) * (lanes.load(dout + i) - dot[w]));
        });
    };
    for_lines(outer, n, inner, kernel, dx, dout, y);
}

template <class T>
void log_backward(T* dx, const T* dout, const T* y, int64_t outer, int64_t n, int64_t inner) {
    const auto kernel = [](const auto& group, T* dx, const T* dout, const T* y) {
        const auto sum = fc::sum_of(group, [&](int64_t i, auto lanes, int64_t) { return lanes.load(dout + i); });
        group.each([&](int64_t i, auto lanes, int64_t w, int) {
            lanes.store(dx + i, lanes.load(dout + i) - fc::exp(lanes.load(y + i)) * sum[w]);
        });
    };
    for_lines(outer, n, inner, kernel, dx, dout, y);
}

// The losses of `rows` <= lanes<T> rows, added up; their probabilities go to y. Labels or targets, the other is null.
template <class T>
double losses(T* y, const T* x, const int64_t* labels, const T* targets, int64_t rows, int64_t C) {
    Lanes<T> most(0), sum(1), weight(1), product(0);  // product: of weights and scores, less the largest score
    const auto compute = [&](const auto& group, T* y, const T* x, const T* t, auto keep) {
        const auto scale = fc::softmax(group, y, x);
        keep(most, scale.most);
        keep(sum, scale.sum);
        if (labels) return;
        keep(weight, fc::sum_of(group, [&](int64_t i, auto lanes, int64_t) { return lanes.load(t + i); }));
        keep(product, fc::sum_of(group, [&](int64_t i, auto lanes, int64_t w) {
            const Vec<T> weights = lanes.load(t + i);
            const Vec<T> products = weights * (lanes.load(x + i) - scale.most[w]);
            return fc::select(weights == fc::zero<T>(), weights, products);  // 0 * infinity is 0
        }));
    };
    if (ShortRows<T>::pays(C)) {
        ShortRows<T> scores(x, rows, C), probabilities = scores, weights(labels ? x : targets, rows, C);
        compute(scores.group(), probabilities.data(), scores.data(), weights.data(),
                [](Lanes<T>& lanes, const auto& results) { fc::store(lanes.lane, results[0]); });
        probabilities.store(y);
    } else {
        for (int64_t row = 0; row < rows; ++row)
            compute(Line<T>{C}, y + row * C, x + row * C, labels ? x : targets + row * C,
                    [=](Lanes<T>& lanes, const auto& results) { lanes[row] = results[0][0]; });
    }
    if (labels)
        for (int64_t row = 0; row < rows; ++row) product[row] = x[row * C + labels[row]] - most[row];

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
    const auto kernel = [=](const auto& group, T* dx, const T* y, const T* t) {
        const auto sum = fc::sum_of(group, [&](int64_t i, auto lanes, int64_t) { return lanes.load(t + i); });
        group.each([&](int64_t i, auto lanes, int64_t w, int) {
            lanes.store(dx + i, (lanes.load(y + i) * sum[w] - lanes.load(t + i)) * share);
        });
    };
    for_row_groups<T>(N, C, [=](int64_t first, int64_t rows) {
        const int64_t at = first * C;
        if (!labels) return for_rows(rows, C, kernel, dx + at, y + at, targets + at);
        fc::for_vectors<T>(rows * C, [=](int64_t i, auto lanes, int) {
            lanes.store(dx + at + i, lanes.load(y + at + i) * share);
        });
        for (int64_t row = first; row < first + rows; ++row) {
            const int64_t label = row * C + labels[row];
            dx[label] = (y[label] - 1) * share;
        }
    });
}

}  // namespace

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(log_forward), FC_FLOATS(backward), FC_FLOATS(log_backward),
           FC_FLOATS(cross_entropy_forward), FC_FLOATS(cross_entropy_backward))
