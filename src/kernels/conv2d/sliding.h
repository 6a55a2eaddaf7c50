// Convolution to few output channels with stride 1: the filter's rows slide over the image's in registers.
//
//   result[m][i][j]  =  bias[m] + sum over c, u, v of  weights[c][v][u][m] * x[c][i + u][j + v]          m < M <= 3
//
// Where the output channels would fill a vector badly (an image's 1 or 3 in backward-data) vectors run over columns: M
// channels times as many rows of one vector as the registers hold are accumulated together, and every loaded row of x
// meets all FH rows of M filters. The source is copied once with its padding; nothing is unfolded. Backward-data of a
// first layer is this (5x5, 30 filters, C = 1: 8 times the speed of vectors over channels), also with a stride: then
// each class of the result's rows and columns is a correlation of its own, and the columns are interleaved.
#pragma once
#include "source.h"
#include "store.h"
#include "tile.h"

namespace fc::conv {

constexpr int kSlidingChannels = 3;

// Of one vector each. The filters of a single channel stay in registers, those of more are broadcast from the cache.
constexpr int sliding_rows(int filter_rows, int channels) {
    if (channels > 1) return (kRegisters == 32 ? 24 : 12) / channels;
    return kRegisters == 32 ? 14 : 14 - filter_rows;
}

template <class T>
struct SlidingSum {
    int64_t channels, channel_stride, pitch;
    int64_t taps, dilation;  // of the columns
    const T* weights;
    const T* bias;  // of the first channel, or null
    Clip<T> clip;
};

// Where a tile goes: M planes of some rows and, of each, some columns.
template <class T>
struct SlidingResult {
    T* start;
    int64_t plane, row_step, columns;
};

template <class T>
using SlidingKernel = void (*)(const SlidingSum<T>& sum, const T* x, const SlidingResult<T>& out);

template <class T, int FH, int M, int ROWS>
void sliding_tile(const SlidingSum<T>& sum, const T* x, const SlidingResult<T>& out) {
    Vec<T> acc[ROWS][M];
    FC_UNROLL for (int m = 0; m < M; ++m)
        FC_UNROLL for (int i = 0; i < ROWS; ++i) acc[i][m] = sum.bias ? set1(sum.bias[m]) : zero<T>();
    const T* w = sum.weights;
    for (int64_t c = 0; c < sum.channels; ++c, x += sum.channel_stride)
        for (int64_t v = 0; v < sum.taps; ++v, w += FH * M)
            FC_UNROLL for (int i = 0; i < ROWS + FH - 1; ++i) {
                const Vec<T> row = load(x + i * sum.pitch + v * sum.dilation);
                FC_UNROLL for (int u = 0; u < FH; ++u)
                    FC_UNROLL for (int m = 0; m < M; ++m)
                        if (i - u >= 0 && i - u < ROWS) acc[i - u][m] = fma(set1(w[u * M + m]), row, acc[i - u][m]);
                if (M > 1 || i == ROWS + FH - 2) barrier();
            }
    FC_UNROLL for (int m = 0; m < M; ++m)
        FC_UNROLL for (int i = 0; i < ROWS; ++i)
            store_some(out.start + m * out.plane + i * out.row_step, sum.clip(acc[i][m]), out.columns);
}

template <class T, int FH, int M, int... I>
constexpr std::array<SlidingKernel<T>, sizeof...(I)> sliding_table(std::integer_sequence<int, I...>) {
    return {&sliding_tile<T, FH, M, I + 1>...};
}

// The kernels for 1, 2, ... sliding_rows(FH, channels) rows.
template <class T, int FH, int M = kSlidingChannels>
const SlidingKernel<T>* sliding_kernels(int64_t channels) {
    if constexpr (M > 1)
        if (channels < M) return sliding_kernels<T, FH, M - 1>(channels);
    static constexpr auto table = sliding_table<T, FH, M>(std::make_integer_sequence<int, sliding_rows(FH, M)>());
    return table.data();
}

// The same, or null where there are none for the height.
template <class T>
const SlidingKernel<T>* find_sliding_kernels(int64_t FH, int64_t channels) {
    switch (FH) {
        case 1: return sliding_kernels<T, 1>(channels);
        case 2: return sliding_kernels<T, 2>(channels);
        case 3: return sliding_kernels<T, 3>(channels);
        case 4: return sliding_kernels<T, 4>(channels);
        case 5: return sliding_kernels<T, 5>(channels);
        case 7: return sliding_kernels<T, 7>(channels);
        default: return nullptr;
    }
}

template <class T>
class Sliding {
public:
    explicit Sliding(const Correlation<T>& correlation) : c(correlation), blocks(c, 1) {}

    static bool can(const Correlation<T>& c) {
        for (const Axis& h : c.rows)
            if (h.stride != 1 || (h.taps > 0 && !find_sliding_kernels<T>(h.taps, 1))) return false;
        for (const Axis& w : c.columns)
            if (w.stride != 1) return false;
        return c.Cout <= kSlidingChannels;
    }

    // Of the packed filters; as in direct.h, whatever the number of images.
    int64_t packed_size() const { return c.groups * c.Cout * filter_size(c.rows.size(), 0); }

