// Convolution to few output channels: vectors over pixels, weights broadcast.
//
//   result[m][p]  =  bias[m] + sum over c, k of  weights[c][k][m] * x[c][p + offset(k)]        m < M <= 6
//
// Where the output channels would fill a vector badly (LeNet's 6, an image's 3 in backward-data) vectors run over
// pixels instead: M channels times up to 8 vectors of accumulators, no transposition on the way out. The block's
// sources are unfolded along the columns (source.h), so that pixels are consecutive whatever the filter's step, a
// vector crosses rows, and none of its lanes is wasted. That copy is paid by FH*M multiplications a number.
#pragma once
#include "source.h"
#include "store.h"
#include "tile.h"
#include "weights.h"

namespace fc::conv {

constexpr int kMaxPixelChannels = 6;

// Vectors of pixels beside M channels: M accumulators each, and the smaller side of the product in registers.
constexpr int pixel_vectors(int channels) {
    constexpr int wide[] = {8, 8, 8, 6, 5, 4}, narrow[] = {6, 4, 3, 3, 2, 2};
    return (kRegisters == 32 ? wide : narrow)[channels - 1];
}

template <class T>
struct PixelSum {
    int64_t channels, channel_stride;
    const int64_t* offsets;
    int64_t taps;
    const T* weights;
    const T* bias;  // of the panel's first channel, or null
    Clip<T> clip;
};

// `out`: M rows `plane` apart; of the last vector only `last` lanes.
template <class T>
using PixelKernel = void (*)(const PixelSum<T>& sum, const T* x, T* out, int64_t plane, int64_t last);

template <class T, int M, int P>
void pixel_tile(const PixelSum<T>& sum, const T* x, T* out, int64_t plane, int64_t last) {
    Vec<T> acc[M][P];
    FC_UNROLL for (int m = 0; m < M; ++m) {
        const Vec<T> bias = sum.bias ? set1(sum.bias[m]) : zero<T>();
        FC_UNROLL for (int p = 0; p < P; ++p) {
            acc[m][p] = bias;
            prefetch_for_write(out + m * plane + p * lanes<T>);
        }
    }
    const T* w = sum.weights;
    for (int64_t c = 0; c < sum.channels; ++c, x += sum.channel_stride)
        for (int64_t k = 0; k < sum.taps; ++k, w += M) {
            const T* pixels = x + sum.offsets[k];
            if constexpr (M <= P) {
                Vec<T> weight[M];
                FC_UNROLL for (int m = 0; m < M; ++m) weight[m] = set1(w[m]);
                FC_UNROLL for (int p = 0; p < P; ++p) {
                    const Vec<T> pixel = load(pixels + p * lanes<T>);
                    FC_UNROLL for (int m = 0; m < M; ++m) acc[m][p] = fma(weight[m], pixel, acc[m][p]);
                }
            } else {
                Vec<T> pixel[P];
                FC_UNROLL for (int p = 0; p < P; ++p) pixel[p] = load(pixels + p * lanes<T>);
                FC_UNROLL for (int m = 0; m < M; ++m) {
                    const Vec<T> weight = set1(w[m]);
                    FC_UNROLL for (int p = 0; p < P; ++p) acc[m][p] = fma(weight, pixel[p], acc[m][p]);
                }
            }
            barrier();
        }
    FC_UNROLL for (int m = 0; m < M; ++m)
        FC_UNROLL for (int p = 0; p < P; ++p) {
            store_some(out + m * plane + p * lanes<T>, sum.clip(acc[m][p]), p + 1 < P ? lanes<T> : last);
        }
}

template <class T, int M, int... P>
constexpr std::array<PixelKernel<T>, sizeof...(P)> pixel_table(std::integer_sequence<int, P...>) {
    return {&pixel_tile<T, M, P + 1>...};
}

// The kernels of M channels for 1, 2, ... vectors.
template <class T, int M>
const PixelKernel<T>* pixel_kernels() {
    static constexpr auto table = pixel_table<T, M>(std::make_integer_sequence<int, pixel_vectors(M)>());
    return table.data();
}

template <class T>
class Pixels {
public:
    explicit Pixels(const Correlation<T>& correlation)
        : c(correlation), order(c), panels(divide_up(c.Cout, kMaxPixelChannels)), blocks(c, copies_per_column()) {}

    // Of the packed filters; as in direct.h, whatever the number of images.
    int64_t packed_size() const { return c.groups * c.Cout * order.size; }

