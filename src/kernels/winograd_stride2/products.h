// The products: for each position of the sums, one matrix times one panel or several of them.
//
//   sums[i][lanes]  (+)=  sum over factors and k of  left(i, k) * panel[k][lanes]
//
// As winograd/products.h's, but for the factors: forward adds up the phases' products while they are in registers.
#pragma once
#include "transforms.h"

namespace fc::winograd_stride2 {

struct Factors {
    const float *left, *panel;
};

// group: the distance between left's groups of channels.
template <Sum SUM, int VECTORS, int ROWS>
void product_tile(const Factors* factors, int count, int64_t first, int64_t depth, int64_t group, float* sums,
                  bool accumulate) {
    constexpr bool over_channels = SUM == Sum::over_channels;
    constexpr int64_t kRow = over_channels ? L : 1, kTerm = over_channels ? 1 : L;
    Vector sum[ROWS][VECTORS] = {};
    for (int f = 0; f < count; ++f) {
        const float *left = factors[f].left + first, *panel = factors[f].panel;
        for (int64_t rest = depth, run; rest > 0; rest -= run, left += group) {
            run = over_channels ? std::min(rest, L) : rest;
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
    }
    FC_UNROLL for (int i = 0; i < ROWS; ++i)
        FC_UNROLL for (int v = 0; v < VECTORS; ++v) {
            float* dst = sums + (i * VECTORS + v) * L;
            store(dst, accumulate ? load(dst) + sum[i][v] : sum[i][v]);
        }
}

using ProductTile = void (*)(const Factors* factors, int count, int64_t first, int64_t depth, int64_t group,
                             float* sums, bool accumulate);

template <Sum SUM, int VECTORS, int... I>
constexpr std::array<ProductTile, sizeof...(I)> product_tiles(std::integer_sequence<int, I...>) {
    return {product_tile<SUM, VECTORS, I + 1>...};
}

// One position. Sums over channels have a row for each tile, those over tiles one for each channel.
template <Sum SUM, int VECTORS>
void multiply(const Factors* factors, int count, int64_t tiles, int64_t channels, float* sums, bool accumulate) {
    constexpr int kMost = max_rows(VECTORS);
    static constexpr auto kTiles = product_tiles<SUM, VECTORS>(std::make_integer_sequence<int, kMost>());
    constexpr bool over_channels = SUM == Sum::over_channels;
    const int64_t group = tiles * L;
    const int64_t rows = over_channels ? tiles : channels, run = over_channels ? tiles : L;  // evenly spaced in left
    for (int64_t first = 0, near = 0; first < rows; first += run, near += group) {
        const int64_t size = std::min(run, rows - first), parts = divide_up(size, kMost);
        for (int64_t part = 0; part < parts; ++part) {
            const int64_t begin = size * part / parts, end = size * (part + 1) / parts;
            kTiles[size_t(end - begin - 1)](factors, count, near + begin * (over_channels ? L : 1),
                                            over_channels ? channels : tiles, group,
                                            sums + (first + begin) * VECTORS * L, accumulate);
        }
    }
}

// The panel's width, and the sums', is one vector or two.
template <Sum SUM>
void multiply(const Factors* factors, int count, int64_t tiles, int64_t channels, int64_t width, float* sums,
              bool accumulate) {
    (width == kPanel ? multiply<SUM, 2> : multiply<SUM, 1>)(factors, count, tiles, channels, sums, accumulate);
}

}  // namespace fc::winograd_stride2
