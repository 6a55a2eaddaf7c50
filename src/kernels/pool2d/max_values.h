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

template <class T>
class MaxValues final : public fc::Step {
public:
    explicit MaxValues(const Window& window) : p(window) {}

    void run(void* out, const void* x, int64_t images) const override {
        T* const y = static_cast<T*>(out);
        const T* const source = static_cast<const T*>(x);
        const int64_t planes = images * p.C, results = p.OH * p.OW;
        if (is_2x2(p))
            return over_planes(planes, 1, nanoseconds(images), [&](const Part& part) {
                const Rows2x2<T> rows(p);
                for (int64_t n = part.plane_begin; n < part.plane_end; ++n)
                    rows.plane(y + n * results, source + n * p.H * p.W, 0, p.OH, greatest);
            });
        Window now = p;
        now.N = images;
        const Scratch<int64_t> indices(planes * results);
        max_forward(y, indices.get(), source, &now);
    }
    double nanoseconds(int64_t images) const override {
        return 0.05 * double(images * p.C * p.OH * p.OW) * double(p.FH) * double(p.FW);
    }

private:
    static constexpr auto greatest = [](auto load, const T* upper, const T* lower) {
        const auto columns = [&](const T* row) __attribute__((always_inline)) {
            const Vec<T> a = load(row, 0), b = load(row, 1);
            return greater<T>(fc::even(a, b), fc::odd(a, b));
        };
        return greater<T>(columns(upper), columns(lower));
    };

    const Window p;
};

template <class T>
fc::Step* prepare_max(const Window* p) {
    return new MaxValues<T>(*p);
}

}  // namespace
