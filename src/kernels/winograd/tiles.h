// Planes cut into square tiles, row by row, image after image, and the transform of what these tiles read.
#pragma once
#include "kernel.h"
#include "products.h"
#include "vectors.h"

namespace fc::winograd {

struct Range {
    int64_t begin, end;

    int64_t size() const { return end - begin; }
};

// Piece `index` of `pieces` near-equal ones of [0, count), in multiples of `grain`.
inline Range piece(int64_t count, int64_t pieces, int64_t index, int64_t grain = 1) {
    const int64_t grains = divide_up(count, grain);
    return {std::min(count, grains * index / pieces * grain), std::min(count, grains * (index + 1) / pieces * grain)};
}

// The products over all channels, some of them at a time: a long sum loses precision.
template <int OUTPUTS>
void multiply_over_channels(int64_t tiles, int64_t channels, const float* left, Matrices l, const float* panel,
                            Matrices p, float* sums, Matrices s, bool accumulate) {
    const int64_t pieces = divide_up(channels, 128);
    for (int64_t index = 0; index < pieces; ++index) {
        const Range some = piece(channels, pieces, index, L);
        multiply<OUTPUTS, Sum::over_channels>(tiles, some.size(), left + some.begin * tiles, l,
                                              panel + some.begin * p.width, p, sums, s, accumulate || index > 0);
    }
}

// The tiles of an operand, and the planes that they read.
struct Grid {
    int64_t rows, cols;  // tiles of one image
    int64_t H, W;        // of the planes that they read
    int64_t top, left;   // where tile (0, 0) begins in them: negative in the padding
    int64_t image_step;  // between the planes of successive images

    int64_t per_image() const { return rows * cols; }
};

// What blocks of about `size` tiles are best multiples of, if `least` of it fit: rows of pixels that two tiles share
// are read once if both are in the same block.
inline int64_t grain_of(const Grid& g, int64_t size, int64_t least) {
    return size >= least * g.per_image() ? g.per_image() : size >= least * g.cols ? g.cols : 1;
}

// Neighbours in a row of tiles.
struct Band {
    int64_t image, row, col, count;
    int64_t first;  // of the tiles that are cut into bands
};

// body(Band) for all tiles, in order.
template <class Body>
void for_bands(const Grid& g, Range tiles, int64_t longest, Body body) {
    for (int64_t tile = tiles.begin, count; tile < tiles.end; tile += count) {
        const int64_t row = tile / g.cols, col = tile % g.cols;
        count = std::min({longest, g.cols - col, tiles.end - tile});
        body(Band{row / g.rows, row % g.rows, col, count, tile - tiles.begin});
    }
}

// A function of its own: inlined, GCC keeps its addresses in memory.
#define FC_APART __attribute__((noinline))

// Where the transform of a tile goes: distances between positions, groups of L channels, and tiles.
struct Steps {
    int64_t position, group, tile;
};


// The columns [begin, end) of some rows, in L planes at a time, as vectors; those outside of [0, W) are zeros. planes:
// the distance between the planes, or the offsets of all L.
template <class Planes>
FC_APART void read_rows(const float* row, Planes planes, int64_t begin, int64_t end, int64_t W, int64_t count,
                        float* const* to) {
    constexpr int64_t B = 4;
    const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, W);
    const auto clear = [](float* pixels, int64_t j, int64_t end) {
        for (; j < end; ++j) {
            store(pixels + j * L, Vector{});
            barrier();  // a call of memset would take longer
        }
    };
    for (int64_t i = 0; i < count; ++i, row += W) {
        float* pixels = to[i] - begin * L;
        clear(pixels, begin, std::min(first, end));
        clear(pixels, std::max(last, begin), end);
        if (last - first >= B) {
            for (int64_t j = first; j < last; j += B) {  // the last columns again if they do not make a whole block
                const int64_t block = std::min(j, last - B);
                Vector columns[B];
                load_transposed(row + block, planes, columns);
                FC_UNROLL for (int k = 0; k < B; ++k) store(pixels + (block + k) * L, columns[k]);
            }
        } else {
            for (int64_t j = first; j < last; ++j)
                for (int64_t l = 0; l < L; ++l)
                    if constexpr (std::is_integral_v<Planes>)
                        pixels[j * L + l] = row[l * planes + j];
                    else
                        pixels[j * L + l] = row[planes[l] + j];
        }
    }
}

