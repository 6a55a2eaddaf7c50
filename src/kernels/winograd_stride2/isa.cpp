// Winograd's convolution with stride 2: filters of 3 x 3, dilation 1, one group, float32; forward and both gradients,
// compiled once per instruction set. F(4x4, 2x2) of four phases.
//
// transforms.h   the phases and the formula: source, filters and result of a tile, and their adjoints, on vectors
// products.h     the matrix products in between
// operands.h     the transforms of blocks of tiles
// fused.h        forward and backward-data, a block of tiles at a time
// gradient.h     the gradients of filters and bias
//
// A tile of 4 x 4 results takes 81 products for each pair of channels where the direct sum takes 144. The root mean
// square of the error, relative to the result's, is 2e-7 to 7e-7. What is not finite is computed again, as with stride 1,
// whose entry points (winograd/cy.pyx) are these kernels' as well. conv2d/ref.py is the truth.
#include "fused.h"
#include "gradient.h"
#include "weights_step.h"

namespace fc::winograd_stride2 {

template <bool BACKWARD>
void run(const Convolution& c) {
    if (c.N > 0) Fused<BACKWARD>(c).run();
}

void forward(float* out, const float* x, const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    run<false>(forward_convolution(out, x, w, b, *p, FN, relu));
}

void backward_data(float* dx, const float* dout, const float* w, const Window* p, int64_t FN) {
    run<true>(backward_convolution(dx, dout, w, *p, FN));
}

void backward_weights(float* dw, float* db, const float* dout, const float* x, const Window* p, int64_t FN) {
    Gradient(dw, db, dout, x, *p, FN).run();
}

// Forward or backward-data with filters transformed once; where they would be too large for the caches, each call does
// it anew.
template <bool BACKWARD>
class Prepared final : public Step {
public:
    explicit Prepared(const Convolution& convolution) : c(with(convolution, 1)), filters(copied_size()) {
        if (copies()) Fused<BACKWARD>(c).transform(filters);
    }

    void run(void* out, const void* x, int64_t images) const override {
        if (images == 0) return;
        Convolution now = with(c, images);
        now.source = static_cast<const float*>(x);
        now.result = static_cast<float*>(out);
        Fused<BACKWARD>(now, copies() ? filters.get() : nullptr).run();
    }
    double nanoseconds(int64_t images) const override { return Fused<BACKWARD>(with(c, images)).nanoseconds(); }
    bool copies() const override { return copied_size() > 0; }

private:
    const Convolution c;
    const Scratch<float> filters;

    static Convolution with(Convolution c, int64_t images) {
        c.N = images;
        return c;
    }

    int64_t copied_size() const {
        const int64_t size = Fused<BACKWARD>(c).transformed_size();
        return size * int64_t(sizeof(float)) <= Fused<BACKWARD>::kSharedBytes ? size : 0;
    }
};

Step* prepare(const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    return new Prepared<false>(forward_convolution(nullptr, nullptr, w, b, *p, FN, relu));
}

Step* prepare_data(const float* w, const Window* p, int64_t FN) {
    return new Prepared<true>(backward_convolution(nullptr, nullptr, w, *p, FN));
}

WeightsStep* prepare_weights(const Window* p, int64_t FN) { return new PreparedWeights<backward_weights>(*p, FN); }

}  // namespace fc::winograd_stride2

using fc::winograd_stride2::backward_data;
using fc::winograd_stride2::backward_weights;
using fc::winograd_stride2::forward;
using fc::winograd_stride2::prepare;
using fc::winograd_stride2::prepare_data;
using fc::winograd_stride2::prepare_weights;

FC_KERNELS(fc::fc_entry("forward", &forward), fc::fc_entry("backward_data", &backward_data),
           fc::fc_entry("backward_weights", &backward_weights), fc::fc_entry("prepare", &prepare),
           fc::fc_entry("prepare_data", &prepare_data), fc::fc_entry("prepare_weights", &prepare_weights))
