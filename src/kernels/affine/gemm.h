// Matrix products: C = A * B, with an optional bias for each column or row, accumulation and ReLU or ReLU6.
//
//   fc::Product<float> p{M, N, K, {a, lda, 1}, {b, ldb, 1}, c, ldc};      and p.bias, p.clip, p.accumulate
//   fc::gemm(p);                  shares the work among the engine's threads
//   fc::gemm_on_this_thread(p);   for use inside a parallel region
//
// A transposed operand is {data, 1, ld}; one of the two strides must be 1. Four roads:
//
//   wide      M <= 8: rows of A broadcast, B read once, in place
//   dots      M <= 8 (16 when K is long), B transposed: scalar products of rows, in place
//   outer     K <= 8: a sum of outer products, which is mostly the writing of C
//   blocked   the others, after Goto: blocks of K, of which a block of B is copied into L2 as panels two vectors wide;
//             then tiles of up to 14 rows, which stay in L1 while all panels go by. A is rarely copied: see copies_a.
//
// Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34 (2008).
//
// Threads take parts of M or of N; when K is much longer than both, parts of K, whose sums are added in order. The
// parts depend on the sizes and on the number of threads alone, and so do the bits of the result.
#pragma once
#include "dot.h"
#include "kernel.h"
#include "outer.h"
#include "pack.h"
#include "tile.h"

namespace fc {

template <class T>
struct Matrix {
    const T* data;  // element (i, j) at data[i * row + j * column]
    int64_t row, column;

    const T* at(int64_t i, int64_t j) const { return data + i * row + j * column; }
    Matrix from(int64_t i, int64_t j) const { return {at(i, j), row, column}; }
};

template <class T>
struct Product {
    int64_t M, N, K;  // C is M x N
    Matrix<T> A, B;
    T* C;
    int64_t c_row;
    Bias<T> bias = {};
    Clip<T> clip = {};
    bool accumulate = false;  // C += instead of C =
    bool B_is_near = true;    // in a cache, probably

    // The product of rows [m0, m0 + m) and columns [n0, n0 + n).
    Product part(int64_t m0, int64_t m, int64_t n0, int64_t n) const {
        Product p = *this;
        p.M = m, p.N = n;
        p.A = A.from(m0, 0), p.B = B.from(0, n0);
        p.C = C + m0 * c_row + n0;
        p.bias = bias.from(m0, n0);
        return p;
    }

    // The part of the sums with k in [k0, k0 + k).
    Product terms(int64_t k0, int64_t k) const {
        Product p = *this;
        p.K = k;
        p.A = A.from(0, k0), p.B = B.from(k0, 0);
        return p;
    }

    // The same in place: the first block of k brings the bias, the last one ReLU.
    Product block_of_terms(int64_t k0, int64_t k) const {
        Product p = terms(k0, k);
        if (k0 > 0) p.bias = {}, p.accumulate = true;
        if (k0 + k < K) p.clip = {};
        return p;
    }

