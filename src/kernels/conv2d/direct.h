// Direct convolution: vectors over output channels, pixels broadcast; no im2col.
//
// The result is cut into blocks of rows (and of columns, where rows are long) whose sources fit half of L2. A task is a
// run of blocks of successive images, for some panels of output channels. For each panel a block is computed in chunks
// of some tiles: their sums leave the registers for a strip that stays in L1, and leave that transposed. While a block
// is computed, the sources of the next one and the lines of the result are on their way (ahead.h).
//
// The source is read in place. Filter rows beyond the image are left out, and so are the taps of a row's first and last
// pixels: no time goes into zeros (at 7x7 that is a sixth of all). Where there is no instance of the micro-kernel for
// the padding, the block is copied with the zeros of its columns. Filters whose width, step or dilation have none read
// an unfolded copy (source.h), in which tiles cross rows.
#pragma once
#include "source.h"
#include "store.h"
#include "tile.h"
#include "weights.h"

namespace fc::conv {

constexpr int64_t kSourceBytes = 256 << 10;  // of a block
constexpr int64_t kWeightBytes = 256 << 10;  // of a panel, for the input channels of one pass
constexpr int64_t kChunkPixels = 112;
constexpr int64_t kBlockColumns = 112;  // at least, where rows are cut
constexpr int kTasksPerThread = 8;

// [0, size) in `parts` near-equal parts: where part i begins.
inline int64_t part_begin(int64_t size, int64_t parts, int64_t i) { return size * i / parts; }

template <class T>
class Direct {
public:
    explicit Direct(const Correlation<T>& correlation)
        : c(correlation), order(c), vectors(c.Cout > lanes<T> ? 2 : 1), width(vectors * lanes<T>),
          panels(divide_up(c.Cout, width)), out_cols(c.columns.front().out), unfolds(needs_unfolding()) {
        choose_blocks();
    }

    void run() {
        const int nthreads = threads_for(c.multiplications() / (3.0 * lanes<T>));
        split_for(nthreads);
        const int64_t panel_size = order.size * width;
        const Scratch<T> packed(c.groups * panels * panel_size);
        parallel(c.groups * panels, threads_for(double(c.groups * panels * panel_size) * 0.3),
                 [&](int64_t task, int) { pack_panel(task / panels, task % panels, packed + task * panel_size); });

        const int64_t strip_size = (chunk_rows * chunk_cols + lanes<T>) * width;
        const int64_t strips_size = strip_size * int64_t(c.columns.size()), source_size = this->source_size();
        const Scratch<T> scratch(nthreads * (source_size + strips_size));
        const int64_t blocks = c.N * c.groups * row_blocks * col_blocks;
        const int64_t runs = nthreads == 1 ? 1 : std::min<int64_t>(blocks, nthreads * kTasksPerThread);
        parallel(runs * panel_parts, nthreads, [&](int64_t task, int tid) {
            T* strips = scratch + tid * (source_size + strips_size);
            const int64_t run = task % runs, part = task / runs, end = part_begin(blocks, runs, run + 1);
            for (int64_t index = part_begin(blocks, runs, run); index < end; ++index) {
                Block b = block(index, strips, strip_size);
                load_source(b, strips + strips_size);
                compute_block(b, index + 1 < end ? source_of(block(index + 1, strips, strip_size)) : Lines<T>(strips),
                              part, packed + b.group * panels * panel_size);
            }
        });
    }

private:
    struct Block {
        int64_t n, group;
        Rectangle out;
        T* strips;
        int64_t strip_size;
        Band<T> band;
        std::vector<const T*> unfolded;  // of each class of columns
        Ahead<T> ahead;
    };

    const Correlation<T>& c;
    const TapOrder order;
    const int vectors;
    const int64_t width, panels;
    const int64_t out_cols;
    const bool unfolds;
    bool copies;
    int64_t row_blocks, col_blocks, panel_parts = 1;
    int64_t chunk_rows, chunk_cols;

    bool needs_unfolding() const {
        for (const Axis& w : c.columns) {
            const bool adjacent = w.taps == 1 || w.dilation == 1;
            if (w.taps > 0 && !(adjacent && RowTiles<T>(vectors, w.taps, w.stride).can(w.out))) return true;
        }
        return false;
    }

