// The machine's ceilings: how fast multiply-adds can be issued and memory streamed, by all the threads that are allowed.
//
//   multiply_add     a = a*b + c in registers: no operand comes from memory
//   copy, triad      y = x, y = x + s*z: STREAM's loops (J. D. McCalpin, "Memory Bandwidth and Machine Balance in Current
//                    High Performance Computers", 1995), with ordinary stores, as the other kernels'
#include "kernel.h"
#include "simd.h"

namespace {

using fc::Vec;

constexpr int kChains = 12;  // independent sums: enough to hide four cycles of latency on two units, and in 16 registers
constexpr int64_t kBlock = 16384;

// `rounds` multiply-adds per chain and lane in each of `count` tasks, which leave their sums in `out`; returns the number
// of operations.
template <class T>
double multiply_add(T* out, int64_t count, int64_t rounds) {
    fc::parallel(count, fc::threads_for(1e9), [=](int64_t task, int) {
        const Vec<T> shrink = fc::set1(T(0.999)), step = fc::iota<T>() + T(task);
        Vec<T> chain[kChains];
        FC_UNROLL for (int i = 0; i < kChains; ++i) chain[i] = fc::set1(T(i));
        for (int64_t round = 0; round < rounds; ++round) {
            FC_UNROLL for (int i = 0; i < kChains; ++i) {
                chain[i] = fc::fma(chain[i], shrink, step);
                fc::keep(chain[i]);
            }
        }
        FC_UNROLL for (int i = 1; i < kChains; ++i) chain[0] += chain[i];
        out[task] = fc::sum(chain[0]);
    });
    return 2.0 * kChains * fc::lanes<T> * double(rounds) * double(count);
}

// f(i) for the first element of every whole vector among `count` elements.
template <class T, class F>
void each_vector(int64_t count, F&& f) {
    fc::parallel((count + kBlock - 1) / kBlock, fc::threads_for(1e9), [&](int64_t task, int) {
        const int64_t end = std::min(count, (task + 1) * kBlock);
        for (int64_t i = task * kBlock; i + fc::lanes<T> <= end; i += fc::lanes<T>) f(i);
    });
}

template <class T>
void copy(T* y, const T* x, int64_t count) {
    each_vector<T>(count, [=](int64_t i) { fc::store(y + i, fc::load(x + i)); });
}

template <class T>
void triad(T* y, const T* x, const T* z, int64_t count) {
    const Vec<T> scale = fc::set1(T(3));
    each_vector<T>(count, [=](int64_t i) { fc::store(y + i, fc::fma(fc::load(z + i), scale, fc::load(x + i))); });
}

}  // namespace

FC_KERNELS(fc::fc_entry("multiply_add", &multiply_add<float>), fc::fc_entry("copy", &copy<float>),
           fc::fc_entry("triad", &triad<float>))
