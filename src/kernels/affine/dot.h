// C = A * B for few rows of A and a B that is stored transposed: every C[i, j] is the scalar product of two dense rows.
//
// Blocks of rows x columns sums, each a vector of partial sums along k; their lanes are added at the end, L sums at a
// time, by log2(L) rounds of interleaving. B is read once, straight through.
#pragma once
#include <cstring>

#include "tile.h"

namespace fc {

namespace detail {

// The vector whose lane i is the sum of the lanes of r[i].
template <class T, int Half = lanes<T> / 2>
FC_INLINE Vec<T> sums_of(const Vec<T>* r) {
    Vec<T> s[Half];
    FC_UNROLL for (int i = 0; i < Half; ++i) s[i] = interleave_lo(r[i], r[i + Half]) + interleave_hi(r[i], r[i + Half]);
    if constexpr (Half > 1)
        return sums_of<T, Half / 2>(s);
    else
        return s[0];
}

// Columns of a block, by rows: no more sums than registers, and where possible as many as are added together.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kDotColumns[kWideRows + 1] = {0, 16, 8, 5, 4, 3, 4, 3, 3};
#else
constexpr int kDotColumns[kWideRows + 1] = {0, 8, 4, 3, 2};
#endif

// The operands as in Tile, except that B[k, j] = b[j * b_row + k].
template <class T, int Rows>
void dots(const Tile<T>& t, int64_t columns) {
    constexpr int L = lanes<T>, Columns = kDotColumns[Rows], rounded = (Rows * Columns + L - 1) / L * L;
    constexpr int kStrip = 64 / Columns * Columns;
    alignas(64) T strip[Rows][kStrip + L];
    for (int64_t begin = 0; begin < columns; begin += kStrip) {
        const int64_t end = std::min<int64_t>(begin + kStrip, columns);
        for (int64_t j0 = begin; j0 < end; j0 += Columns) {
            const T* b[Columns];  // past the last column the last one again
            FC_UNROLL for (int j = 0; j < Columns; ++j) b[j] = t.b + std::min(j0 + j, columns - 1) * t.b_row;
            Vec<T> sum[rounded];
            FC_UNROLL for (int s = 0; s < rounded; ++s) sum[s] = zero<T>();
            const auto step = [&](int64_t k, auto load_k) {  // the fewer operands wait in registers
                Vec<T> fewer[std::min(Rows, Columns)];
                if constexpr (Rows <= Columns) {
                    FC_UNROLL for (int i = 0; i < Rows; ++i) fewer[i] = load_k(t.a + i * t.a_row + k);
                    FC_UNROLL for (int j = 0; j < Columns; ++j) {
                        const Vec<T> b_k = load_k(b[j] + k);
                        FC_UNROLL for (int i = 0; i < Rows; ++i)
                            sum[i * Columns + j] = fma(fewer[i], b_k, sum[i * Columns + j]);
                    }
                } else {
                    FC_UNROLL for (int j = 0; j < Columns; ++j) fewer[j] = load_k(b[j] + k);
                    FC_UNROLL for (int i = 0; i < Rows; ++i) {
                        Vec<T> a_k = load_k(t.a + i * t.a_row + k);
                        keep(a_k);
                        FC_UNROLL for (int j = 0; j < Columns; ++j)
                            sum[i * Columns + j] = fma(a_k, fewer[j], sum[i * Columns + j]);
                    }
                }
            };
            int64_t k = 0;
            for (; k + L <= t.depth; k += L) step(k, [](const T* p) { return load(p); });
            if (k < t.depth) step(k, [rest = t.depth - k](const T* p) { return load_n(p, rest); });

            alignas(64) T value[rounded];
            FC_UNROLL for (int s = 0; s < rounded; s += L) store(value + s, sums_of<T>(sum + s));
            FC_UNROLL for (int i = 0; i < Rows; ++i)
                memcpy(strip[i] + j0 - begin, value + i * Columns, Columns * sizeof(T));
        }
        for (int64_t j = begin; j < end; j += L) {
            Vec<T> y[Rows][1];
            FC_UNROLL for (int i = 0; i < Rows; ++i) y[i][0] = load(strip[i] + j - begin);
            Tile<T> part = t;
            part.c = t.c + j;
            part.bias = t.bias.from(0, j);
            part.columns_of_last = std::min<int64_t>(L, end - j);
            finish(part, y);
        }
    }
}

template <class T, int... I>
constexpr std::array<void (*)(const Tile<T>&, int64_t), kWideRows> dots_of_all(std::integer_sequence<int, I...>) {
    return {dots<T, I + 1>...};
}

}  // namespace detail

template <class T>
inline void dots(int rows, const Tile<T>& t, int64_t columns) {
    static constexpr auto kernels = detail::dots_of_all<T>(std::make_integer_sequence<int, kWideRows>());
    kernels[rows - 1](t, columns);
}

}  // namespace fc
