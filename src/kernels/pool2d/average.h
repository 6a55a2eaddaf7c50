// Average pooling. Sums are separable: FH rows of x are added as they are, column by column, then FW columns of that
// one row. The gradient is the same backwards: rows of shares are added, then each sum is spread over FW columns.
#pragma once
#include "across.h"
#include "covering.h"
#include "ring.h"
#include "step.h"
#include "stride2.h"

namespace {

// The rule for what means divide by: the elements of the window with its padding, or without, or a given number.
struct Divisor {
    int64_t given;
    bool include_pad;

    // Elements along one axis of the window that begins at `start`.
    int64_t axis(int64_t start, int64_t taps, int64_t extent, int64_t pad_after) const {
        if (given) return 1;
        if (include_pad) return std::min(start + taps, extent + pad_after) - start;
        // At least 1: the mean of padding alone is 0.
        return std::max(std::min(start + taps, extent) - std::max(start, int64_t(0)), int64_t(1));
    }
};

// The divisors of all windows of a plane, down[i] * across[j], or their inverses.
template <class T>
class Divisors {
public:
    Divisors(const Window& p, const Divisor& rule, bool inverse = false) : down_(p.OH), across_(round_up(p.OW, lanes<T>)) {
        std::fill_n(across_.get(), round_up(p.OW, lanes<T>), T(1));
        for (int64_t i = 0; i < p.OH; ++i)
            down_[i] = T((rule.given ? rule.given : 1) *
                         rule.axis(i * p.stride_h - p.pad_top, p.FH, p.H, p.pad_bottom));
        for (int64_t j = 0; j < p.OW; ++j)
            across_[j] = T(rule.axis(j * p.stride_w - p.pad_left, p.FW, p.W, p.pad_right));
        if (!inverse) return;
        for (int64_t i = 0; i < p.OH; ++i) down_[i] = 1 / down_[i];
        for (int64_t j = 0; j < p.OW; ++j) across_[j] = 1 / across_[j];
    }

    // The same without ownership: a copy in a local variable stays in registers whatever is stored elsewhere.
    struct View {
        const T *down, *across;

        // sums / divisors of the windows j, j + 1, ... of row i
        Vec<T> divide(Vec<T> sums, int64_t i, int64_t j) const {
            return sums / product(i, j);
        }
        Vec<T> product(int64_t i, int64_t j) const { return fc::set1(down[i]) * fc::load(across + j); }
    };
    View view() const { return {down_, across_}; }

private:
    Scratch<T> down_, across_;
};

// The sum of n columns of the rows first to last - 1 of x, which begins at the first of these columns.
template <class T>
Vec<T> sum_rows(const T* x, int64_t W, int64_t first, int64_t last, int64_t n) {
    if (first >= last) return fc::zero<T>();  // a window of padding alone
    Vec<T> sum = fc::load_between(x + first * W, 0, n);
    for (int64_t h = first + 1; h < last; ++h) sum += fc::load_between(x + h * W, 0, n);
    return sum;
}

template <class T>
class MeansOfWindows {
public:
    MeansOfWindows(const Window& p, const Divisor& rule) : p_(p), divisors_(p, rule), row_(p, T(0)) {}

    void plane(T* out, const T* x, int64_t begin, int64_t end) {
        const auto divisors = divisors_.view();
        const int64_t W = p_.W, OW = p_.OW, FW = p_.FW;
        for (int64_t i = begin; i < end; ++i) {
            const int64_t top = i * p_.stride_h - p_.pad_top;
            const int64_t first = std::max(top, int64_t(0)), last = std::min(top + p_.FH, p_.H);
            row_.read([=](int64_t w, int64_t n) { return sum_rows(x + w, W, first, last, n); });
            for (int64_t j = 0; j < OW; j += lanes<T>) {
                Vec<T> sum = fc::load(row_.tap(0) + j);
                for (int64_t v = 1; v < FW; ++v) sum += fc::load(row_.tap(v) + j);
                fc::store_n(out + i * OW + j, divisors.divide(sum, i, j), OW - j);
            }
        }
    }

private:
    const Window& p_;
    const Divisors<T> divisors_;
    PhasedRow<T> row_;
};

// The same means for K x K windows with stride 2 along the rows and Pad columns before them.
template <class T, int K, int Pad>
class MeansStride2 {
public:
    MeansStride2(const Window& p, const Divisor& rule) : p_(p), divisors_(p, rule), columns_(p, T(0)), outside_(p.W) {
        std::fill_n(outside_.get(), p.W, T(0));
    }

