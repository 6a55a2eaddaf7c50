// Element-wise activations and their gradients: one pass over the elements, bound by memory for large arrays.
//
//   relu           y = x > 0 ? x : 0, NaN stays           dx = x <= 0 ? 0 : dout        (x: the input or the output)
//
// ref.py is the truth. Blocks of kBlock elements are shared among the threads.
#include "kernel.h"
#include "simd.h"

namespace {

using fc::Vec;

constexpr int64_t kBlock = 16384;  // 64-128 KB: a task of some microseconds
constexpr double kNanosecondsPerByte = 0.03;  // about 33 GB/s, from cache; slower from memory

// out[i] = f(in[i]...), whole vectors, then a masked one.
template <class T, class F, class... In>
void map(T* out, int64_t count, double ns_per_element, F f, const In*... in) {
    fc::parallel_blocks(count, kBlock, ns_per_element, [=](int64_t begin, int64_t end) {
        int64_t i = begin;
        for (; i + fc::lanes<T> <= end; i += fc::lanes<T>) fc::store(out + i, f(fc::load(in + i)...));
        if (i < end) fc::store_n(out + i, f(fc::load_n(in + i, end - i)...), end - i);
    });
}

template <class T>
void relu_forward(T* out, const T* x, int64_t count) {
    map(out, count, 2 * sizeof(T) * kNanosecondsPerByte, [](Vec<T> v) { return fc::max(fc::zero<T>(), v); }, x);
}

template <class T>
void relu_backward(T* dx, const T* dout, const T* x, int64_t count) {
    map(dx, count, 3 * sizeof(T) * kNanosecondsPerByte,
        [](Vec<T> g, Vec<T> v) { return fc::select(v <= fc::zero<T>(), fc::zero<T>(), g); }, dout, x);
}

}  // namespace

FC_KERNELS(FC_FLOATS(relu_forward), FC_FLOATS(relu_backward))