    void pack(T* packed) const {
        for (int64_t group = 0; group < c.groups; ++group) pack(group, packed + group * c.Cout * filter_size(c.rows.size(), 0));
    }

    void run(const T* packed) {
        const int nthreads = threads_for(c.multiplications() / (2.0 * lanes<T>));
        blocks.split_for(nthreads, 1, false);
        const Rectangle largest = blocks.largest();
        strip_plane = largest.rows() * largest.cols() + lanes<T>;
        const int64_t strips_size = c.columns.front().dst_step > 1 ? c.Cout * strip_plane * int64_t(c.columns.size()) : 0;
        const int64_t size = strips_size + Band<T>::size(c, source_rectangle(c, largest));
        const Scratch<T> scratch(nthreads * size);
        blocks.for_each(nthreads, [&](const Place& place, const Place*, int64_t, int tid) {
            T* strips = scratch + tid * size;
            const Band<T> band = Band<T>::copy(c, c.source_plane(place.n, place.group),
                                               source_rectangle(c, place.out), strips + strips_size);
            for (size_t r = 0; r < c.rows.size(); ++r)
                compute(place, r, band, packed + place.group * c.Cout * filter_size(c.rows.size(), 0), strips);
        });
    }

private:
    const Correlation<T>& c;
    Blocks<T> blocks;
    int64_t strip_plane;

    // Numbers of one filter before phase (r, s), phases being pairs of row and column classes, rows first.
    int64_t filter_size(size_t r, size_t s) const {
        int64_t row_taps = 0, all = 0, before = 0;
        for (size_t k = 0; k < r; ++k) row_taps += c.rows[k].taps;
        for (size_t k = 0; k < c.columns.size(); ++k) (k < s ? before : all) += c.columns[k].taps;
        return c.Cin * (row_taps * (before + all) + (s ? c.rows[r].taps * before : 0));
    }

    // [phase][Cin][columns][rows][Cout]
    void pack(int64_t group, T* packed) const {
        for (const Axis& h : c.rows)
            for (const Axis& w : c.columns)
                for (int64_t in = 0; in < c.Cin; ++in)
                    for (int64_t v = 0; v < w.taps; ++v)
                        for (int64_t u = 0; u < h.taps; ++u)
                            for (int64_t m = 0; m < c.Cout; ++m)
                                *packed++ = c.weights[group * c.weights_group + m * c.weights_out + in * c.weights_in +
                                                      (h.filter + u * h.filter_step) * c.FW + w.filter + v * w.filter_step];
    }

    // One class of rows of a block: straight to the result, or by strips where its columns have gaps.
    void compute(const Place& place, size_t r, const Band<T>& band, const T* packed, T* strips) const {
        const Axis& h = c.rows[r];
        Rectangle out = place.out;
        out.row_end = std::min(out.row_end, h.out);
        if (out.rows() <= 0) return;
        const Destination<T> d(c, place, out, h, 0);
        if (h.taps == 0) return store_zeros(c, d, out, c.Cout);
        for (size_t s = 0; s < c.columns.size(); ++s) {
            const Axis& w = c.columns[s];
            const int64_t columns = std::min(w.out, out.col_end) - out.col;
            if (columns <= 0) continue;
            T* strip = strips + int64_t(s) * c.Cout * strip_plane;
            if (w.taps == 0) {
                fill_zero(strip, c.Cout * strip_plane);
                continue;
            }
            // Dilated rows are those of as many smaller images.
            const SlidingSum<T> sum{c.Cin, band.channel_stride, h.dilation * band.pitch, w.taps, w.dilation,
                                    packed + filter_size(r, s) * c.Cout,
                                    c.bias ? c.bias + place.group * c.Cout : nullptr, c.clip};
            const SlidingResult<T> result = d.step == 1 ? SlidingResult<T>{d.start, d.plane, d.row_step, columns}
                                                        : SlidingResult<T>{strip, strip_plane, columns, columns};
            for (int64_t i = 0; i < std::min(h.dilation, out.rows()); ++i)
                slide(sum, find_sliding_kernels<T>(h.taps, c.Cout), sliding_rows(int(h.taps), int(c.Cout)),
                      band.at(h.source_begin(out.row + i), w.source_begin(out.col)),
                      divide_up(out.rows() - i, h.dilation),
                      {result.start + i * result.row_step, result.plane, h.dilation * result.row_step, columns});
        }
        if (d.step > 1) merge_columns(c, d, out, c.Cout, strips, c.Cout * strip_plane, strip_plane);
    }

    static void slide(const SlidingSum<T>& sum, const SlidingKernel<T>* kernels, int64_t most, const T* x, int64_t rows,
                      const SlidingResult<T>& out) {
        const int64_t tiles = divide_up(rows, most);
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t begin = part_begin(rows, tiles, t), end = part_begin(rows, tiles, t + 1);
            for (int64_t block = 0; block < out.columns; block += lanes<T>) {
                // The last vector overlaps the one before it: no lanes to mask.
                const int64_t j = std::max<int64_t>(std::min(block, out.columns - lanes<T>), 0);
                kernels[end - begin - 1](sum, x + begin * sum.pitch + j,
                                         {out.start + begin * out.row_step + j, out.plane, out.row_step, out.columns});
            }
        }
    }
};

}  // namespace fc::conv
