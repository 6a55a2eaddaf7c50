// Direct convolution: vectors over output channels, pixels broadcast; no im2col.
//
// For each panel of output channels a block (blocks.h) is computed in chunks of some tiles: their sums leave the
// registers for a strip that stays in L1, and leave that transposed. While a block is computed, the sources of the next
// one and the lines of the result are on their way (ahead.h). Input channels are cut where a panel's weights would not
// stay in L2.
//
// The source is read in place. Filter rows beyond the image are left out, and so are the taps of a row's first and last
// pixels: no time goes into zeros (at 7x7 that is a sixth of all). Where there is no instance of the micro-kernel for
// the padding, the block is copied with the zeros of its columns; where there is none for the filter's width, or for so
// few columns, a table tells where the taps are. Nothing is unfolded: that takes up to ten times as long as to multiply.
#pragma once
#include "source.h"
#include "store.h"
#include "tile.h"
#include "weights.h"

namespace fc::conv {

constexpr int64_t kWeightBytes = 256 << 10;  // of a panel, for the input channels of one pass
constexpr int64_t kChunkPixels = 112;
constexpr int64_t kTerms = 1024;  // of a sum, before it is added to the sum of such sums, since rounding grows with length:
                                  // docs/decisions/conv2d.md#the-register-tile

// Whether half vectors pay: there are kernels for the filter, and rows are wide enough.
template <class T>
bool has_halves(const Correlation<T>& c) {
    const Axis& w = c.columns.front();
    const int64_t left = std::max<int64_t>(-w.start, 0), right = std::max<int64_t>(w.source_end(w.out) - c.SW, 0);
    return w.out >= kHalfVectorPixels && has_halves<T>(1, w.stride, w.dilation == 1 ? w.taps : 0, left, right);
}

// The result's channels by twos of vectors, of which the last panel may be one, or by one and a half, which are two panels.
template <class T>
class Panels {
public:
    struct Panel {
        int64_t first, channels;

        int vectors() const { return channels > lanes<T> ? 2 : 1; }
        int64_t width() const { return vectors() * lanes<T>; }
        bool half() const { return channels <= lanes<T> / 2; }
    };

    explicit Panels(const Correlation<T>& c) : channels(c.Cout), halves(has_halves(c)) {
        const int64_t rest = channels % kWidest;
        const bool splits = halves && rest > lanes<T> && Panel{0, rest - lanes<T>}.half();
        count = channels / kWidest + (rest > 0) + splits;
        split = splits ? count - 2 : count;
    }

    Panel operator[](int64_t index) const {
        const int64_t first = std::min(index, split) * kWidest + std::max<int64_t>(index - split, 0) * lanes<T>;
        return {first, std::min(index < split ? kWidest : lanes<T>, channels - first)};
    }
    // Lanes of all, whole vectors; and as many as the multiplications take the time of.
    int64_t width() const { return last().first + last().width(); }
    double lanes_multiplied() const { return double(width()) - (halves && last().half() ? lanes<T> / 2 : 0); }

    int64_t count;

private:
    static constexpr int64_t kWidest = 2 * lanes<T>;
    int64_t channels, split;  // from panel `split` on, one vector each
    bool halves;

    Panel last() const { return (*this)[count - 1]; }
};

template <class T>
class Direct {
public:
    explicit Direct(const Correlation<T>& correlation)
        : c(correlation), order(c), panels(c), vectors(panels[0].vectors()), blocks(c, copies_per_column()) {}

    // Of the packed filters. Their layout must not depend on the number of images: they may be packed once for any.
    int64_t packed_size() const { return c.groups * group_size(); }

    void pack(T* packed) const {
        constexpr int64_t kSlice = 16;  // source channels
        const int64_t slices = divide_up(c.Cin, kSlice);
        parallel(c.groups * panels.count * slices, threads_for(double(packed_size()) * 0.3), [&](int64_t task, int) {
            const int64_t group = task / slices / panels.count, channel = task % slices * kSlice;
            pack_panel(group, panels[task / slices % panels.count], channel, std::min(channel + kSlice, c.Cin),
                       packed + group * group_size());
        });
    }

