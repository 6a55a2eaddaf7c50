// The gradients of a convolution's filters and bias.
//
//   dw[f, c, u, v]  =  sum over n, i, j of  dout[n, f, i, j] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left]
//   db[f]           =  sum over n, i, j of  dout[n, f, i, j]
//
// Vectors run over filters. dout is transposed block by block into the L1 cache, which sums it for db on the way; the
// tile (tile.h) then multiplies it with x, pixel by pixel, into up to 14 taps x 2 vectors of registers. x is read in
// place, or from a zero-padded copy of a few rows. plan.h tells how the work is divided.
// The sums of a block of pixels start from zero and are then added to the others: a long sum loses no precision.
// conv2d/ref.py:backward_weights is the truth.
#include "kernel.h"
#include "plan.h"
#include "step.h"
#include "tile.h"

namespace {

using fc::Scratch;

constexpr int kPanelVectors = 2;

// strip[p][f] = dout[f][p] for n pixels and one vector of filters, of which `filters` exist and the others are zero.
// Returns the sum over the pixels.
template <class T>
Vec<T> transpose_block(const T* dout, int64_t plane, int64_t n, int64_t filters, T* strip, int64_t row) {
    constexpr int64_t L = lanes<T>, B = fc::detail::block_lanes<T>;
    Vec<T> total{};
    int64_t p = 0;
    if (filters >= L) {
        for (; p + B <= n; p += B) {
            Vec<T> pixels[B];
            fc::load_transposed(dout + p, plane, pixels);
            FC_UNROLL for (int64_t k = 0; k < B; ++k) {
                fc::store(strip + (p + k) * row, pixels[k]);
                total += pixels[k];
            }
        }
    }
    for (; p < n; p += L) {
        Vec<T> pixels[L];
        FC_UNROLL for (int64_t f = 0; f < L; ++f)
            pixels[f] = f < filters ? fc::load_n(dout + f * plane + p, n - p) : Vec<T>{};
        fc::transpose<T>(pixels);
        FC_UNROLL for (int64_t k = 0; k < L; ++k) {
            if (p + k < n) {
                fc::store(strip + (p + k) * row, pixels[k]);
                total += pixels[k];
            }
        }
    }
    return total;
}

template <class T>
void copy_row(const T* src, T* dst, int64_t n) {
    constexpr int64_t L = lanes<T>;
    int64_t i = 0;
    for (; i + L <= n; i += L) fc::store(dst + i, fc::load(src + i));
    if (i < n) fc::store_n(dst + i, fc::load_n(src + i, n - i), n - i);
}

template <class T>
class BackwardWeights {
public:
    BackwardWeights(const Conv& p, T* dw, T* db, const T* dout, const T* x);
    void run() const;

private:
    static constexpr int64_t L = lanes<T>;

    // Some filters and channels of one group.
    struct Unit {
        int64_t group;
        Range filters, channels;
        int64_t sums;  // in one panel's filter: channels x taps
    };

    // Some images and rows of dout.
    struct Band {
        Range images, rows;
    };

    Unit unit(int64_t index) const;
    Band band(int64_t index) const;
    const T* pad(const Unit& u, const Band& b, T* padded) const;
    void add_block(const Unit& u, Range images, Range rows, Range columns, const T* x, T* strip, T* sums,
                   T* bias) const;
    void accumulate(const Unit& u, Range bands, T* sums, T* bias) const;
    void finish(const Unit& u, int64_t panel, T* sums) const;

