// Stochastic pooling, one window at a time: drawing compares running sums in the reference's order and precision, so
// that the same uniform numbers draw the same elements.
#pragma once
#include "planes.h"

namespace {

// The taps of one window that are in x, in row-major order.
template <class T>
class WeightedWindow {
public:
    WeightedWindow(const T* plane, const Window& p, int64_t i, int64_t j)
        : plane_(plane), W_(p.W), rows_(i * p.stride_h - p.pad_top, p.FH, p.H),
          columns_(j * p.stride_w - p.pad_left, p.FW, p.W) {
        each([&](T weight, T) { total_ += weight; });
        if (total_ == 0) {
            even_ = true;
            each([&](T weight, T) { total_ += weight; });
        }
    }

    T total() const { return total_; }
    int64_t taps() const { return rows_.count() * columns_.count(); }

    // Flat position in the plane of tap k.
    int64_t position(int64_t k) const {
        return (rows_.begin + k / columns_.count()) * W_ + columns_.begin + k % columns_.count();
    }

    // f(weight, value) for every tap. Weights are max(value, 0), or 1 each where these are all 0.
    template <class F>
    void each(F&& f) const {
        for (int64_t h = rows_.begin; h < rows_.end; ++h)
            for (int64_t w = columns_.begin; w < columns_.end; ++w) {
                const T value = plane_[h * W_ + w];
                f(even_ ? T(1) : value <= 0 ? T(0) : value, value);
            }
    }

private:
    struct Range {
        int64_t begin, end;

        Range(int64_t start, int64_t taps, int64_t extent)
            : begin(std::max(start, int64_t(0))), end(std::max(begin, std::min(start + taps, extent))) {}
        int64_t count() const { return end - begin; }
    };

    const T* plane_;
    int64_t W_;
    Range rows_, columns_;
    T total_ = 0;
    bool even_ = false;
};

// body(at, plane, window) for every window; `at` counts them.
template <class T, class Body>
void over_windows(const T* x, const Window& p, Body&& body) {
    const double nanoseconds = double(p.N * p.C * p.OH * p.OW) * double(std::min(p.FH, p.H)) * double(std::min(p.FW, p.W)) * 5;
    over_planes(p.N * p.C, p.OH, nanoseconds, [&](const Part& part) {
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
            for (int64_t i = part.row_begin; i < part.row_end; ++i)
                for (int64_t j = 0; j < p.OW; ++j)
                    body((plane * p.OH + i) * p.OW + j, plane,
                         WeightedWindow<T>(x + plane * p.H * p.W, p, i, j));
    });
}

template <class T>
void stochastic_forward(T* out, int64_t* indices, const T* x, const T* u, const Window* p) {
    over_windows(x, *p, [&](int64_t at, int64_t plane, const WeightedWindow<T>& window) {
        const T threshold = u[at] * window.total();
        const int64_t taps = window.taps();
        if (taps == 0) {  // padding alone
            indices[at] = -1;
            out[at] = 0;
            return;
        }
        int64_t tap = 0, chosen = 0, first = taps, last = taps - 1;
        T sum = 0;
        window.each([&](T weight, T) {
            sum += weight;
            chosen += sum <= threshold;
            if (weight != 0) first = std::min(first, tap);
            if (weight > 0) last = tap;
            ++tap;
        });
        // Rounding may leave the threshold at the total itself: the last element with a weight is taken then.
        const int64_t position = window.position(std::max(first, std::min(chosen, last)));
        indices[at] = position;
        out[at] = x[plane * p->H * p->W + position];
    });
}

template <class T>
void stochastic_inference(T* out, const T* x, const Window* p) {
    over_windows(x, *p, [&](int64_t at, int64_t, const WeightedWindow<T>& window) {
        T sum = 0;
        window.each([&](T weight, T value) { sum += weight * value; });
        out[at] = window.taps() ? sum / window.total() : T(0);
    });
}

}  // namespace
