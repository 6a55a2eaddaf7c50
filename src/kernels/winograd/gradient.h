// Winograd's gradients of the filters and the bias.
//
//   source   [positions][channels / L][tiles][L]   B^T d B
//   result   [positions][tiles][panel]             A dout A^T      vectors over filters
//   sums     [positions][channels][panel]          sum over tiles of source * result; dw is G^T sums G
//
// A unit is a range of panels and a range of channels; its sums stay in the L2 cache while one block of tiles after the
// other is transformed and multiplied. Units transform what they need themselves: other units repeat some of it, but
// nothing large passes through memory, and nobody waits. Where there are too few units for the threads, each is done in
// parts, some of the tiles each, whose sums are added in the end. The products of a block are summed before they are
// added to the others, so a long sum loses no precision.
#pragma once
#include "direct_sums.h"
#include "kernel.h"
#include "tiles.h"
#include "window.h"

namespace fc::winograd {

template <int OUTPUTS>
class Gradient {
public:
    Gradient(float* dw, float* db, const float* dout, const float* x, const Window& window, int64_t filters)
        : dw(dw), db(db), dout(dout), x(x), p(window), FN(filters),
          source{divide_up(p.OH, OUTPUTS), divide_up(p.OW, OUTPUTS), p.H, p.W, -p.pad_top, -p.pad_left,
                 p.C * p.H * p.W},
          result{source.rows, source.cols, p.OH, p.OW, 0, 0, FN * p.OH * p.OW},
          tiles(p.N * source.per_image()), panels(divide_up(FN, kPanel)),
          nthreads(threads_for(double(tiles * kPositions) * double(p.C * FN) / (2.2 * L))),
          panel_ranges(divide_up(panels, kUnitFilters / kPanel)), channel_ranges(divide_up(p.C, kUnitChannels)) {
        const auto enough = [&] { return units() % nthreads == 0 || units() >= 4 * nthreads; };
        const int64_t least = tiles >= 2 * kBlockTiles ? kLeastChannels : L;
        while (!enough() && divide_up(p.C, channel_ranges + 1) >= least) ++channel_ranges;
        if (!enough()) parts = std::clamp<int64_t>(tiles / kBlockTiles, 1, nthreads);
        part_grain = grain_of(source, tiles / parts, 8);
        block_grain = grain_of(source, std::min(kBlockTiles, tiles / parts), 1);
    }

    void run() const {
        if (tiles == 0) std::fill_n(dw, FN * p.C * kTaps, 0.f);
        const Scratch<float> all_sums(parts == 1 ? 0 : parts * units() * unit_size()), bias(parts * panels * kPanel);
        std::fill_n(bias.get(), parts * panels * kPanel, 0.f);
        parallel(tiles == 0 ? 0 : parts * units(), nthreads, [&](int64_t task, int) {
            const Unit u = unit(task % units());
            const int64_t part = task / units();
            const Scratch<float> own(parts == 1 ? unit_size() : 0);
            float* sums = parts == 1 ? own.get() : all_sums + task * unit_size();
            accumulate(u, piece(tiles, parts, part, part_grain), sums, bias + part * panels * kPanel);
            if (parts == 1)
                for (int64_t index = 0; index < u.panels.size(); ++index) store_gradient(u, index, sums);
        });
        if (parts > 1)
            parallel(units() * unit_panels(), nthreads, [&](int64_t task, int) {
                const Unit u = unit(task / unit_panels());
                if (task % unit_panels() < u.panels.size())
                    store_gradient(u, task % unit_panels(), all_sums + task / unit_panels() * unit_size());
            });
        for (int64_t f = 0; db && f < FN; ++f) {
            db[f] = 0;
            for (int64_t part = 0; part < parts; ++part) db[f] += bias[part * panels * kPanel + f];
        }
        if (db) repair_bias_gradient(db, dout, p, FN);
    }

private:
    static constexpr int kInputs = inputs(OUTPUTS), kPositions = positions(OUTPUTS);
    static constexpr int64_t kUnitFilters = 128, kUnitChannels = 64;  // sums of 1.2 MB
    static constexpr int64_t kLeastChannels = 48;                     // fewer would transform dout too often
    static constexpr int64_t kBlockTiles = 64;

    struct Unit {
        Range panels, channels;
    };

    float *dw, *db;
    const float *dout, *x;
    const Window& p;
    const int64_t FN;
    const Grid source, result;
    const int64_t tiles, panels;
    const int nthreads;
    const int64_t panel_ranges;
    int64_t channel_ranges, parts = 1;
    int64_t part_grain, block_grain;  // of tiles: parts and blocks have multiples of it

    int64_t units() const { return panel_ranges * channel_ranges; }
    Unit unit(int64_t index) const {
        return {piece(panels, panel_ranges, index / channel_ranges),
                piece(p.C, channel_ranges, index % channel_ranges, L)};
    }

