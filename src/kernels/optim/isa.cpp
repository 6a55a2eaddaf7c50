// Optimiser steps: one pass over all arrays of all parameters, in one parallel region.
//
// A rule is a struct that updates one vector of a parameter and of its state from a vector of the gradient. The
// parameters are laid end to end, each rounded up to kAlign elements, and that line is cut into blocks: so a network
// of one large and twenty tiny parameters makes even tasks. Bound by memory (Adam: 28 bytes for every float), which is
// why nothing is gained by avoiding Adam's division and square root.
//
// ref.py has the formulas and their sources and is the truth.
#include "kernel.h"
#include "step.h"
#include "vectors.h"

namespace {

using fc::fma;
using fc::Hyper;
using fc::Parameter;
using fc::Vec;

constexpr int64_t kBlock = 8192;
constexpr int64_t kAlign = 64;
constexpr double kNanosecondsPerByte = 0.05;  // read or written

template <class T>
struct Sgd {
    static constexpr int states = 0;
    T lr;

    explicit Sgd(const Hyper& h) : lr(T(h.lr)) {}
    void operator()(Vec<T>& param, Vec<T> g, Vec<T>*) const { param -= lr * g; }
};

template <class T>
struct Momentum {
    static constexpr int states = 1;
    T lr, momentum;

    explicit Momentum(const Hyper& h) : lr(T(h.lr)), momentum(T(h.momentum)) {}
    void operator()(Vec<T>& param, Vec<T> g, Vec<T>* velocity) const {
        velocity[0] = momentum * velocity[0] - lr * g;
        param += velocity[0];
    }
};

template <class T>
struct Nesterov {
    static constexpr int states = 1;
    T lr, momentum, momentum_squared, lr_ahead;

    explicit Nesterov(const Hyper& h)
        : lr(T(h.lr)),
          momentum(T(h.momentum)),
          momentum_squared(T(h.momentum * h.momentum)),
          lr_ahead(T((1 + h.momentum) * h.lr)) {}
    void operator()(Vec<T>& param, Vec<T> g, Vec<T>* velocity) const {
        param += momentum_squared * velocity[0] - lr_ahead * g;
        velocity[0] = momentum * velocity[0] - lr * g;
    }
};

template <class T>
struct AdaGrad {
    static constexpr int states = 1;
    T lr, eps;

    explicit AdaGrad(const Hyper& h) : lr(T(h.lr)), eps(T(h.eps)) {}
    void operator()(Vec<T>& param, Vec<T> g, Vec<T>* sum) const {
        sum[0] += g * g;
        param -= lr * g / (fc::sqrt(sum[0]) + eps);
    }
};

template <class T>
struct RmsProp {
    static constexpr int states = 1;
    T lr, eps, decay, fresh;

    explicit RmsProp(const Hyper& h) : lr(T(h.lr)), eps(T(h.eps)), decay(T(h.decay)), fresh(T(1 - h.decay)) {}
    void operator()(Vec<T>& param, Vec<T> g, Vec<T>* sum) const {
        sum[0] = decay * sum[0] + fresh * g * g;
        param -= lr * g / (fc::sqrt(sum[0]) + eps);
    }
};

template <class T>
struct AdaDelta {
    static constexpr int states = 2;
    T lr, eps, rho, fresh;

    explicit AdaDelta(const Hyper& h) : lr(T(h.lr)), eps(T(h.eps)), rho(T(h.rho)), fresh(T(1 - h.rho)) {}
    void operator()(Vec<T>& param, Vec<T> g, Vec<T>* state) const {
        Vec<T>&sum = state[0], &deltas = state[1];
        sum = rho * sum + fresh * g * g;
        const Vec<T> delta = fc::sqrt(deltas + eps) / fc::sqrt(sum + eps) * g;
        deltas = rho * deltas + fresh * delta * delta;
        param -= lr * delta;
    }
};

template <class T>
struct Adam {
    static constexpr int states = 2;
    T rate, eps, fresh1, fresh2, inverse_root;

