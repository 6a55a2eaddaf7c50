// Convolution forward and backward-data, compiled once per instruction set. ref.py is the truth.
//
// geometry.h   both directions as correlations of a source with re-ordered filters
// weights.h    filters packed into panels
// source.h     the source in place, padded, or unfolded (for pixels.h)
// tile.h       the micro-kernel, vectors over output channels
// store.h      the transposed way out, with bias and ReLU
// ahead.h      asking for memory before it is used
// blocks.h     how the work is cut
// direct.h     many output channels; all of these put together
// pixels.h     few output channels
// sliding.h    one or two
#include <cmath>

#include "direct.h"
#include "pixels.h"
#include "sliding.h"
#include "step.h"

namespace fc::conv {

// Whether vectors over pixels beat vectors over channels: cycles a pixel of the result. Both spend multiplications: direct
// on all lanes of its last vector or half vector, and on waiting where a row has too few pixels to hide their latency;
// pixels on padding, on the lanes of a small plane's last vector, and about a tenth more. Besides, pixels take 8 cycles for
// each row of the unfolded copy and 3 for each vector (18 and 9 where it leaves numbers out), and direct 5 to transpose a
// vector of results.
template <class T>
bool few_channels(const Correlation<T>& c) {
    constexpr double kLatency = 4;
    const double plane = double(c.DH * c.DW), vectors = double(c.Cout) / lanes<T>;
    const double taps = c.multiplications() / (double(c.N * c.groups * c.Cout) * plane);
    const double inside = c.rows.back().inside(c.SH) * c.columns.back().inside(c.SW);
    const Panels<T> panels(c);
    const double sums = double(std::min<int64_t>(c.out_columns(), 14) * panels[0].vectors());
    const double waiting = std::max(kLatency / sums, 1.0);
    const double direct = (panels.lanes_multiplied() * taps * inside * waiting + 5.0 * double(panels.width())) / lanes<T>;

    const Rectangle all{0, c.out_rows(), 0, c.out_columns()};
    const auto whole = [](int64_t columns) { return double((columns + lanes<T> - 1) / lanes<T>); };
    double copies = 0;
    for (const Axis& w : c.columns)
        copies += double(w.taps) * (w.stride == 1 ? 8 + 3 * whole(w.out) : 18 + 9 * whole(w.out));
    copies *= double(c.Cin * source_rectangle(c, all).rows()) / plane;
    const double lanes_used = double(all.rows() * all.cols()) / lanes<T>;
    const double pixels = vectors * (1.1 * taps + 1) * std::ceil(lanes_used) / lanes_used + copies;
    return pixels < direct;
}

// f(the algorithm for a correlation), which is the same for any number of images.
template <class T, class F>
void with_algorithm(const Correlation<T>& c, F f) {
    if (Sliding<T>::can(c))
        f(Sliding<T>(c));
    else if (few_channels(c))
        f(Pixels<T>(c));
    else
        f(Direct<T>(c));
}

template <class T>
void run(Correlation<T>& c) {
    if (c.N == 0) return;
    fold_pointwise(c);
    with_algorithm(c, [](auto&& algorithm) {
        const Scratch<T> packed(algorithm.packed_size());
        algorithm.pack(packed);
        algorithm.run(packed);
    });
}

// Forward or backward-data with filters packed once.
template <class T>
class Prepared final : public Step {
public:
    explicit Prepared(Correlation<T>&& correlation) : c(std::move(correlation)), packed(size()) {
        with_algorithm(c, [this](auto&& algorithm) { algorithm.pack(packed); });
    }

    void run(void* out, const void* x, int64_t images) const override {
        if (images == 0) return;
        Correlation<T> now = c;
        now.N = images;
        now.source = static_cast<const T*>(x);
        now.result = static_cast<T*>(out);
        with_algorithm(now, [this](auto&& algorithm) { algorithm.run(packed); });
    }
    double nanoseconds(int64_t images) const override {
        return c.multiplications() * double(images) / (3.0 * lanes<T>);  // c has one image
    }
    bool copies() const override { return true; }

private:
    const Correlation<T> c;
    const Scratch<T> packed;

    int64_t size() const {
        int64_t size = 0;
        with_algorithm(c, [&size](auto&& algorithm) { size = algorithm.packed_size(); });
        return size;
    }
};

template <class T>
void forward(T* out, const T* x, const T* w, const T* b, const Window* p, int64_t FN, int64_t groups, double most) {
    auto correlation = forward_correlation(out, x, w, b, *p, FN, groups, most);
    run(correlation);
}

template <class T>
Step* prepared(Correlation<T>&& correlation) {
    correlation.N = 1;
    fold_pointwise(correlation);
    return new Prepared<T>(std::move(correlation));
}

template <class T>
Step* prepare(const T* w, const T* b, const Window* p, int64_t FN, int64_t groups, double most) {
    return prepared(forward_correlation<T>(nullptr, nullptr, w, b, *p, FN, groups, most));
}

template <class T>
Step* prepare_data(const T* w, const Window* p, int64_t FN, int64_t groups) {
    return prepared(backward_correlation<T>(nullptr, nullptr, w, *p, FN, groups));
}

template <class T>
void backward_data(T* dx, const T* dout, const T* w, const Window* p, int64_t FN, int64_t groups) {
    auto correlation = backward_correlation(dx, dout, w, *p, FN, groups);
    run(correlation);
}

}  // namespace fc::conv

using fc::conv::backward_data;
using fc::conv::forward;
using fc::conv::prepare;
using fc::conv::prepare_data;

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(backward_data), FC_FLOATS(prepare),
           FC_FLOATS(prepare_data))
