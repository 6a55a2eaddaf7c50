// Winograd's backward-data and backward-weights in one pass over dout.
//
// Cut x into tiles of 4 x 4. What a tile of dx takes from dout are 6 x 6 numbers, and what its x gives to dw is a sum
// over the same 6 x 6, whose transform B^T dout B thus serves both:
//
//   source    [positions][filters / L][tiles][L]     B^T dout B
//   dx        A^T [ (G w G^T) . source ] A           w upside down; vectors over channels, as in fused.h
//   dw        G^T [ (A x A^T) . source ] G           upside down; summed over tiles before it is transformed
//
// A part of the tiles is taken block by block; its sums for dw, all filters and channels, stay in the L2 cache, or
// stream through it once a block. The parts' sums are added in the end, in their order. Where tiles are few, that would
// be most of the work: then there is one part, and each task takes some of the channels, transforming dout itself.
//
// With padding of more than 2 tiles of x do not read all of dout, of which db is the sum: not for this kernel.
#pragma once
#include "fused.h"

namespace fc::winograd {

class Backward {
public:
    // ready: the filters as Fused leaves them, or null; w is still read where a result is not finite.
    Backward(float* dx, float* dw, float* db, const float* dout, const float* x, const float* w, const Window& p,
             int64_t FN, const float* ready = nullptr)
        : p(p), c(backward_correlation(dx, dout, w, p, FN)), ready(ready), dw(dw), db(db), x(x),
          source{divide_up(c.DH, kOutputs), divide_up(c.DW, kOutputs), c.SH, c.SW, c.top, c.left, FN * c.SH * c.SW},
          inner{source.rows, source.cols, c.DH, c.DW, 0, 0, c.Cout * c.DH * c.DW}, tiles(c.N * source.per_image()),
          panels(divide_up(c.Cout, kPanel)),
          nthreads(threads_for(nanoseconds())),
          ranges(tiles * 32 < c.Cin * c.Cout ? std::min<int64_t>(panels, nthreads) : 1),
          parts(ranges > 1 ? 1 : std::clamp<int64_t>(tiles / kPartTiles, 1, nthreads)),
          part_grain(grain_of(source, tiles / parts, 8)),
          block_grain(grain_of(source, std::min(fitting_tiles(), tiles / parts), 1)) {}

    void run() const {
        if (tiles == 0) {
            std::fill_n(dw, c.Cin * c.Cout * kTaps, 0.f);
            if (db) std::fill_n(db, c.Cin, 0.f);
            return;
        }
        const Fused<kOutputs> fused(c);
        const Scratch<float> own(ready ? 0 : fused.transformed_size());
        if (!ready && parts > 1) fused.transform(own);
        const float* filters = ready ? ready : own.get();
        const Scratch<float> sums(parts * part_size()), bias(parts * groups() * L);
        parallel(parts * ranges, nthreads, [&](int64_t task, int) {
            const int64_t part = task / ranges;
            const Range range = piece(panels, ranges, task % ranges);
            for (int64_t k = range.begin; !ready && parts == 1 && k < range.end; ++k) fused.transform(k, own);
            compute(piece(tiles, parts, part, part_grain), range, filters, sums + part * part_size(),
                    bias + part * groups() * L);
            for (int64_t k = range.begin; parts == 1 && k < range.end; ++k)
                for (int64_t group = 0; group < groups(); ++group) store_gradient(k, group, sums);
        });
        if (parts > 1)
            parallel(panels * groups(), nthreads,
                     [&](int64_t task, int) { store_gradient(task / groups(), task % groups(), sums); });
        for (int64_t f = 0; f < c.Cin; ++f) {
            float total = 0;
            for (int64_t part = 0; part < parts; ++part) total += bias[part * groups() * L + f];
            if (db) db[f] = total;
            if (reads_edges_once() && !std::isfinite(total)) recompute_filter_gradients(dw, c.source, x, p, c.Cin, f);
        }
        if (db) repair_bias_gradient(db, c.source, p, c.Cin);
    }

private:
    static constexpr int kOutputs = 4, kInputs = inputs(kOutputs), kPositions = positions(kOutputs);
    static constexpr int64_t kPartTiles = 16;                    // of a part, at least
    static constexpr int64_t kLeastTiles = 32, kMostTiles = 48;  // of a block

    const Window p;
    const Correlation c;
    const float* const ready;
    float *const dw, *const db;
    const float* const x;
    const Grid source, inner;
    const int64_t tiles, panels;
    const int nthreads;
    const int64_t ranges, parts;  // of panels, of tiles: one of them is 1
    const int64_t part_grain, block_grain;

