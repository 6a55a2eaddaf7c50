// What ReLU and ReLU6 do to a result on its way out: it is kept between 0 and `most`. NaN stays NaN.
#pragma once
#include "simd.h"

namespace fc {

template <class T>
struct Clip {
    T most = T(-1);  // infinity: ReLU; below 0: the result stays as it is

    explicit operator bool() const { return most >= T(0); }

    inline __attribute__((always_inline)) Vec<T> operator()(Vec<T> v) const {
        return *this ? min(set1(most), max(zero<T>(), v)) : v;
    }
};

}  // namespace fc
