// Convolution forward and backward-data, compiled once per instruction set. ref.py is the truth.
//
// geometry.h   both directions as correlations of a source with re-ordered filters
// weights.h    filters packed into panels
// source.h     the source in place, padded, or unfolded
// tile.h       the micro-kernel, vectors over output channels
// store.h      the transposed way out, with bias and ReLU
// direct.h     all of these put together
#include "direct.h"

namespace fc::conv {

template <class T>
void run(Correlation<T>& c) {
    if (c.N == 0) return;
    fold_pointwise(c);
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