    explicit Adam(const Hyper& h)
        : rate(T(h.lr / (1 - std::pow(h.beta1, h.step)))),
          eps(T(h.eps)),
          fresh1(T(1 - h.beta1)),
          fresh2(T(1 - h.beta2)),
          inverse_root(T(1 / std::sqrt(1 - std::pow(h.beta2, h.step)))) {}
    void operator()(Vec<T>& param, Vec<T> g, Vec<T>* state) const {
        Vec<T>&m = state[0], &v = state[1];
        m += fresh1 * (g - m);
        v += fresh2 * (g * g - v);
        param -= rate * m / (fc::sqrt(v) * inverse_root + eps);
    }
};

// Elements [begin, end) of one parameter. The first vector is cut so that the others are aligned: NumPy's own arrays
// begin 16 bytes after a cache line, the parameter as its state, and every vector across two lines costs half as much
// again.
template <class T, bool Decay, class Rule>
void update(const Parameter& parameter, int64_t begin, int64_t end, const Rule& rule, T weight_decay) {
    T* const param = static_cast<T*>(parameter.param);
    const T* const grad = static_cast<const T*>(parameter.grad);
    T* const state[] = {static_cast<T*>(parameter.state[0]), static_cast<T*>(parameter.state[1])};

    const auto vector = [&](int64_t i, auto lanes, int) {
        Vec<T> p = lanes.load(param + i), g = lanes.load(grad + i), s[2] = {};
        FC_UNROLL for (int k = 0; k < Rule::states; ++k) s[k] = lanes.load(state[k] + i);
        rule(p, Decay ? g + weight_decay * p : g, s);
        lanes.store(param + i, p);
        FC_UNROLL for (int k = 0; k < Rule::states; ++k) lanes.store(state[k] + i, s[k]);
    };
    const int64_t past = reinterpret_cast<uintptr_t>(param + begin) / sizeof(T) % fc::lanes<T>;
    if (past != 0) {
        const int64_t count = std::min(fc::lanes<T> - past, end - begin);
        vector(begin, fc::FirstLanes{count}, 0);
        begin += count;
    }
    fc::for_vectors<T>(end - begin, [&](int64_t i, auto lanes, int k) { vector(begin + i, lanes, k); });
}

template <class T, bool Decay, class Rule>
void update_all(const Parameter* parameters, int64_t count, const Rule& rule, T weight_decay) {
    fc::Scratch<int64_t> start(count + 1);  // of every parameter, on the line of all parameters
    start[0] = 0;
    for (int64_t k = 0; k < count; ++k) start[k + 1] = start[k] + (parameters[k].size + kAlign - 1) / kAlign * kAlign;

    const double bytes = sizeof(T) * (3 + 2 * Rule::states);
    fc::parallel_blocks(start[count], kBlock, bytes * kNanosecondsPerByte, [&](int64_t begin, int64_t end) {
        int64_t k = std::upper_bound(start.get(), start.get() + count + 1, begin) - start.get() - 1;
        for (; k < count && start[k] < end; ++k) {
            const int64_t first = std::max<int64_t>(begin - start[k], 0);
            const int64_t last = std::min(end - start[k], parameters[k].size);
            if (first < last) update<T, Decay>(parameters[k], first, last, rule, weight_decay);
        }
    });
}

template <class T, class Rule>
void step(const Parameter* parameters, int64_t count, const Hyper* hyper) {
    const T weight_decay = T(hyper->weight_decay);
    if (weight_decay == 0)  // then an infinite parameter must not meet 0
        update_all<T, false>(parameters, count, Rule(*hyper), weight_decay);
    else
        update_all<T, true>(parameters, count, Rule(*hyper), weight_decay);
}

template <class T>
constexpr auto sgd = &step<T, Sgd<T>>;
template <class T>
constexpr auto momentum = &step<T, Momentum<T>>;
template <class T>
constexpr auto nesterov = &step<T, Nesterov<T>>;
template <class T>
constexpr auto adagrad = &step<T, AdaGrad<T>>;
template <class T>
constexpr auto rmsprop = &step<T, RmsProp<T>>;
template <class T>
constexpr auto adadelta = &step<T, AdaDelta<T>>;
template <class T>
constexpr auto adam = &step<T, Adam<T>>;

#define FC_RULE(rule) fc::fc_entry(#rule "_f32", rule<float>), fc::fc_entry(#rule "_f64", rule<double>)

}  // namespace

FC_KERNELS(FC_RULE(sgd), FC_RULE(momentum), FC_RULE(nesterov), FC_RULE(adagrad), FC_RULE(rmsprop), FC_RULE(adadelta),
           FC_RULE(adam))
