// Average pooling. Sums are separable: FH rows of x are added as they are, column by column, then FW columns of that
// one row. The gradient is the same backwards: rows of shares are added, then each sum is spread over FW columns.
#pragma once
#include "planes.h"

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

template <class T>
class SharesOfWindows : Averages<T> {
public:
    SharesOfWindows(const Window& p, const Divisor& divisor)
        : Averages<T>(p, divisor), margin_((p.FW - 1) / p.stride_w),
          length_(margin_ + std::max(this->width_, (p.W + p.pad_left) / p.stride_w + 1 + lanes<T>)),
          sums_(length_), shares_(p.OH * this->width_) {
        std::fill_n(sums_.get(), length_, T(0));
    }

    // The rows [begin, end) of one plane dx.
    void plane(T* dx, const T* dout, int64_t begin, int64_t end) {
        const Window& p = this->p_;
        if (begin == end) return;
        share(dout, first_window(begin), last_window(end - 1));
        for (int64_t h = begin; h < end; ++h) {
            T* row = dx + h * p.W;
            const int64_t first = first_window(h), last = last_window(h);
            if (h > begin && first == first_window(h - 1) && last == last_window(h - 1)) {
                std::copy_n(row - p.W, p.W, row);
            } else {
                add_rows(first, last);
                spread(row);
            }
        }
    }

private:
    // The output rows whose windows cover row h of x.
    int64_t first_window(int64_t h) const {
        const int64_t before = h + this->p_.pad_top - this->p_.FH;
        return before < 0 ? 0 : before / this->p_.stride_h + 1;
    }
    int64_t last_window(int64_t h) const {
        return std::min(this->p_.OH - 1, (h + this->p_.pad_top) / this->p_.stride_h);
    }

    void share(const T* dout, int64_t first, int64_t last) {
        const int64_t OW = this->p_.OW;
        for (int64_t i = first; i <= last; ++i) {
            const Vec<T> row_divisor = this->row_divisor(i);
            for (int64_t j = 0; j < OW; j += lanes<T>)
                fc::store(shares_ + i * this->width_ + j,
                          this->mean(fc::load_n(dout + i * OW + j, OW - j), row_divisor, j));
        }
    }

    void add_rows(int64_t first, int64_t last) {
        for (int64_t j = 0; j < this->width_; j += lanes<T>) {
            Vec<T> sum = fc::zero<T>();
            for (int64_t i = first; i <= last; ++i) sum += fc::load(shares_ + i * this->width_ + j);
            fc::store(sums_ + margin_ + j, sum);
        }
    }

    // Padded column k*stride + r is covered by the windows k, k-1, ... : as many as taps r, r + stride, ... exist.
    struct Phase {
        const T* sums;
        int64_t count;

        Vec<T> at(int64_t k) const {
            Vec<T> sum = fc::zero<T>();
            for (int64_t q = 0; q < count; ++q) sum += fc::load(sums + k - q);
            return sum;
        }
    };

    Phase phase(int64_t padded_column) const {
        const int64_t stride = this->p_.stride_w, r = padded_column % stride;
        return {sums_ + margin_ + padded_column / stride, r < this->p_.FW ? (this->p_.FW - 1 - r) / stride + 1 : 0};
    }

    void spread(T* dx) const {
        const Window& p = this->p_;
        constexpr int64_t L = lanes<T>;
        if (p.stride_w == 1) {
            const Phase only = phase(p.pad_left);
            for (int64_t w = 0; w < p.W; w += L) fc::store_n(dx + w, only.at(w), p.W - w);
        } else if (p.stride_w == 2) {
            const Phase even = phase(p.pad_left), odd = phase(p.pad_left + 1);
            for (int64_t w = 0; w < p.W; w += 2 * L) {
                const Vec<T> a = even.at(w / 2), b = odd.at(w / 2);
                fc::store_n(dx + w, fc::interleave_lo(a, b), p.W - w);
                if (w + L < p.W) fc::store_n(dx + w + L, fc::interleave_hi(a, b), p.W - w - L);
            }
        } else {
            for (int64_t c = 0; c < std::min(p.stride_w, p.W); ++c) {
                const Phase of_column = phase(p.pad_left + c);
                const int64_t count = (p.W - c + p.stride_w - 1) / p.stride_w;
                for (int64_t k = 0; k < count; k += L) {
                    T block[L];
                    fc::store(block, of_column.at(k));
                    for (int64_t i = 0; i < std::min(L, count - k); ++i) dx[c + (k + i) * p.stride_w] = block[i];
                }
            }
        }
    }

    int64_t margin_, length_;
    Scratch<T> sums_, shares_;
};

template <class T>
void avg_forward(T* out, const T* x, const Window* window, int64_t divisor, int64_t include_pad) {
    const Window p = simplified(*window);
    const double elements = double(p.N * p.C * p.OH) * double(p.W * std::min(p.FH, p.stride_h) + p.OW * p.FW);
    over_planes(p.N * p.C, p.OH, elements * 0.1, [&](const Part& part) {
        MeansOfWindows<T> means(p, {divisor, include_pad != 0});
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
            means.plane(out + plane * p.OH * p.OW, x + plane * p.H * p.W, part.row_begin, part.row_end);
    });
}

template <class T>
void avg_backward(T* dx, const T* dout, const Window* window, int64_t divisor, int64_t include_pad) {
    const Window p = simplified(*window);
    over_planes(p.N * p.C, p.H, double(p.N * p.C * p.H * p.W) * 0.2, [&](const Part& part) {
        SharesOfWindows<T> shares(p, {divisor, include_pad != 0});
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
            shares.plane(dx + plane * p.H * p.W, dout + plane * p.OH * p.OW, part.row_begin, part.row_end);
    });
}

}  // namespace
