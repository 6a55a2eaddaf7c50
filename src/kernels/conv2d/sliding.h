// Convolution to one or two output channels with stride 1: the filter's rows slide over the image's in registers.
//
//   result[i][j]  =  bias + sum over c, u, v of  weights[c][v][u] * x[c][i + u][j + v]
//
// With a single output channel a vector of pixels is multiplied once and loads bound the speed. Here up to 14 rows of
// one vector are accumulated together, and every loaded row of x meets all FH rows of the filter: FH multiplications a
// load. Backward-data of a first layer is this (5x5, 30 filters, C = 1: 8 times the speed of vectors over channels).
#pragma once
#include "source.h"
#include "store.h"
#include "tile.h"
#include "weights.h"

namespace fc::conv {

constexpr int sliding_rows(int filter_rows) { return kRegisters == 32 ? 14 : 14 - filter_rows; }

template <class T>
struct SlidingSum {
    int64_t channels, channel_stride, pitch;
    int64_t taps, dilation;  // of the columns
    const T* weights;
    T bias;
    bool relu;
};

template <class T>
using SlidingKernel = void (*)(const SlidingSum<T>& sum, const T* x, T* out, int64_t row_step, int64_t columns);

template <class T, int FH, int ROWS>
void sliding_tile(const SlidingSum<T>& sum, const T* x, T* out, int64_t row_step, int64_t columns) {
    Vec<T> acc[ROWS];
    FC_UNROLL for (int i = 0; i < ROWS; ++i) acc[i] = set1(sum.bias);
    const T* w = sum.weights;
    for (int64_t c = 0; c < sum.channels; ++c, x += sum.channel_stride)
        for (int64_t v = 0; v < sum.taps; ++v, w += FH) {
            Vec<T> weight[FH];
            FC_UNROLL for (int u = 0; u < FH; ++u) weight[u] = set1(w[u]);
            FC_UNROLL for (int i = 0; i < ROWS + FH - 1; ++i) {
                const Vec<T> row = load(x + i * sum.pitch + v * sum.dilation);
                FC_UNROLL for (int u = 0; u < FH; ++u)
                    if (i - u >= 0 && i - u < ROWS) acc[i - u] = fma(weight[u], row, acc[i - u]);
            }
            barrier();
        }
    FC_UNROLL for (int i = 0; i < ROWS; ++i)
        store_some(out + i * row_step, sum.relu ? max(zero<T>(), acc[i]) : acc[i], columns);
}

template <class T, int FH, int... I>
constexpr std::array<SlidingKernel<T>, sizeof...(I)> sliding_table(std::integer_sequence<int, I...>) {
    return {&sliding_tile<T, FH, I + 1>...};
}

template <class T, int FH>
const SlidingKernel<T>* sliding_kernels() {
    static constexpr auto table = sliding_table<T, FH>(std::make_integer_sequence<int, sliding_rows(FH)>());
    return table.data();
}

// The kernels for 1, 2, ... sliding_rows(FH) rows, or null.
template <class T>
const SlidingKernel<T>* find_sliding_kernels(int64_t FH) {
    switch (FH) {
        case 3: return sliding_kernels<T, 3>();
        case 5: return sliding_kernels<T, 5>();
        case 7: return sliding_kernels<T, 7>();
        default: return nullptr;
    }
}

template <class T>
class Sliding {
public:
    explicit Sliding(const Correlation<T>& correlation)
        : c(correlation), h(c.rows.front()), w(c.columns.front()), kernels(find_sliding_kernels<T>(h.taps)),
          blocks(c, 1) {}

    static bool can(const Correlation<T>& c) {
        const Axis &h = c.rows.front(), &w = c.columns.front();
        return c.Cout <= 2 && c.rows.size() == 1 && c.columns.size() == 1 && h.stride == 1 && w.stride == 1 &&
               h.dilation == 1 && find_sliding_kernels<T>(h.taps);
    }

    void run() {
        const int nthreads = threads_for(c.multiplications() / (2.0 * lanes<T>));
        blocks.split_for(nthreads, 1);
        const int64_t weights_size = c.Cin * h.taps * w.taps;
        const Scratch<T> packed(c.groups * c.Cout * weights_size);
        for (int64_t f = 0; f < c.groups * c.Cout; ++f) pack(f / c.Cout, f % c.Cout, packed + f * weights_size);

        const int64_t size = Band<T>::size(c, source_rectangle(c, blocks.largest()));
        const Scratch<T> scratch(nthreads * size);
        blocks.for_each(nthreads, [&](const Place& place, const Place*, int64_t, int tid) {
            const Band<T> band = Band<T>::copy(c, c.source_plane(place.n, place.group),
                                               source_rectangle(c, place.out), scratch + tid * size);
            for (int64_t f = 0; f < c.Cout; ++f)
                compute(place, band, f, packed + (place.group * c.Cout + f) * weights_size);
        });
    }

private:
    const Correlation<T>& c;
    const Axis &h, &w;
    const SlidingKernel<T>* kernels;
    Blocks<T> blocks;

    void pack(int64_t group, int64_t channel, T* packed) const {
        const T* weights = c.weights + group * c.weights_group + channel * c.weights_out;
        for (int64_t in = 0; in < c.Cin; ++in, weights += c.weights_in)
            for (int64_t v = 0; v < w.taps; ++v)
                for (int64_t u = 0; u < h.taps; ++u)
                    *packed++ = weights[(h.filter + u * h.filter_step) * c.FW + w.filter + v * w.filter_step];
    }

    void compute(const Place& place, const Band<T>& band, int64_t channel, const T* packed) const {
        const Rectangle& out = place.out;
        const Destination<T> d(c, place, out, h, channel);
        const SlidingSum<T> sum{c.Cin, band.channel_stride, band.pitch, w.taps, w.dilation, packed,
                                c.bias ? c.bias[place.group * c.Cout + channel] : T(0), c.relu};
        const int64_t tiles = divide_up(out.rows(), sliding_rows(int(h.taps)));
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t begin = part_begin(out.rows(), tiles, t), end = part_begin(out.rows(), tiles, t + 1);
            for (int64_t block = 0; block < out.cols(); block += lanes<T>) {
                // The last vector overlaps the one before it: no lanes to mask.
                const int64_t j = std::max<int64_t>(std::min(block, out.cols() - lanes<T>), 0);
                kernels[end - begin - 1](sum, band.data + begin * band.pitch + j, d.start + begin * d.row_step + j,
                                         d.row_step, out.cols());
            }
        }
    }
};

}  // namespace fc::conv