    void plane(T* out, const T* x, int64_t begin, int64_t end) const {
        const auto divisors = divisors_.view();
        for (int64_t i = begin; i < end; ++i) {
            const int64_t top = i * p_.stride_h - p_.pad_top;
            const T* rows[K];
            FC_UNROLL for (int u = 0; u < K; ++u)
                rows[u] = top + u >= 0 && top + u < p_.H ? x + (top + u) * p_.W : outside_.get();
            columns_.each([&, to = out + i * p_.OW](int64_t j, auto n, auto taps) __attribute__((always_inline)) {
                Vec<T> tap[K];
                taps([&](auto get) __attribute__((always_inline)) {
                    Vec<T> sum = get(rows[0]);
                    FC_UNROLL for (int u = 1; u < K; ++u) sum += get(rows[u]);
                    return sum;
                }, tap);
                Vec<T> sum = tap[0];
                FC_UNROLL for (int v = 1; v < K; ++v) sum += tap[v];
                const Vec<T> mean = divisors.divide(sum, i, j);
                n == lanes<T> ? fc::store(to + j, mean) : fc::store_n(to + j, mean, n);
            });
        }
    }

private:
    const Window& p_;
    const Divisors<T> divisors_;
    const Stride2Columns<T, K, Pad, false> columns_;
    const Scratch<T> outside_;  // a row of zeros
};

// The same for 2 x 2 windows that lie in x: a quarter of each sum.
template <class T>
class Means2x2 {
public:
    explicit Means2x2(const Window& p) : rows_(p) {}

    void plane(T* out, const T* x, int64_t begin, int64_t end) const {
        rows_.plane(out, x, begin, end, [](auto load, const T* upper, const T* lower) {
            const Vec<T> a = load(upper, 0) + load(lower, 0), b = load(upper, 1) + load(lower, 1);
            return (fc::even(a, b) + fc::odd(a, b)) * T(0.25);
        });
    }

private:
    const Rows2x2<T> rows_;
};

template <class T>
class SharesOfWindows {
public:
    SharesOfWindows(const Window& p, const Divisor& rule)
        : p_(p), divisors_(p, rule), covering_(p), shares_((p.FH - 1) / p.stride_h + 2, covering_.length<T>()),
          sums_(2, covering_.length<T>()) {
        shares_.fill(T(0));
        sums_.fill(T(0));
    }

    // The rows [begin, end) of one plane dx. They are spread one group late: what has just been stored cannot be read at
    // another offset without a stall.
    void plane(T* dx, const T* dout, int64_t begin, int64_t end) {
        int64_t ready = 0, waiting = begin, rows = 0, group = 0;
        const T* sums = nullptr;
        covering_.each_group(begin, end, [&](int64_t h, int64_t count, int64_t first, int64_t last) {
            for (ready = std::max(ready, first); ready <= last; ++ready) share(dout, ready);
            const T* of_group = sum(first, last, ++group);
            if (rows) spread(dx + waiting * p_.W, rows, sums);
            waiting = h, rows = count, sums = of_group;
        });
        if (rows) spread(dx + waiting * p_.W, rows, sums);
    }

private:
    T* row(const Ring<T>& ring, int64_t i) const { return ring.row(i) + covering_.margin; }

    void share(const T* dout, int64_t i) {
        const auto divisors = divisors_.view();
        const int64_t OW = p_.OW;
        T* const shares = row(shares_, i);
        for (int64_t j = 0; j < OW; j += lanes<T>)
            fc::store(shares + j, divisors.divide(fc::load_between(dout + i * OW + j, 0, OW - j), i, j));
    }

    // The sum of the rows first to last.
    const T* sum(int64_t first, int64_t last, int64_t group) {
        if (first == last) return row(shares_, first);
        T* const sums = row(sums_, group);
        for (int64_t j = 0; j < p_.OW; j += lanes<T>) {
            Vec<T> sum = fc::zero<T>();
            for (int64_t i = first; i <= last; ++i) sum += fc::load(row(shares_, i) + j);
            fc::store(sums + j, sum);
        }
        return sums;
    }

    void spread(T* dx, int64_t rows, const T* sums) const {
        covering_.write_rows(dx, rows, [=](int64_t k, int64_t count) {
            Vec<T> sum = fc::zero<T>();
            for (int64_t q = 0; q < count; ++q) sum += fc::load(sums + k - q);
            return sum;
        });
    }