    void run(const T* packed) {
        const int nthreads = threads_for(nanoseconds());
        blocks.split_for(nthreads, panels.count, needs_copy(c.out_columns()));
        const Rectangle largest = blocks.largest();
        chunk_cols = divide_up(largest.cols(), divide_up(largest.cols(), 2 * kChunkPixels));
        chunk_rows = std::min(largest.rows(), std::max<int64_t>(kChunkPixels / chunk_cols, 1));
        strip_size = (chunk_rows * chunk_cols + lanes<T>) * vectors * lanes<T>;
        copies = needs_copy(chunk_cols);
        for (const Axis& w : c.columns) tiles.push_back({tiles_for(w, 1), tiles_for(w, 2)});

        const int64_t strips_size = strip_size * int64_t(c.columns.size());
        const int64_t source_size = copies ? Band<T>::size(c, source_rectangle(c, largest)) : 0;
        const Scratch<T> scratch(nthreads * (strips_size + source_size));
        blocks.for_each(nthreads, [&](const Place& place, const Place* next, int64_t part, int tid) {
            T* strips = scratch + tid * (strips_size + source_size);
            Block b = load(place, strips, strips + strips_size);
            compute(b, next ? source_of(*next, strips) : Lines<T>(strips), part,
                    packed + place.group * group_size());
        });
    }

private:
    using Panel = typename Panels<T>::Panel;

    struct Block {
        Place place;
        Band<T> band;                  // in place or copied
        std::vector<int64_t> offsets;  // of all taps, of all classes of rows and columns as `order` has them
        T* strips;                     // one for each class of columns
        Ahead<T> ahead;
    };

    const Correlation<T>& c;
    const TapOrder order;
    const Panels<T> panels;
    const int vectors;  // of the widest panel
    Blocks<T> blocks;
    bool copies;
    std::vector<std::array<RowTiles<T>, 2>> tiles;  // for each class of columns, for one vector and for two
    int64_t chunk_rows, chunk_cols, strip_size;

    // Of one thread: what is multiplied with padding is left out, lanes without a channel are not.
    double nanoseconds() const {
        const double inside = c.rows.back().inside(c.SH) * c.columns.back().inside(c.SW);
        const double lanes_used = double(c.Cout) / panels.lanes_multiplied();
        return c.multiplications() * inside / lanes_used / (3.0 * lanes<T>);
    }

    int64_t group_size() const { return panels.width() * order.size; }

    // Whether every panel's rows of n pixels have kernels.
    template <class Tiles>
    bool can(int64_t n, Tiles tiles) const {
        return tiles(vectors).can(n) && tiles(panels[panels.count - 1].vectors()).can(n);
    }

    int64_t copies_per_column() const {
        int64_t copies = 0;
        for (const Axis& w : c.columns) copies += w.stride;
        return copies;
    }

    // In chunks of so many columns.
    bool needs_copy(int64_t chunk) const {
        for (const Axis& w : c.columns) {
            const bool beyond = w.start < 0 || w.source_end(w.out) > c.SW;
            const bool skips = w.dilation == 1 && chunk == c.out_columns();
            if (w.taps > 0 && beyond && !(skips && can(w.out, [&](int nv) { return tiles_of(w, nv); }))) return true;
        }
        return false;
    }

    RowTiles<T> tiles_of(const Axis& w, int nv) const {
        return {nv, w.taps, w.stride, std::max<int64_t>(-w.start, 0), std::max<int64_t>(w.source_end(w.out) - c.SW, 0)};
    }

    RowTiles<T> tiles_for(const Axis& w, int nv) const {
        const RowTiles<T> of_width = copies ? RowTiles<T>(nv, w.taps, w.stride) : tiles_of(w, nv);
        return of_width.can(w.out) ? of_width : RowTiles<T>(nv, 0, w.stride);
    }

    // packed, here and below: of the group.
    void pack_panel(int64_t group, const Panel& panel, int64_t channel, int64_t channel_end, T* packed) const {
        for (int64_t lane = 0; lane < panel.width(); lane += lanes<T>) {
            const int64_t count = std::min<int64_t>(panel.channels - lane, lanes<T>);
            pack_vector(c, order, group, panel.first + lane, count, channel, channel_end, panel.width(),
                        packed + panel.first * order.size + lane);
        }
    }

