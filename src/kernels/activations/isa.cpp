// Element-wise activations and their gradients: one pass over the elements, bound by memory when the arrays are large.
//
//   relu         y = x > 0 ? x : 0, NaN stays         dx = x <= 0 ? 0 : dout          (x: the input, or the output)
//   relu_masked  the same with a bit for each x          dx = bit ? 0 : dout
//                in between, set where x <= 0
//   leaky_relu   y = x > 0 ? x : slope*x              dx = x > 0 ? dout : slope*dout
//   sigmoid      y = 1/(1 + exp(-x))                  dx = dout*y*(1 - y)
//   tanh         y = tanh(x)                          dx = dout*(1 - y^2)
//   the others   formulas.h
//   add_activation   out = f(x + y), f any of them or none
//
// All but relu_masked take (result, inputs..., count, slope), so that one Cython function calls them; leaky_relu alone has
// a slope. Bit i of byte k belongs to element 8k + i, the lowest bit being bit 0; bits behind the last element are 0.
// ref.py is the truth; exp and tanh are simd_math.h's.
#include <cstring>

#include "formulas.h"
#include "kernel.h"
#include "simd_math.h"
#include "step.h"
#include "vectors.h"

namespace {

using fc::activations::kCopy;
using fc::activations::kExponential;
using fc::set1;
using fc::Vec;
using fc::zero;

constexpr int64_t kBlock = 16384;  // elements a task: some microseconds

// out[i] = f(in[i]...), whole vectors and then a part of one.
template <class T, class F, class... In>
void map(double ns_per_byte, int64_t count, F f, T* out, const In*... in) {
    const double ns_per_element = ns_per_byte * sizeof(T) * (1 + sizeof...(In));
    fc::parallel_blocks(count, kBlock, ns_per_element, [=](int64_t begin, int64_t end) {
        int64_t i = begin;
        for (; i + fc::lanes<T> <= end; i += fc::lanes<T>) fc::store(out + i, f(fc::load(in + i)...));
        if (i < end) fc::store_n(out + i, f(fc::load_n(in + i, end - i)...), end - i);
    });
}

template <class T>
void relu_forward(T* out, const T* x, int64_t count, double) {
    map(kCopy, count, [](Vec<T> v) { return fc::max(zero<T>(), v); }, out, x);
}

template <class T>
void relu_backward(T* dx, const T* dout, const T* x, int64_t count, double) {
    map(kCopy, count, [](Vec<T> g, Vec<T> v) { return fc::select(v <= zero<T>(), zero<T>(), g); }, dx, dout, x);
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
constexpr int kWord = 32;  // elements whose bits are written, or read, at once

// y and the bits of up to kWord elements. `Whole`: of all of them, known when this is compiled.
template <bool Whole, class T>
uint32_t relu_word(T* out, const T* x, int64_t count) {
    uint32_t word = 0;
    FC_UNROLL for (int i = 0; i < kWord; i += fc::lanes<T>) {
        if (!Whole && i >= count) break;
        const Vec<T> v = Whole ? fc::load(x + i) : fc::load_n(x + i, count - i);
        word |= fc::lane_bits(v <= zero<T>()) << i;
        const Vec<T> y = fc::max(zero<T>(), v);
        if (Whole)
            fc::store(out + i, y);
        else
            fc::store_n(out + i, y, count - i);
    }
    return Whole ? word : word & ((uint64_t(1) << count) - 1);  // lanes that were not loaded are 0, which is <= 0
}

template <bool Whole, class T>
void relu_gradient_word(T* dx, const T* dout, uint32_t word, int64_t count) {
    FC_UNROLL for (int i = 0; i < kWord; i += fc::lanes<T>) {
        if (!Whole && i >= count) break;
        const Vec<T> g = Whole ? fc::load(dout + i) : fc::load_n(dout + i, count - i);
        const Vec<T> kept = fc::select(fc::lanes_of<T>(word >> i), zero<T>(), g);
        if (Whole)
            fc::store(dx + i, kept);
        else
            fc::store_n(dx + i, kept, count - i);
    }
}

// body(begin, end) for blocks that begin at whole words.
template <class T, class Body>
void masked_blocks(int64_t count, Body body) {
    static_assert(kBlock % kWord == 0);
    fc::parallel_blocks(count, kBlock, kCopy * sizeof(T) * 2, body);
}

template <class T>
void relu_masked_forward(T* out, uint8_t* bits, const T* x, int64_t count) {
    masked_blocks<T>(count, [=](int64_t begin, int64_t end) {
        int64_t i = begin;
        for (; i + kWord <= end; i += kWord) {
            const uint32_t word = relu_word<true>(out + i, x + i, kWord);
            memcpy(bits + i / 8, &word, sizeof(word));
        }
        if (i < end) {
            const uint32_t word = relu_word<false>(out + i, x + i, end - i);
            memcpy(bits + i / 8, &word, size_t(end - i + 7) / 8);
        }
    });
}

template <class T>
void relu_masked_backward(T* dx, const T* dout, const uint8_t* bits, int64_t count) {
    masked_blocks<T>(count, [=](int64_t begin, int64_t end) {
        int64_t i = begin;
        uint32_t word = 0;
        for (; i + kWord <= end; i += kWord) {
            memcpy(&word, bits + i / 8, sizeof(word));
            relu_gradient_word<true>(dx + i, dout + i, word, kWord);
        }
        if (i < end) {
            memcpy(&word, bits + i / 8, size_t(end - i + 7) / 8);
            relu_gradient_word<false>(dx + i, dout + i, word, end - i);
        }
    });
}

template <class T>
void leaky_relu_forward(T* out, const T* x, int64_t count, double slope) {
    const Vec<T> s = set1(T(slope));
    map(kCopy, count, [=](Vec<T> v) { return fc::select(v > zero<T>(), v, s * v); }, out, x);
}

template <class T>
void leaky_relu_backward(T* dx, const T* dout, const T* x, int64_t count, double slope) {
    const Vec<T> s = set1(T(slope));
    map(kCopy, count, [=](Vec<T> g, Vec<T> v) { return fc::select(v > zero<T>(), g, s * g); }, dx, dout, x);
}

template <class T>
void sigmoid_forward(T* out, const T* x, int64_t count, double) {
    map(kExponential, count, [](Vec<T> v) { return fc::sigmoid(v); }, out, x);
}

template <class T>
void sigmoid_backward(T* dx, const T* dout, const T* y, int64_t count, double) {
    map(kCopy, count, [](Vec<T> g, Vec<T> v) { return g * v * (T(1) - v); }, dx, dout, y);
}

template <class T>
void tanh_forward(T* out, const T* x, int64_t count, double) {
    map(kExponential, count, [](Vec<T> v) { return fc::tanh(v); }, out, x);
}

template <class T>
void tanh_backward(T* dx, const T* dout, const T* y, int64_t count, double) {
    map(kCopy, count, [](Vec<T> g, Vec<T> v) { return g * (T(1) - v * v); }, dx, dout, y);
}

// The same with the formula compiled once, not also for a part of a vector: those of formulas.h are long.
template <class T, class F, class... In>
void map_short(double ns_per_byte, int64_t count, F f, T* out, const In*... in) {
    const double ns_per_element = ns_per_byte * sizeof(T) * (1 + sizeof...(In));
    fc::parallel_blocks(count, kBlock, ns_per_element, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i += fc::lanes<T>) {
            const int64_t n = end - i;
            const bool whole = n >= fc::lanes<T>;
            const Vec<T> y = f((whole ? fc::load(in + i) : fc::load_n(in + i, n))...);
            if (whole)
                fc::store(out + i, y);
            else
                fc::store_n(out + i, y, n);
        }
    });
}

