// Rows that neighbouring windows share, each in the place of one that is no longer wanted.
#pragma once
#include "planes.h"

namespace {

template <class T>
class Ring {
public:
    Ring(int64_t rows, int64_t length) : length_(length), mask_(places(rows) - 1), rows_(places(rows) * length) {}

    T* row(int64_t i) const { return rows_ + (i & mask_) * length_; }
    void fill(T value) { std::fill_n(rows_.get(), (mask_ + 1) * length_, value); }

private:
    static int64_t places(int64_t rows) {
        int64_t n = 1;
        while (n < rows) n *= 2;
        return n;
    }

    int64_t length_, mask_;
    Scratch<T> rows_;
};

}  // namespace