    Block load(const Place& p, T* strips, T* buffer) const {
        const Lines<T> nothing(strips);
        Block b{p, {}, {}, strips, {nothing, nothing, 0, 0}};
        const T* plane = c.source_plane(p.n, p.group);
        if (copies)
            b.band = Band<T>::copy(c, plane, inner_rows(source_rectangle(c, p.out)), buffer);
        else
            b.band = {plane, c.SH * c.SW, c.SW, 0, 0};
        add_offsets(b);
        return b;
    }

    void add_offsets(Block& b) const {
        const auto need = [](const auto& t) { return t[0].by_offsets() || t[1].by_offsets(); };
        if (!std::any_of(tiles.begin(), tiles.end(), need)) return;
        for (const Axis& h : c.rows)
            for (const Axis& w : c.columns)
                for (int64_t u = 0; u < h.taps; ++u)
                    for (int64_t v = 0; v < w.taps; ++v)
                        b.offsets.push_back(u * h.dilation * b.band.pitch + v * w.dilation);
    }

    // Without the rows beyond the image: they are left out.
    Rectangle inner_rows(Rectangle r) const {
        r.row = std::max<int64_t>(r.row, 0);
        r.row_end = std::max(std::min(r.row_end, c.SH), r.row);
        return r;
    }

    Lines<T> source_of(const Place& p, const T* anywhere) const {
        const Rectangle source = source_rectangle(c, p.out);
        return source.rows() > 0 ? source_lines(c, c.source_plane(p.n, p.group), source) : Lines<T>(anywhere);
    }

    // All panels of a part. The next block's sources are asked for as late as can be: what comes early is gone again.
    void compute(Block& b, const Lines<T>& next, int64_t part, const T* packed) const {
        const int64_t end = part_begin(panels.count, blocks.parts, part + 1);
        const Rectangle& out = b.place.out;
        const int64_t pixels = out.rows() * out.cols() * int64_t(c.rows.size() * c.columns.size());
        bool asked = false;
        for (int64_t panel = part_begin(panels.count, blocks.parts, part); panel < end; ++panel) {
            if (!asked && next.count() > (end - panel - 1) * pixels / max_pixels(vectors)) {
                b.ahead.source = next;
                asked = true;
            }
            compute_panel(b, panels[panel], packed);
        }
    }

    void compute_panel(Block& b, const Panel& panel, const T* packed) const {
        const Rectangle& out = b.place.out;
        for (size_t r = 0; r < c.rows.size(); ++r) {
            if (c.rows[r].taps == 0) {
                const Rectangle rows{out.row, std::min(out.row_end, c.rows[r].out), out.col, out.col_end};
                store_zeros(c, Destination<T>(c, b.place, rows, c.rows[r], panel.first), rows, panel.channels);
                continue;
            }
            for (int64_t i = out.row; i < std::min(out.row_end, c.rows[r].out); i += chunk_rows)
                for (int64_t j = out.col; j < out.col_end; j += chunk_cols) {
                    const Rectangle chunk{i, std::min({i + chunk_rows, out.row_end, c.rows[r].out}), j,
                                          std::min(j + chunk_cols, out.col_end)};
                    ask_for_result(b, chunk, c.rows[r], panel);
                    for (size_t s = 0; s < c.columns.size(); ++s) compute_chunk(b, chunk, r, s, panel, packed);
                    store_chunk(b, chunk, c.rows[r], panel);
                }
        }
    }

    int64_t columns_of(const Rectangle& chunk, size_t s) const {
        return std::min(c.columns[s].out, chunk.col_end) - chunk.col;
    }