template <class F, class T>
void forward(T* out, const T* x, int64_t count, double) {
    map_short(F::cost, count, [](Vec<T> v) { return F::value(v); }, out, x);
}

template <class F, class T>
void backward(T* dx, const T* dout, const T* x, int64_t count, double) {
    map_short(F::gradient_cost, count, [](Vec<T> g, Vec<T> v) { return F::gradient(g, v); }, dx, dout, x);
}

template <class T>
using Forward = void (*)(T* out, const T* x, int64_t count, double slope);

// A piece of the sums at a time, so that the activation finds them in the first-level cache. out may be x or y.
template <class T>
void add_activation(T* out, const T* x, const T* y, int64_t count, Forward<T> activation, double slope) {
    constexpr int64_t kPiece = 8192 / sizeof(T);
    const double ns_per_element = (kCopy * 3 + (activation ? kExponential : 0)) * sizeof(T);
    fc::parallel_blocks(count, kBlock, ns_per_element, [=](int64_t begin, int64_t end) {
        for (int64_t at = begin; at < end; at += kPiece) {
            const int64_t n = std::min(kPiece, end - at);
            fc::for_vectors<T>(n, [=](int64_t i, auto lanes, int) {
                lanes.store(out + at + i, lanes.load(x + at + i) + lanes.load(y + at + i));
            });
            if (activation) activation(out + at, out + at, n, slope);
        }
    });
}

// Any of the forward kernels, for images of `size` numbers.
template <class T>
class Prepared final : public fc::Step {
public:
    Prepared(Forward<T> kernel, int64_t size, double slope) : kernel(kernel), size(size), slope(slope) {}

    void run(void* out, const void* x, int64_t images) const override {
        kernel(static_cast<T*>(out), static_cast<const T*>(x), images * size, slope);
    }
    double nanoseconds(int64_t images) const override { return kExponential * sizeof(T) * double(images * size); }

private:
    const Forward<T> kernel;
    const int64_t size;
    const double slope;
};

template <class T>
fc::Step* prepare(Forward<T> kernel, int64_t size, double slope) {
    return new Prepared<T>(kernel, size, slope);
}

}  // namespace

#define FC_FORMULA(name, F)                                                                                \
    fc::fc_entry(#name "_forward_f32", &forward<F, float>), fc::fc_entry(#name "_forward_f64", &forward<F, double>), \
        fc::fc_entry(#name "_backward_f32", &backward<F, float>),                                           \
        fc::fc_entry(#name "_backward_f64", &backward<F, double>)

FC_KERNELS(FC_FLOATS(relu_forward), FC_FLOATS(relu_backward), FC_FLOATS(relu_masked_forward),
           FC_FLOATS(relu_masked_backward), FC_FLOATS(leaky_relu_forward), FC_FLOATS(leaky_relu_backward),
           FC_FLOATS(sigmoid_forward), FC_FLOATS(sigmoid_backward), FC_FLOATS(tanh_forward), FC_FLOATS(tanh_backward),
           FC_FLOATS(prepare), FC_FLOATS(add_activation),
           FC_FORMULA(relu6, fc::activations::Relu6), FC_FORMULA(hard_sigmoid, fc::activations::HardSigmoid),
           FC_FORMULA(hard_swish, fc::activations::HardSwish), FC_FORMULA(silu, fc::activations::Silu),
           FC_FORMULA(gelu, fc::activations::Gelu), FC_FORMULA(gelu_tanh, fc::activations::GeluTanh))
