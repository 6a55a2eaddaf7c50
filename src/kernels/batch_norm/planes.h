// Batch normalisation where a plane of P elements is long: vectors run along the plane, one channel at a time.
//
// Sums are made in T over chunks of at most kChunk elements (several planes, or a piece of one) and added up in double.
#pragma once
#include <algorithm>

#include "moments.h"
#include "sizes.h"
#include "vectors.h"

namespace fc {

template <class T>
struct Planes {
    static constexpr int64_t kChunk = 4096;

    int64_t C, P;

    // A chunk: elements [p, p + length) of channel c in images [n0, n1).
    struct Chunk {
        int64_t c, n0, n1, p, length;

        double count() const { return double((n1 - n0) * length); }
    };

    void moments(const T* x, const Block& b, Moments* out) const {
        for (int64_t c = b.c0; c < b.c1; ++c) out[c] = {0, 0, 0};
        chunks(b, [&](const Chunk& chunk) {
            Moments& total = out[chunk.c];
            const double guess = total.count ? total.mean() : sum(x, chunk) / chunk.count();
            const T shift = std::isfinite(guess) ? T(guess) : T(0);
            Chains<T> sums, squares;
            vectors(chunk, [&](int64_t at, auto lanes, int k) {
                const Vec<T> d = lanes.keep(lanes.load(x + at) - shift, T(0));
                sums[k] += d;
                squares[k] = fma(d, d, squares[k]);
            });
            total.add(shifted_moments(chunk.count(), shift, sums.total(), squares.total()));
        });
    }

    void gradient_sums(const T* dout, const T* x, const T* mean, const Block& b, GradientSums* out) const {
        for (int64_t c = b.c0; c < b.c1; ++c) out[c] = {0, 0};
        chunks(b, [&](const Chunk& chunk) {
            Chains<T> sums, products;
            vectors(chunk, [&](int64_t at, auto lanes, int k) {
                const Vec<T> g = lanes.load(dout + at);  // 0 in the lanes that are not there
                sums[k] += g;
                products[k] = fma(g, lanes.keep(lanes.load(x + at) - mean[chunk.c], T(0)), products[k]);
            });
            out[chunk.c].add({sums.total(), products.total()});
        });
    }

    void apply(T* y, const T* x, const Affine<T>* affine, const Block& b) const {
        planes(b, [&](int64_t c, int64_t start) {
            const Affine<T> a = affine[c];
            for_vectors<T>(P, [&](int64_t i, auto lanes, int) {
                lanes.store(y + start + i, fma(lanes.load(x + start + i) - a.mean, set1(a.scale), set1(a.shift)));
            });
        });
    }

    void apply(T* dx, const T* dout, const T* x, const Gradient<T>* gradient, const Block& b) const {
        planes(b, [&](int64_t c, int64_t start) {
            const Gradient<T> a = gradient[c];
            for_vectors<T>(P, [&](int64_t i, auto lanes, int) {
                const Vec<T> slope = fma(lanes.load(x + start + i) - a.mean, set1(a.slope), set1(a.offset));
                lanes.store(dx + start + i, fma(lanes.load(dout + start + i), set1(a.scale), slope));
            });
        });
    }

private:
    // Neighbouring channels take turns, chunk by chunk: their planes are neighbours in memory.
    template <class F>
    void chunks(const Block& b, F f) const {
        const int64_t length = std::min(P, kChunk), images = std::max<int64_t>(kChunk / P, 1);
        for (int64_t n = b.n0; n < b.n1; n += images)
            for (int64_t c = b.c0; c < b.c1; ++c)
                for (int64_t p = 0; p < P; p += length)
                    f(Chunk{c, n, std::min(n + images, b.n1), p, std::min(length, P - p)});
    }

    template <class F>
    void planes(const Block& b, F f) const {
        for (int64_t n = b.n0; n < b.n1; ++n)
            for (int64_t c = b.c0; c < b.c1; ++c) f(c, (n * C + c) * P);
    }

    // f(index in x, lanes, chain) over a chunk.
    template <class F>
    __attribute__((always_inline)) void vectors(const Chunk& chunk, F f) const {
        for (int64_t n = chunk.n0; n < chunk.n1; ++n) {
            const int64_t start = (n * C + chunk.c) * P + chunk.p;
            for_vectors<T>(chunk.length, [&](int64_t i, auto lanes, int k) { f(start + i, lanes, k); });
        }
    }

    double sum(const T* x, const Chunk& chunk) const {
        Chains<T> sums;
        vectors(chunk, [&](int64_t at, auto lanes, int k) { sums[k] += lanes.load(x + at); });
        return sums.total();
    }
};

}  // namespace fc