    bool needs_copy() const {
        for (const Axis& w : c.columns) {
            const bool beyond = w.start < 0 || w.source_end(w.out) > c.SW;
            if (w.taps > 0 && beyond && !(chunk_cols == out_cols && tiles_of(w, vectors).can(w.out))) return true;
        }
        return false;
    }

    RowTiles<T> tiles_of(const Axis& w, int nv) const {
        return {nv, w.taps, w.stride, std::max<int64_t>(-w.start, 0), std::max<int64_t>(w.source_end(w.out) - c.SW, 0)};
    }

    // Blocks whose sources fit, and not so low that the rows which neighbours share count.
    void choose_blocks() {
        int64_t copies = 0;
        for (const Axis& w : c.columns) copies += unfolds ? w.taps : w.stride;
        const int64_t pixels = std::max<int64_t>(
            kSourceBytes / int64_t(sizeof(T)) / (c.Cin * std::max<int64_t>(copies, 1)), 1);
        const int64_t halo = std::max<int64_t>(source_rectangle(c, {0, 1, 0, 1}).rows() - 1, 0);
        const int64_t cols = std::min(out_cols, std::max<int64_t>(pixels / (halo + 1), kBlockColumns));
        col_blocks = divide_up(out_cols, cols);
        const int64_t rows = std::max((pixels / cols - halo) / c.rows.front().stride, 2 * halo + 1);
        row_blocks = divide_up(c.out_rows(), std::min(rows, c.out_rows()));
        choose_chunks();
    }

    void choose_chunks() {
        const int64_t rows = divide_up(c.out_rows(), row_blocks), cols = divide_up(out_cols, col_blocks);
        chunk_cols = cols <= 2 * kChunkPixels ? cols : kChunkPixels;
        chunk_rows = std::min(rows, std::max<int64_t>(kChunkPixels / chunk_cols, 1));
        copies = !unfolds && needs_copy();
    }

    // More tasks where there would be too few for the threads.
    void split_for(int nthreads) {
        if (nthreads == 1) return;
        const int64_t wanted = kTasksPerThread / 2 * nthreads, tasks = c.N * c.groups * row_blocks * col_blocks;
        if (tasks >= wanted) return;
        const int64_t factor = divide_up(wanted, tasks);
        const bool weights_are_larger = c.Cout * order.size > c.Cin * c.SH * c.SW;
        if (weights_are_larger) panel_parts = std::min(panels, factor);
        const int64_t rest = divide_up(factor, panel_parts);
        if (c.out_rows() >= rest)
            row_blocks = std::min(c.out_rows(), row_blocks * rest);
        else
            col_blocks = std::min(out_cols, col_blocks * rest);
        choose_chunks();
    }

    Block block(int64_t index, T* strips, int64_t strip_size) const {
        const int64_t image = index / (row_blocks * col_blocks);
        const int64_t i = index / col_blocks % row_blocks, j = index % col_blocks;
        const Rectangle out{part_begin(c.out_rows(), row_blocks, i), part_begin(c.out_rows(), row_blocks, i + 1),
                            part_begin(out_cols, col_blocks, j), part_begin(out_cols, col_blocks, j + 1)};
        const Lines<T> nothing(strips);
        return {image / c.groups, image % c.groups, out, strips, strip_size, {}, {}, {nothing, nothing, 0}};
    }

    // Numbers that the source of the largest block takes in scratch memory.
    int64_t source_size() const {
        const Rectangle out{0, divide_up(c.out_rows(), row_blocks), 0, divide_up(out_cols, col_blocks)};
        const Rectangle source = source_rectangle(c, out);
        if (!unfolds) return copies ? band_size(c, source) + lanes<T> : 0;
        int64_t size = lanes<T>;
        for (const Axis& w : c.columns) size += c.Cin * Unfolded<T>(source, c.rows.front().stride, w, out).channel_stride;
        return size;
    }

    int vectors_of(int64_t panel) const { return c.Cout - panel * width <= lanes<T> ? 1 : vectors; }

    void pack_panel(int64_t group, int64_t panel, T* packed) const {
        const int64_t panel_width = vectors_of(panel) * lanes<T>;
        for (int64_t lane = 0; lane < panel_width; lane += lanes<T>) {
            const int64_t first = panel * width + lane, count = std::min<int64_t>(c.Cout - first, lanes<T>);
            if (count == lanes<T>)
                pack_vector(c, order, group, first, panel_width, packed + lane);
            else
                pack_lanes(c, order, group, first, count, lanes<T>, panel_width, packed + lane);
        }
    }

