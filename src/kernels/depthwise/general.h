// The general path: any filter, stride, padding and dilation, with or without a channel multiplier.
//
// Rows of x pass one by one through a PhasedRow, in which every tap of neighbouring windows is a vector, and meet all
// rows of the result that they belong to: x's row h and filter row u give row (h + top - u*dh) / sh, where sh divides.
#pragma once
#include "clip.h"
#include "planes.h"

namespace {

// The rows i in [begin, end) of the result, and the filter rows u, that row h of x meets: body(i, u).
template <class Body>
void for_rows(const Window& p, int64_t h, int64_t begin, int64_t end, Body body) {
    for (int64_t u = 0; u < p.FH; ++u) {
        const int64_t start = h + p.pad_top - u * p.dilation_h;
        const int64_t i = start / p.stride_h;
        if (start >= 0 && start % p.stride_h == 0 && i >= begin && i < end) body(i, u);
    }
}

// The rows of x that rows [begin, end) of the result meet.
inline Taps source_rows(const Window& p, int64_t begin, int64_t end) {
    const int64_t top = begin * p.stride_h - p.pad_top, span = (end - 1 - begin) * p.stride_h + p.reach_h();
    Taps rows(top, p.H, span, 1);
    rows.begin += top;
    rows.end += top;
    return rows;
}

template <class T>
class General {
public:
    explicit General(const Window& p) : p_(simplified(p)), row_(p_, T(0)) {}

    void forward(const T* x, const T* w, T bias, fc::Clip<T> clip, T* out, int64_t row_begin, int64_t row_end) {
        T* const begin = out + row_begin * p_.OW;
        T* const end = out + row_end * p_.OW;
        std::fill(begin, end, bias);
        const Taps rows = source_rows(p_, row_begin, row_end);
        for (int64_t h = rows.begin; h < rows.end; ++h) {
            read(x, h);
            for_rows(p_, h, row_begin, row_end, [&](int64_t i, int64_t u) {
                for (int64_t j = 0; j < p_.OW; j += lanes<T>) {
                    T* y = out + i * p_.OW + j;
                    Vec<T> sum = fc::load_n(y, p_.OW - j);
                    for (int64_t v = 0; v < p_.FW; ++v)
                        sum = fc::fma(fc::set1(w[u * p_.FW + v]), fc::load(row_.tap(v) + j), sum);
                    fc::store_n(y, sum, p_.OW - j);
                }
            });
        }
        if (!clip) return;
        for (T* y = begin; y < end; y += lanes<T>)
            fc::store_n(y, clip(fc::load_n(y, end - y)), end - y);
    }

    // The filters w and planes of dout of one channel, `multiplier` of each.
    void backward_data(const T* dout, const T* w, int64_t multiplier, T* dx, int64_t row_begin, int64_t row_end) {
        for (int64_t h = row_begin; h < row_end; ++h) {
            row_.clear();
            for_rows(p_, h, 0, p_.OH, [&](int64_t i, int64_t u) {
                for (int64_t m = 0; m < multiplier; ++m) {
                    const T* d = dout + (m * p_.OH + i) * p_.OW;
                    const T* weights = w + (m * p_.FH + u) * p_.FW;
                    for (int64_t v = 0; v < p_.FW; ++v) add_scaled(row_.tap(v), weights[v], d);
                }
            });
            row_.write(dx + h * p_.W);
        }
    }

    // Adds one plane's products to totals: FH*FW vectors for dw, then one for db.
    void backward_weights(const T* x, const T* dout, Vec<T>* totals) {
        for (int64_t h = 0; h < p_.H; ++h) {
            read(x, h);
            for_rows(p_, h, 0, p_.OH, [&](int64_t i, int64_t u) {
                const T* d = dout + i * p_.OW;
                for (int64_t v = 0; v < p_.FW; ++v) totals[u * p_.FW + v] += product(row_.tap(v), d);
            });
        }
        Vec<T> bias{};
        for (int64_t k = 0; k < p_.OH * p_.OW; k += lanes<T>) bias += fc::load_n(dout + k, p_.OH * p_.OW - k);
        totals[p_.FH * p_.FW] += bias;
    }

private:
    void read(const T* x, int64_t h) {
        row_.read([row = x + h * p_.W](int64_t w, int64_t n) { return fc::load_n(row + w, n); });
    }

    void add_scaled(T* to, T factor, const T* d) const {
        for (int64_t j = 0; j < p_.OW; j += lanes<T>) {
            const int64_t n = p_.OW - j;
            fc::store_n(to + j, fc::fma(fc::set1(factor), fc::load_n(d + j, n), fc::load_n(to + j, n)), n);
        }
    }

    Vec<T> product(const T* a, const T* b) const {
        Vec<T> sum{};
        for (int64_t j = 0; j < p_.OW; j += lanes<T>) {
            const int64_t n = p_.OW - j;
            sum = fc::fma(fc::load_n(a + j, n), fc::load_n(b + j, n), sum);
        }
        return sum;
    }

    const Window p_;
    PhasedRow<T> row_;
};

}  // namespace
