// x as (N, C, P): what the entry points hand over.
#pragma once
#include <cstdint>

namespace fc {

struct LocalResponse {
    int64_t N, C, P, size;
    double alpha, beta, k;
};

}  // namespace fc