    void load_source(Block& b, T* buffer) const {
        const T* plane = c.source_plane(b.n, b.group);
        const Rectangle source = source_rectangle(c, b.out);
        if (unfolds) {
            for (const Axis& w : c.columns) {
                b.unfolded.push_back(buffer);
                if (!w.meets_source(b.out.col) || source.rows() == 0) continue;
                const Unfolded<T> unfolded(source, c.rows.front().stride, w, b.out);
                unfolded.copy(c, plane, c.rows.front(), w, b.out, buffer);
                buffer += c.Cin * unfolded.channel_stride;
            }
        } else if (copies) {
            b.band = copy_band(c, plane, source, buffer);
        } else {
            b.band = {plane, c.SH * c.SW, c.SW, 0, 0};
        }
    }

    Lines<T> source_of(const Block& b) const {
        const Rectangle source = source_rectangle(c, b.out);
        return source.rows() > 0 ? source_lines(c, c.source_plane(b.n, b.group), source) : Lines<T>(b.strips);
    }

    // All panels of a part. The next block's sources are asked for as late as can be: what comes early is gone again.
    void compute_block(Block& b, const Lines<T>& next, int64_t part, const T* packed) const {
        const int64_t end = part_begin(panels, panel_parts, part + 1);
        const int64_t pixels = b.out.rows() * b.out.cols() * int64_t(c.rows.size() * c.columns.size());
        bool asked = false;
        for (int64_t panel = part_begin(panels, panel_parts, part); panel < end; ++panel) {
            if (!asked && next.count() > (end - panel - 1) * pixels / max_pixels(vectors)) {
                b.ahead.source = next;
                asked = true;
            }
            compute_panel(b, panel, packed + panel * order.size * width);
        }
    }

    void compute_panel(Block& b, int64_t panel, const T* packed) const {
        for (size_t r = 0; r < c.rows.size(); ++r)
            for (int64_t i = b.out.row; i < std::min(b.out.row_end, c.rows[r].out); i += chunk_rows)
                for (int64_t j = b.out.col; j < b.out.col_end; j += chunk_cols) {
                    const Rectangle chunk{i, std::min({i + chunk_rows, b.out.row_end, c.rows[r].out}), j,
                                          std::min(j + chunk_cols, b.out.col_end)};
                    ask_for_result(b, chunk, c.rows[r], panel);
                    for (size_t s = 0; s < c.columns.size(); ++s)
                        compute_chunk(b, chunk, r, s, vectors_of(panel), packed, b.strips + int64_t(s) * b.strip_size);
                    store_chunk(b, chunk, c.rows[r], panel);
                }
    }

    void compute_chunk(Block& b, const Rectangle& chunk, size_t r, size_t s, int nv, const T* packed, T* strip) const {
        const Axis &h = c.rows[r], &w = c.columns[s];
        const int64_t rows = chunk.rows(), cols = std::min(w.out, chunk.col_end) - chunk.col;
        const int64_t taps = h.taps * w.taps, panel_width = nv * lanes<T>;
        if (cols <= 0) return;
        if (taps == 0) return fill_zero(strip, rows * cols * panel_width);

        const T* weights = packed + order.phases[r * c.columns.size() + s] * panel_width;
        Reduction<T> sum{};
        sum.weights_stride = taps * panel_width;
        const int64_t pass = std::max<int64_t>(kWeightBytes / int64_t(sizeof(T)) / sum.weights_stride, 1);
        for (int64_t channel = 0; channel < c.Cin; channel += pass) {
            sum.channels = std::min(pass, c.Cin - channel);
            sum.weights = weights + channel * sum.weights_stride;
            sum.accumulate = channel > 0;
            if (unfolds)
                sum_unfolded(b, chunk, h, s, nv, sum, channel, strip);
            else
                sum_in_place(b, chunk, h, w, nv, sum, channel, strip);
        }
    }

