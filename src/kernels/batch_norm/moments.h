// What is added up over a channel, in double, and how partial sums are put together.
#pragma once
#include <cstdint>

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

// Moments of `count` values of which the sums of (x - shift) and of its square are known. Exact enough when the shift
// is near the mean compared with the spread of all values that are added up.
static inline Moments shifted_moments(double count, double shift, double sum, double squares) {
    return {count, count * shift + sum, squares - sum * sum / count};
}

// The sums that the gradients need: of dout, and of dout * (x - mean).
struct GradientSums {
    double dout, product;

    void add(const GradientSums& other) {
        dout += other.dout;
        product += other.product;
    }
};

// y = scale * (x - mean) + shift
template <class T>
struct Affine {
    T scale, mean, shift;
};

// dx = scale * dout + slope * (x - mean) + offset
template <class T>
struct Gradient {
    T scale, slope, mean, offset;
};

}  // namespace fc