    void pack(T* packed) const {
        for (int64_t group = 0; group < c.groups; ++group)
            for (int64_t panel = 0; panel < panels; ++panel) {
                const int64_t first = first_of(panel), m = first_of(panel + 1) - first;
                pack_lanes(c, order, group, first, m, packed + (group * c.Cout + first) * order.size);
            }
    }

    void run(const T* packed) {
        const int nthreads = threads_for(c.multiplications() / (2.0 * lanes<T>));
        blocks.split_for(nthreads, panels, true);
        const Rectangle largest = blocks.largest();
        strip_plane = largest.rows() * largest.cols() + lanes<T>;

        const int64_t strips_size = kMaxPixelChannels * strip_plane * int64_t(c.columns.size());
        const int64_t size = strips_size + UnfoldedBlock<T>::size(c, largest);
        const Scratch<T> scratch(nthreads * size);
        blocks.for_each(nthreads, [&](const Place& place, const Place*, int64_t part, int tid) {
            T* strips = scratch + tid * size;
            const UnfoldedBlock<T> source(c, place, strips + strips_size);
            for (size_t r = 0; r < c.rows.size(); ++r)
                for (int64_t panel = part_begin(panels, blocks.parts, part);
                     panel < part_begin(panels, blocks.parts, part + 1); ++panel)
                    compute(place, r, panel, source, packed + place.group * c.Cout * order.size, strips);
        });
    }

private:
    const Correlation<T>& c;
    const TapOrder order;
    const int64_t panels;
    Blocks<T> blocks;
    int64_t strip_plane;

    int64_t copies_per_column() const {
        int64_t copies = 0;
        for (const Axis& w : c.columns) copies += w.taps;
        return copies;
    }

    int64_t first_of(int64_t panel) const { return part_begin(c.Cout, panels, panel); }

    static const PixelKernel<T>* kernels(int64_t channels) {
        switch (channels) {
            case 1: return pixel_kernels<T, 1>();
            case 2: return pixel_kernels<T, 2>();
            case 3: return pixel_kernels<T, 3>();
            case 4: return pixel_kernels<T, 4>();
            case 5: return pixel_kernels<T, 5>();
            default: return pixel_kernels<T, 6>();
        }
    }

    // One class of rows of a block, for one panel: straight to the result, or by strips where it has gaps.
    void compute(const Place& place, size_t r, int64_t panel, const UnfoldedBlock<T>& source, const T* packed,
                 T* strips) const {
        const Axis& h = c.rows[r];
        Rectangle out = place.out;
        out.row_end = std::min(out.row_end, h.out);
        if (out.rows() <= 0) return;
        const int64_t first = first_of(panel), channels = first_of(panel + 1) - first;
        const Destination<T> d(c, place, out, h, first);
        if (h.taps == 0) return store_zeros(c, d, out, channels);
        for (size_t s = 0; s < c.columns.size(); ++s) {
            const Axis& w = c.columns[s];
            const Unfolded<T> layout = UnfoldedBlock<T>::layout(c, w, place.out);
            const std::vector<int64_t> offsets = layout.offsets(h, w, place.out);
            const PixelSum<T> sum{
                c.Cin, layout.channel_stride, offsets.data(), int64_t(offsets.size()),
                packed + first * order.size + order.phases[r * c.columns.size() + s] * channels,
                c.bias ? c.bias + place.group * c.Cout + first : nullptr, c.clip};
            T* strip = strips + int64_t(s) * kMaxPixelChannels * strip_plane;
            compute_pixels(sum, channels, source.data[s], d.dense ? d.start : strip, d.dense ? d.plane : strip_plane,
                           out.rows() * std::max<int64_t>(layout.cols, 0));
        }
        if (!d.dense) merge_columns(c, d, out, channels, strips, kMaxPixelChannels * strip_plane, strip_plane);
    }

    static void compute_pixels(const PixelSum<T>& sum, int64_t channels, const T* x, T* out, int64_t plane,
                               int64_t pixels) {
        const int64_t vectors = divide_up(pixels, lanes<T>), tiles = divide_up(vectors, pixel_vectors(int(channels)));
        const auto table = kernels(channels);
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t begin = part_begin(vectors, tiles, t), end = part_begin(vectors, tiles, t + 1);
            const int64_t last = std::min<int64_t>(lanes<T>, pixels - (end - 1) * lanes<T>);
            table[end - begin - 1](sum, x + begin * lanes<T>, out + begin * lanes<T>, plane, last);
        }
    }
};

}  // namespace fc::conv
