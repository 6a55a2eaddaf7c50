// Winograd's convolution, forward and backward-data: transforms and products of a block of tiles in one go, so that
// what lies between them stays in the caches.
//
// A task is a block of tiles for a range of panels. Tasks share nothing but what is ready before they begin:
//
//   few channels    the filters are transformed once, for all tasks. A task transforms its source, all channels; then
//                   for one panel after the other come the products and the result.
//   many channels   the transformed filters, four times as large as w, would come from memory again and again: each
//                   task transforms those that it needs, some channels at a time, and keeps the sums of all its panels.
//
// The sum over the channels has the same order in both, whatever the number of threads.
#pragma once
#include "operands.h"

namespace fc::winograd {

class Fused {
public:
    // ready: the filters as `transform` leaves them, or null.
    explicit Fused(const Correlation& correlation, const float* ready = nullptr)
        : c(correlation), ready(ready), grid(tiles_of(correlation)), tiles(c.N * grid.per_image()), panels(divide_up(c.Cout, kPanel)),
          nthreads(threads_for(nanoseconds())),
          step(ready && tiles < nthreads * L ? 4 : L),
          shares_filters(ready || (tiles > kBlockTiles && transformed_size() * sizeof(float) <= kSharedBytes)) {
        if (shares_filters) {
            const int64_t fitting = kSourceBytes / Matrices{c.Cin, 1}.bytes();
            blocks = divide_up(tiles, std::clamp(fitting, 2 * L, kSharingTiles));
        } else {
            blocks = divide_up(tiles, kBlockTiles);
            chunks = divide_up(c.Cin, kChunkChannels);
            ranges = std::min(panels, divide_up(panels * block_sums().bytes(), kSumsBytes));
        }
        // An equal number for every thread, or enough of them.
        while (blocks * ranges % nthreads != 0 && blocks * ranges < 4 * nthreads) {
            if (c.Cout >= tiles && ranges < panels)
                ++ranges;
            else if (blocks < divide_up(tiles, step))
                ++blocks;
            else
                break;
        }
    }

    static constexpr int64_t kSharedBytes = 4 << 20;  // of all transformed filters, at most, if they are shared

    int64_t transformed_size() const { return panels * all_filters().size(); }

    void transform(float* filters) const {
        parallel(panels, threads_for(double(c.Cin * c.Cout) * kFilterNanoseconds), [&](int64_t index, int) {
            const Panel panel(index, c.Cout);
            transform_filters(c, panel, {0, c.Cin}, of(panel, all_filters()), filters + index * all_filters().size());
        });
    }

    void run() const {
        const bool transforms = shares_filters && !ready;
        const Scratch<float> own(transforms ? transformed_size() : 0);
        if (transforms) transform(own);
        const float* shared = ready ? ready : own.get();
        parallel(blocks * ranges, nthreads, [&](int64_t task, int) {
            compute(piece(tiles, blocks, task / ranges, step), piece(panels, ranges, task % ranges), shared);
        });
    }

private:
    static constexpr int64_t kSourceBytes = 512 << 10;  // then, of a block's source: half of an L2 cache of 1 MB
    static constexpr int64_t kSharingTiles = 48;
    static constexpr int64_t kBlockTiles = 64;          // else: enough to pay for transforming the filters
    static constexpr int64_t kChunkChannels = 32;
    static constexpr int64_t kSumsBytes = 2 << 20;      // of a task: met in order, once a chunk, so L3 is good enough
    static constexpr double kFilterNanoseconds = 5;     // to transform one filter of one channel

    const Correlation& c;
    const float* const ready;
    const Grid grid;
    const int64_t tiles, panels;
    const int nthreads;
    const int64_t step;  // blocks have multiples of so many tiles: part of a vector where they are few
    const bool shares_filters;
    int64_t blocks, ranges = 1, chunks = 1;  // of tiles, of panels, of channels

    // Of one thread: the products, and where filters come ready, reading them from a cache that other layers use too.
    double nanoseconds() const {
        constexpr double products_per_nanosecond = 2.2 * L, bytes_per_nanosecond = 20;
        return double(tiles * kPositions) * double(c.Cin * c.Cout) / products_per_nanosecond +
               (ready ? double(transformed_size()) * sizeof(float) / bytes_per_nanosecond : 0);
    }

    static Grid tiles_of(const Correlation& c) {
        return {divide_up(c.DH, kOutputs), divide_up(c.DW, kOutputs), c.SH, c.SW, c.top, c.left, kInputs,
                c.Cin * c.SH * c.SW};
    }

    // The largest that there are, of a full panel.
    int64_t block_tiles() const { return std::min(tiles, round_up(divide_up(tiles, blocks), L)); }
    Matrices all_filters() const { return {c.Cin, kPanel}; }
    Matrices chunk_filters() const { return {divide_up(c.Cin, chunks), kPanel}; }
    Matrices block_sums() const { return {block_tiles(), kPanel}; }

    // The channels whose few tiles fill a vector together: as many in every chunk, or each by itself.
    int64_t sharing_channels(int64_t count) const {
        const int64_t sharing = Bands::sharing(count);
        return c.Cin % (sharing * chunks) == 0 ? sharing : 1;
    }

    static Matrices of(Panel panel, Matrices m) { return {m.rows, panel.width()}; }

    void compute(Range block, Range range, const float* shared) const {
        const int64_t sharing = sharing_channels(block.size());
        const Matrices src{divide_up(c.Cin, chunks), sharing > 1 ? block.size() : round_up(block_tiles(), L)};
        const Bands bands(grid, block, sharing);
        const Scratch<float> band(sharing * Bands::size(grid, block.size())), strip(kStrip);
        const Scratch<float> source(src.size()), filters(shares_filters ? 0 : chunk_filters().size());
        const Scratch<float> sums((chunks == 1 ? 1 : range.size()) * block_sums().size());
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const Range channels = piece(c.Cin, chunks, chunk);
            transform_source(c, bands, channels, band, src, source);
            for (int64_t index = range.begin; index < range.end; ++index) {
                const Panel panel(index, c.Cout);
                const Matrices s = of(panel, block_sums());
                const Matrices f = of(panel, shares_filters ? all_filters() : chunk_filters());
                if (!shares_filters) transform_filters(c, panel, channels, f, filters);
                const float* panel_filters = shares_filters ? shared + index * all_filters().size() : filters.get();
                float* panel_sums = sums + (chunks == 1 ? 0 : index - range.begin) * block_sums().size();
                multiply(channels.size(), block.size(), source, src, panel_filters, f, panel_sums, s,
                         chunk > 0);
                if (chunk == chunks - 1) store_result(c, grid, block, panel, panel_sums, s, strip);
            }
        }
    }
};

}  // namespace fc::winograd