    // The most that a unit has of each, for full panels.
    int64_t unit_panels() const { return divide_up(panels, panel_ranges); }
    int64_t unit_channels() const { return std::min(p.C, round_up(divide_up(p.C, channel_ranges), L)); }
    int64_t panel_size() const { return kPositions * panel_sums().step(); }
    int64_t unit_size() const { return unit_panels() * panel_size(); }
    Matrices panel_sums() const { return {unit_channels(), kPanel}; }
    int64_t part_tiles() const { return round_up(divide_up(tiles, parts), part_grain); }
    int64_t part_blocks() const { return std::max<int64_t>(divide_up(part_tiles(), kBlockTiles), 1); }
    int64_t block_tiles() const { return round_up(divide_up(part_tiles(), part_blocks()), block_grain); }
    Matrices block_source() const { return {round_up(unit_channels(), L), block_tiles()}; }
    Matrices block_result() const { return {block_tiles(), kPanel}; }

    static Matrices of(Panel panel, Matrices m) { return {m.rows, panel.width()}; }

    // The unit's sums over some tiles; and dout's, if it is the one of all units with the same filters that has to.
    void accumulate(const Unit& u, Range all, float* sums, float* bias) const {
        const bool sums_bias = u.channels.begin == 0;
        const Matrices src = block_source();
        const Scratch<float> source_data(kPositions * src.step()), result_data(kPositions * block_result().step());
        for (int64_t index = 0; index < part_blocks(); ++index) {
            const Range within = piece(all.size(), part_blocks(), index, block_grain);
            const Range block{all.begin + within.begin, all.begin + within.end};
            transform_planes<OUTPUTS, kInputs, Formula<OUTPUTS>::source>(
                source, block, x + u.channels.begin * p.H * p.W, u.channels.size(), {src.step(), block.size() * L, L},
                source_data, RowSums{nullptr});
            for (int64_t k = 0; k < u.panels.size(); ++k) {
                const Panel panel(u.panels.begin + k, FN);
                const Matrices res = of(panel, block_result());
                float total[kPanel] = {};
                transform_planes<OUTPUTS, OUTPUTS, Formula<OUTPUTS>::result_adjoint>(
                    result, block, dout + panel.first * p.OH * p.OW, panel.channels, {res.step(), L, res.width},
                    result_data, RowSums{sums_bias ? total : nullptr});
                for (int64_t f = 0; sums_bias && f < panel.channels; ++f) bias[panel.first + f] += total[f];
                multiply<OUTPUTS, Sum::over_tiles>(block.size(), u.channels.size(), source_data, src, result_data, res,
                                                   sums + k * panel_size(), of(panel, panel_sums()), index > 0);
            }
        }
    }

    // dw of one of the unit's panels, [channels][taps][filters] transposed a few channels at a time. The sums of other
    // parts follow those of the first, parts * units apart.
    void store_gradient(const Unit& u, int64_t index, const float* sums) const {
        const Panel panel(u.panels.begin + index, FN);
        const Matrices m = of(panel, panel_sums());
        const Scratch<float> strip(kTaps * L * kPanel);
        Vector total{};
        sums += index * panel_size();
        for (int64_t channel = 0; channel < u.channels.size(); channel += L) {
            const int64_t count = std::min(L, u.channels.size() - channel);
            for (int64_t k = 0; k < count; ++k)
                for (int64_t lane = 0; lane < m.width; lane += L) {
                    const float* src = sums + (channel + k) * m.width + lane;
                    float* taps = strip + k * kTaps * m.width + lane;
                    transform_2d<kInputs, 3>(
                        Formula<OUTPUTS>::filter_adjoint,
                        [&](int i, Vector (&row)[kInputs]) {
                            FC_UNROLL for (int j = 0; j < kInputs; ++j) {
                                row[j] = load(src + (kInputs * i + j) * m.step());
                                for (int64_t part = 1; part < parts; ++part)
                                    row[j] += load(src + (kInputs * i + j) * m.step() + part * units() * unit_size());
                            }
                        },
                        [&](int j, const Vector (&t)[3]) {
                            FC_UNROLL for (int i = 0; i < 3; ++i) store(taps + (3 * i + j) * m.width, t[i]);
                            total += t[0] + t[1] + t[2];
                        });
                }
            float* filters = dw + (panel.first * p.C + u.channels.begin + channel) * kTaps;
            for (int64_t tap = 0; tap < count * kTaps; tap += L)
                store_transposed(strip + tap * m.width, m.width, filters + tap, p.C * kTaps,
                                 int(std::min(L, count * kTaps - tap)), int(panel.channels));
        }
        if (all_finite(total)) return;
        repair_filter_gradients(dw, dout, x, p, FN, panel.first, panel.first + panel.channels, u.channels.begin,
                                u.channels.end);
    }
};

}  // namespace fc::winograd