    // A tile that begins at C[m0, n0] and covers the whole depth.
    Tile<T> tile(int64_t m0, int64_t n0, int64_t columns_of_last) const {
        return {A.at(m0, 0), A.row, A.column, B.at(0, n0), B.row, K, C + m0 * c_row + n0, c_row, columns_of_last,
                bias.from(m0, n0), accumulate, clip};
    }
};

namespace detail {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// `total` cut into equal parts of at most `most`; the size of a part, rounded up to a multiple of `unit`.
constexpr int64_t equal_parts(int64_t total, int64_t most, int64_t unit = 1) {
    return ceil_div(ceil_div(total, ceil_div(total, most)), unit) * unit;
}

constexpr int64_t kFewRows = 8;               // of A: the time goes into reading B
constexpr int64_t kDepthBytes = 1536;         // of a row of A in a block: 14 of them stay in L1
constexpr int64_t kBlockBBytes = 512 * 1024;  // of B in a block: it stays in L2
constexpr int64_t kRowsBytes = 16 * 1024;     // of A in scalar products: half of L1
// docs/decisions/affine.md#copies-of-a
constexpr int64_t kStride = 2048;             // rows a multiple of this apart fall into few cache sets,
constexpr int64_t kWays = 8;                  // each of which holds so many lines: a tile of 6 rows needs no copy

// f(i, rows) for the rows of a product of few rows, in groups that a kernel takes at once.
template <class F>
void for_groups(int64_t rows, F f) {
    const int64_t group = equal_parts(rows, kWideRows);
    for (int64_t i = 0; i < rows; i += group) f(i, int(std::min(group, rows - i)));
}

template <class T>
void gemm_dots(const Product<T>& p) {
    constexpr int64_t strip = 192;  // columns that the groups of rows find in L2
    const int64_t depth = equal_parts(p.K, kRowsBytes / int64_t(sizeof(T)) / p.M, lanes<T>);
    for (int64_t k = 0; k < p.K; k += depth) {
        const Product<T> block = p.block_of_terms(k, std::min(depth, p.K - k));
        for (int64_t n = 0; n < p.N; n += strip)
            for_groups(p.M, [&](int64_t i, int rows) {
                Tile<T> t = block.tile(i, n, 0);
                t.b_row = p.B.column;
                dots(rows, t, std::min(strip, p.N - n));
            });
    }
}

template <class T>
void gemm_wide(const Product<T>& p) {
    const int64_t panel = kWideVectors[equal_parts(p.M, kWideRows)] * lanes<T>;
    // Far apart rows of B cost a TLB entry each, and a second group of rows should find B in L1: take few at a time.
    const bool shallow = p.M > kWideRows || (p.N > panel && p.B.row * int64_t(sizeof(T)) >= kStride);
    const int64_t depth = shallow ? equal_parts(p.K, 128) : p.K;
    for (int64_t k = 0; k < p.K; k += depth) {
        const Product<T> block = p.block_of_terms(k, std::min(depth, p.K - k));
        for (int64_t n = 0; n < p.N; n += panel) {
            const int64_t columns = std::min(panel, p.N - n), vectors = ceil_div(columns, lanes<T>);
            for_groups(p.M, [&](int64_t i, int rows) {
                wide_tile(rows, int(vectors), block.tile(i, n, columns - (vectors - 1) * lanes<T>));
            });
        }
    }
}

template <class T>
void gemm_outer(const Product<T>& p) {
    const int64_t strip = kWideVectors[p.K] * lanes<T>;
    for (int64_t n = 0; n < p.N; n += strip) {
        const int64_t columns = std::min(strip, p.N - n), vectors = ceil_div(columns, lanes<T>);
        outer_strip(int(vectors), p.tile(0, n, columns - (vectors - 1) * lanes<T>), p.M);
    }
}

// Is A copied? Only where the rows of a tile fall into the same cache sets, or where very many panels of B read the copy.
template <class T>
bool copies_a(const Product<T>& p) {
    const bool by_rows = p.A.column == 1, many_panels = p.N >= 32 * lanes<T>;
    const bool same_sets = (by_rows ? p.A.row : p.A.column) * int64_t(sizeof(T)) % kStride == 0;
    if (by_rows) return p.M > 8 && ((same_sets && kTallRows > kWays) || many_panels);
    const bool some_panels = same_sets && p.N >= 8 * lanes<T>;
    return kVectorRegisters == 16 ? some_panels || many_panels : p.K > 128 && some_panels;
}

// Tiles of A that are copied together. Six columns are a part of a cache line, and when the lines of a block fall into
// few sets of L2, they are gone before the next tile wants the rest: eight tiles, three lines, are 1.1 to 1.3 times as fast.
template <class T>
int64_t tiles_copied_together(const Product<T>& p) {
    return p.A.column != 1 && kVectorRegisters == 16 ? 8 : 1;
}

// Is B copied by the first tiles that read it? With few tiles the copy counts: that saves up to a tenth. From memory,
// B is read faster on its own, row by row.
template <class T>
bool copies_b_in_tiles(const Product<T>& p) {
    return kVectorRegisters == 16 && p.M > 2 * kTallRows && p.M <= 128 && p.K >= 64 && p.B.column == 1 && p.B_is_near;
}

template <class T>
void gemm_blocked(const Product<T>& p) {
    constexpr int L = lanes<T>;
    const int64_t depth = equal_parts(p.K, kDepthBytes / int64_t(sizeof(T)), L);
    const int64_t most_columns = std::max<int64_t>(kBlockBBytes / int64_t(sizeof(T)) / depth, 8 * L);
    const int64_t columns = equal_parts(p.N, most_columns, 2 * L);
    const int64_t rows = equal_parts(p.M, kTallRows);
    const bool copy_a = copies_a(p), copy_b = p.B.column != 1 || p.M > 2 * kTallRows;

    const bool copy_b_in_tiles = copies_b_in_tiles(p);
    const int64_t tiles = tiles_copied_together(p), pitch = rows * (depth + L);
    const Scratch<T> copy_of_a(copy_a ? tiles * pitch : 0);
    const Scratch<T> copy_of_b((copy_b ? columns : 2 * L) * depth);
    for (int64_t k = 0; k < p.K; k += depth) {
        const Product<T> slice = p.block_of_terms(k, std::min(depth, p.K - k));
        for (int64_t n = 0; n < p.N; n += columns) {
            const Product<T> block = slice.part(0, p.M, n, std::min(columns, p.N - n));
            const auto for_each_panel = [&](auto f) {
                for (int64_t j = 0; j < block.N;) {
                    const Width width = next_width<T>(block.N - j);
                    const int64_t existing = std::min<int64_t>(columns_of<T>(width), block.N - j);
                    const bool copied = copy_b || existing < columns_of<T>(width);
                    f(j, width, existing, copied, copy_of_b + (copy_b ? j * block.K : 0));
                    j += existing;
                }
            };
            const int64_t full = copy_b && block.B.column == 1 ? block.N / (2 * L) : 0;
            if (!copy_b_in_tiles) copy_panels(copy_of_b.get(), block.B.at(0, 0), block.B.row, block.K, full);
            for_each_panel([&](int64_t j, Width width, int64_t existing, bool copied, T* copy) {
                if (copied && j >= full * 2 * L)
                    pack(copy, columns_of<T>(width), block.B.at(0, j), block.B.row, block.B.column, block.K, existing);
            });
            for (int64_t i = 0; i < block.M; i += rows) {
                const int64_t tile_rows = std::min(rows, block.M - i);
                Matrix<T> a = block.A.from(i, 0);
                if (copy_a && a.column == 1) {
                    copy_rows(copy_of_a.get(), depth + L, a.data, a.row, block.K, tile_rows);
                    a = {copy_of_a, depth + L, 1};
                } else if (copy_a) {
                    const int64_t t = i / rows % tiles, count = std::min(tiles * rows, block.M - i);
                    if (t == 0) copy_tiles(copy_of_a.get(), pitch, rows, a.data, a.column, block.K, count);
                    a = {copy_of_a + t * pitch, 1, rows};
                }
                for_each_panel([&](int64_t j, Width width, int64_t existing, bool copied, T* copy) {
                    Tile<T> t = block.tile(i, j, width == kTwoVectors ? existing - L : existing);
                    t.a = a.data, t.a_row = a.row, t.a_column = a.column;
                    if constexpr (kVectorRegisters == 16)
                        if (copy_b_in_tiles && i == 0 && j < full * 2 * L) {
                            t.copy_of_b = copy;
                            return copying_tile(int(tile_rows), a.column == 1, t);
                        }
                    if (copied) t.b = copy, t.b_row = columns_of<T>(width);
                    tall_tile(int(tile_rows), width, a.column == 1, t);
                });
            }
        }
    }
}

// C = sum of no terms.
template <class T>
void gemm_empty(const Product<T>& p) {
    for (int64_t i = 0; i < p.M; ++i)
        for (int64_t j = 0; j < p.N; ++j) {
            T& c = p.C[i * p.c_row + j];
            const T y = (p.accumulate ? c : T(0)) + (p.bias.data ? *p.bias.from(i, j).data : T(0));
            c = p.clip(set1(y))[0];
        }
}

}  // namespace detail

template <class T>
void gemm_on_this_thread(const Product<T>& p) {
    if (p.M == 0 || p.N == 0) return;
    if (p.K == 0) return detail::gemm_empty(p);
    const bool few_rows = p.M <= detail::kFewRows, long_rows = p.K >= 16 * lanes<T>;
    if (p.A.column == 1 && p.B.column == 1 && few_rows) return detail::gemm_wide(p);
    if (p.A.column == 1 && p.B.column != 1 && (few_rows || (long_rows && p.M <= 2 * detail::kFewRows)))
        return detail::gemm_dots(p);
    if (p.K <= kWideRows && p.B.column == 1) return detail::gemm_outer(p);
    detail::gemm_blocked(p);
}

namespace detail {

constexpr double kLongPart = 200e3;    // nanoseconds
constexpr int64_t kFewSums = 1 << 18;  // of which every thread may have its own

template <class T>
double nanoseconds(const Product<T>& p) {
    constexpr double flops_per_nanosecond = 6 * lanes<T>, bytes_per_nanosecond = 20;
    const double bytes = (double(p.M) * p.K + double(p.K) * p.N + double(p.M) * p.N) * sizeof(T);
    return std::max(2.0 * p.M * p.N * p.K / flops_per_nanosecond, bytes / bytes_per_nanosecond);
}

// Parts of K: part 0 goes to C, the others to scratch memory, and are added in order.
template <class T>
void gemm_split_depth(const Product<T>& p, int nthreads) {
    const int64_t depth = equal_parts(p.K, ceil_div(p.K, nthreads), lanes<T>), parts = ceil_div(p.K, depth);
    const Scratch<T> sums((parts - 1) * p.M * p.N);
    parallel(parts, nthreads, [&](int64_t part, int) {
        Product<T> q = p.terms(part * depth, std::min(depth, p.K - part * depth));
        q.clip = {};
        if (part > 0) {
            q.C = sums + (part - 1) * p.M * p.N;
            q.c_row = p.N;
            q.bias = {};
            q.accumulate = false;
        }
        gemm_on_this_thread(q);
    });
    for (int64_t i = 0; i < p.M; ++i)
        for (int64_t j = 0; j < p.N; j += lanes<T>) {
            const int64_t n = p.N - j;
            T* c = p.C + i * p.c_row + j;
            Vec<T> y = load_n(c, n);
            for (int64_t part = 1; part < parts; ++part) y += load_n(sums + ((part - 1) * p.M + i) * p.N + j, n);
            store_n(c, p.clip(y), n);
        }
}

}  // namespace detail

template <class T>
void gemm(const Product<T>& p) {
    using detail::ceil_div;
    const double time = detail::nanoseconds(p);
    const int nthreads = threads_for(time);
    if (nthreads <= 1) return gemm_on_this_thread(p);
    if (p.K >= 8 * std::max(p.M, p.N) && p.M * p.N <= detail::kFewSums) return detail::gemm_split_depth(p, nthreads);
    // Several parts a thread when they are long, so that a thread that comes late leaves its share to the others.
    const int64_t parts = nthreads * std::clamp<int64_t>(int64_t(time / nthreads / detail::kLongPart), 1, 4);
    const int64_t rows = detail::equal_parts(p.M, ceil_div(p.M, parts));
    const int64_t columns = detail::equal_parts(p.N, ceil_div(p.N, parts), 2 * lanes<T>);
    // Cut M or N? Every part copies the other operand, which costs as much as some more rows or columns; and where
    // parts meet in a row of C, their processors contend for the cache lines around.
    constexpr int64_t copy = 6, meeting = 8;
    const int64_t cost_by_rows = (rows + copy) * p.N, cost_by_columns = columns * (p.M + copy) + meeting * p.M;
    if (p.M > detail::kFewRows && cost_by_rows <= cost_by_columns)
        parallel(ceil_div(p.M, rows), nthreads, [&](int64_t i, int) {
            gemm_on_this_thread(p.part(i * rows, std::min(rows, p.M - i * rows), 0, p.N));
        });
    else
        parallel(ceil_div(p.N, columns), nthreads, [&](int64_t j, int) {
            gemm_on_this_thread(p.part(0, p.M, j * columns, std::min(columns, p.N - j * columns)));
        });
}

}  // namespace fc
