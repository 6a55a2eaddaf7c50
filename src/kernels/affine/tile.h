// The innermost loops of a matrix product: a tile of C stays in registers while k runs over the depth.
//
//   C[i, j]  =  sum over k < depth of  A[i, k] * B[k, j]        i < rows, j < vectors * lanes
//
// A's numbers are broadcast, B's are loaded as vectors. Every number of rows, and every width that a table below holds,
// is an instance of its own, so that the tile has no loop inside and no row is wasted:
//
//   tall    Rows x 2 vectors, and x 1, 1/2 vector for the last columns. B is packed: dense, padded with zeros.
//   copying tall, and packs the B that it reads for the tiles below it.
//   wide    few rows x many vectors, for small batches. B is read in place; the last vector is masked.
//
// With 32 registers 14 x 2 sums, 2 vectors of B and a broadcast fit, with 16 registers 6 x 2. There the loop's own
// instructions count: two steps at a time are 1.02 to 1.13 times as fast.
#pragma once
#include <array>
#include <utility>

#include "clip.h"

namespace fc {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTallRows = 14;
constexpr int kWideRows = 8;
constexpr int kWideVectors[kWideRows + 1] = {0, 8, 8, 6, 6, 4, 4, 3, 3};
#else
constexpr int kTallRows = 6;
constexpr int kWideRows = 4;
constexpr int kWideVectors[kWideRows + 1] = {0, 8, 4, 3, 3};
#endif

// A product of more than two tall tiles' rows is cut into equal tiles, which have no fewer rows than this.
constexpr int kFewestRowsCopying = (2 * kTallRows + 3) / 3;

// One for each column of C, or for each row of it.
template <class T>
struct Bias {
    const T* data = nullptr;  // or none
    int64_t row = 0, column = 1;

