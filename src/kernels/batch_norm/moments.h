// What is added up over a channel, in double, and how partial sums are put together.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "simd.h"

namespace fc {

// Count, sum, and sum of squared deviations from the mean.
struct Moments {
    double count, sum, m2;

    double mean() const { return sum / count; }

    // Moments of two sets together (T. Chan, G. Golub and R. LeVeque, Updating formulae and a pairwise algorithm for
    // computing sample variances, 1979).
    void add(const Moments& other) {
        if (other.count == 0) return;
        if (count != 0) {
            const double difference = other.mean() - mean();
            m2 += difference * difference * (count * other.count / (count + other.count));
        }
        count += other.count;
        sum += other.sum;
        m2 += other.m2;
    }
};

// Moments of `count` values of which the sums of (x - shift) and of its square are known. Squares of finite numbers
// beyond the doubles make an infinite variance, as they do in ref.py.
template <class T>
static inline Moments shifted_moments(double count, double shift, double sum, double squares) {
    const bool overflow = sizeof(T) == 8 && std::isinf(squares) && std::isfinite(sum);  // never of float32
    return {count, count * shift + sum, overflow ? squares : squares - sum * sum / count};
}

// Sums of squares in T that are not to be trusted: they have overflowed, or they are so small that squares may have been
// lost, and that is asked about. The sums are made again in double then. Double itself has no more to offer.
template <class T>
struct Trusted {
    T least;

    // Squares below the rounding of eps do not count.
    explicit Trusted(double eps) : least(sizeof(T) == 4 && eps < 1e-20 ? T(1e-28) : T(0)) {}
    bool operator()(T squares) const { return sizeof(T) == 8 || !((squares > std::numeric_limits<T>::max()) | (squares < least)); }
};

// Is the shift so far from the mean that m2 lost digits? Its error grows with the square of this distance in standard
// deviations. The mean of all values added up before is never too far as a shift: the distance adds to the spread of
// all. The first shift is the first value: in the rare case that it is an outlier, the sums are made again.
static inline bool too_far(double shift, const Moments& m) {
    const double distance = m.mean() - shift;
    return distance * distance * m.count > 16 * m.m2;
}

// A shift must not turn finite values into NaN.
template <class T>
static inline T finite(double value) {
    return std::isfinite(value) ? T(value) : T(0);
}

// The sums that the gradients need: of dout, and of dout * (x - mean).
struct GradientSums {
    double dout, product;

    void add(const GradientSums& other) {
        dout += other.dout;
        product += other.product;
    }
};

// NaN stays NaN, as max and min give their second operand then.
template <class T>
FC_INLINE Vec<T> between(Vec<T> v, T least, T most) {
    return min(set1(most), max(set1(least), v));
}

// y = scale * (x - mean) + shift
template <class T>
struct Affine {
    T scale, mean, shift;
};

// dx = scale * (dout + slope * (x - mean) + offset): `scale` in front, since its product with slope may be too small for T
template <class T>
struct Gradient {
    T scale, slope, mean, offset;
};

}  // namespace fc
