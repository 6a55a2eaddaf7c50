// C = A * B for very few columns of A, as in the gradient of weights for a small batch: a sum of outer products. The
// time goes into writing C. A strip of B stays in registers while the rows of C go by.
#pragma once
#include "tile.h"

namespace fc {

namespace detail {

template <class T, int Depth, int Vectors>
void outer_strip(const Tile<T>& t, int64_t rows) {
    constexpr int L = lanes<T>;
    const auto columns = [last = t.columns_of_last](int v) { return v < Vectors - 1 ? int64_t(L) : last; };
    Vec<T> b[Depth][Vectors];
    FC_UNROLL for (int k = 0; k < Depth; ++k)
        FC_UNROLL for (int v = 0; v < Vectors; ++v) b[k][v] = load_n(t.b + k * t.b_row + v * L, columns(v));
    Tile<T> row = t;
    for (int64_t i = 0; i < rows; ++i) {
        Vec<T> sum[1][Vectors];
        FC_UNROLL for (int k = 0; k < Depth; ++k) {
            const Vec<T> a_ik = set1(t.a[i * t.a_row + k * t.a_column]);
            FC_UNROLL for (int v = 0; v < Vectors; ++v)
                sum[0][v] = k == 0 ? a_ik * b[0][v] : fma(a_ik, b[k][v], sum[0][v]);
        }
        row.c = t.c + i * t.c_row;
        row.bias = t.bias.from(i, 0);
        finish(row, sum);
    }
}

template <class T>
using OuterKernels = std::array<void (*)(const Tile<T>&, int64_t), kWideVectors[1]>;

template <class T, int Depth, int... I>
constexpr OuterKernels<T> outer_strips(std::integer_sequence<int, I...>) {
    return {outer_strip<T, Depth, I + 1>...};
}
template <class T, int... I>
constexpr std::array<OuterKernels<T>, kWideRows> outer_strips_of_all(std::integer_sequence<int, I...>) {
    return {outer_strips<T, I + 1>(std::make_integer_sequence<int, kWideVectors[I + 1]>())...};
}

}  // namespace detail

template <class T>
inline void outer_strip(int vectors, const Tile<T>& t, int64_t rows) {
    static constexpr auto kernels = detail::outer_strips_of_all<T>(std::make_integer_sequence<int, kWideRows>());
    kernels[t.depth - 1][vectors - 1](t, rows);
}

}  // namespace fc
