// Average pooling. Sums are separable: FH rows of x are added as they are, column by column, then FW columns of that
// one row. The gradient is the same backwards: rows of shares are added, then each sum is spread over FW columns.
#pragma once
#include "covering.h"
#include "ring.h"
#include "stride2.h"

namespace {

// Elements that the windows' means divide by: by[i] * across[j], or a given number.
struct Divisor {
    int64_t given;
    bool include_pad;

    int64_t axis(int64_t start, int64_t taps, int64_t extent, int64_t pad_after) const {
        if (given) return 1;
        if (include_pad) return std::min(start + taps, extent + pad_after) - start;
        return std::min(start + taps, extent) - std::max(start, int64_t(0));
    }
    int64_t row(const Window& p, int64_t i) const {
        return std::max(given, int64_t(1)) * axis(i * p.stride_h - p.pad_top, p.FH, p.H, p.pad_bottom);
    }
    int64_t column(const Window& p, int64_t j) const {
        return axis(j * p.stride_w - p.pad_left, p.FW, p.W, p.pad_right);
    }
};

template <class T>
class Averages {
public:
    Averages(const Window& p, const Divisor& divisor)
        : p_(p), divisor_(divisor), width_(round_up(p.OW, lanes<T>)), across_(width_) {
        for (int64_t j = 0; j < width_; ++j) across_[j] = T(j < p.OW ? divisor.column(p, j) : 1);
    }

    // sums / divisors of the windows j, j+1, ... of output row i
    Vec<T> mean(Vec<T> sums, Vec<T> row_divisor, int64_t j) const {
        return sums / (row_divisor * fc::load(across_ + j));
    }
    Vec<T> row_divisor(int64_t i) const { return fc::set1(T(divisor_.row(p_, i))); }

protected:
    const Window& p_;
    const Divisor divisor_;
    const int64_t width_;
    Scratch<T> across_;
};

template <class T>
class MeansOfWindows : Averages<T> {
public:
    MeansOfWindows(const Window& p, const Divisor& divisor) : Averages<T>(p, divisor), row_(p, T(0)) {}

    void plane(T* out, const T* x, int64_t begin, int64_t end) {
        const Window& p = this->p_;
        for (int64_t i = begin; i < end; ++i) {
            const int64_t top = i * p.stride_h - p.pad_top;
            const T* const first = x + std::max(top, int64_t(0)) * p.W;
            const T* const last = x + (std::min(top + p.FH, p.H) - 1) * p.W;
            row_.read([=, W = p.W](int64_t w, int64_t n) {
                Vec<T> sum = fc::load_n(first + w, n);
                for (const T* row = first + W; row <= last; row += W) sum += fc::load_n(row + w, n);
                return sum;
            });
            const Vec<T> row_divisor = this->row_divisor(i);
            for (int64_t j = 0; j < p.OW; j += lanes<T>) {
                Vec<T> sum = fc::load(row_.tap(0) + j);
                for (int64_t v = 1; v < p.FW; ++v) sum += fc::load(row_.tap(v) + j);
                fc::store_n(out + i * p.OW + j, this->mean(sum, row_divisor, j), p.OW - j);
            }
        }
    }

private:
    PhasedRow<T> row_;
};

// The same means for K x K windows with stride 2 along the rows and Pad columns before them.
template <class T, int K, int Pad>
class MeansStride2 : Averages<T> {
public:
    using Averages<T>::Averages;

    void plane(T* out, const T* x, int64_t begin, int64_t end) const {
        const Window& p = this->p_;
        for (int64_t i = begin; i < end; ++i) {
            const int64_t top = i * p.stride_h - p.pad_top;
            const int64_t first = std::max(int64_t(0), top), last = std::min(top + K, p.H);
            const Vec<T> row_divisor = this->row_divisor(i);
            Stride2<T, K, Pad> row;
            row.begin(T(0));
            for (int64_t j = 0; j < p.OW; j += lanes<T>) {
                Vec<T> tap[K];
                row.taps([=, W = p.W](int64_t v) {
                    const int64_t w = 2 * j + v * lanes<T>;
                    Vec<T> sum = load_or(x + first * W + w, W - w, T(0));
                    for (int64_t h = first + 1; h < last; ++h) sum += load_or(x + h * W + w, W - w, T(0));
                    return sum;
                }, tap);
                Vec<T> sum = tap[0];
                FC_UNROLL for (int v = 1; v < K; ++v) sum += tap[v];
                fc::store_n(out + i * p.OW + j, this->mean(sum, row_divisor, j), p.OW - j);
            }
        }
    }
};

template <class T, int64_t First, int64_t Second>
class SharesOfWindows : Averages<T> {
public:
    SharesOfWindows(const Window& p, const Divisor& divisor)
        : Averages<T>(p, divisor), covering_(p), shares_((p.FH - 1) / p.stride_h + 1, covering_.length<T>()),
          sums_(1, covering_.length<T>()) {
        shares_.fill(T(0));
        sums_.fill(T(0));
    }

