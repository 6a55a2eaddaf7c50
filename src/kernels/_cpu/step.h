// A prepared operation: everything is decided and packed but its input, its result and the number of images.
//
// A kernel makes one (prepare in its isa.cpp), its entry point hands it to Python as a fastconv.kernels.chain.cy.Step,
// and chain/isa.cpp runs several in a row.
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

}  // namespace fc
