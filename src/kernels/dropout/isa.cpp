// Dropout: mask and product in one pass.
//
// Mask entry i takes 32 bits of the counter-based generator splitmix64: so a vector of 64-bit numbers, seen as 32-bit
// ones, is the random bits of as many consecutive entries (low half first, hence little-endian), and any thread can
// begin anywhere. One entry may stand for `repeat` elements (a whole plane).
//
// ref.py has the definition and the sources, and is the truth: the same bits on every instruction set.
#include <cstring>

#include "kernel.h"
#include "simd.h"

namespace {

using fc::Vec;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

constexpr int64_t kBlock = 16384;             // elements of a task; even, because two entries share a random number
constexpr double kNanosecondsPerElement = 0.5;  // one thread, float

constexpr int kGroup = fc::lanes<int32_t>;  // mask entries that are made together
using Bytes = fc::VectorType<int8_t, kGroup>;
using Words = fc::VectorType<int16_t, 2 * kGroup>::type;

// kGroup entries of a mask, as 32-bit lanes of all ones (keep) or zero.
struct Generator {
    uint64_t seed, threshold;

    // Entries [first, first + kGroup); first is even.
    Vec<int32_t> operator()(int64_t first) const {
        constexpr uint64_t golden = 0x9E3779B97F4A7C15;
        const Vec<uint64_t> counter = fc::iota<uint64_t>() + (uint64_t(first) / 2 + 1);
        Vec<uint64_t> z = seed + counter * golden;
        z = (z ^ (z >> 30)) * uint64_t(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * uint64_t(0x94D049BB133111EB);
        z ^= z >> 31;
        const int32_t any = threshold <= 0xffffffff ? -1 : 0;  // 2^32: nothing is kept
        return (Vec<int32_t>)(fc::bits<uint32_t>(z) >= uint32_t(threshold)) & any;
    }
};

// Between mask bytes and lanes by way of 16 bits: GCC has instructions for steps of two, and takes longer ones apart.
Vec<int32_t> load_mask(const uint8_t* mask) {
    const auto bytes = *reinterpret_cast<const Bytes::unaligned*>(mask);
    return __builtin_convertvector(__builtin_convertvector(bytes, Words), Vec<int32_t>) != 0;
}

void store_mask(uint8_t* mask, Vec<int32_t> keep) {
    const auto bytes = __builtin_convertvector(__builtin_convertvector(keep & 1, Words), Bytes::type);
    *reinterpret_cast<Bytes::unaligned*>(mask) = bytes;
}

// out = keep ? x*scale : 0 for a group of kGroup elements: one vector of float, two of double.
template <class T>
void apply(T* out, const T* x, Vec<int32_t> keep, T scale) {
    if constexpr (sizeof(T) == 4) {
        fc::store(out, fc::select(keep, fc::load(x) * scale, fc::zero<T>()));
    } else {
        constexpr int half = fc::lanes<T>;
        fc::store(out, fc::select(fc::widen_lo(keep), fc::load(x) * scale, fc::zero<T>()));
        fc::store(out + half, fc::select(fc::widen_hi(keep), fc::load(x + half) * scale, fc::zero<T>()));
    }
}

template <class T>
void apply(T* out, const T* x, const uint8_t* mask, int64_t count, int64_t repeat, T scale) {
    for (int64_t i = 0; i < count; ++i)
        for (int64_t j = i * repeat; j < (i + 1) * repeat; ++j) out[j] = mask[i] ? x[j] * scale : T(0);
}

// Calls body(begin, end) for blocks of the mask entries.
template <class Body>
void blocks(int64_t size, int64_t repeat, Body body) {
    const int64_t entries = std::max<int64_t>(kBlock / std::max<int64_t>(repeat, 1) / kGroup, 1) * kGroup;
    fc::parallel_blocks(size, entries, double(repeat) * kNanosecondsPerElement, body);
}

// Mask entries [begin, end). Everything by value: a store to the mask could otherwise change what is behind a pointer.
template <class T>
void forward_block(T* out, uint8_t* mask, const T* x, Generator keep, int64_t repeat, T scale, int64_t begin,
                   int64_t end) {
    int64_t i = begin;
    for (; i + kGroup <= end; i += kGroup) {
        const Vec<int32_t> kept = keep(i);
        store_mask(mask + i, kept);
        if (repeat == 1) apply(out + i, x + i, kept, scale);
    }
    uint8_t last[kGroup];
    store_mask(last, keep(i));
    memcpy(mask + i, last, size_t(end - i));
    const int64_t done = repeat == 1 ? i : begin;
    apply(out + done * repeat, x + done * repeat, mask + done, end - done, repeat, scale);
}

template <class T>
void backward_block(T* dx, const T* dout, const uint8_t* mask, int64_t repeat, T scale, int64_t begin, int64_t end) {
    int64_t i = begin;
    if (repeat == 1)
        for (; i + kGroup <= end; i += kGroup) apply(dx + i, dout + i, load_mask(mask + i), scale);
    apply(dx + i * repeat, dout + i * repeat, mask + i, end - i, repeat, scale);
}

template <class T>
void forward(T* out, uint8_t* mask, const T* x, uint64_t seed, int64_t size, int64_t repeat, uint64_t threshold,
             double scale) {
    blocks(size, repeat, [=](int64_t begin, int64_t end) {
        forward_block(out, mask, x, Generator{seed, threshold}, repeat, T(scale), begin, end);
    });
}

template <class T>
void backward(T* dx, const T* dout, const uint8_t* mask, int64_t size, int64_t repeat, double scale) {
    blocks(size, repeat, [=](int64_t begin, int64_t end) {
        backward_block(dx, dout, mask, repeat, T(scale), begin, end);
    });
}

}  // namespace

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(backward))
