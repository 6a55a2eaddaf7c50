// How a result is cut: into blocks of rows (and of columns, where rows are long) whose sources fit half of L2, and for
// many threads into parts of the output channels. A task is a run of blocks of successive images, for one part.
#pragma once
#include "geometry.h"
#include "kernel.h"

namespace fc::conv {

constexpr int64_t kSourceBytes = 256 << 10;  // of a block
constexpr int64_t kBlockColumns = 112;       // at least, where rows are cut; a quarter of it for the sake of threads
constexpr int kTasksPerThread = 8, kFewTasksPerThread = 2;

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// [0, size) in `parts` near-equal parts: where part i begins.
inline int64_t part_begin(int64_t size, int64_t parts, int64_t i) { return size * i / parts; }

// A block: its image and group, and its outputs of the longest classes of rows and columns.
struct Place {
    int64_t n, group;
    Rectangle out;
};

template <class T>
class Blocks {
public:
    int64_t parts = 1;  // of the output channels

    // copies: how many numbers of the source each output column takes in the cache.
    Blocks(const Correlation<T>& c, int64_t copies) : c(c) {
        const int64_t pixels = std::max<int64_t>(
            kSourceBytes / int64_t(sizeof(T)) / (c.Cin * std::max<int64_t>(copies, 1)), 1);
        halo = std::max<int64_t>(source_rectangle(c, {0, 1, 0, 1}).rows() - 1, 0);
        const int64_t cols = std::min(c.out_columns(), std::max<int64_t>(pixels / (halo + 1), kBlockColumns));
        col_blocks = divide_up(c.out_columns(), cols);
        // Not so low that the rows which neighbours share count.
        const int64_t rows = std::max((pixels / cols - halo) / c.rows.front().stride, 2 * halo + 1);
        row_blocks = divide_up(c.out_rows(), std::min(rows, c.out_rows()));
    }

    // More tasks where there would be too few for the threads: parts of the channels, then rows, then columns. Only as many
    // as must be where each block copies its source and the rows that it shares with its neighbours, or where the
    // weights that it reads again are larger than the source.
    void split_for(int nthreads, int64_t panels, bool copies) {
        if (nthreads == 1) return;
        const bool weights_are_larger = c.Cout * c.FH * c.FW > c.SH * c.SW;
        const int64_t few = kFewTasksPerThread * nthreads, many = kTasksPerThread * nthreads;
        if (count() >= (copies ? few : many)) return;
        if (weights_are_larger) parts = std::min(panels, divide_up(copies ? few : many, count()));
        if (parts > 1 && count() * parts % nthreads == 0) return;
        const int64_t factor = divide_up(copies || weights_are_larger ? few : many, count() * parts);
        const int64_t cuttable = c.out_columns() / (kBlockColumns / 4);
        if (c.out_rows() >= factor || cuttable < 2) {
            const int64_t least_rows = copies ? std::min(halo + 1, c.out_rows() / divide_up(few, count())) : 1;
            row_blocks = std::min(c.out_rows() / std::max<int64_t>(least_rows, 1), row_blocks * factor);
        } else {
            col_blocks = std::max(col_blocks, std::min(cuttable, col_blocks * factor));
        }
    }

    int64_t count() const { return c.N * c.groups * row_blocks * col_blocks; }

    // As large as any.
    Rectangle largest() const {
        return {0, divide_up(c.out_rows(), row_blocks), 0, divide_up(c.out_columns(), col_blocks)};
    }

    // body(place, next place or null, part, tid)
    template <class Body>
    void for_each(int nthreads, Body body) const {
        const int64_t blocks = count();
        const auto compute = [&](int64_t index, int64_t following, int64_t part, int tid) {
            const Place next = at(following);
            body(at(index), following < blocks ? &next : nullptr, part, tid);
        };
        if (nthreads == 1) {
            for (int64_t index = 0; index < blocks; ++index) compute(index, index + 1, 0, 0);
            return;
        }
        const std::vector<int64_t> begins = runs_for(nthreads);
        const int64_t runs = int64_t(begins.size()), tasks = runs * parts;
        parallel(tasks, nthreads, [&](int64_t task, int tid) {
            const int64_t run = task % runs, part = task / runs, end = run + 1 < runs ? begins[run + 1] : blocks;
            for (int64_t index = begins[run]; index + 1 < end; ++index) compute(index, index + 1, part, tid);
            const int64_t next = next_task();
            compute(end - 1, next < tasks ? begins[next % runs] : blocks, part, tid);
        }, true);
    }

private:
    const Correlation<T>& c;
    int64_t row_blocks, col_blocks, halo;

    // Where each run begins. Runs become shorter towards the end, so that the threads end together: with runs of one
    // length a thread waited up to 8 % of the whole.
    std::vector<int64_t> runs_for(int nthreads) const {
        std::vector<int64_t> begins;
        for (int64_t begin = 0; begin < count(); begin += divide_up(count() - begin, 2 * nthreads))
            begins.push_back(begin);
        return begins;
    }

    Place at(int64_t index) const {
        const int64_t image = index / (row_blocks * col_blocks);
        const int64_t i = index / col_blocks % row_blocks, j = index % col_blocks;
        return {image / c.groups, image % c.groups,
                {part_begin(c.out_rows(), row_blocks, i), part_begin(c.out_rows(), row_blocks, i + 1),
                 part_begin(c.out_columns(), col_blocks, j), part_begin(c.out_columns(), col_blocks, j + 1)}};
    }
};

}  // namespace fc::conv
