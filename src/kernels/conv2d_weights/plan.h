// How the filters' gradient is divided: among threads, and into pieces that fit the caches.
//
//   unit    filters x channels of one group whose sums fit the L2 cache; a unit's sums belong to nobody else
//   part    where there are too few units for the threads: some of the bands, with sums of its own, added at the end
//   band    rows of dout of one image, or several small images: the rows of x that they meet are padded together
//   block   pixels of a band for which dout is transposed, filter panel after filter panel, into the L1 cache
//
// Everything is decided by the sizes and the number of threads, never by who comes first: the same bits each time.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernel.h"
#include "window.h"

namespace {

constexpr int64_t kBlockBytes = 20 << 10;    // of dout transposed: leaves room for x in an L1 cache of 32 KB
constexpr int64_t kUnitBytes = 256 << 10;    // of sums: half of a small L2 cache
constexpr int64_t kPartBytes = 512 << 10;    // of sums, at most, where every thread has them all
constexpr int64_t kPaddedBytes = 192 << 10;  // of x, padded
constexpr int64_t kUnitFilters = 128;        // at most
constexpr int64_t kUnitChannels = 8;         // at least: fewer would transpose dout too often
// docs/decisions/conv2d_weights.md#how-pixels-are-shared
constexpr int64_t kPixelsPerPart = 512;      // at least: fewer do not pay for adding the sums up,
constexpr int64_t kPixelsPerPart1x1 = 192;   // unless channel ranges would transpose dout again for a single tap each
constexpr int64_t kLongRow = 96;             // pixels

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }

struct Range {
    int64_t begin, end;

    int64_t size() const { return end - begin; }
};

// Piece `index` of `pieces` near-equal ones of [0, count), in multiples of `grain`.
inline Range piece(int64_t count, int64_t pieces, int64_t index, int64_t grain = 1) {
    const int64_t grains = ceil_div(count, grain);
    return {std::min(count, grains * index / pieces * grain), std::min(count, grains * (index + 1) / pieces * grain)};
}

struct Conv : fc::Window {
    int64_t FN, groups;

    int64_t group_filters() const { return FN / groups; }
    int64_t group_channels() const { return C / groups; }
    int64_t taps() const { return FH * FW; }
    int64_t padded_width() const { return (OW - 1) * stride_w + reach_w(); }  // as far as filters reach
    bool padded() const { return pad_top || pad_bottom || pad_left || pad_right; }
};

// A 1x1 filter that visits every pixel sees no rows: short ones are joined to fewer, longer ones. Several must be left,
// where that is possible: they are what threads share of a single image.
inline Conv with_long_rows(Conv p) {
    if (p.taps() > 1 || p.stride_h > 1 || p.stride_w > 1 || p.padded()) return p;
    if (p.H != p.OH || p.W != p.OW) return p;  // the output padding of a transposed convolution
    int64_t joined = 1;
    while (joined < p.OH && (p.OH % joined != 0 || joined * p.OW < kLongRow)) ++joined;
    p.H = p.OH = p.OH / joined;
    p.W = p.OW = p.OW * joined;
    return p;
}

struct Plan {
    int nthreads;
    int64_t panel;  // filters in a full panel
    int64_t parts, filter_ranges, channel_ranges;
    int64_t block_images, block_rows, block_columns;
    int64_t band_rows;
};

// `lanes` filters to a vector, `panel` filters to a register tile, `size` bytes to an element.
inline Plan make_plan(const Conv& p, int64_t lanes, int64_t panel, int64_t size) {
    const int64_t filters = round_up(p.group_filters(), lanes), channels = p.group_channels();
    const int64_t pixels = p.N * p.OH * p.OW;
    Plan plan{};
    plan.panel = panel;
    plan.nthreads = fc::threads_for(double(pixels) * double(filters) * double(p.C * p.taps()) / (3.0 * double(lanes)));

    // Units that fit the L2 cache; more of them, or parts, when there are too few for the threads.
    plan.parts = 1;
    plan.filter_ranges = ceil_div(filters, std::max(kUnitFilters, panel));
    const int64_t filter_bytes = p.taps() * size * round_up(ceil_div(filters, plan.filter_ranges), panel);
    plan.channel_ranges = ceil_div(channels, std::max(kUnitBytes / filter_bytes, kUnitChannels));
    const auto units = [&] { return p.groups * plan.filter_ranges * plan.channel_ranges; };
    const auto enough = [&] { return units() % plan.nthreads == 0 || units() >= 4 * plan.nthreads; };
    if (!enough()) {
        const int64_t enough_pixels = plan.nthreads * (p.taps() == 1 ? kPixelsPerPart1x1 : kPixelsPerPart);
        const int64_t wanted = 4 * plan.nthreads, sums = p.groups * filters * channels * p.taps() * size;
        if (sums <= kPartBytes && pixels >= enough_pixels) {
            plan.filter_ranges = plan.channel_ranges = 1;
            plan.parts = plan.nthreads;
        } else {
            plan.channel_ranges = std::clamp(ceil_div(wanted, p.groups * plan.filter_ranges), plan.channel_ranges,
                                             std::max(plan.channel_ranges, channels / kUnitChannels));
            if (!enough())
                plan.filter_ranges = std::clamp(ceil_div(wanted, p.groups * plan.channel_ranges), plan.filter_ranges,
                                                std::max(plan.filter_ranges, ceil_div(filters, panel)));
        }
    }

    const int64_t block = std::max<int64_t>(1, kBlockBytes / (panel * size));
    plan.block_images = std::clamp<int64_t>(block / (p.OH * p.OW), 1, std::max<int64_t>(p.N, 1));
    plan.block_rows = ceil_div(p.OH, ceil_div(p.OH, std::clamp<int64_t>(block / p.OW, 1, p.OH)));
    plan.block_columns = p.OW <= 2 * block ? p.OW : ceil_div(p.OW, ceil_div(p.OW, block));

    plan.band_rows = p.OH;
    if (plan.parts > 1) plan.band_rows /= ceil_div(4 * plan.parts, p.N);
    if (p.padded()) {
        const int64_t row_bytes = ceil_div(channels, plan.channel_ranges) * p.padded_width() * size;
        plan.band_rows = std::min(plan.band_rows, (kPaddedBytes / row_bytes - p.reach_h()) / p.stride_h + 1);
    }
    plan.band_rows = std::clamp(plan.band_rows, plan.block_rows, p.OH);
    return plan;
}

}  // namespace