    const Conv& p_;
    const Plan plan_;
    T *dw_, *db_;
    const T *dout_, *x_;
    const int taps_;                          // in a row of the tile
    int64_t units_, image_bands_, bands_;     // image_bands_: of one image
    int64_t unit_channels_, unit_size_;       // the most of a unit: channels, elements of its sums
    int64_t bias_size_;                       // of one part's sums of dout
    int64_t pitch_, plane_, image_step_;      // of x as the tile sees it: in place or padded
    Scratch<int64_t> offsets_;                // of the tile's rows
};

template <class T>
BackwardWeights<T>::BackwardWeights(const Conv& p, T* dw, T* db, const T* dout, const T* x)
    : p_(p), plan_(make_plan(p, L, kPanelVectors * L, sizeof(T))), dw_(dw), db_(db), dout_(dout), x_(x),
      taps_(taps_per_row(p.FW, p.dilation_w, kPanelVectors)),
      units_(p.groups * plan_.filter_ranges * plan_.channel_ranges), image_bands_(ceil_div(p.OH, plan_.band_rows)),
      bands_(ceil_div(p.N, plan_.block_images) * image_bands_),
      unit_channels_(ceil_div(p.group_channels(), plan_.channel_ranges)),
      offsets_(unit_channels_ * p.taps() / taps_) {
    const int64_t unit_panels = ceil_div(ceil_div(p.group_filters(), plan_.panel), plan_.filter_ranges);
    unit_size_ = unit_panels * plan_.panel * (unit_channels_ * p.taps() + L);  // + L: store_transposed reads squares
    bias_size_ = p.groups * round_up(p.group_filters(), plan_.panel);
    if (p.padded()) {
        pitch_ = p.padded_width();
        plane_ = pitch_ * ((plan_.band_rows - 1) * p.stride_h + p.reach_h());
        image_step_ = unit_channels_ * plane_;
    } else {
        pitch_ = p.W;
        plane_ = p.H * p.W;
        image_step_ = p.C * plane_;
    }
    int64_t* offset = offsets_;
    for (int64_t c = 0; c < unit_channels_; ++c)
        for (int64_t u = 0; u < p.FH; ++u)
            for (int64_t v = 0; v < p.FW; v += taps_)
                *offset++ = c * plane_ + u * p.dilation_h * pitch_ + v * p.dilation_w;
}

template <class T>
typename BackwardWeights<T>::Unit BackwardWeights<T>::unit(int64_t index) const {
    const int64_t filter_index = index / plan_.channel_ranges;
    const Range channels = piece(p_.group_channels(), plan_.channel_ranges, index % plan_.channel_ranges);
    return {filter_index / plan_.filter_ranges,
            piece(p_.group_filters(), plan_.filter_ranges, filter_index % plan_.filter_ranges, plan_.panel), channels,
            channels.size() * p_.taps()};
}

template <class T>
typename BackwardWeights<T>::Band BackwardWeights<T>::band(int64_t index) const {
    return {piece(p_.N, bands_ / image_bands_, index / image_bands_), piece(p_.OH, image_bands_, index % image_bands_)};
}

// The unit's channels of x that the band meets, with zeros around. The borders left and right are zero already.
template <class T>
const T* BackwardWeights<T>::pad(const Unit& u, const Band& b, T* padded) const {
    const int64_t top = b.rows.begin * p_.stride_h - p_.pad_top;
    const int64_t height = (b.rows.size() - 1) * p_.stride_h + p_.reach_h();
    const int64_t columns = std::min(p_.W, pitch_ - p_.pad_left);
    for (int64_t n = 0; n < b.images.size(); ++n) {
        for (int64_t c = 0; c < u.channels.size(); ++c) {
            const int64_t channel = u.group * p_.group_channels() + u.channels.begin + c;
            const T* src = x_ + ((b.images.begin + n) * p_.C + channel) * p_.H * p_.W;
            T* dst = padded + n * image_step_ + c * plane_;
            for (int64_t h = top; h < top + height; ++h, dst += pitch_) {
                if (h >= 0 && h < p_.H)
                    copy_row(src + h * p_.W, dst + p_.pad_left, columns);
                else
                    std::fill_n(dst, pitch_, T(0));
            }
        }
    }
    return padded;
}

// Adds what a block of pixels contributes to the unit's sums. x: where the block's first pixel meets the first tap.
template <class T>
void BackwardWeights<T>::add_block(const Unit& u, Range images, Range rows, Range columns, const T* x, T* strip,
                                   T* sums, T* bias) const {
    const Pixels pixels{images.size(),  rows.size(), columns.size(), image_step_, p_.stride_h * pitch_, p_.stride_w};
    const int64_t count = rows.size() * columns.size();  // of one image: neighbours in memory
    const int64_t tile_rows = u.sums / taps_;
    for (int64_t f = u.filters.begin; f < u.filters.end; f += plan_.panel) {
        const int64_t filters = std::min(plan_.panel, u.filters.end - f), vectors = ceil_div(filters, L);
        const int64_t lanes_in_panel = vectors * L;
        for (int64_t v = 0; v < vectors; ++v) {
            Vec<T> total{};
            for (int64_t n = 0; n < images.size(); ++n) {
                const int64_t plane = (images.begin + n) * p_.FN + u.group * p_.group_filters() + f + v * L;
                const T* dout = dout_ + (plane * p_.OH + rows.begin) * p_.OW + columns.begin;
                T* out = strip + n * count * lanes_in_panel + v * L;
                total += transpose_block(dout, p_.OH * p_.OW, count, filters - v * L, out, lanes_in_panel);
            }
            if (bias) fc::store(bias + f + v * L, fc::load(bias + f + v * L) + total);
        }
        T* panel = sums + (f - u.filters.begin) * u.sums;
        const auto& tiles = tiles_for<T>(filters, taps_);
        const int64_t ntiles = ceil_div(tile_rows, max_rows(int(vectors), taps_));
        for (int64_t t = 0; t < ntiles; ++t) {
            const Range r = piece(tile_rows, ntiles, t);
            tiles[r.size() - 1](pixels, x, offsets_ + r.begin, strip, panel + r.begin * taps_ * lanes_in_panel);
        }
    }
}

// The unit's sums over some bands; and dout's, where bias is not null.
template <class T>
void BackwardWeights<T>::accumulate(const Unit& u, Range bands, T* sums, T* bias) const {
    const int64_t padded_size = p_.padded() ? plan_.block_images * image_step_ : 0;
    Scratch<T> padded(padded_size), strip(plan_.block_images * plan_.block_rows * plan_.block_columns * plan_.panel);
    std::fill_n(padded.get(), padded_size, T(0));
    std::fill_n(sums, round_up(u.filters.size(), L) * u.sums, T(0));
    if (bias) std::fill_n(bias + u.filters.begin, round_up(u.filters.size(), L), T(0));
    for (int64_t index = bands.begin; index < bands.end; ++index) {
        const Band b = band(index);
        const int64_t channel = u.group * p_.group_channels() + u.channels.begin;
        const T* in_place = x_ + (b.images.begin * p_.C + channel) * plane_ + b.rows.begin * p_.stride_h * pitch_;
        const T* x = p_.padded() ? pad(u, b, padded) : in_place;
        const int64_t row_blocks = ceil_div(b.rows.size(), plan_.block_rows);
        const int64_t column_blocks = ceil_div(p_.OW, plan_.block_columns);
        for (int64_t i = 0; i < row_blocks; ++i) {
            const Range r = piece(b.rows.size(), row_blocks, i);
            for (int64_t j = 0; j < column_blocks; ++j) {
                const Range columns = piece(p_.OW, column_blocks, j);
                add_block(u, b.images, {b.rows.begin + r.begin, b.rows.begin + r.end}, columns,
                          x + r.begin * p_.stride_h * pitch_ + columns.begin * p_.stride_w, strip, sums, bias);
            }
        }
    }
}

// dw of one of the unit's panels: the parts' sums added up, [taps][filters] transposed to [filters][taps].
template <class T>
void BackwardWeights<T>::finish(const Unit& u, int64_t panel, T* sums) const {
    const int64_t f = u.filters.begin + panel * plan_.panel, filters = std::min(plan_.panel, u.filters.end - f);
    const int64_t row = round_up(filters, L), K = p_.group_channels() * p_.taps();
    T* first = sums + panel * plan_.panel * u.sums;
    for (int64_t part = 1; part < plan_.parts; ++part) {
        const T* other = first + part * units_ * unit_size_;
        for (int64_t i = 0; i < u.sums * row; i += L) fc::store(first + i, fc::load(first + i) + fc::load(other + i));
    }
    T* dw = dw_ + (u.group * p_.group_filters() + f) * K + u.channels.begin * p_.taps();
    for (int64_t k = 0; k < u.sums; k += L)
        fc::store_transposed(first + k * row, row, dw + k, K, int(std::min(L, u.sums - k)), int(filters));
}

template <class T>
void BackwardWeights<T>::run() const {
    Scratch<T> bias(plan_.parts * bias_size_);
    const int64_t group_bias = bias_size_ / p_.groups;
    const auto bias_of = [&](const Unit& u, int64_t part) {
        return u.channels.begin == 0 ? bias + part * bias_size_ + u.group * group_bias : nullptr;
    };
    const auto panels = [&](const Unit& u) { return ceil_div(u.filters.size(), plan_.panel); };
    if (plan_.parts == 1) {
        fc::parallel(units_, plan_.nthreads, [&](int64_t task, int) {
            const Unit u = unit(task);
            Scratch<T> sums(unit_size_);
            accumulate(u, {0, bands_}, sums, bias_of(u, 0));
            for (int64_t panel = 0; panel < panels(u); ++panel) finish(u, panel, sums);
        });
    } else {
        Scratch<T> sums(plan_.parts * units_ * unit_size_);
        fc::parallel(plan_.parts * units_, plan_.nthreads, [&](int64_t task, int) {
            const int64_t part = task / units_;
            const Unit u = unit(task % units_);
            accumulate(u, piece(bands_, plan_.parts, part), sums + task * unit_size_, bias_of(u, part));
        });
        const int64_t unit_panels = panels(unit(0));
        fc::parallel(units_ * unit_panels, plan_.nthreads, [&](int64_t task, int) {
            finish(unit(task / unit_panels), task % unit_panels, sums + task / unit_panels * unit_size_);
        });
    }
    if (!db_) return;
    for (int64_t f = 0; f < p_.FN; ++f) {
        const T* sum = bias + f / p_.group_filters() * group_bias + f % p_.group_filters();
        T total = 0;
        for (int64_t part = 0; part < plan_.parts; ++part) total += sum[part * bias_size_];
        db_[f] = total;
    }
}

template <class T>
void backward_weights(T* dw, T* db, const T* dout, const T* x, const fc::Window* window, int64_t FN, int64_t groups) {
    const Conv p = with_long_rows(Conv{*window, FN, groups});
    BackwardWeights<T>(p, dw, db, dout, x).run();
}

template <class T>
class Prepared final : public fc::WeightsStep {
public:
    Prepared(const fc::Window& window, int64_t FN, int64_t groups) : window_(window), FN_(FN), groups_(groups) {}

    void run(void* dw, void* db, const void* dout, const void* x, int64_t images) const override {
        fc::Window now = window_;
        now.N = images;
        backward_weights(static_cast<T*>(dw), static_cast<T*>(db), static_cast<const T*>(dout),
                         static_cast<const T*>(x), &now, FN_, groups_);
    }

private:
    const fc::Window window_;
    const int64_t FN_, groups_;
};

template <class T>
fc::WeightsStep* prepare(const fc::Window* window, int64_t FN, int64_t groups) {
    return new Prepared<T>(*window, FN, groups);
}

}  // namespace

FC_KERNELS(FC_FLOATS(backward_weights), FC_FLOATS(prepare))