    double nanoseconds() const {
        return double(c.Cin * c.Cout) * (double(2 * tiles * kPositions) / (2.2 * L) +
                                         (ready ? 1 : 2) * Fused<kOutputs>::kFilterNanoseconds);
    }
    // With padding of 2 the first row of dout, say, meets x under the last row of taps only. Under the others it meets
    // the padding, of which no tile is made; but if it is not finite, it makes their gradients NaN as well.
    bool reads_edges_once() const { return std::max({p.pad_top, p.pad_bottom, p.pad_left, p.pad_right}) > 1; }
    int64_t groups() const { return divide_up(c.Cin, L); }
    Matrices filter_sums() const { return {c.Cin, kPanel}; }
    int64_t panel_size() const { return kPositions * filter_sums().step(); }
    int64_t part_size() const { return panels * panel_size(); }
    int64_t part_tiles() const { return round_up(divide_up(tiles, parts), part_grain); }
    // Smaller blocks where there are few: the memory is to be in proportion.
    int64_t fitting_tiles() const { return std::clamp(part_tiles() / 4, kLeastTiles, kMostTiles); }
    int64_t part_blocks() const { return std::max<int64_t>(divide_up(part_tiles(), fitting_tiles()), 1); }
    int64_t block_tiles() const { return round_up(divide_up(part_tiles(), part_blocks()), block_grain); }
    Matrices block_source() const { return {groups() * L, block_tiles()}; }
    Matrices block_panel() const { return {block_tiles(), kPanel}; }

    static Matrices of(Panel panel, Matrices m) { return {m.rows, panel.width()}; }

    // dx of some tiles and panels, and their sums for dw; and for db with the first panel.
    void compute(Range part, Range range, const float* filters, float* sums, float* bias) const {
        const Matrices src = block_source();
        const Scratch<float> source_data(kPositions * src.step()), panel_data(kPositions * block_panel().step());
        const Scratch<float> strip(strip_size(kOutputs)), totals(groups() * L);
        const bool sums_bias = range.begin == 0;
        if (sums_bias) std::fill_n(bias, groups() * L, 0.f);
        for (int64_t index = 0; index < part_blocks(); ++index) {
            const Range within = piece(part.size(), part_blocks(), index, block_grain);
            const Range block{part.begin + within.begin, part.begin + within.end};
            std::fill_n(totals.get(), groups() * L, 0.f);
            transform_planes<kOutputs, kInputs, Formula<kOutputs>::source>(
                source, block, c.source, c.Cin, {src.step(), block.size() * L, L}, source_data,
                RowSums{sums_bias ? totals.get() : nullptr});
            for (int64_t f = 0; sums_bias && f < c.Cin; ++f) bias[f] += totals[f];
            for (int64_t k = range.begin; k < range.end; ++k) {
                const Panel panel(k, c.Cout);
                const Matrices m = of(panel, block_panel()), f = of(panel, filter_sums());
                multiply_over_channels<kOutputs>(block.size(), c.Cin, source_data, src, filters + k * panel_size(), f,
                                                 panel_data, m, false);
                store_result<kOutputs>(c, source, block, panel, panel_data, m, strip);
                transform_planes<kOutputs, kOutputs, Formula<kOutputs>::result_adjoint>(
                    inner, block, x + panel.first * c.DH * c.DW, panel.channels, {m.step(), L, m.width}, panel_data,
                    RowSums{nullptr});
                multiply<kOutputs, Sum::over_tiles>(block.size(), c.Cin, source_data, src, panel_data, m,
                                                    sums + k * panel_size(), f, index > 0);
            }
        }
    }

    // dw of a group of filters and a panel's channels. The sums of the parts follow each other.
    void store_gradient(int64_t index, int64_t group, const float* all_sums) const {
        const Panel panel(index, c.Cout);
        const float* sums = all_sums + index * panel_size();
        const Matrices m = of(panel, filter_sums());
        const Scratch<float> strip(round_up(kTaps, L) * L);
        Vector total{};
        for (int64_t f = group * L; f < std::min((group + 1) * L, c.Cin); ++f)
            for (int64_t lane = 0; lane < panel.channels; lane += L) {
                const float* src = sums + f * m.width + lane;
                transform_2d<kInputs, 3>(
                    Formula<kOutputs>::filter_adjoint,
                    [&](int i, Vector (&row)[kInputs]) {
                        FC_UNROLL for (int j = 0; j < kInputs; ++j) {
                            row[j] = load(src + (kInputs * i + j) * m.step());
                            for (int64_t part = 1; part < parts; ++part)
                                row[j] += load(src + (kInputs * i + j) * m.step() + part * part_size());
                        }
                    },
                    [&](int j, const Vector (&t)[3]) {
                        FC_UNROLL for (int i = 0; i < 3; ++i) store(strip + (8 - 3 * i - j) * L, t[i]);
                        total += t[0] + t[1] + t[2];
                    });
                float* taps = dw + (f * c.Cout + panel.first + lane) * kTaps;
                for (int64_t tap = 0; tap < kTaps; tap += L)
                    store_transposed(strip + tap * L, L, taps + tap, kTaps, int(std::min(L, kTaps - tap)),
                                     int(std::min(L, panel.channels - lane)));
            }
        if (all_finite(total)) return;
        repair_filter_gradients(dw, c.source, x, p, c.Cin, group * L, std::min((group + 1) * L, c.Cin), panel.first,
                                panel.first + panel.channels);
    }
};

}  // namespace fc::winograd
