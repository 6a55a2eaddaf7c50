// Winograd's convolution F(4x4, 3x3): filters of 3 x 3, stride 1, dilation 1, one group, float32; forward and both
// gradients, compiled once per instruction set.
//
// transforms.h   the formula: source, filters and result of a tile of 4 x 4, and their adjoints, on vectors
// products.h     the 36 matrix products in between
// tiles.h        planes cut into tiles; what tiles read, copied with its padding
// fused.h        forward and backward-data, a block of tiles at a time
// gradient.h     the gradients of filters and bias
//
// A tile takes 36 products for each pair of channels where the direct sum takes 144. The price is precision: the root
// mean square of the error, relative to the result's, is 4e-7 to 1.1e-6, where direct sums have 2e-7 to 1.2e-6 and
// mostly the lower half. And what is not finite spreads: a NaN or an infinity that the inner 4 x 4 of a tile's source
// holds makes all 4 x 4 results NaN, not only those whose windows hold it. Tiles that do not read it are untouched.
// conv2d/ref.py is the truth for everything else.
#include "fused.h"
#include "gradient.h"
#include "step.h"

namespace fc::winograd {

void forward(float* out, const float* x, const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    const auto correlation = forward_correlation(out, x, w, b, *p, FN, relu);
    if (p->N > 0) Fused<4>(correlation).run();
}

// Forward or backward-data with filters transformed once; where they would be too large for the caches, each call does it anew.
class Prepared final : public Step {
public:
    explicit Prepared(const Correlation& correlation) : c(correlation), filters(copied_size()) {
        if (copies()) Fused<4>(c).transform(filters);
    }

    void run(void* out, const void* x, int64_t images) const override {
        if (images == 0) return;
        Correlation now = c;
        now.N = images;
        now.source = static_cast<const float*>(x);
        now.result = static_cast<float*>(out);
        Fused<4>(now, copies() ? filters.get() : nullptr).run();
    }
    double nanoseconds(int64_t images) const override {
        const int64_t tiles = images * divide_up(c.DH, 4) * divide_up(c.DW, 4);
        return double(tiles * positions(4)) * double(c.Cin * c.Cout) / (2.2 * L);
    }
    bool copies() const override { return copied_size() > 0; }

private:
    const Correlation c;
    const Scratch<float> filters;

    int64_t copied_size() const {
        const int64_t size = Fused<4>(c).transformed_size();
        return size * int64_t(sizeof(float)) <= Fused<4>::kSharedBytes ? size : 0;
    }
};

Step* prepared(Correlation correlation) {
    correlation.N = 1;
    return new Prepared(correlation);
}

Step* prepare(const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    return prepared(forward_correlation(nullptr, nullptr, w, b, *p, FN, relu));
}

Step* prepare_data(const float* w, const Window* p, int64_t FN) {
    return prepared(backward_correlation(nullptr, nullptr, w, *p, FN));
}

void backward_data(float* dx, const float* dout, const float* w, const Window* p, int64_t FN) {
    const auto correlation = backward_correlation(dx, dout, w, *p, FN);
    if (p->N > 0) Fused<4>(correlation).run();
}

void backward_weights(float* dw, float* db, const float* dout, const float* x, const Window* p, int64_t FN) {
    Gradient<4>(dw, db, dout, x, *p, FN).run();
}

class PreparedWeights final : public WeightsStep {
public:
    PreparedWeights(const Window& window, int64_t filters) : p(window), FN(filters) {}

    void run(void* dw, void* db, const void* dout, const void* x, int64_t images) const override {
        Window now = p;
        now.N = images;
        backward_weights(static_cast<float*>(dw), static_cast<float*>(db), static_cast<const float*>(dout),
                         static_cast<const float*>(x), &now, FN);
    }

private:
    const Window p;
    const int64_t FN;
};

WeightsStep* prepare_weights(const Window* p, int64_t FN) { return new PreparedWeights(*p, FN); }

}  // namespace fc::winograd

using fc::winograd::backward_data;
using fc::winograd::backward_weights;
using fc::winograd::forward;
using fc::winograd::prepare;
using fc::winograd::prepare_data;
using fc::winograd::prepare_weights;

FC_KERNELS(fc::fc_entry("forward", &forward), fc::fc_entry("backward_data", &backward_data),
           fc::fc_entry("backward_weights", &backward_weights), fc::fc_entry("prepare", &prepare),
           fc::fc_entry("prepare_data", &prepare_data), fc::fc_entry("prepare_weights", &prepare_weights))