    void sum_unfolded(Block& b, const Rectangle& chunk, const Axis& h, size_t s, int nv, Reduction<T> sum,
                      int64_t channel, T* strip) const {
        const Axis& w = c.columns[s];
        const Unfolded<T> unfolded(source_rectangle(c, b.out), c.rows.front().stride, w, b.out);
        std::vector<int64_t> offsets(size_t(h.taps * w.taps), 0);
        unfolded.fill_offsets(h, w, b.out, offsets.data());
        sum.channel_stride = unfolded.channel_stride;
        sum.rows = 1;
        sum.taps = h.taps * w.taps;
        sum.offsets = offsets.data();
        const int64_t cols = std::min(w.out, chunk.col_end) - chunk.col;
        const bool single = sum.taps == 1;
        const T* x = b.unfolded[s] + channel * sum.channel_stride + single * offsets[0] +
                     (chunk.row - b.out.row) * unfolded.cols + chunk.col - b.out.col;
        RowTiles<T>(nv, single, 1).compute(sum, x, strip, chunk.rows() * cols, b.ahead);
    }

    void sum_in_place(Block& b, const Rectangle& chunk, const Axis& h, const Axis& w, int nv, Reduction<T> sum,
                      int64_t channel, T* strip) const {
        const RowTiles<T> tiles = copies ? RowTiles<T>(nv, w.taps, w.stride) : tiles_of(w, nv);
        const int64_t cols = std::min(w.out, chunk.col_end) - chunk.col;
        const T* weights = sum.weights;
        sum.channel_stride = b.band.channel_stride;
        sum.row_stride = h.dilation * b.band.pitch;
        for (int64_t i = chunk.row; i < chunk.row_end; ++i, strip += cols * nv * lanes<T>) {
            const int64_t row = h.source_begin(i);
            const Taps inside(row, c.SH, h.taps, h.dilation);
            sum.rows = inside.end - inside.begin;
            sum.weights = weights + inside.begin * w.taps * nv * lanes<T>;
            const T* x = b.band.at(row + inside.begin * h.dilation, w.source_begin(chunk.col));
            tiles.compute(sum, x + channel * sum.channel_stride, strip, cols, b.ahead);
        }
    }

    // Whether the chunk's rows follow each other in the result.
    bool is_dense(const Rectangle& chunk, const Axis& h) const {
        return c.columns.front().dst_step == 1 && (chunk.rows() == 1 || (h.dst_step == 1 && chunk.cols() == c.DW));
    }

    T* result_row(const Block& b, const Rectangle& chunk, const Axis& h, int64_t channel) const {
        return c.result_plane(b.n, b.group, channel) + (h.dst + chunk.row * h.dst_step) * c.DW +
               chunk.col * c.columns.front().dst_step;
    }

    void ask_for_result(Block& b, const Rectangle& chunk, const Axis& h, int64_t panel) const {
        const int64_t step = is_dense(chunk, h) ? 0 : h.dst_step * c.DW;
        const int64_t columns = chunk.cols() * c.columns.front().dst_step * (step ? 1 : chunk.rows());
        b.ahead.result = {result_row(b, chunk, h, panel * width), step ? chunk.rows() : 1, step, columns, c.DH * c.DW};
        b.ahead.result_channels = std::min(width, c.Cout - panel * width);
    }

    void store_chunk(const Block& b, const Rectangle& chunk, const Axis& h, int64_t panel) const {
        const int64_t plane = c.DH * c.DW, first = panel * width, channels = std::min(width, c.Cout - first);
        const int64_t panel_width = vectors_of(panel) * lanes<T>, step = c.columns.front().dst_step;
        const Epilogue<T> epilogue{c.bias ? c.bias + b.group * c.Cout + first : nullptr, c.relu};
        T* result = result_row(b, chunk, h, first);
        if (is_dense(chunk, h))
            return store_strip(b.strips, panel_width, chunk.rows() * chunk.cols(), channels, epilogue, result, plane);
        for (int64_t i = 0; i < chunk.rows(); ++i, result += h.dst_step * c.DW) {
            const auto cols_of = [&](size_t s) { return std::min(c.columns[s].out, chunk.col_end) - chunk.col; };
            const auto row_of = [&](size_t s) {
                return b.strips + int64_t(s) * b.strip_size + i * cols_of(s) * panel_width;
            };
            if (step == 2 && c.columns.size() == 2) {
                store_alternating(row_of(0), row_of(1), panel_width, cols_of(0) + cols_of(1), channels, epilogue,
                                  result, plane);
                continue;
            }
            for (size_t s = 0; s < c.columns.size(); ++s)
                if (cols_of(s) > 0)
                    store_scattered(row_of(s), panel_width, cols_of(s), channels, epilogue, result + c.columns[s].dst,
                                    plane, step);
        }
    }
};

}  // namespace fc::conv
