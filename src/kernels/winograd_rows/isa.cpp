// Convolution by minimal filtering along the rows alone: filters of 5 to 7 rows with stride 1 or 2, any columns, dilation 1,
// one group, float32; forward and both gradients, compiled once per instruction set.
//
// formula.h    the transforms, for any number of points
// source.h     the transform of what some tiles read
// forward.h    forward and backward-data
// gradient.h   the gradients of filters and bias
//
// Winograd's kernels (winograd, winograd_stride2) transform rows and columns, and pay with transforms that many channels
// must share. With few channels, as in a first layer, rows alone pay: 5 rows take 8 products for 20, the 7 rows of a
// stride of 2 take 14 for 28, and transforms of columns, which would shuffle lanes, are not needed. The root mean square
// of the error, relative to the result's, is 2e-7 to 1.1e-6. What is not finite is computed again as a direct sum
// (../winograd/direct_sums.h). conv2d/ref.py is the truth.
#include "forward.h"
#include "gradient.h"
#include "weights_step.h"

namespace fc::winograd_rows {

// body(the formula for filters of so many rows)
template <class Body>
void with_formula(int64_t FH, int64_t stride, Body body) {
    switch (divide_up(FH, stride)) {
        case 3: return body(Formula<6, 4>());
        case 4: return body(Formula<7, 4>());
        case 5: return body(Formula<8, 4>());
        default: return body(Formula<8, 2>());
    }
}

// body(Forward of the correlation)
template <class Body>
void with_forward(const Correlation& c, Body body) {
    with_formula(c.FH, c.stride_h, [&](auto formula) { body(Forward<decltype(formula)>(c)); });
}

void run(const Correlation& c, const float* ready = nullptr) {
    with_forward(c, [=](const auto& kernel) { kernel.run(ready); });
}

void forward(float* out, const float* x, const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    run(forward_correlation(out, x, w, b, *p, FN, relu));
}

// body(backward-data as a correlation, whose filters live as long as that takes)
template <class Body>
void with_backward(float* dx, const float* dout, const float* w, const Window& p, int64_t FN, Body body) {
    if (p.stride_h == 1) return body(backward_correlation(dx, dout, w, p, FN));
    const Scratch<float> filters(phased_size(p, FN));
    body(phased_correlation(dx, dout, w, p, FN, filters));
}

void backward_data(float* dx, const float* dout, const float* w, const Window* p, int64_t FN) {
    with_backward(dx, dout, w, *p, FN, [](const Correlation& c) { run(c); });
}

void backward_weights(float* dw, float* db, const float* dout, const float* x, const Window* p, int64_t FN) {
    with_formula(p->FH, p->stride_h,
                 [&](auto formula) { Gradient<decltype(formula)>(dw, db, dout, x, *p, FN).run(); });
}

// Forward or backward-data with filters transformed once.
class Prepared final : public Step {
public:
    explicit Prepared(const Correlation& correlation) : c(with(correlation, 1)), filters(size()) {
        with_forward(c, [this](const auto& kernel) { kernel.transform(filters); });
    }

    void run(void* out, const void* x, int64_t images) const override {
        Correlation now = with(c, images);
        now.source = static_cast<const float*>(x);
        now.result = static_cast<float*>(out);
        winograd_rows::run(now, filters);
    }
    double nanoseconds(int64_t images) const override {
        double time = 0;
        with_forward(c, [&](const auto& kernel) { time = kernel.nanoseconds(); });
        return time * double(images);
    }
    bool copies() const override { return true; }

private:
    const Correlation c;
    const Scratch<float> filters;

    static Correlation with(Correlation c, int64_t images) {
        c.N = images;
        return c;
    }
    int64_t size() const {
        int64_t size = 0;
        with_forward(c, [&](const auto& kernel) { size = kernel.transformed_size(); });
        return size;
    }
};

Step* prepare(const float* w, const float* b, const Window* p, int64_t FN, bool relu) {
    return new Prepared(forward_correlation(nullptr, nullptr, w, b, *p, FN, relu));
}

Step* prepare_data(const float* w, const Window* p, int64_t FN) {
    Step* step = nullptr;
    with_backward(nullptr, nullptr, w, *p, FN, [&](const Correlation& c) { step = new Prepared(c); });
    return step;
}

WeightsStep* prepare_weights(const Window* p, int64_t FN) { return new PreparedWeights<backward_weights>(*p, FN); }

}  // namespace fc::winograd_rows

using fc::winograd_rows::backward_data;
using fc::winograd_rows::backward_weights;
using fc::winograd_rows::forward;
using fc::winograd_rows::prepare;
using fc::winograd_rows::prepare_data;
using fc::winograd_rows::prepare_weights;

FC_KERNELS(fc::fc_entry("forward", &forward), fc::fc_entry("backward_data", &backward_data),
           fc::fc_entry("backward_weights", &backward_weights), fc::fc_entry("prepare", &prepare),
           fc::fc_entry("prepare_data", &prepare_data), fc::fc_entry("prepare_weights", &prepare_weights))
