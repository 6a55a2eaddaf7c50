// The products of Winograd's convolution: 36 matrices times 36 panels, position by position.
//
//   sums[position][i][lanes]  (+)=  sum over k of  left[position][k][i] * panel[position][k][lanes]
//
// The panel and the sums have rows of one or two vectors; left's numbers are broadcast. A tile of sums stays in the
// registers while k runs; there is an instance for each number of its rows, so that none is wasted.
#pragma once
#include <algorithm>
#include <array>
#include <utility>

#include "transforms.h"

namespace fc::winograd {

constexpr int64_t L = lanes<float>;
constexpr int64_t kPanel = 2 * L;

// Some of the result's channels: two vectors, or one where that is enough for the last of them.
struct Panel {
    int64_t first, channels;

    Panel(int64_t index, int64_t all) : first(index * kPanel), channels(std::min(kPanel, all - first)) {}
    int64_t width() const { return channels <= L ? L : kPanel; }
};

// One matrix for each position, spaced by an odd number of cache lines: were it a power of two, all 36 numbers that a
// transform writes would meet in the same few cache sets.
struct Matrices {
    int64_t rows, width;

    int64_t step() const { return ((rows * width + kLine - 1) / kLine | 1) * kLine; }
    int64_t size() const { return kPositions * step(); }
    int64_t bytes() const { return size() * int64_t(sizeof(float)); }

private:
    static constexpr int64_t kLine = 16;
};

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int max_rows(int) { return 14; }
#else
constexpr int max_rows(int vectors) { return 12 / vectors; }
#endif

using ProductTile = void (*)(int64_t depth, const float* left, int64_t left_width, const float* panel, float* sums,
                             bool accumulate);

template <int VECTORS, int ROWS>
void product_tile(int64_t depth, const float* left, int64_t left_width, const float* panel, float* sums,
                  bool accumulate) {
    Vector sum[ROWS][VECTORS] = {};
    for (int64_t k = 0; k < depth; ++k, left += left_width, panel += VECTORS * L) {
        Vector b[VECTORS];
        FC_UNROLL for (int v = 0; v < VECTORS; ++v) b[v] = load(panel + v * L);
        FC_UNROLL for (int i = 0; i < ROWS; ++i) {
            const Vector a = set1(left[i]);
            FC_UNROLL for (int v = 0; v < VECTORS; ++v) sum[i][v] = fma(a, b[v], sum[i][v]);
        }
        barrier();
    }
    FC_UNROLL for (int i = 0; i < ROWS; ++i)
        FC_UNROLL for (int v = 0; v < VECTORS; ++v) {
            float* dst = sums + (i * VECTORS + v) * L;
            store(dst, accumulate ? load(dst) + sum[i][v] : sum[i][v]);
        }
}

template <int VECTORS, int... I>
constexpr std::array<ProductTile, sizeof...(I)> product_tiles(std::integer_sequence<int, I...>) {
    return {product_tile<VECTORS, I + 1>...};
}

// count: the rows of sums, left's columns.
template <int VECTORS>
void multiply(int64_t depth, int64_t count, const float* left, Matrices l, const float* panel, Matrices p, float* sums,
              Matrices s, bool accumulate) {
    constexpr int kMost = max_rows(VECTORS);
    static constexpr auto kTiles = product_tiles<VECTORS>(std::make_integer_sequence<int, kMost>());
    const int64_t tiles = (count + kMost - 1) / kMost;
    for (int position = 0; position < kPositions; ++position) {
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t begin = count * tile / tiles, rows = count * (tile + 1) / tiles - begin;
            kTiles[size_t(rows - 1)](depth, left + begin, l.width, panel, sums + begin * s.width, accumulate);
        }
        left += l.step();
        panel += p.step();
        sums += s.step();
    }
}

// The panel's width, and the sums', is one vector or two.
inline void multiply(int64_t depth, int64_t count, const float* left, Matrices l, const float* panel, Matrices p,
                     float* sums, Matrices s, bool accumulate) {
    (p.width == kPanel ? multiply<2> : multiply<1>)(depth, count, left, l, panel, p, sums, s, accumulate);
}

}  // namespace fc::winograd
