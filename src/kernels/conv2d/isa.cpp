// Convolution forward and backward-data, compiled once per instruction set. ref.py is the truth.
//
// geometry.h   both directions as correlations of a source with re-ordered filters
// weights.h    filters packed into panels
// source.h     the source in place, padded, or unfolded
// tile.h       the micro-kernel, vectors over output channels
// store.h      the transposed way out, with bias and ReLU
// ahead.h      asking for memory before it is used
// blocks.h     how the work is cut
// direct.h     many output channels; all of these put together
// pixels.h     few output channels
// sliding.h    one or two
#include <cmath>

#include "direct.h"
#include "pixels.h"
#include "sliding.h"

namespace fc::conv {

// Whether vectors over pixels beat vectors over channels. Both spend multiplications: direct on all lanes of its last
// vector, pixels also on padding, and about a tenth more; besides pixels 3 cycles a vector for the unfolded copy, and
// direct 5 to transpose a vector of results.
template <class T>
bool few_channels(const Correlation<T>& c) {
    const double taps = double(c.Cin * c.FH * c.FW), vectors = double(c.Cout) / lanes<T>;
    const double inside = c.rows.back().inside(c.SH) * c.columns.back().inside(c.SW);
    const double direct = std::ceil(vectors) * (taps * inside + 5);
    const double pixels = vectors * (1.1 * taps + 1) + 3.0 * double(c.Cin * c.FW) / lanes<T>;
    return pixels < direct;
}

template <class T>
void run(Correlation<T>& c) {
    if (c.N == 0) return;
    fold_pointwise(c);
    if (Sliding<T>::can(c))
        Sliding<T>(c).run();
    else if (few_channels(c))
        Pixels<T>(c).run();
    else
        Direct<T>(c).run();
}

template <class T>
void forward(T* out, const T* x, const T* w, const T* b, const Window* p, int64_t FN, int64_t groups, bool relu) {
    auto correlation = forward_correlation(out, x, w, b, *p, FN, groups, relu);
    run(correlation);
}

template <class T>
void backward_data(T* dx, const T* dout, const T* w, const Window* p, int64_t FN, int64_t groups) {
    auto correlation = backward_correlation(dx, dout, w, *p, FN, groups);
    run(correlation);
}

}  // namespace fc::conv

using fc::conv::backward_data;
using fc::conv::forward;

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(backward_data))
