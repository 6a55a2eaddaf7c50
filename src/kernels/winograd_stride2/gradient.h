// The gradients of the filters and the bias.
//
//   source   [positions][channels / L][tiles][L]   B^T d B of all phases
//   result   [result positions][tiles][panel]      A' dout A'^T    vectors over filters
//   sums     [positions][channels][panel]          sum over tiles of source * result; dw is G^T sums G
//
// Planned as winograd/gradient.h: a unit is a range of panels and a range of channels, whose sums are met in order
// while one block of tiles after the other is transformed and multiplied, so that L3 is good enough for them. Where
// there are too few units for the threads, each is done in parts, some of the tiles each, whose sums are added in the
// end. The products of a block are summed before they are added to the others, so a long sum loses no precision.
#pragma once
#include "operands.h"
#include "vectors.h"

namespace fc::winograd_stride2 {

class Gradient {
    using T = Tiling<false>;

public:
    FC_APART Gradient(float* dw, float* db, const float* dout, const float* x, const Window& window, int64_t filters)
        : dw(dw), db(db), dout(dout), x(x), p(window), FN(filters),
          source{divide_up(p.OH, kTile), divide_up(p.OW, kTile), p.H, p.W, -p.pad_top, -p.pad_left, p.C * p.H * p.W},
          result{source.rows, source.cols, p.OH, p.OW, 0, 0, FN * p.OH * p.OW}, tiles(p.N * source.per_image()),
          panels(divide_up(FN, kPanel)),
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
            const Scratch<float> own(parts > 1 ? 0 : part_blocks() > 1 ? unit_size() : panel_size());
            float* sums = parts == 1 ? own.get() : all_sums + task * unit_size();
            accumulate(u, piece(tiles, parts, part, part_grain), sums, bias + part * panels * kPanel);
        });
        if (parts > 1)
            parallel(units() * unit_panels(), nthreads, [&](int64_t task, int) {
                const Unit u = unit(task / unit_panels());
                const int64_t index = task % unit_panels();
                if (index >= u.panels.size()) return;
                float* sums = all_sums + task / unit_panels() * unit_size() + index * panel_size();
                add_parts(sums);
                store_gradient(u, index, sums);
            });
        for (int64_t f = 0; db && f < FN; ++f) {
            db[f] = 0;
            for (int64_t part = 0; part < parts; ++part) db[f] += bias[part * panels * kPanel + f];
        }
        if (db) repair_bias_gradient(db, dout, p, FN);
    }

