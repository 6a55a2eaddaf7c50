// Stochastic pooling, one window at a time: drawing compares running sums in the reference's order and precision, so
// that the same uniform numbers draw the same elements.
#pragma once
#include "planes.h"

namespace {

// One window's taps in row-major order.
template <class T>
class WeightedWindow {
public:
    WeightedWindow(const T* plane, const Window& p, int64_t i, int64_t j)
        : plane_(plane), p_(p), top_(i * p.stride_h - p.pad_top), left_(j * p.stride_w - p.pad_left) {
        each([&](T weight, T) { total_ += weight; });
        if (total_ == 0) {
            even_ = true;
            each([&](T weight, T) { total_ += weight; });
        }
    }

    T total() const { return total_; }

    // Flat position in the plane of tap k, -1 in the padding.
    int64_t position(int64_t k) const {
        const int64_t h = top_ + k / p_.FW, w = left_ + k % p_.FW;
        return h < 0 || h >= p_.H || w < 0 || w >= p_.W ? -1 : h * p_.W + w;
    }

    // f(weight, value) for every tap. Weights are max(value, 0), or 1 each where these are all 0; 0 in the padding.
    template <class F>
    void each(F&& f) const {
        for (int64_t k = 0; k < p_.FH * p_.FW; ++k) {
            const int64_t at = position(k);
            const T value = at < 0 ? T(0) : plane_[at];
            f(at < 0 ? T(0) : even_ ? T(1) : value <= 0 ? T(0) : value, value);
        }
    }

private:
    const T* plane_;
    const Window& p_;
    int64_t top_, left_;
    T total_ = 0;
    bool even_ = false;
};

// body(at, plane, window) for every window; `at` counts them.
template <class T, class Body>
void over_windows(const T* x, const Window& p, Body&& body) {
    const double nanoseconds = double(p.N * p.C * p.OH * p.OW) * double(p.FH * p.FW) * 5;
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
        const int64_t taps = p->FH * p->FW;
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
        out[at] = sum / window.total();
    });
}

}  // namespace
