// The gradients of filters and bias as a WeightsStep of a kernel that takes all it needs from the Window.
#pragma once
#include "step.h"
#include "window.h"

namespace fc {

// KERNEL(dw, db, dout, x, window, number of filters), float32
template <auto KERNEL>
class PreparedWeights final : public WeightsStep {
public:
    PreparedWeights(const Window& window, int64_t filters) : p(window), FN(filters) {}

    void run(void* dw, void* db, const void* dout, const void* x, int64_t images) const override {
        Window now = p;
        now.N = images;
        KERNEL(static_cast<float*>(dw), static_cast<float*>(db), static_cast<const float*>(dout),
               static_cast<const float*>(x), &now, FN);
    }

private:
    const Window p;
    const int64_t FN;
};

}  // namespace fc