    void compute_chunk(Block& b, const Rectangle& chunk, size_t r, size_t s, const Panel& panel, const T* packed) const {
        const int64_t taps = c.rows[r].taps * c.columns[s].taps, panel_width = panel.width();
        if (columns_of(chunk, s) <= 0) return;
        if (taps == 0)
            return fill_zero(b.strips + int64_t(s) * strip_size, chunk.rows() * columns_of(chunk, s) * panel_width);

        const T* weights = packed + panel.first * order.size + order.phases[r * c.columns.size() + s] * panel_width;
        Reduction<T> sum{};
        sum.weights_stride = taps * panel_width;
        const int64_t terms = std::min(kTerms, kWeightBytes / int64_t(sizeof(T)) / panel_width);
        const int64_t pass = std::max<int64_t>(terms / taps, 1);
        for (int64_t channel = 0; channel < c.Cin; channel += pass) {
            sum.channels = std::min(pass, c.Cin - channel);
            sum.weights = weights + channel * sum.weights_stride;
            sum.accumulate = channel > 0;
            sum_channels(b, chunk, r, s, panel, sum, channel);
        }
    }

    void sum_channels(Block& b, const Rectangle& chunk, size_t r, size_t s, const Panel& panel, Reduction<T> sum,
                      int64_t channel) const {
        const Axis &h = c.rows[r], &w = c.columns[s];
        const RowTiles<T>& row_tiles = tiles[s][size_t(panel.vectors() - 1)];
        const int64_t cols = columns_of(chunk, s);
        const T* weights = sum.weights;
        T* strip = b.strips + int64_t(s) * strip_size;
        sum.channel_stride = b.band.channel_stride;
        sum.row_stride = h.dilation * b.band.pitch;
        sum.tap_stride = w.dilation;
        sum.step = w.stride;
        sum.offsets = b.offsets.data() + order.phases[r * c.columns.size() + s] / c.Cin;
        for (int64_t i = chunk.row; i < chunk.row_end; ++i, strip += cols * panel.width()) {
            const int64_t row = h.source_begin(i);
            const Taps inside(row, c.SH, h.taps, h.dilation);
            sum.rows = inside.end - inside.begin;
            sum.taps = sum.rows * w.taps;
            sum.weights = weights + inside.begin * w.taps * panel.width();
            const T* x = b.band.at(row + inside.begin * h.dilation, w.source_begin(chunk.col));
            row_tiles.compute(sum, x + channel * sum.channel_stride, strip, cols, panel.half(), b.ahead);
        }
    }

    void ask_for_result(Block& b, const Rectangle& chunk, const Axis& h, const Panel& panel) const {
        const Destination<T> d(c, b.place, chunk, h, panel.first);
        b.ahead.result = d.lines();
        b.ahead.result_channels = panel.channels;
        b.ahead.result_burst = divide_up(b.ahead.result_channels, c.Cin);
    }

    void store_chunk(const Block& b, const Rectangle& chunk, const Axis& h, const Panel& panel) const {
        const int64_t first = panel.first, channels = panel.channels, panel_width = panel.width();
        const Epilogue<T> epilogue{c.bias ? c.bias + b.place.group * c.Cout + first : nullptr, c.clip};
        const Destination<T> d(c, b.place, chunk, h, first);
        if (d.dense)
            return store_strip(b.strips, panel_width, chunk.rows() * chunk.cols(), channels, epilogue, d.start, d.plane);
        const auto is_zero = [](const Axis& w) { return w.taps == 0; };
        const bool alternate = d.step == 2 && c.columns.size() == 2;
        if (!alternate && std::any_of(c.columns.begin(), c.columns.end(), is_zero)) store_zeros(c, d, chunk, channels);
        for (int64_t i = 0; i < chunk.rows(); ++i) {
            T* result = d.start + i * d.row_step;
            const auto row_of = [&](size_t s) {
                return b.strips + int64_t(s) * strip_size + i * columns_of(chunk, s) * panel_width;
            };
            if (d.step == 1) {
                store_strip(row_of(0), panel_width, chunk.cols(), channels, epilogue, result, d.plane);
            } else if (alternate) {
                store_alternating(row_of(0), row_of(1), panel_width, columns_of(chunk, 0) + columns_of(chunk, 1),
                                  channels, epilogue, result, d.plane);
            } else {
                for (size_t s = 0; s < c.columns.size(); ++s)
                    if (!is_zero(c.columns[s]))
                        store_scattered(row_of(s), panel_width, columns_of(chunk, s), channels, epilogue,
                                        result + c.columns[s].dst, d.plane, d.step);
            }
        }
    }
};

}  // namespace fc::conv
