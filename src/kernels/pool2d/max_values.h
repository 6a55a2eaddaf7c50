// Maximum pooling without indices, prepared: what prediction needs.
//
// Windows of 2 x 2 with stride 2 are compared in registers, a row at a time; all others are
// computed with their indices, which are thrown away.
#pragma once
#include "max.h"
#include "step.h"

namespace {

// A value that is greater, or NaN, wins: as in Best.
template <class T>
Vec<T> greater(Vec<T> best, Vec<T> candidate) {
    return fc::select((candidate > best) | fc::isnan(candidate), candidate, best);
}

// 2 x 2 windows, stride 2, all of them inside of x.
template <class T>
void max_2x2(T* out, const T* x, const Window& p) {
    constexpr int64_t L = lanes<T>;
    for (int64_t i = 0; i < p.OH; ++i, out += p.OW, x += 2 * p.W) {
        for (int64_t j = 0; j < p.OW; j += L) {
            const int64_t n = 2 * (p.OW - j);
            const auto columns = [n](const T* row) {
                const Vec<T> a = fc::load_n(row, n), b = fc::load_n(row + L, std::max<int64_t>(n - L, 0));
                return greater<T>(fc::even(a, b), fc::odd(a, b));
            };
            fc::store_n(out + j, greater<T>(columns(x + 2 * j), columns(x + p.W + 2 * j)), p.OW - j);
        }
    }
}

template <class T>
class MaxValues final : public fc::Step {
public:
    explicit MaxValues(const Window& window) : p(window) {}

    void run(void* out, const void* x, int64_t images) const override {
        T* const y = static_cast<T*>(out);
        const T* const source = static_cast<const T*>(x);
        const int64_t planes = images * p.C, results = p.OH * p.OW;
        if (is_stride2(p, 2, 0) && p.stride_h == 2 && p.pad_top == 0 && 2 * p.OH <= p.H && 2 * p.OW <= p.W)
            return over_planes(planes, 1, nanoseconds(images), [&](const Part& part) {
                for (int64_t n = part.plane_begin; n < part.plane_end; ++n)
                    max_2x2(y + n * results, source + n * p.H * p.W, p);
            });
        Window now = p;
        now.N = images;
        const Scratch<int64_t> indices(planes * results);
        max_forward(y, indices.get(), source, &now);
    }
    double nanoseconds(int64_t images) const override {
        return 0.05 * double(images * p.C * p.OH * p.OW) * double(p.FH * p.FW);
    }

private:
    const Window p;
};

template <class T>
fc::Step* prepare_max(const Window* p) {
    return new MaxValues<T>(*p);
}

}  // namespace
