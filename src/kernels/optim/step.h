// What an optimiser step is given: the hyper-parameters, and the arrays of every parameter.
#pragma once
#include <cstdint>

namespace fc {

struct Hyper {
    double lr, weight_decay, momentum, decay, rho, beta1, beta2, eps, step;  // those the rule has; the others 0
};

struct Parameter {
    void* param;
    const void* grad;
    void* state[2];
    int64_t size;
};

}  // namespace fc
