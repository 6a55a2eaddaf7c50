// Depthwise convolution: every channel has filters of its own, `multiplier` of them (1, mostly).
//
//   out[n, f]  =  b[f] + x[n, f/multiplier] (*) w[f]        (*): 2-D cross-correlation of two planes
//
// No channel meets another: there is nothing to broadcast or to reuse across channels, and memory sets the pace. Vectors
// run over columns. rows.h is for square filters of 3, 5 and 7 taps (dw: 3), stride 1 or 2; general.h for all others.
// conv2d/ref.py is the truth.
#include <algorithm>
#include <optional>

#include "general.h"
#include "kernel.h"
#include "rows.h"

namespace {

template <class T>
using Forward = void (*)(const Plane&, const T* x, const T* w, T bias, bool relu, T* out, int64_t begin, int64_t end);
template <class T>
using BackwardData = void (*)(const Plane&, const T* dout, const T* w, T* dx, int64_t begin, int64_t end);
template <class T>
using BackwardWeights = void (*)(const Plane&, const T* x, const T* dout, Vec<T>* totals);

inline Plane plane_of(const Window& p) { return {p.H, p.W, p.OH, p.OW, p.pad_top, p.pad_left}; }

// The size of the filter, if rows.h may treat it with this stride; else 0.
inline int64_t fast_size(const Window& p, int64_t stride) {
    const bool fast = p.FH == p.FW && p.stride_h == stride && p.stride_w == stride && p.dilation_h == 1 && p.dilation_w == 1;
    return fast ? p.FH : 0;
}

template <class T>
Forward<T> fast_forward(const Window& p) {
    switch (fast_size(p, 1)) {
        case 3: return rows_forward<T, 3, 1>;
        case 5: return rows_forward<T, 5, 1>;
        case 7: return rows_forward<T, 7, 1>;
    }
    switch (fast_size(p, 2)) {
        case 3: return rows_forward<T, 3, 2>;
        case 5: return rows_forward<T, 5, 2>;
    }
    return nullptr;
}

template <class T>
BackwardData<T> fast_backward_data(const Window& p) {
    switch (fast_size(p, 1)) {
        case 3: return rows_backward_data_1<T, 3>;
        case 5: return rows_backward_data_1<T, 5>;
        case 7: return rows_backward_data_1<T, 7>;
    }
    switch (fast_size(p, 2)) {
        case 3: return p.pad_left % 2 ? rows_backward_data_2<T, 3, 1> : rows_backward_data_2<T, 3, 0>;
        case 5: return p.pad_left % 2 ? rows_backward_data_2<T, 5, 1> : rows_backward_data_2<T, 5, 0>;
    }
    return nullptr;
}

template <class T>
BackwardWeights<T> fast_backward_weights(const Window& p) {
    if (fast_size(p, 1) == 3) return rows_backward_weights<T, 3, 1>;
    if (fast_size(p, 2) == 3) return rows_backward_weights<T, 3, 2>;
    return nullptr;
}

// One thread's time for all filters, and reading and writing all planes, of x and of out.
template <class T>
double nanoseconds(const Window& p, int64_t FN) {
    const double pixels = double(p.N * FN) * double(p.OH * p.OW), inputs = double(p.N * p.C) * double(p.H * p.W);
    return pixels * double(p.FH * p.FW) / (2.0 * lanes<T>) + (pixels + inputs) * sizeof(T) * 0.05;
}

template <class T>
void forward(T* out, const T* x, const T* w, const T* b, const Window* window, int64_t FN, bool relu) {
    const Window& p = *window;
    const auto fast = fast_forward<T>(p);
    over_planes(p.N * FN, p.OH, nanoseconds<T>(p, FN), [&](const Part& part) {
        std::optional<General<T>> general;
        if (!fast) general.emplace(p);
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane) {
            const int64_t f = plane % FN, c = f / (FN / p.C);
            const T* image = x + (plane / FN * p.C + c) * p.H * p.W;
            const T* filter = w + f * p.FH * p.FW;
            const T bias = b ? b[f] : T(0);
            T* result = out + plane * p.OH * p.OW;
            if (fast)
                fast(plane_of(p), image, filter, bias, relu, result, part.row_begin, part.row_end);
            else
                general->forward(image, filter, bias, relu, result, part.row_begin, part.row_end);
        }
    });
}

template <class T>
void backward_data(T* dx, const T* dout, const T* w, const Window* window, int64_t FN) {
    const Window& p = *window;
    const int64_t multiplier = FN / p.C;
    const auto fast = multiplier == 1 ? fast_backward_data<T>(p) : nullptr;
    over_planes(p.N * p.C, p.H, nanoseconds<T>(p, FN), [&](const Part& part) {
        std::optional<General<T>> general;
        if (!fast) general.emplace(p);
        for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane) {
            const T* gradient = dout + plane * multiplier * p.OH * p.OW;
            const T* filter = w + plane % p.C * multiplier * p.FH * p.FW;
            T* result = dx + plane * p.H * p.W;
            if (fast)
                fast(plane_of(p), gradient, filter, result, part.row_begin, part.row_end);
            else
                general->backward_data(gradient, filter, multiplier, result, part.row_begin, part.row_end);
        }
    });
}

// The sums over the images of a part, for each filter; the parts' sums are added at the end, in their order.
template <class T>
void backward_weights(T* dw, T* db, const T* dout, const T* x, const Window* window, int64_t FN) {
    const Window& p = *window;
    const auto fast = fast_backward_weights<T>(p);
    const int64_t taps = p.FH * p.FW;
    const int nthreads = fc::threads_for(nanoseconds<T>(p, FN));
    const int64_t parts = std::clamp<int64_t>(4 * nthreads / FN, 1, std::max<int64_t>(p.N, 1));
    Scratch<T> sums(parts * FN * (taps + 1));
    fc::parallel(parts * FN, nthreads, [&](int64_t task, int) {
        const int64_t part = task / FN, f = task % FN, c = f / (FN / p.C);
        std::optional<General<T>> general;
        if (!fast) general.emplace(p);
        Scratch<T> lane_sums((taps + 1) * lanes<T>);
        auto* totals = reinterpret_cast<Vec<T>*>(lane_sums.get());
        std::fill_n(totals, taps + 1, Vec<T>{});
        for (int64_t n = p.N * part / parts; n < p.N * (part + 1) / parts; ++n) {
            const T* image = x + (n * p.C + c) * p.H * p.W;
            const T* gradient = dout + (n * FN + f) * p.OH * p.OW;
            if (fast)
                fast(plane_of(p), image, gradient, totals);
            else
                general->backward_weights(image, gradient, totals);
        }
        for (int64_t k = 0; k <= taps; ++k) sums[task * (taps + 1) + k] = fc::sum(totals[k]);
    });
    for (int64_t f = 0; f < FN; ++f) {
        T* first = sums + f * (taps + 1);
        for (int64_t part = 1; part < parts; ++part)
            for (int64_t k = 0; k <= taps; ++k) first[k] += first[part * FN * (taps + 1) + k];
        std::copy_n(first, taps, dw + f * taps);
        if (db) db[f] = first[taps];
    }
}

}  // namespace

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(backward_data), FC_FLOATS(backward_weights))
