// im2col and col2im in the book's layout: see ref.py, which is the truth.
//
// Row (n, i, j) of col is written from its first to its last byte: for every channel and filter row a run of FW
// elements, whose length is a constant of the compiled code for the common filters. The rows of x that the windows of
// one output row read are first copied into a padded strip in L1, of as many channels as fit there: then no window has
// an edge, and channels do not compete for the same cache sets.
//
// col2im walks the same way and adds the runs into padded planes, some channels at a time.
#include <cstring>

#include "interchange.h"
#include "kernel.h"
#include "planes.h"
#include "simd.h"
#include "window.h"

namespace {

using fc::Scratch;
using fc::Taps;
using fc::Window;

constexpr int64_t kStripBytes = 16 << 10;  // half of L1: col's lines pass through the other half
constexpr double kNanosecondsPerByte = 0.1;

// FW of the filter when it is a constant of the code, else 0.
template <int Constant>
struct Run {
    int64_t FW, dilation;

    template <class T>
    void copy(T* to, const T* from) const {
        if constexpr (Constant != 0) {
            std::memcpy(to, from, Constant * sizeof(T));
        } else if (dilation == 1) {
            std::memcpy(to, from, size_t(FW) * sizeof(T));
        } else {
            for (int64_t v = 0; v < FW; ++v) to[v] = from[v * dilation];
        }
    }

    template <class T>
    void add(T* to, const T* from) const {
        const int64_t count = Constant ? Constant : FW, step = Constant ? 1 : dilation;
        for (int64_t v = 0; v < count; ++v) to[v * step] += from[v];
    }
};

// f(Run) with a compiled constant for the common filter widths.
template <class F>
void with_run(const Window& p, F&& f) {
    if (p.dilation_w > 1) return f(Run<0>{p.FW, p.dilation_w});
    switch (p.FW) {
        case 1: return f(Run<1>{});
        case 2: return f(Run<2>{});
        case 3: return f(Run<3>{});
        case 4: return f(Run<4>{});
        case 5: return f(Run<5>{});
        case 7: return f(Run<7>{});
        default: return f(Run<0>{p.FW, 1});
    }
}

// How many channels make strips of `row` elements per channel that stay in L1.
template <class T>
int64_t channels_at_once(const Window& p, int64_t row) {
    return std::clamp(kStripBytes / int64_t(sizeof(T)) / row, int64_t(1), p.C);
}

// Rows or columns of x, of `extent`, that the windows reach when they see `most` of them.
int64_t reached(int64_t extent, int64_t most) { return std::max(int64_t(0), std::min(extent, most)); }

template <class T>
void im2col(T* col, const T* x, const Window* window) {
    const Window p = *window;
    const int64_t K = p.C * p.FH * p.FW, width = (p.OW - 1) * p.stride_w + p.reach_w();
    const int64_t block = channels_at_once<T>(p, p.FH * width);
    const int64_t columns = reached(p.W, width - p.pad_left);
    const int nthreads = fc::threads_for(double(p.N * p.OH * p.OW) * double(K * sizeof(T)) * kNanosecondsPerByte);
    with_run(p, [&](auto run) {
        fc::parallel(p.N * p.OH, nthreads, [&](int64_t task, int) {
            const int64_t n = task / p.OH, top = task % p.OH * p.stride_h - p.pad_top;
            Scratch<T> strip(block * p.FH * width);
            std::fill_n(strip.get(), block * p.FH * width, T(0));
            const Taps rows(top, p.H, p.FH, p.dilation_h);
            for (int64_t c0 = 0; c0 < p.C; c0 += block) {
                const int64_t channels = std::min(block, p.C - c0);
                for (int64_t c = 0; c < channels; ++c)
                    for (int64_t u = rows.begin; u < rows.end; ++u)
                        std::copy_n(x + ((n * p.C + c0 + c) * p.H + top + u * p.dilation_h) * p.W, columns,
                                    strip + (c * p.FH + u) * width + p.pad_left);
                for (int64_t j = 0; j < p.OW; ++j) {
                    T* to = col + (task * p.OW + j) * K + c0 * p.FH * p.FW;
                    const T* from = strip + j * p.stride_w;
                    for (int64_t row = 0; row < channels * p.FH; ++row, to += p.FW, from += width) run.copy(to, from);
                }
            }
        });
    });
}

template <class T>
void col2im(T* x, const T* col, const Window* window) {
    const Window p = *window;
    const int64_t K = p.C * p.FH * p.FW, width = (p.OW - 1) * p.stride_w + p.reach_w();
    const int64_t height = (p.OH - 1) * p.stride_h + p.reach_h();
    const int64_t block = channels_at_once<T>(p, p.reach_h() * width), blocks = (p.C + block - 1) / block;
    const int64_t columns = reached(p.W, width - p.pad_left);
    const int nthreads = fc::threads_for(double(p.N * p.OH * p.OW) * double(K * sizeof(T)) * kNanosecondsPerByte);
    with_run(p, [&](auto run) {
        fc::parallel(p.N * blocks, nthreads, [&](int64_t task, int) {
            const int64_t n = task / blocks, c0 = task % blocks * block, channels = std::min(block, p.C - c0);
            Scratch<T> planes(channels * height * width);
            std::fill_n(planes.get(), channels * height * width, T(0));
            for (int64_t i = 0; i < p.OH; ++i)
                for (int64_t j = 0; j < p.OW; ++j) {
                    const T* from = col + ((n * p.OH + i) * p.OW + j) * K + c0 * p.FH * p.FW;
                    T* to = planes + i * p.stride_h * width + j * p.stride_w;
                    for (int64_t c = 0; c < channels; ++c)
                        for (int64_t u = 0; u < p.FH; ++u, from += p.FW)
                            run.add(to + (c * height + u * p.dilation_h) * width, from);
                }
            for (int64_t c = 0; c < channels; ++c)
                for (int64_t h = 0; h < p.H; ++h) {
                    T* to = x + ((n * p.C + c0 + c) * p.H + h) * p.W;
                    const int64_t copied = h < height - p.pad_top ? columns : 0;
                    std::copy_n(planes + (c * height + h + p.pad_top) * width + p.pad_left, copied, to);
                    std::fill(to + copied, to + p.W, T(0));
                }
        });
    });
}

}  // namespace

using fc::col2im_planes;
using fc::im2col_planes;
using fc::interchange;

FC_KERNELS(FC_FLOATS(im2col), FC_FLOATS(col2im), FC_FLOATS(im2col_planes), FC_FLOATS(col2im_planes),
           FC_FLOATS(interchange))