    // The rows [begin, end) of one plane dx.
    void plane(T* dx, const T* dout, int64_t begin, int64_t end) {
        int64_t ready = 0;
        for (int64_t h = begin, next; h < end; h = next) {
            const int64_t first = covering_.first(h), last = covering_.last(h);
            for (next = h + 1; next < end && covering_.first(next) == first && covering_.last(next) == last;) ++next;
            for (ready = std::max(ready, first); ready <= last; ++ready) share(dout, ready);
            spread(dx + h * this->p_.W, next - h, sum(first, last));
        }
    }

private:
    T* row(const Ring<T>& ring, int64_t i) const { return ring.row(i) + covering_.margin; }

    void share(const T* dout, int64_t i) {
        const int64_t OW = this->p_.OW;
        const Vec<T> row_divisor = this->row_divisor(i);
        for (int64_t j = 0; j < OW; j += lanes<T>)
            fc::store(row(shares_, i) + j, this->mean(fc::load_n(dout + i * OW + j, OW - j), row_divisor, j));
    }

    // The sum of the rows first to last.
    const T* sum(int64_t first, int64_t last) {
        if (first == last) return row(shares_, first);
        for (int64_t j = 0; j < this->p_.OW; j += lanes<T>) {
            Vec<T> sum = fc::zero<T>();
            for (int64_t i = first; i <= last; ++i) sum += fc::load(row(shares_, i) + j);
            fc::store(row(sums_, 0) + j, sum);
        }
        return row(sums_, 0);
    }

    void spread(T* dx, int64_t rows, const T* sums) const {
        covering_.template write_rows<First, Second>(dx, rows, [=](int64_t k, auto count, int64_t) {
            if (count == 0) return fc::zero<T>();
            Vec<T> sum = fc::load(sums + k);
            for (int64_t q = 1; q < count; ++q) sum += fc::load(sums + k - q);
            return sum;
        });
    }

    Covering covering_;
    Ring<T> shares_, sums_;
};

template <class T>
void avg_forward(T* out, const T* x, const Window* window, int64_t divisor, int64_t include_pad) {
    const Window p = simplified(*window);
    const double elements = double(p.N * p.C * p.OH) * double(p.W * std::min(p.FH, p.stride_h) + p.OW * p.FW);
    over_planes(p.N * p.C, p.OH, elements * 0.1, [&](const Part& part) {
        const Divisor d{divisor, include_pad != 0};
        auto run = [&](auto&& kernel) {
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                kernel.plane(out + plane * p.OH * p.OW, x + plane * p.H * p.W, part.row_begin, part.row_end);
        };
        if (is_stride2(p, 2, 0)) return run(MeansStride2<T, 2, 0>(p, d));
        if (is_stride2(p, 3, 0)) return run(MeansStride2<T, 3, 0>(p, d));
        if (is_stride2(p, 3, 1)) return run(MeansStride2<T, 3, 1>(p, d));
        run(MeansOfWindows<T>(p, d));
    });
}

template <class T>
void avg_backward(T* dx, const T* dout, const Window* window, int64_t divisor, int64_t include_pad) {
    const Window p = simplified(*window);
    over_planes(p.N * p.C, p.H, double(p.N * p.C * p.H * p.W) * 0.2, [&](const Part& part) {
        Covering(p).with_counts([&](auto first, auto second) {
            SharesOfWindows<T, decltype(first)::value, decltype(second)::value> shares(p, {divisor, include_pad != 0});
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                shares.plane(dx + plane * p.H * p.W, dout + plane * p.OH * p.OW, part.row_begin, part.row_end);
        });
    });
}

}  // namespace
