// Planes cut into tiles of 4 x 4, row by row, image after image, and the numbers that some of these tiles read.
#pragma once
#include <vector>

#include "products.h"

namespace fc::winograd {

struct Range {
    int64_t begin, end;

    int64_t size() const { return end - begin; }
};

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t multiple) { return divide_up(a, multiple) * multiple; }

// Piece `index` of `pieces` near-equal ones of [0, count), in multiples of `grain`.
inline Range piece(int64_t count, int64_t pieces, int64_t index, int64_t grain = 1) {
    const int64_t grains = divide_up(count, grain);
    return {std::min(count, grains * index / pieces * grain), std::min(count, grains * (index + 1) / pieces * grain)};
}

// The tiles of an operand, and the planes that they read.
struct Grid {
    int64_t rows, cols;  // tiles of one image
    int64_t H, W;        // of the planes that they read
    int64_t top, left;   // where tile (0, 0) begins in them: negative in the padding
    int64_t extent;      // rows and columns that a tile reads: 6, or 4 where they do not overlap
    int64_t image_step;  // between the planes of successive images

    int64_t per_image() const { return rows * cols; }
};

// What the tiles [begin, end) read of one channel, copied with zeros around: a band for each row of tiles. Where few
// tiles would leave lanes of a vector empty, the bands of several channels follow each other, and share the vector.
class Bands {
public:
    Bands(const Grid& grid, Range tiles, int64_t channels = 1)
        : g(grid), tiles_(tiles), pitch_(pitch(g, tiles.size())), size_(size(g, tiles.size())), channels_(channels),
          offsets_(size_t(round_up(channels * tiles.size(), L))) {
        const int64_t first = tiles.begin / g.cols;
        for (int64_t i = 0; i < round_up(tiles.size(), L); ++i) {
            const int64_t tile = tiles.begin + std::min(i, tiles.size() - 1), row = tile / g.cols;
            const int64_t col = tile % g.cols - (row == first ? tiles.begin % g.cols : 0);
            offsets_[size_t(i)] = (row - first) * g.extent * pitch_ + col * kOutputs;
        }
        for (int64_t i = tiles.size(); i < channels * tiles.size(); ++i)
            offsets_[size_t(i)] = offsets_[size_t(i - tiles.size())] + size_;
    }

    // How many channels of so many tiles fill a vector; 1 if not exactly.
    static int64_t sharing(int64_t tiles) { return tiles < L && L % tiles == 0 ? L / tiles : 1; }

    int64_t channels() const { return channels_; }
    int64_t lanes() const { return channels_ * tiles_.size(); }
    int64_t pitch() const { return pitch_; }
    // Where each tile begins, channel by channel; the last one is repeated up to a whole number of vectors.
    const int64_t* offsets() const { return offsets_.data(); }

    // The most numbers that the bands of `count` tiles take.
    static int64_t size(const Grid& g, int64_t count) {
        const int64_t rows = divide_up(count - 1, g.cols) + 1;
        return rows * g.extent * pitch(g, count);
    }

    // plane: the first channel's in image 0.
    void copy(const float* plane, float* bands) const {
        for (int64_t c = 0; c < channels_; ++c) copy_channel(plane + c * g.H * g.W, bands + c * size_);
    }

private:
    const Grid& g;
    const Range tiles_;
    const int64_t pitch_, size_, channels_;
    std::vector<int64_t> offsets_;

    void copy_channel(const float* plane, float* bands) const {
        for (int64_t tile = tiles_.begin, count; tile < tiles_.end; tile += count) {
            const int64_t row = tile / g.cols, col = tile % g.cols;
            count = std::min(g.cols - col, tiles_.end - tile);
            const int64_t top = g.top + row % g.rows * kOutputs, left = g.left + col * kOutputs;
            const float* src = plane + row / g.rows * g.image_step + top * g.W + left;
            copy_rows(src, top, left, (count - 1) * kOutputs + g.extent, bands);
            bands += g.extent * pitch_;
        }
    }

    // The rows of one band, from row `top` and column `left` of the plane on. The next channel's are asked for.
    void copy_rows(const float* src, int64_t top, int64_t left, int64_t cols, float* band) const {
        const int64_t begin = std::clamp<int64_t>(-top, 0, g.extent);
        const int64_t end = std::clamp<int64_t>(g.H - top, begin, g.extent);
        for (int64_t j = 0; j < cols; j += L) {
            for (int64_t h = 0; h < begin; ++h) store(band + h * pitch_ + j, Vector{});
            for (int64_t h = begin; h < end; ++h) {
                store(band + h * pitch_ + j, load_between(src + h * g.W + j, -left - j, g.W - left - j));
                prefetch(src + (g.H + h) * g.W + j);
            }
            for (int64_t h = end; h < g.extent; ++h) store(band + h * pitch_ + j, Vector{});
        }
    }

    // Tiles are read in steps of four columns.
    static int64_t pitch(const Grid& g, int64_t count) {
        return round_up((std::min(count, g.cols) - 1) * kOutputs + round_up(g.extent, kOutputs), L);
    }
};

}  // namespace fc::winograd