    const Window& p_;
    const Divisors<T> divisors_;
    const Covering covering_;
    Ring<T> shares_, sums_;
};

// The same shares for K x K windows with stride 2 along the rows and Pad columns before them. Every row of windows is
// spread over its columns once, however many rows of x it covers.
template <class T, int K, int Pad>
class SharesStride2 {
    static constexpr int64_t L = lanes<T>;

public:
    SharesStride2(const Window& p, const Divisor& rule)
        : p_(p), inverses_(p, rule, true), covering_(p), spread_((K - 1) / p.stride_h + 2, round_up(p.W, 2 * L)) {}

    void plane(T* dx, const T* dout, int64_t begin, int64_t end) const {
        const int64_t W = p_.W;
        int64_t ready = 0;
        covering_.each_group(begin, end, [&](int64_t h, int64_t rows, int64_t first, int64_t last) {
            for (ready = std::max(ready, first); ready <= last; ++ready) spread(dout, ready);
            for (T* row = dx + h * W; row < dx + (h + rows) * W; row += W) add_up(row, first, last);
        });
    }

private:
    // The sum of the rows first to last, spread. The last vector overlaps the one before it, where that is possible.
    void add_up(T* row, int64_t first, int64_t last) const {
        const int64_t W = p_.W;
        if (first > last) return void(std::fill_n(row, W, T(0)));
        const auto sum = [&, from = spread_.row(first)](int64_t w) {
            Vec<T> sum = fc::load(from + w);
            for (int64_t i = first + 1; i <= last; ++i) sum += fc::load(spread_.row(i) + w);
            return sum;
        };
        if (W < L) return fc::store_n(row, sum(0), W);
        for (int64_t w = 0; w + L <= W; w += L) fc::store(row + w, sum(w));
        fc::store(row + W - L, sum(W - L));
    }

    // What the windows of row i give to each column, in whole vectors.
    void spread(const T* dout, int64_t i) const {
        const int64_t W = p_.W, OW = p_.OW;
        const auto inverses = inverses_.view();
        const auto share = [=](int64_t j) {
            return j < OW ? fc::load_n(dout + i * OW + j, OW - j) * inverses.product(i, j) : fc::zero<T>();
        };
        T* const to = spread_.row(i);
        Stride2Cover<T, K, Pad> row(share(0));
        for (int64_t w = 0; w < W; w += 2 * L) {
            Vec<T> even, odd;
            row.columns(share, w / 2, even, odd);
            fc::store(to + w, fc::interleave_lo(even, odd));
            fc::store(to + w + L, fc::interleave_hi(even, odd));
        }
    }

    const Window& p_;
    const Divisors<T> inverses_;
    const Covering covering_;
    const Ring<T> spread_;
};

// The same for 2 x 2 windows that lie in x: a quarter of each dout, four times.
template <class T>
class Shares2x2 {
    static constexpr int64_t L = lanes<T>;

public:
    explicit Shares2x2(const Window& p) : W_(p.W), OH_(p.OH), OW_(p.OW) {}

    void plane(T* dx, const T* dout, int64_t begin, int64_t end) const {
        for (int64_t h = begin, rows; h < end; h += rows) {
            rows = std::min(end, h + 2 - h % 2) - h;  // of one row of windows
            if (h < 2 * OH_) spread(dx + h * W_, dout + h / 2 * OW_, rows);
            else std::fill_n(dx + h * W_, rows * W_, T(0));
        }
    }

private:
    void spread(T* dx, const T* dout, int64_t rows) const {
        const int64_t W = W_, covered = 2 * OW_;
        const auto put = [=](int64_t w) {
            const Vec<T> shares = fc::twice(fc::load_half(dout + w / 2)) * T(0.25);
            fc::store(dx + w, shares);
            if (rows == 2) fc::store(dx + W + w, shares);
        };
        int64_t w = 0;
        for (; w + L <= covered; w += L) put(w);
        if (w < covered && covered >= L) put(covered - L), w = covered;  // the last vector overlaps the one before it
        for (int64_t k = 0; k < rows; ++k)
            for (int64_t left = w; left < W; ++left) dx[k * W + left] = left < covered ? dout[left / 2] * T(0.25) : T(0);
    }

    const int64_t W_, OH_, OW_;
};

// Small planes, a lane for each: the means of the windows, and the shares of their gradients.
template <class T>
class AverageAcross {
    static constexpr int64_t L = lanes<T>;

public:
    AverageAcross(const Window& p, const Divisor& rule)
        : p_(p), divisors_(p, rule), rows_(Reach::rows(p)), columns_(Reach::columns(p)), x_(p.H * p.W * L) {}

