// Copies of blocks of A and B in the order in which tiles read them.
#pragma once
#include <algorithm>

#include "simd.h"

namespace fc {

// dst[k * width + j] = src[k * k_stride + j * j_stride] for j < count, 0 for count <= j < width. One stride is 1.
template <class T>
void pack(T* dst, int64_t width, const T* src, int64_t k_stride, int64_t j_stride, int64_t depth, int64_t count) {
    constexpr int L = lanes<T>;
    if (j_stride == 1) {
        for (int64_t k = 0; k < depth; ++k, src += k_stride, dst += width)
            for (int64_t j = 0; j < width; j += L)
                store_n(dst + j, load_n(src + j, std::max<int64_t>(count - j, 0)), width - j);
        return;
    }
    constexpr int step = detail::block_lanes<T>;
    for (int64_t j = 0; j < width; j += L) {
        const T* rows = src + j * j_stride;
        int64_t k = 0;
        if (j + L <= count)
            for (; k + step <= depth; k += step) {
                Vec<T> columns[step];
                load_transposed(rows + k, j_stride, columns);
                FC_UNROLL for (int i = 0; i < step; ++i) store_n(dst + (k + i) * width + j, columns[i], width - j);
            }
        for (; k < depth; k += L) {
            const int64_t ks = std::min<int64_t>(depth - k, L);
            Vec<T> block[L];
            FC_UNROLL for (int i = 0; i < L; ++i)
                block[i] = j + i < count ? load_n(rows + i * j_stride + k, ks) : zero<T>();
            transpose<T>(block);
            FC_UNROLL for (int i = 0; i < L; ++i)
                if (i < ks) store_n(dst + (k + i) * width + j, block[i], width - j);
        }
    }
}

// `panels` whole ones of two vectors, from rows: panel[k * 2 * lanes + j] = src[k * k_stride + j]. Row by row, as memory is
// read best: a panel at a time, far apart rows cost a page and a cache miss that nothing foresees for two vectors each.
template <class T>
void copy_panels(T* dst, const T* src, int64_t k_stride, int64_t depth, int64_t panels) {
    constexpr int L = lanes<T>;
    for (int64_t k = 0; k < depth; ++k, src += k_stride, dst += 2 * L)
        for (int64_t p = 0; p < panels; ++p) {
            store(dst + p * depth * 2 * L, load(src + p * 2 * L));
            store(dst + p * depth * 2 * L + L, load(src + p * 2 * L + L));
        }
}

// Tiles of `rows` columns each: dst[t * pitch + k * rows + i] = src[k * k_stride + t * rows + i], the last tile padded with
// zeros. Row by row for all of them, as a tile is narrower than a cache line and the next row is a page away. A pitch has
// room for a vector more.
template <class T>
void copy_tiles(T* dst, int64_t pitch, int64_t rows, const T* src, int64_t k_stride, int64_t depth, int64_t columns) {
    constexpr int64_t L = lanes<T>, kRowsAhead = 8, kLine = 64 / sizeof(T);
    for (int64_t k = 0; k < depth; ++k, src += k_stride, dst += rows) {
        if (k + kRowsAhead < depth)
            for (int64_t j = 0; j < columns; j += kLine) prefetch(src + kRowsAhead * k_stride + j);
        for (int64_t j = 0, t = 0; j < columns; j += rows, ++t)
            for (int64_t i = 0; i < rows; i += L)  // what is too much, the next row overwrites
                store(dst + t * pitch + i, load_n(src + j + i, std::max<int64_t>(columns - j - i, 0)));
    }
}

// dst[i * dst_row + k] = src[i * src_row + k] for i < rows, k < depth.
template <class T>
void copy_rows(T* dst, int64_t dst_row, const T* src, int64_t src_row, int64_t depth, int64_t rows) {
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t k = 0; k < depth; k += lanes<T>)
            store(dst + i * dst_row + k, load_n(src + i * src_row + k, depth - k));
}

}  // namespace fc
