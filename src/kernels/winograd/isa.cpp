// Winograd's convolution: filters of 3 x 3, stride 1, dilation 1, one group, float32; forward and both gradients,
// compiled once per instruction set. F(4x4, 3x3), and F(2x2, 3x3) for results of at most 2 x 2.
//
// transforms.h   the formula: source, filters and result of a tile, and their adjoints, on vectors
// products.h     the matrix products in between
// tiles.h        planes cut into tiles; the transform of what these read
// fused.h        forward and backward-data, a block of tiles at a time
// gradient.h     the gradients of filters and bias
// backward.h     all gradients at once
// direct_sums.h  numbers one by one, where these are not finite
//
// A tile of 4 x 4 takes 36 products for each pair of channels where the direct sum takes 144. The price is precision:
// the root mean square of the error, relative to the result's, is 4e-7 to 1.1e-6, where direct sums have 2e-7 to 6e-7;
// with tiles of 2 x 2, 16 products for 36, it is 1e-7 to 5e-7. That is for numbers of one range: in general a result's
// error is in proportion to the largest number that its tile reads, up to 6e-6 of it times the sum of |w|. What is not
// finite would spread over a tile, and large numbers overflow in the transforms: the sum of a tile's results tells, and
// those are computed again (direct_sums.h). conv2d/ref.py is the truth for everything else.
#include "backward.h"
#include "fused.h"
#include "gradient.h"
#include "weights_step.h"

namespace fc::winograd {

// Tiles of 2 x 2 where the result is no larger: 16 products, not 36 of which most come to nothing.
inline bool is_small(int64_t rows, int64_t cols) { return rows <= 2 && cols <= 2; }

void run(const Correlation& c) {
    if (c.N == 0) return;
    is_small(c.DH, c.DW) ? Fused<2>(c).run() : Fused<4>(c).run();
}

void forward(float* out, const float* x, const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    run(forward_correlation(out, x, w, b, *p, FN, relu));
}

void backward_data(float* dx, const float* dout, const float* w, const Window* p, int64_t FN) {
    run(backward_correlation(dx, dout, w, *p, FN));
}

void backward_weights(float* dw, float* db, const float* dout, const float* x, const Window* p, int64_t FN) {
    is_small(p->OH, p->OW) ? Gradient<2>(dw, db, dout, x, *p, FN).run() : Gradient<4>(dw, db, dout, x, *p, FN).run();
}

void backward(float* dx, float* dw, float* db, const float* dout, const float* x, const float* w, const Window* p,
              int64_t FN) {
    Backward(dx, dw, db, dout, x, w, *p, FN).run();
}

// Forward or backward-data with filters transformed once; where they would be too large for the caches, each call does
// it anew.
template <int OUTPUTS>
class Prepared final : public Step {
public:
    explicit Prepared(const Correlation& correlation) : c(correlation), filters(copied_size()) {
        if (copies()) Fused<OUTPUTS>(c).transform(filters);
    }

    void run(void* out, const void* x, int64_t images) const override {
        if (images == 0) return;
        Correlation now = c;
        now.N = images;
        now.source = static_cast<const float*>(x);
        now.result = static_cast<float*>(out);
        Fused<OUTPUTS>(now, copies() ? filters.get() : nullptr).run();
    }
    double nanoseconds(int64_t images) const override {
        const int64_t tiles = images * divide_up(c.DH, OUTPUTS) * divide_up(c.DW, OUTPUTS);
        return double(tiles * positions(OUTPUTS)) * double(c.Cin * c.Cout) / (2.2 * L);
    }
    bool copies() const override { return copied_size() > 0; }

private:
    const Correlation c;
    const Scratch<float> filters;

    int64_t copied_size() const {
        const int64_t size = Fused<OUTPUTS>(c).transformed_size();
        return size * int64_t(sizeof(float)) <= Fused<OUTPUTS>::kSharedBytes ? size : 0;
    }
};

Step* prepared(Correlation c) {
    c.N = 1;
    if (is_small(c.DH, c.DW)) return new Prepared<2>(c);
    return new Prepared<4>(c);
}

Step* prepare(const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    return prepared(forward_correlation(nullptr, nullptr, w, b, *p, FN, relu));
}

Step* prepare_data(const float* w, const Window* p, int64_t FN) {
    return prepared(backward_correlation(nullptr, nullptr, w, *p, FN));
}

WeightsStep* prepare_weights(const Window* p, int64_t FN) { return new PreparedWeights<backward_weights>(*p, FN); }

class PreparedBackward final : public BackwardStep {
public:
    PreparedBackward(const Correlation& c, const Window& window)
        : p(window), FN(c.Cin), w(c.filters), filters(Fused<4>(c).transformed_size()) {
        Fused<4>(c).transform(filters);
    }

    void run(void* dx, void* dw, void* db, const void* dout, const void* x, int64_t images) const override {
        Window now = p;
        now.N = images;
        Backward(static_cast<float*>(dx), static_cast<float*>(dw), static_cast<float*>(db),
                 static_cast<const float*>(dout), static_cast<const float*>(x), w, now, FN, filters)
            .run();
    }

private:
    const Window p;
    const int64_t FN;
    const float* const w;
    const Scratch<float> filters;
};

BackwardStep* prepare_backward(const float* w, const Window* p, int64_t FN) {
    return new PreparedBackward(backward_correlation(nullptr, nullptr, w, *p, FN), *p);
}

}  // namespace fc::winograd

using fc::winograd::backward;
using fc::winograd::backward_data;
using fc::winograd::backward_weights;
using fc::winograd::forward;
using fc::winograd::prepare;
using fc::winograd::prepare_backward;
using fc::winograd::prepare_data;
using fc::winograd::prepare_weights;

FC_KERNELS(fc::fc_entry("forward", &forward), fc::fc_entry("backward_data", &backward_data),
           fc::fc_entry("backward_weights", &backward_weights), fc::fc_entry("backward", &backward),
           fc::fc_entry("prepare", &prepare), fc::fc_entry("prepare_data", &prepare_data),
           fc::fc_entry("prepare_weights", &prepare_weights), fc::fc_entry("prepare_backward", &prepare_backward))
