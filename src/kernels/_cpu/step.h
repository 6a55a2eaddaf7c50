// A prepared operation: everything is decided and packed but its input, its result and the number of images.
//
// A kernel makes one (prepare in its isa.cpp), its entry point hands it to Python as a fastconv.kernels.chain.cy.Step,
// and chain/isa.cpp runs several in a row. A convolution's backward-data is a step as well; its backward-weights is a
// WeightsStep, or both are one BackwardStep. block/isa.cpp runs these, some images at a time.
#pragma once
#include <cstdint>

namespace fc {

class Step {
public:
    virtual ~Step() = default;
    // The first `images` images at x to as many results at out. May throw std::bad_alloc, as every kernel.
    virtual void run(void* out, const void* x, int64_t images) const = 0;
    // What one thread needs for so many images, roughly.
    virtual double nanoseconds(int64_t images) const = 0;
    // Whether all images are better taken at once, as by a matrix product.
    virtual bool takes_all() const { return false; }
    // Whether it keeps a copy of its weights; else it reads them in place.
    virtual bool copies() const { return false; }
};

// The gradients of a convolution's filters and bias, everything decided but the arrays and the number of images.
class WeightsStep {
public:
    virtual ~WeightsStep() = default;
    virtual void run(void* dw, void* db, const void* dout, const void* x, int64_t images) const = 0;
};

// The gradients of filters, bias and input, by one kernel.
class BackwardStep {
public:
    virtual ~BackwardStep() = default;
    virtual void run(void* dx, void* dw, void* db, const void* dout, const void* x, int64_t images) const = 0;
};

}  // namespace fc