    Bias from(int64_t i, int64_t j) const { return {data ? data + i * row + j * column : nullptr, row, column}; }
};

template <class T>
struct Tile {
    const T* a;      // A[i, k] = a[i * a_row + k * a_column]; one of the two strides is 1
    int64_t a_row, a_column;
    const T* b;      // B[k, j] = b[k * b_row + j]
    int64_t b_row;
    int64_t depth;
    T* c;            // C[i, j] = c[i * c_row + j]
    int64_t c_row;
    int64_t columns_of_last;  // columns of the last vector that exist in C
    Bias<T> bias;
    bool accumulate;          // add to C instead of replacing it
    Clip<T> clip;
    T* copy_of_b = nullptr;   // where copying_tile leaves what it reads of B: dense, as wide as the tile
};

namespace detail {

// `v` in the lower lanes of a whole vector.
template <class T, class Part, size_t... I>
FC_INLINE Vec<T> widen_part(Part v, std::index_sequence<I...>) {
    constexpr int part = sizeof(Part) / sizeof(T);
    return __builtin_shufflevector(v, Part{}, (int(I) < part ? int(I) : part)...);
}
template <class T, class Part>
FC_INLINE Vec<T> widen_part(Part v) {
    if constexpr (sizeof(Part) == sizeof(Vec<T>))
        return v;
    else
        return widen_part<T>(v, std::make_index_sequence<lanes<T>>());
}

// What is done to the sums on their way to C.
template <int Rows, int Vectors, class T>
FC_INLINE void finish(const Tile<T>& t, Vec<T> (&sum)[Rows][Vectors]) {
    constexpr int L = lanes<T>;
    const int64_t last = t.columns_of_last;
    const auto columns = [=](int v) { return v < Vectors - 1 ? int64_t(L) : last; };
    if (t.bias.data && t.bias.column) {
        FC_UNROLL for (int v = 0; v < Vectors; ++v) {
            const Vec<T> bias = load_n(t.bias.data + v * L, columns(v));
            FC_UNROLL for (int i = 0; i < Rows; ++i) sum[i][v] += bias;
        }
    } else if (t.bias.data) {
        FC_UNROLL for (int i = 0; i < Rows; ++i)
            FC_UNROLL for (int v = 0; v < Vectors; ++v) sum[i][v] += set1(t.bias.data[i]);
    }
    if (t.accumulate) {
        FC_UNROLL for (int i = 0; i < Rows; ++i)
            FC_UNROLL for (int v = 0; v < Vectors; ++v) sum[i][v] += load_n(t.c + i * t.c_row + v * L, columns(v));
    }
    if (t.clip) {
        FC_UNROLL for (int i = 0; i < Rows; ++i)
            FC_UNROLL for (int v = 0; v < Vectors; ++v) sum[i][v] = t.clip(sum[i][v]);
    }
    FC_UNROLL for (int i = 0; i < Rows; ++i) {
        T* c = t.c + i * t.c_row;
        FC_UNROLL for (int v = 0; v < Vectors - 1; ++v) store(c + v * L, sum[i][v]);
        store_n(c + (Vectors - 1) * L, sum[i][Vectors - 1], last);
    }
}

// Lanes: of the vectors of B, all or a half of the instruction set's. RowMajorA: a_column is 1, else
// a_row. MaskedB: b ends with the last column. CopyB: what is
// read of B goes to copy_of_b.
template <class T, int Rows, int Vectors, int Lanes, bool RowMajorA, bool MaskedB, bool CopyB = false>
void tile(const Tile<T>& t) {
    using V = typename VectorType<T, Lanes * int(sizeof(T))>::type;
    using Unaligned = typename VectorType<T, Lanes * int(sizeof(T))>::unaligned;
    constexpr int64_t kRowsAhead = 8;  // of B; docs/decisions/affine.md#b-eight-rows-ahead
    constexpr int kGroup = 4;  // rows that share a pointer: x86 adds a stride once or twice to a base
    constexpr int groups = (Rows + kGroup - 1) / kGroup;

    if (t.depth >= 16)
        FC_UNROLL for (int i = 0; i < Rows; ++i) prefetch_for_write(t.c + i * t.c_row);

    V sum[Rows][Vectors] = {};
    const int64_t a_row = RowMajorA ? t.a_row : 1, a_column = RowMajorA ? 1 : t.a_column;
    const int64_t b_row = t.b_row, last = t.columns_of_last;
    const T* a[groups];
    FC_UNROLL for (int g = 0; g < groups; ++g) a[g] = t.a + kGroup * g * a_row;
    const T* b = t.b;
    T* copy_of_b = t.copy_of_b;
    const auto multiply = [&](int step) __attribute__((always_inline)) {
        V b_k[Vectors];
        FC_UNROLL for (int v = 0; v < Vectors; ++v) {
            if constexpr (MaskedB)
                b_k[v] = v == Vectors - 1 ? load_n(b + v * Lanes, last) : load(b + v * Lanes);
            else
                b_k[v] = *reinterpret_cast<const Unaligned*>(b + v * Lanes);
        }
        if constexpr (kVectorRegisters == 32 && Rows >= 8 && !MaskedB && !CopyB)  // A and B together are larger than L1
            FC_UNROLL for (int v = 0; v < Vectors; ++v) prefetch(b + kRowsAhead * b_row + v * Lanes);
        if constexpr (CopyB) {
            FC_UNROLL for (int v = 0; v < Vectors; ++v) store(copy_of_b + v * Lanes, b_k[v]);
            copy_of_b += Vectors * Lanes;
            prefetch(b + 2 * Vectors * Lanes - 1);  // for the next tile of these rows
        }
        FC_UNROLL for (int i = 0; i < Rows; ++i) {
            const V a_ik = a[i / kGroup][i % kGroup * a_row + step * a_column] - V{};
            FC_UNROLL for (int v = 0; v < Vectors; ++v) sum[i][v] = fma(a_ik, b_k[v], sum[i][v]);
        }
        b += b_row;
    };
    int64_t k = 0;
    if constexpr (kVectorRegisters == 16)
        for (; k + 2 <= t.depth; k += 2) {
            multiply(0);
            multiply(1);
            FC_UNROLL for (int g = 0; g < groups; ++g) a[g] += 2 * a_column;
        }
    for (; k < t.depth; ++k) {
        multiply(0);
        FC_UNROLL for (int g = 0; g < groups; ++g) a[g] += a_column;
    }

    Vec<T> whole[Rows][Vectors];
    FC_UNROLL for (int i = 0; i < Rows; ++i)
        FC_UNROLL for (int v = 0; v < Vectors; ++v) whole[i][v] = widen_part<T>(sum[i][v]);
    finish(t, whole);
}

template <class T>
using TileKernel = void (*)(const Tile<T>&);

template <class T, int Vectors, int Lanes, bool RowMajorA, int... I>
constexpr std::array<TileKernel<T>, sizeof...(I)> tall_tiles(std::integer_sequence<int, I...>) {
    return {tile<T, I + 1, Vectors, Lanes, RowMajorA, false>...};
}

template <class T, bool RowMajorA, int... I>
constexpr std::array<TileKernel<T>, sizeof...(I)> copying_tiles(std::integer_sequence<int, I...>) {
    return {tile<T, kFewestRowsCopying + I, 2, lanes<T>, RowMajorA, false, true>...};
}

template <class T, int Rows, int... I>
constexpr std::array<TileKernel<T>, kWideVectors[1]> wide_tiles(std::integer_sequence<int, I...>) {
    return {tile<T, Rows, I + 1, lanes<T>, true, true>...};
}
template <class T, int... I>
constexpr std::array<std::array<TileKernel<T>, kWideVectors[1]>, kWideRows> wide_tiles_of_all(
    std::integer_sequence<int, I...>) {
    return {wide_tiles<T, I + 1>(std::make_integer_sequence<int, kWideVectors[I + 1]>())...};
}

}  // namespace detail

// The widths of tall tiles. Half a vector of less than 16 bytes is not worth an instance, nor is a quarter of a larger one.
enum Width { kTwoVectors, kOneVector, kHalfVector, kWidths };

template <class T>
constexpr int columns_of(Width width) {
    return width == kTwoVectors ? 2 * lanes<T> : lanes<T> >> (int(width) - 1);
}

// The width of the next panel when `columns` are left. Half vectors save time where a processor computes whole ones in two
// steps, and cost none elsewhere.
template <class T>
inline Width next_width(int64_t columns) {
    constexpr int L = lanes<T>;
    if (columns > L + L / 2) return kTwoVectors;
    return columns > L / 2 || L / 2 * sizeof(T) < 16 ? kOneVector : kHalfVector;
}

template <class T>
inline void tall_tile(int rows, Width width, bool row_major_a, const Tile<T>& t) {
    constexpr auto all_rows = std::make_integer_sequence<int, kTallRows>();
    constexpr int L = lanes<T>;
    constexpr int half = FC_VECTOR_BYTES >= 32 ? L / 2 : L;
    static constexpr std::array<detail::TileKernel<T>, kTallRows> kernels[kWidths][2] = {
        {detail::tall_tiles<T, 2, L, false>(all_rows), detail::tall_tiles<T, 2, L, true>(all_rows)},
        {detail::tall_tiles<T, 1, L, false>(all_rows), detail::tall_tiles<T, 1, L, true>(all_rows)},
        {detail::tall_tiles<T, 1, half, false>(all_rows), detail::tall_tiles<T, 1, half, true>(all_rows)},
    };
    kernels[width][row_major_a][rows - 1](t);
}

// kTwoVectors wide, of kFewestRowsCopying rows at least.
template <class T>
inline void copying_tile(int rows, bool row_major_a, const Tile<T>& t) {
    constexpr auto all_rows = std::make_integer_sequence<int, kTallRows - kFewestRowsCopying + 1>();
    static constexpr std::array<detail::TileKernel<T>, all_rows.size()> kernels[2] = {
        detail::copying_tiles<T, false>(all_rows), detail::copying_tiles<T, true>(all_rows)};
    kernels[row_major_a][rows - kFewestRowsCopying](t);
}

template <class T>
inline void wide_tile(int rows, int vectors, const Tile<T>& t) {
    static constexpr auto kernels = detail::wide_tiles_of_all<T>(std::make_integer_sequence<int, kWideRows>());
    kernels[rows - 1][vectors - 1](t);
}

}  // namespace fc
