// The products of Winograd's convolution: one matrix times one panel for each position in a tile.
//
//   sums[position][i][lanes]  (+)=  sum over k of  left[position](i, k) * panel[position][k][lanes]
//
// The panel and the sums have rows of one or two vectors; left's numbers are broadcast. They are vectors of channels,
// tile after tile, group of channels after group: k runs over the channels and i over the tiles (forward and
// backward-data), or the other way round (the filters' gradient). A tile of sums stays in the registers while k runs;
// there is an instance for each number of its rows, so that none is wasted.
#pragma once
#include <algorithm>
#include <array>
#include <utility>

#include "transforms.h"

namespace fc::winograd {

constexpr int64_t L = lanes<float>;
constexpr int64_t kPanel = 2 * L;
constexpr int64_t kLine = 16;  // numbers in a cache line

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t multiple) { return divide_up(a, multiple) * multiple; }

// Some of the result's channels: two vectors, or one where that is enough for the last of them.
struct Panel {
    int64_t first, channels;

    Panel(int64_t index, int64_t all) : first(index * kPanel), channels(std::min(kPanel, all - first)) {}
    int64_t width() const { return channels <= L ? L : kPanel; }
};

// One matrix for each position, spaced by an odd number of cache lines: were it a power of two, all numbers that a
// transform writes would meet in the same few cache sets.
struct Matrices {
    int64_t rows, width;

    int64_t step() const { return (divide_up(rows * width, kLine) | 1) * kLine; }
};

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int max_rows(int vectors) { return vectors == 1 ? 16 : 14; }
#else
constexpr int max_rows(int vectors) { return 12 / vectors; }
#endif

enum class Sum { over_channels, over_tiles };

using ProductTile = void (*)(int64_t depth, const float* left, int64_t group, const float* panel, float* sums,
                             bool accumulate);

// group: the distance between left's groups of channels.
template <Sum SUM, int VECTORS, int ROWS>
void product_tile(int64_t depth, const float* left, int64_t group, const float* panel, float* sums, bool accumulate) {
    constexpr bool over_channels = SUM == Sum::over_channels;
    constexpr int64_t kRow = over_channels ? L : 1, kTerm = over_channels ? 1 : L;
    Vector sum[ROWS][VECTORS] = {};
    for (int64_t run; depth > 0; depth -= run, left += group) {
        run = over_channels ? std::min(depth, L) : depth;
        const float* a = left;
        for (int64_t k = 0; k < run; ++k, a += kTerm, panel += VECTORS * L) {
            Vector b[VECTORS];
            FC_UNROLL for (int v = 0; v < VECTORS; ++v) b[v] = load(panel + v * L);
            FC_UNROLL for (int i = 0; i < ROWS; ++i) {
                const Vector ai = set1(a[i * kRow]);
                FC_UNROLL for (int v = 0; v < VECTORS; ++v) sum[i][v] = fma(ai, b[v], sum[i][v]);
            }
            barrier();
        }
    }
    FC_UNROLL for (int i = 0; i < ROWS; ++i)
        FC_UNROLL for (int v = 0; v < VECTORS; ++v) {
            float* dst = sums + (i * VECTORS + v) * L;
            store(dst, accumulate ? load(dst) + sum[i][v] : sum[i][v]);
        }
}

template <Sum SUM, int VECTORS, int... I>
constexpr std::array<ProductTile, sizeof...(I)> product_tiles(std::integer_sequence<int, I...>) {
    return {product_tile<SUM, VECTORS, I + 1>...};
}

// tiles: of left and, where the sum is over channels, rows of sums; else these are the channels.
template <int OUTPUTS, Sum SUM, int VECTORS>
void multiply(int64_t tiles, int64_t channels, const float* left, Matrices l, const float* panel, Matrices p,
              float* sums, Matrices s, bool accumulate) {
    constexpr int kMost = max_rows(VECTORS);
    static constexpr auto kTiles = product_tiles<SUM, VECTORS>(std::make_integer_sequence<int, kMost>());
    constexpr bool over_channels = SUM == Sum::over_channels;
    const int64_t group = tiles * L;
    const int64_t rows = over_channels ? tiles : channels, run = over_channels ? tiles : L;  // evenly spaced in left
    for (int position = 0; position < positions(OUTPUTS); ++position) {
        const float* near = left;
        for (int64_t first = 0; first < rows; first += run, near += group) {
            const int64_t count = std::min(run, rows - first), parts = divide_up(count, kMost);
            for (int64_t part = 0; part < parts; ++part) {
                const int64_t begin = count * part / parts, size = count * (part + 1) / parts - begin;
                const ProductTile product = kTiles[size_t(size - 1)];
                float* to = sums + (first + begin) * s.width;
                if constexpr (over_channels)
                    product(channels, near + begin * L, group, panel, to, accumulate);
                else
                    product(tiles, near + begin, 0, panel, to, accumulate);
            }
        }
        left += l.step();
        panel += p.step();
        sums += s.step();
    }
}

// The panel's width, and the sums', is one vector or two.
template <int OUTPUTS, Sum SUM>
void multiply(int64_t tiles, int64_t channels, const float* left, Matrices l, const float* panel, Matrices p,
              float* sums, Matrices s, bool accumulate) {
    (p.width == kPanel ? multiply<OUTPUTS, SUM, 2> : multiply<OUTPUTS, SUM, 1>)(tiles, channels, left, l, panel, p,
                                                                               sums, s, accumulate);
}

}  // namespace fc::winograd
