// x as (N, C, P): what the entry points hand over.
#pragma once
#include <cstdint>

namespace fc {

struct BatchNorm {
    int64_t N, C, P;
    double momentum, eps;
    double degrees_lost;  // of the running variance: 1, or 0 for the biased one
    double least, most;   // an activation's bounds on the results; infinite for none
};

struct LocalResponse {
    int64_t N, C, P, size;
    double alpha, beta, k;
};

// Channels [c0, c1) of images [n0, n1).
struct Block {
    int64_t c0, c1, n0, n1;
};

}  // namespace fc
