// C = A * B for few rows of A and a B that is stored transposed: every C[i, j] is the scalar product of two dense rows.
//
// Blocks of rows x columns sums, each a vector of partial sums along k; their lanes are added at the end, L sums at a
// time, by log2(L) rounds of interleaving. B is read once, straight through.
#pragma once
#include "tile.h"

namespace fc {

namespace detail {

// The vector whose lane i is the sum of the lanes of r[i].
template <class T>
FC_INLINE Vec<T> sums_of(Vec<T>* r) {
    FC_UNROLL for (int half = lanes<T> / 2; half > 0; half /= 2)
        FC_UNROLL for (int i = 0; i < half; ++i)
            r[i] = interleave_lo(r[i], r[i + half]) + interleave_hi(r[i], r[i + half]);
    return r[0];
}

// The operands as in Tile, except that B[k, j] = b[j * b_row + k].
template <class T, int Rows>
void dots(const Tile<T>& t, int64_t columns) {
    constexpr int L = lanes<T>, Columns = kWideVectors[Rows], count = Rows * Columns;
    constexpr int rounded = (count + L - 1) / L * L;
    for (int64_t j0 = 0; j0 < columns; j0 += Columns) {
        const T* b[Columns];  // past the last column the last one again
        FC_UNROLL for (int j = 0; j < Columns; ++j) b[j] = t.b + (j0 + j < columns ? j0 + j : columns - 1) * t.b_row;
        Vec<T> sum[rounded] = {};
        const auto step = [&](int64_t k, auto load_k) {
            Vec<T> a_k[Rows];
            FC_UNROLL for (int i = 0; i < Rows; ++i) a_k[i] = load_k(t.a + i * t.a_row + k);
            FC_UNROLL for (int j = 0; j < Columns; ++j) {
                const Vec<T> b_k = load_k(b[j] + k);
                FC_UNROLL for (int i = 0; i < Rows; ++i) sum[j * Rows + i] = fma(a_k[i], b_k, sum[j * Rows + i]);
            }
        };
        int64_t k = 0;
        for (; k + L <= t.depth; k += L) step(k, [](const T* p) { return load(p); });
        if (k < t.depth) step(k, [rest = t.depth - k](const T* p) { return load_n(p, rest); });

        T value[rounded];
        FC_UNROLL for (int s = 0; s < rounded; s += L) store(value + s, sums_of<T>(sum + s));
        for (int j = 0; j < Columns && j0 + j < columns; ++j)
            for (int i = 0; i < Rows; ++i) {
                T* c = t.c + i * t.c_row + j0 + j;
                T y = value[j * Rows + i];
                if (t.bias) y += t.bias[j0 + j];
                if (t.accumulate) y += *c;
                *c = t.relu && y < T(0) ? T(0) : y;
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