    void means(T* out, const T* x, int64_t count) const {
        const int64_t inside = p_.H * p_.W, windows = p_.OH * p_.OW;
        const auto divisors = divisors_.view();
        transpose_planes(x_.get(), x, inside, inside, count);
        for (int64_t at = 0; at < windows; at += L) {
            const int64_t n = std::min(windows - at, L);
            Vec<T> values[L] = {};
            for_each_window(p_, at, n, [&](int64_t i, int64_t j, int64_t k) {
                Vec<T> sum = fc::zero<T>();
                each_tap(i, j, [&](const T* tap) { sum += fc::load(tap); });
                values[k] = sum / fc::set1(divisors.down[i] * divisors.across[j]);
            });
            fc::transpose<T>(values);
            for (int64_t plane = 0; plane < count; ++plane) fc::store_n(out + plane * windows + at, values[plane], n);
        }
    }

    void shares(T* dx, const T* dout, int64_t count) const {
        const int64_t inside = p_.H * p_.W, windows = p_.OH * p_.OW;
        const auto divisors = divisors_.view();
        const Scratch<T> sums(windows * L);
        transpose_planes(sums.get(), dout, windows, windows, count);
        std::fill_n(x_.get(), inside * L, T(0));
        for_each_window(p_, 0, windows, [&](int64_t i, int64_t j, int64_t k) {
            const Vec<T> share = fc::load(sums + k * L) / fc::set1(divisors.down[i] * divisors.across[j]);
            each_tap(i, j, [=](T* tap) { fc::store(tap, fc::load(tap) + share); });
        });
        for (int64_t at = 0; at < inside; at += L) {
            const int64_t n = std::min(inside - at, L);
            Vec<T> values[L];
            FC_UNROLL for (int64_t k = 0; k < L; ++k) values[k] = k < n ? fc::load(x_ + (at + k) * L) : fc::zero<T>();
            fc::transpose<T>(values);
            for (int64_t plane = 0; plane < count; ++plane) fc::store_n(dx + plane * inside + at, values[plane], n);
        }
    }

private:
    // body(where the planes' elements are) for the taps of window (i, j) that are in x.
    template <class Body>
    inline __attribute__((always_inline)) void each_tap(int64_t i, int64_t j, Body body) const {
        const auto rows = rows_[i], columns = columns_[j];
        T* x = x_ + (rows.first * p_.W + columns.first) * L;
        for (int64_t u = 0; u < rows.count; ++u, x += p_.W * L)
            for (int64_t v = 0; v < columns.count; ++v) body(x + v * L);
    }

    const Window& p_;
    const Divisors<T> divisors_;
    const Reach rows_, columns_;
    const Scratch<T> x_;
};

// A window at a time, in place: the means, and the shares of their gradients, of whole planes.
template <class T>
class AverageOneByOne {
public:
    AverageOneByOne(const Window& p, const Divisor& rule) : p_(p), divisors_(p, rule) {}

    void means(T* out, const T* x) const {
        each_window([&](int64_t i, int64_t j, T divisor) {
            T sum = 0;
            each_tap(i, j, [&](int64_t at) { sum += x[at]; });
            out[i * p_.OW + j] = sum / divisor;
        });
    }

    void shares(T* dx, const T* dout) const {
        std::fill_n(dx, p_.H * p_.W, T(0));
        each_window([&](int64_t i, int64_t j, T divisor) {
            const T share = dout[i * p_.OW + j] / divisor;
            each_tap(i, j, [&](int64_t at) { dx[at] += share; });
        });
    }

private:
    template <class Body>
    void each_window(Body body) const {
        const auto divisors = divisors_.view();
        for (int64_t i = 0; i < p_.OH; ++i)
            for (int64_t j = 0; j < p_.OW; ++j) body(i, j, divisors.down[i] * divisors.across[j]);
    }

    template <class Body>
    void each_tap(int64_t i, int64_t j, Body body) const {
        const int64_t top = i * p_.stride_h - p_.pad_top, left = j * p_.stride_w - p_.pad_left;
        const int64_t bottom = std::min(top + p_.FH, p_.H), right = std::min(left + p_.FW, p_.W);
        for (int64_t h = std::max(top, int64_t(0)); h < bottom; ++h)
            for (int64_t w = std::max(left, int64_t(0)); w < right; ++w) body(h * p_.W + w);
    }

