// im2col and col2im with a plane for every tap: see ref.py, which is the truth.
//
//   col[c, u, v, n, i, j] = x[n, c, i*SH + u*DH - top, j*SW + v*DW - left]     or col[n, c, u, v, i, j]
//
// A pixel is `run` numbers: 1, or one for each of N images that were interchanged to be innermost (then N is 1 here).
// im2col: a task has the planes of one channel and filter row, which are written from their first to their last byte; a
// row of windows is one copy when the stride is 1. col2im: a task has some rows of one channel, to which the planes' rows
// are added, tap after tap in the order of ref.py. Nothing is padded: the taps that meet the image are known beforehand.
#pragma once
#include <cstring>

#include "kernel.h"
#include "simd.h"
#include "window.h"

namespace fc {

constexpr double kPlanesNanosecondsPerByte = 0.1;

// Where the plane of image n, channel c and tap (counted over the filter) begins.
inline int64_t plane_start(const Window& p, int64_t plane, bool images_first, int64_t n, int64_t c, int64_t tap) {
    const int64_t taps = p.FH * p.FW;
    return (images_first ? (n * p.C + c) * taps + tap : (c * taps + tap) * p.N + n) * plane;
}

// `count` pixels of x, `stride` pixels apart, side by side.
template <class T>
void gather(T* to, const T* from, int64_t count, int64_t stride, int64_t run) {
    if (stride == 1) {
        std::memcpy(to, from, size_t(count * run) * sizeof(T));
    } else if (run == 1 && stride == 2) {
        for (int64_t j = 0; j < count; ++j) to[j] = from[2 * j];
    } else if (run == 1) {
        for (int64_t j = 0; j < count; ++j) to[j] = from[j * stride];
    } else {
        for (int64_t j = 0; j < count; ++j) std::memcpy(to + j * run, from + j * stride * run, size_t(run) * sizeof(T));
    }
}

template <class T>
void add_run(T* to, const T* from, int64_t count) {
    constexpr int64_t L = lanes<T>;
    int64_t i = 0;
    for (; i + L <= count; i += L) store(to + i, load(to + i) + load(from + i));
    if (i < count) store_n(to + i, load_n(to + i, count - i) + load_n(from + i, count - i), count - i);
}

// The adjoint of gather.
template <class T>
void scatter_add(T* to, const T* from, int64_t count, int64_t stride, int64_t run) {
    if (stride == 1) return add_run(to, from, count * run);
    if (run == 1) {
        for (int64_t j = 0; j < count; ++j) to[j * stride] += from[j];
    } else {
        for (int64_t j = 0; j < count; ++j) add_run(to + j * stride * run, from + j * run, run);
    }
}

template <class T>
void im2col_planes(T* col, const T* x, const Window* window, int64_t run, bool images_first) {
    const Window p = *window;
    const int64_t row = p.OW * run, plane = p.OH * row;
    const double bytes = double(p.N * p.C * p.FH * p.FW) * double(plane) * double(sizeof(T));
    parallel(p.N * p.C * p.FH, threads_for(bytes * kPlanesNanosecondsPerByte), [=](int64_t task, int) {
        const int64_t u = task % p.FH, image = task / p.FH, top = u * p.dilation_h - p.pad_top;
        const T* from = x + image * p.H * p.W * run;
        const Taps rows(top, p.H, p.OH, p.stride_h);
        for (int64_t v = 0; v < p.FW; ++v) {
            T* to = col + plane_start(p, plane, images_first, image / p.C, image % p.C, u * p.FW + v);
            const int64_t left = v * p.dilation_w - p.pad_left;
            const Taps columns(left, p.W, p.OW, p.stride_w);
            if (columns.begin == columns.end || rows.begin == rows.end) {
                std::fill_n(to, plane, T(0));
                continue;
            }
            const int64_t before = columns.begin * run, met = columns.end - columns.begin, end = columns.end * run;
            std::fill_n(to, rows.begin * row, T(0));
            for (int64_t i = rows.begin; i < rows.end; ++i) {
                T* result = to + i * row;
                std::fill_n(result, before, T(0));
                gather(result + before,
                       from + ((top + i * p.stride_h) * p.W + left + columns.begin * p.stride_w) * run, met, p.stride_w,
                       run);
                std::fill(result + end, result + row, T(0));
            }
            std::fill(to + rows.end * row, to + plane, T(0));
        }
    });
}

template <class T>
void col2im_planes(T* x, const T* col, const Window* window, int64_t run, bool images_first) {
    constexpr int64_t kAdded = 1 << 14;  // numbers that a task adds, so that it is worth being one
    const Window p = *window;
    const int64_t row = p.OW * run, plane = p.OH * row;
    const int64_t block = std::clamp(kAdded / (row * p.FH * p.FW), int64_t(1), p.H), blocks = (p.H + block - 1) / block;
    const double bytes = double(p.N * p.C * p.FH * p.FW) * double(plane) * double(sizeof(T));
    parallel(p.N * p.C * blocks, threads_for(bytes * kPlanesNanosecondsPerByte), [=](int64_t task, int) {
        const int64_t image = task / blocks, first = task % blocks * block, end = std::min(p.H, first + block);
        for (int64_t h = first; h < end; ++h) {
            T* to = x + (image * p.H + h) * p.W * run;
            std::fill_n(to, p.W * run, T(0));
            for (int64_t u = 0; u < p.FH; ++u) {
                const int64_t down = h + p.pad_top - u * p.dilation_h, i = down / p.stride_h;
                if (down < 0 || down % p.stride_h || i >= p.OH) continue;
                for (int64_t v = 0; v < p.FW; ++v) {
                    const int64_t left = v * p.dilation_w - p.pad_left;
                    const Taps columns(left, p.W, p.OW, p.stride_w);
                    if (columns.begin == columns.end) continue;
                    const T* from = col + plane_start(p, plane, images_first, image / p.C, image % p.C, u * p.FW + v);
                    scatter_add(to + (left + columns.begin * p.stride_w) * run, from + i * row + columns.begin * run,
                                columns.end - columns.begin, p.stride_w, run);
                }
            }
        }
    });
}

}  // namespace fc
