// Forward and backward-data: transforms and products of a block of tiles in one go, so that what lies between them
// stays in the caches. Planned as winograd/fused.h: a task is a block of tiles for a range of panels; with few channels
// the filters are transformed once, for all; with many, each task transforms those that it needs, some channels at a
// time, and keeps the sums of all its panels.
//
// The sum over the channels has the same order in both, whatever the number of threads.
#pragma once
#include "operands.h"

namespace fc::winograd_stride2 {

template <bool BACKWARD>
class Fused {
    using T = Tiling<BACKWARD>;

public:
    // ready: the filters as `transform` leaves them, or null.
    FC_APART explicit Fused(const Convolution& convolution, const float* ready = nullptr)
        : c(convolution), ready(ready),
          grid{divide_up(c.DH - c.result_top, T::kOut), divide_up(c.DW - c.result_left, T::kOut), c.SH, c.SW, c.top,
               c.left, c.Cin * c.SH * c.SW},
          tiles(c.N * grid.per_image()), panels(divide_up(c.Cout, kPanel)), nthreads(threads_for(nanoseconds())),
          shares_filters(ready || (tiles > kBlockTiles && transformed_size() * sizeof(float) <= kSharedBytes)) {
        if (shares_filters) {
            const int64_t of_tile = bytes(T::kSource, {round_up(c.Cin, L), 1}) + bytes(T::kSums, {1, kPanel});
            blocks = divide_up(tiles, std::clamp(kTileBytes / of_tile, kLeastTiles, kSharingTiles));
        } else {
            blocks = divide_up(tiles, kBlockTiles);
            chunks = divide_up(c.Cin, kChunkChannels);
            ranges = std::min(panels, divide_up(panels * bytes(T::kSums, block_sums()), kSumsBytes));
        }
        // An equal number for every thread, or so many that one more does not count.
        while (blocks * ranges % nthreads != 0 && blocks * ranges < 16 * nthreads) {
            if (c.Cout >= tiles && ranges < panels)
                ++ranges;
            else if (blocks < tiles)
                ++blocks;
            else
                break;
        }
        grain = grain_of(grid, tiles / blocks, blocks >= 8 * nthreads ? 1 : 4);  // a few blocks must be of one size
    }

    static constexpr int64_t kSharedBytes = 4 << 20;  // of all transformed filters, at most, if they are shared

    int64_t transformed_size() const { return panels * kFilterPositions * all_filters().step(); }

    void transform(float* filters) const {
        parallel(panels, threads_for(double(c.Cin * c.Cout) * kFilterNanoseconds), [&](int64_t index, int) {
            const Panel panel(index, c.Cout);
            transform_filters(c, panel, {0, c.Cin}, of(panel, all_filters()),
                              filters + index * kFilterPositions * all_filters().step());
        });
    }

    void run() const {
        const bool transforms = shares_filters && !ready;
        const Scratch<float> own(transforms ? transformed_size() : 0);
        if (transforms) transform(own);
        const float* shared = ready ? ready : own.get();
        parallel(blocks * ranges, nthreads, [&](int64_t task, int) {
            compute(piece(tiles, blocks, task / ranges, grain), piece(panels, ranges, task % ranges), shared);
        });
    }

    // Of one thread: the products, and where filters come ready, reading them from a cache that other layers use too.
    double nanoseconds() const {
        constexpr double products_per_nanosecond = 2.2 * L, bytes_per_nanosecond = 20;
        return double(tiles * kPositions) * double(c.Cin * c.Cout) / products_per_nanosecond +
               (ready ? double(transformed_size()) * sizeof(float) / bytes_per_nanosecond : 0);
    }

private:
    static constexpr int64_t kTileBytes = 512 << 10;  // then, of a block's source and sums: half of an L2 cache of 1 MB
    static constexpr int64_t kLeastTiles = 14, kSharingTiles = 48;
    static constexpr int64_t kBlockTiles = 64;        // else: enough to pay for transforming the filters
    static constexpr int64_t kChunkChannels = 32;
    static constexpr int64_t kSumsBytes = 2 << 20;    // of a task: met in order, once a chunk, so L3 is good enough
    static constexpr double kFilterNanoseconds = 2;   // to transform one filter of one channel

    const Convolution& c;
    const float* const ready;
    const Grid grid;
    const int64_t tiles, panels;
    const int nthreads;
    const bool shares_filters;
    int64_t blocks, ranges = 1, chunks = 1;  // of tiles, of panels, of channels
    int64_t grain = 1;                       // of tiles: a block has a multiple of it

    // The largest that there are, of a full panel.
    int64_t block_tiles() const { return std::min(tiles, round_up(divide_up(tiles, blocks), grain)); }
    int64_t chunk_channels() const { return std::min(c.Cin, round_up(divide_up(c.Cin, chunks), L)); }
    Matrices all_filters() const { return {c.Cin, kPanel}; }
    Matrices chunk_filters() const { return {chunk_channels(), kPanel}; }
    Matrices block_source() const { return {round_up(chunk_channels(), L), block_tiles()}; }
    Matrices block_sums() const { return {block_tiles(), kPanel}; }

    static int64_t bytes(int positions, Matrices m) { return positions * m.step() * int64_t(sizeof(float)); }
    static Matrices of(Panel panel, Matrices m) { return {m.rows, panel.width()}; }

    void compute(Range block, Range range, const float* shared) const {
        const Matrices src = block_source();
        const Scratch<float> source(T::kSource * src.step()), strip(kBandSize<T::kOut>);
        const Scratch<float> filters(shares_filters ? 0 : kFilterPositions * chunk_filters().step());
        const int64_t sums_size = T::kSums * block_sums().step();
        const Scratch<float> sums((chunks == 1 ? 1 : range.size()) * sums_size);
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const Range channels = piece(c.Cin, chunks, chunk, L);
            transform_source<BACKWARD>(grid, block, c.source + channels.begin * c.SH * c.SW, channels.size(),
                                       {src.step(), block.size() * L, L}, source);
            for (int64_t index = range.begin; index < range.end; ++index) {
                const Panel panel(index, c.Cout);
                const Matrices s = of(panel, block_sums());
                const Matrices f = of(panel, shares_filters ? all_filters() : chunk_filters());
                if (!shares_filters) transform_filters(c, panel, channels, f, filters);
                const float* panel_filters =
                    shares_filters ? shared + index * kFilterPositions * all_filters().step() : filters.get();
                float* panel_sums = sums + (chunks == 1 ? 0 : index - range.begin) * sums_size;
                multiply_tiles<BACKWARD>(block.size(), channels.size(), source, src, panel_filters, f, panel_sums, s,
                                         chunk > 0);
                if (chunk == chunks - 1) store_result<BACKWARD>(c, grid, block, panel, panel_sums, s, strip);
            }
        }
    }
};

}  // namespace fc::winograd_stride2