    const Window& p_;
    const Divisors<T> divisors_;
};

// body(kernel, plane) for all planes.
template <class T, class Body>
void over_planes_one_by_one(const Window& p, const Divisor& rule, Body body) {
    const double taps = double(std::min(p.FH, p.H)) * double(std::min(p.FW, p.W));
    over_planes(p.N * p.C, 1, double(p.N * p.C * p.OH * p.OW) * taps, [&](const Part& part) {
        const AverageOneByOne<T> kernel(p, rule);
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane) body(kernel, plane);
    });
}

template <class T>
void avg_forward(T* out, const T* x, const Window* window, int64_t divisor, int64_t include_pad) {
    const Window p = simplified(*window);
    const double elements = double(p.N * p.C * p.OH) * double(p.W * std::min(p.FH, p.stride_h) + p.OW * p.FW);
    const bool quarters = is_2x2(p) && divisor == 0;
    const Divisor rule{divisor, include_pad != 0};
    if (is_spread(p))
        return over_planes_one_by_one<T>(p, rule, [&](const auto& kernel, int64_t plane) {
            kernel.means(out + plane * p.OH * p.OW, x + plane * p.H * p.W);
        });
    if (pays_across<T>(p))
        return over_bundles<AverageAcross<T>, T>(p, elements * 0.1, [&](const auto& kernel, int64_t first, int64_t count) {
            kernel.means(out + first * p.OH * p.OW, x + first * p.H * p.W, count);
        }, rule);
    over_planes(p.N * p.C, p.OH, elements * (quarters ? 0.05 : 0.1), [&](const Part& part) {
        auto run = [&](auto&& kernel) {
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                kernel.plane(out + plane * p.OH * p.OW, x + plane * p.H * p.W, part.row_begin, part.row_end);
        };
        if (quarters) return run(Means2x2<T>(p));
        if (is_stride2(p, 2, 0)) return run(MeansStride2<T, 2, 0>(p, rule));
        if (is_stride2(p, 3, 0)) return run(MeansStride2<T, 3, 0>(p, rule));
        if (is_stride2(p, 3, 1)) return run(MeansStride2<T, 3, 1>(p, rule));
        run(MeansOfWindows<T>(p, rule));
    });
}

template <class T>
class PreparedAverage final : public fc::Step {
public:
    PreparedAverage(const Window& window, int64_t divisor, int64_t include_pad)
        : window_(window), divisor_(divisor), include_pad_(include_pad) {}

    void run(void* out, const void* x, int64_t images) const override {
        Window p = window_;
        p.N = images;
        avg_forward(static_cast<T*>(out), static_cast<const T*>(x), &p, divisor_, include_pad_);
    }
    double nanoseconds(int64_t images) const override {
        return 0.1 * double(images * window_.C) * double(window_.H * window_.W + window_.OH * window_.OW * window_.FW);
    }

private:
    const Window window_;
    const int64_t divisor_, include_pad_;
};

template <class T>
fc::Step* prepare_average(const Window* p, int64_t divisor, int64_t include_pad) {
    return new PreparedAverage<T>(*p, divisor, include_pad);
}

template <class T>
void avg_backward(T* dx, const T* dout, const Window* window, int64_t divisor, int64_t include_pad) {
    const Window p = simplified(*window);
    const bool quarters = is_2x2(p) && divisor == 0;
    const double elements = double(p.N * p.C * p.H * p.W);
    const Divisor rule{divisor, include_pad != 0};
    if (is_spread(p))
        return over_planes_one_by_one<T>(p, rule, [&](const auto& kernel, int64_t plane) {
            kernel.shares(dx + plane * p.H * p.W, dout + plane * p.OH * p.OW);
        });
    if (pays_across<T>(p))
        return over_bundles<AverageAcross<T>, T>(p, elements * 0.2, [&](const auto& kernel, int64_t first, int64_t count) {
            kernel.shares(dx + first * p.H * p.W, dout + first * p.OH * p.OW, count);
        }, rule);
    over_planes(p.N * p.C, p.H, elements * (quarters ? 0.07 : 0.2), [&](const Part& part) {
        auto run = [&](auto&& kernel) {
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                kernel.plane(dx + plane * p.H * p.W, dout + plane * p.OH * p.OW, part.row_begin, part.row_end);
        };
        if (quarters) return run(Shares2x2<T>(p));
        if (is_stride2(p, 2, 0)) return run(SharesStride2<T, 2, 0>(p, rule));
        if (is_stride2(p, 3, 0)) return run(SharesStride2<T, 3, 0>(p, rule));
        if (is_stride2(p, 3, 1)) return run(SharesStride2<T, 3, 1>(p, rule));
        run(SharesOfWindows<T>(p, rule));
    });
}

}  // namespace