private:
    static constexpr int64_t kUnitFilters = 128, kUnitChannels = 32;  // sums of 1.3 MB
    static constexpr int64_t kLeastChannels = 32;                     // fewer would transform dout too often
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
    int64_t panel_size() const { return kPositions * sums_of_panel().step(); }
    int64_t unit_size() const { return unit_panels() * panel_size(); }
    Matrices sums_of_panel() const { return {unit_channels(), kPanel}; }
    int64_t part_tiles() const { return round_up(divide_up(tiles, parts), part_grain); }
    int64_t part_blocks() const {
        return std::max<int64_t>(divide_up(part_tiles(), kBlockTiles / block_grain * block_grain), 1);
    }
    int64_t block_tiles() const { return round_up(divide_up(part_tiles(), part_blocks()), block_grain); }
    Matrices block_source() const { return {round_up(unit_channels(), L), block_tiles()}; }
    Matrices block_result() const { return {block_tiles(), kPanel}; }

    static Matrices of(Panel panel, Matrices m) { return {m.rows, panel.width()}; }

    // The unit's sums over some tiles, and if these are all, its dw; and dout's sums, if it is the one of all units
    // with the same filters that has to. A single block needs the sums of one panel at a time.
    void accumulate(const Unit& u, Range all, float* sums, float* bias) const {
        const Matrices src = block_source();
        const Scratch<float> source_data(kPositions * src.step());
        const Scratch<float> result_data(kResultPositions * block_result().step());
        for (int64_t index = 0; index < part_blocks(); ++index) {
            const Range within = piece(all.size(), part_blocks(), index, block_grain);
            const Range block{all.begin + within.begin, all.begin + within.end};
            transform_source<false>(source, block, x + u.channels.begin * p.H * p.W, u.channels.size(),
                                    {src.step(), block.size() * L, L}, source_data);
            for (int64_t k = 0; k < u.panels.size(); ++k) {
                const Panel panel(u.panels.begin + k, FN);
                const Matrices res = of(panel, block_result());
                transform_result(block, panel, res, result_data, u.channels.begin == 0 ? bias + panel.first : nullptr);
                float* panel_sums = sums + (parts == 1 && part_blocks() == 1 ? 0 : k * panel_size());
                multiply_all(block.size(), u.channels.size(), source_data, src, result_data, res, panel_sums,
                             of(panel, sums_of_panel()), index > 0);
                if (parts == 1 && index == part_blocks() - 1) store_gradient(u, k, panel_sums);
            }
        }
    }

    // A' dout A'^T of some tiles; its sum is added to the bias, if there is one.
    void transform_result(Range block, Panel panel, Matrices m, float* dst, float* bias) const {
        Vector total[2] = {};
        const Steps to{m.step(), L, m.width};
        read_planes<kTile, kTile>(
            result, block, dout + panel.first * p.OH * p.OW, panel.channels,
            [&](int64_t lane, const float* pixels, int64_t cols) {
                Chains<float> sum;
                for_vectors<float>(cols * L, [&](int64_t i, auto all, int k) { sum[k] += all.load(pixels + i); });
                total[lane / L] += sum.vector();
            },
            [&](int64_t lane, const Band& band, const float* const(&rows)[kTile]) {
                transform_phase<1, kTile, kNodes, result_adjoint, kTile, kNodes, result_adjoint>(
                    rows, 0, band.count, to, dst + lane / L * to.group + band.first * to.tile);
            });
        for (int64_t lane = 0; bias && lane < panel.width(); lane += L)
            store(bias + lane, load(bias + lane) + total[lane / L]);
    }

    static void multiply_all(int64_t tiles, int64_t channels, const float* source, Matrices src, const float* result,
                             Matrices res, float* sums, Matrices s, bool accumulate) {
        for (int phase = 0; phase < kPhases; ++phase)
            for (int i = 0; i < nodes(phase / 2); ++i)
                for (int j = 0; j < nodes(phase % 2); ++j) {
                    const int k = position(phase, i, j);
                    const Factors factors{source + k * src.step(), result + position(0, i, j) * res.step()};
                    multiply<Sum::over_tiles>(&factors, 1, tiles, channels, s.width, sums + k * s.step(), accumulate);
                }
    }

    // One panel's sums of all parts; those of others follow the first's.
    void add_parts(float* sums) const {
        for (int64_t part = 1; part < parts; ++part) {
            const float* more = sums + part * units() * unit_size();
            for (int64_t i = 0; i < panel_size(); i += L) store(sums + i, load(sums + i) + load(more + i));
        }
    }

    // The taps of phase (ROWS, COLUMNS), of some filters of one channel, and their sum.
    template <int ROWS, int COLUMNS>
    FC_APART static Vector store_taps(const float* sums, Matrices m, float* taps) {
        constexpr int kRows = nodes(ROWS), kColumns = nodes(COLUMNS);
        sums += first_position(2 * ROWS + COLUMNS) * m.step();
        Vector total{};
        transform_2d(
            filter_adjoint<kColumns>, filter_adjoint<kRows>,
            [&](int i, Vector (&row)[kColumns]) {
                FC_UNROLL for (int j = 0; j < kColumns; ++j) row[j] = load(sums + (i * kColumns + j) * m.step());
            },
            [&](int j, const Vector (&t)[2 - ROWS]) {
                FC_UNROLL for (int i = 0; i < 2 - ROWS; ++i)
                    store(taps + (3 * (2 * i + ROWS) + 2 * j + COLUMNS) * m.width, t[i]);
                FC_UNROLL for (int i = 0; i < 2 - ROWS; ++i) total += t[i];
            });
        return total;
    }

    // dw of one of the unit's panels, [channels][taps][filters] transposed a few channels at a time.
    void store_gradient(const Unit& u, int64_t index, const float* sums) const {
        const Panel panel(u.panels.begin + index, FN);
        const Matrices m = of(panel, sums_of_panel());
        const Scratch<float> strip(kTaps * L * kPanel);
        Vector total{};
        for (int64_t channel = 0; channel < u.channels.size(); channel += L) {
            const int64_t count = std::min(L, u.channels.size() - channel);
            for (int64_t k = 0; k < count; ++k)
                for (int64_t lane = 0; lane < m.width; lane += L) {
                    const float* src = sums + (channel + k) * m.width + lane;
                    float* taps = strip + k * kTaps * m.width + lane;
                    total += store_taps<0, 0>(src, m, taps);
                    total += store_taps<0, 1>(src, m, taps);
                    total += store_taps<1, 0>(src, m, taps);
                    total += store_taps<1, 1>(src, m, taps);
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

}  // namespace fc::winograd_stride2