// The transforms of `count` neighbours in a row of tiles. rows: of the pixels that they read.
template <int OUTPUTS, int IN, void (*TRANSFORM)(const Vector (&)[IN], Vector (&)[inputs(OUTPUTS)])>
FC_APART void transform_tiles(const float* const (&rows)[IN], int64_t count, Steps to, float* dst) {
    constexpr int kOut = inputs(OUTPUTS);
    const float* from[IN];
    FC_UNROLL for (int i = 0; i < IN; ++i) from[i] = rows[i];
    for (int64_t t = 0; t < count; ++t, dst += to.tile)
        transform_2d<IN, kOut>(
            TRANSFORM,
            [&](int i, Vector (&row)[IN]) {
                FC_UNROLL for (int j = 0; j < IN; ++j) keep(row[j] = load(from[i] + (t * OUTPUTS + j) * L));
            },
            [&](int j, const Vector (&out)[kOut]) {
                FC_UNROLL for (int i = 0; i < kOut; ++i) store(dst + (i * kOut + j) * to.position, out[i]);
            });
}

// Sums over rows of pixels, of each channel, added to `sums` if that is not null.
struct RowSums {
    float* sums;

    void operator()(int64_t lane, const float* pixels, int64_t count) const {
        if (!sums) return;
        Chains<float> sum;
        for_vectors<float>(count * L, [&](int64_t i, auto all, int k) { sum[k] += all.load(pixels + i); });
        store(sums + lane, load(sums + lane) + sum.vector());
    }
};

// What some tiles, STEP rows and columns apart, read of `count` channels: rows of vectors over channels (the last group
// repeats the last one). Bands one upon the other share IN - STEP rows of pixels. on_row(first channel, pixels, count)
// sees all that are read, those that tiles share with the first of them; on_band(first channel, band, rows) the IN rows
// of each band.
template <int STEP, int IN, class OnRow, class OnBand>
void read_planes(const Grid& grid, Range tiles, const float* planes, int64_t count, OnRow on_row, OnBand on_band) {
    const int64_t plane = grid.H * grid.W, longest = std::min(tiles.size(), grid.cols);
    const int64_t pitch = (longest * STEP + IN - STEP) * L;
    const Scratch<float> pixels(IN * pitch);
    for (int64_t lane = 0; lane < count; lane += L) {
        int64_t offsets[L];
        const bool whole = lane + L <= count;
        for (int64_t l = 0; l < L && !whole; ++l) offsets[l] = std::min(l, count - lane - 1) * plane;
        int64_t ready = -1;  // the row of tiles whose first pixels are there already
        for_bands(grid, tiles, longest, [&](const Band& band) {
            const int64_t row = band.image * grid.rows + band.row, left = grid.left + band.col * STEP;
            const int64_t cols = (band.count - 1) * STEP + IN;
            const float* image = planes + lane * plane + band.image * grid.image_step;
            float* rows[IN];
            for (int64_t i = 0; i < IN; ++i) rows[i] = pixels + (band.row * STEP + i) % IN * pitch;
            const int64_t top = grid.top + band.row * STEP, have = row == ready && band.row > 0 ? IN - STEP : 0;
            const int64_t begin = std::clamp<int64_t>(-top, have, IN);
            const int64_t end = std::clamp<int64_t>(grid.H - top, begin, IN);
            for (int64_t i = have; i < begin; ++i) std::fill_n(rows[i], cols * L, 0.f);
            for (int64_t i = end; i < IN; ++i) std::fill_n(rows[i], cols * L, 0.f);
            const auto read = [&](auto distances) {
                read_rows(image + (top + begin) * grid.W, distances, left, left + cols, grid.W, end - begin,
                          rows + begin);
            };
            whole ? read(plane) : read(static_cast<const int64_t*>(offsets));
            const int64_t skipped = band.col > 0 ? IN - STEP : 0;
            for (int64_t i = std::max<int64_t>(begin, band.row > 0 ? IN - STEP : 0); i < end; ++i)
                on_row(lane, rows[i] + skipped * L, cols - skipped);
            ready = band.count == grid.cols ? row + 1 : -1;
            const float* from[IN];
            std::copy_n(rows, IN, from);
            on_band(lane, band, from);
        });
    }
}

// The transforms of what some tiles read.
template <int OUTPUTS, int IN, void (*TRANSFORM)(const Vector (&)[IN], Vector (&)[inputs(OUTPUTS)]), class OnRow>
void transform_planes(const Grid& grid, Range tiles, const float* planes, int64_t count, Steps to, float* dst,
                      OnRow on_row) {
    read_planes<OUTPUTS, IN>(grid, tiles, planes, count, on_row,
                             [&](int64_t lane, const Band& band, const float* const(&rows)[IN]) {
                                 transform_tiles<OUTPUTS, IN, TRANSFORM>(
                                     rows, band.count, to, dst + lane / L * to.group + band.first * to.tile);
                             });
}

}  // namespace fc::winograd
