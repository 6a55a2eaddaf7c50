// Filters packed for a kernel: panels of `width` result channels, in each the taps of every phase in the order in which
// the kernel meets them.
//
//   panel [phase][Cin][taps of the phase][width]        a phase is a pair of row and column class, rows first
#pragma once
#include "geometry.h"
#include "kernel.h"
#include "simd.h"

namespace fc::conv {

// Where in a panel of width 1 the taps of the filter go.
struct TapOrder {
    struct Place {
        int64_t offset, channel_stride;  // channel_stride 0: the tap meets nothing
    };
    std::vector<Place> places;    // [FH*FW]
    std::vector<int64_t> phases;  // where each phase begins
    bool kept;                    // the filter's own order
    int64_t size = 0;             // of the panel

    template <class T>
    explicit TapOrder(const Correlation<T>& c)
        : places(size_t(c.FH * c.FW), Place{0, 0}), kept(c.rows.front().filter_step == 1) {
        for (const Axis& h : c.rows)
            for (const Axis& w : c.columns) {
                phases.push_back(size);
                for (int64_t u = 0; u < h.taps; ++u)
                    for (int64_t v = 0; v < w.taps; ++v) {
                        const int64_t tap = (h.filter + u * h.filter_step) * c.FW + w.filter + v * w.filter_step;
                        places[size_t(tap)] = {size + u * w.taps + v, h.taps * w.taps};
                    }
                size += c.Cin * h.taps * w.taps;
            }
    }
};

// Packs result channels [first, first + count) of a group.
template <class T>
void pack_lanes(const Correlation<T>& c, const TapOrder& order, int64_t group, int64_t first, int64_t count, T* panel) {
    const T* w = c.weights + group * c.weights_group + first * c.weights_out;
    const int64_t taps = c.FH * c.FW;
    for (int64_t channel = 0; channel < c.Cin; ++channel)
        for (int64_t tap = 0; tap < taps; ++tap) {
            const TapOrder::Place place = order.places[size_t(tap)];
            if (!place.channel_stride) continue;
            T* lane = panel + (place.offset + channel * place.channel_stride) * count;
            const T* value = w + channel * c.weights_in + tap;
            for (int64_t l = 0; l < count; ++l) lane[l] = value[l * c.weights_out];
        }
}

// The same of some source channels for whole vectors at lane 0 of `width`; lanes beyond count repeat the last channel, or
// are zero.
template <class T>
void pack_vector(const Correlation<T>& c, const TapOrder& order, int64_t group, int64_t first, int64_t count,
                 int64_t channel, int64_t channel_end, int64_t width, T* panel) {
    constexpr int B = detail::block_lanes<T>;
    int64_t offsets[lanes<T>];
    for (int64_t l = 0; l < lanes<T>; ++l) offsets[l] = std::min(l, count - 1) * c.weights_out;
    const T* w = c.weights + group * c.weights_group + first * c.weights_out;
    const int64_t taps = c.FH * c.FW;
    // Runs of consecutive numbers: all channels as they are (forward), or the taps of one (backward).
    const int64_t run = order.kept ? (channel_end - channel) * taps : taps;
    for (; channel < channel_end; channel += run / taps) {
        const T* numbers = w + channel * c.weights_in;
        const auto put = [&](int64_t k, Vec<T> v) {
            const TapOrder::Place p = order.kept ? TapOrder::Place{k, taps} : order.places[size_t(k)];
            if (p.channel_stride) store(panel + (p.offset + channel * p.channel_stride) * width, v);
        };
        if (c.weights_out == 1) {
            put(0, load_n(numbers, count));
        } else if (run < B) {
            for (int64_t k = 0; k < run; ++k) {
                Vec<T> v;
                for (int l = 0; l < lanes<T>; ++l) v[l] = numbers[offsets[l] + k];
                put(k, v);
            }
        } else {
            for (int64_t next = 0; next < run; next += B) {
                const int64_t k = std::min(next, run - B);  // the last columns overlap those before
                Vec<T> column[B];
                load_transposed(numbers + k, offsets, column);
                FC_UNROLL for (int i = 0; i < B; ++i) put(k + i, column[i]);
            }
        }
    }
}

}  // namespace fc::conv
