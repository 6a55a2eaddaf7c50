// Softmax runs along lines: the middle axis of x as (outer, n, inner).
//
// A kernel is written once for a group of lines, of which there are two kinds: one line whose neighbours are neighbours
// in memory (inner = 1), where vectors run along the line and reductions end across their lanes; and up to kStrip
// vectors of neighbouring lines (inner > 1), where every lane is a line of its own. Short lines with inner = 1 are
// transposed to one vector of the second kind (ShortRows).
//
//   group.each(f)     f(offset, lanes, w, k) for every vector: w says which of the group's results it belongs to,
//                     k which of several chains may take it
//   Results<Group>    one vector for every w
//   group.whole(v, fold)     a reduction's last step: fold(v) across the lanes for one line, nothing for many
#pragma once
#include <array>
#include <limits>

#include "simd_math.h"
#include "vectors.h"

namespace fc {

template <class T>
struct Line {
    using Element = T;
    static constexpr int strip = 1, chains = kChains;

    int64_t n;

    template <class F>
    __attribute__((always_inline)) void each(F f) const {
        for_vectors<T>(n, [&](int64_t i, auto lanes, int k) { f(i, lanes, 0, k); });
    }
    template <class Fold>
    static Vec<T> whole(Vec<T> v, Fold fold) {
        return set1(fold(v));
    }
};

template <class T>
struct Lines {
    using Element = T;
    static constexpr int strip = 8, chains = 1;

    int64_t n, inner, width;  // width <= strip * lanes<T> lines

    template <class F>
    __attribute__((always_inline)) void each(F f) const {
        for (int64_t i = 0; i < n; ++i)
            for_vectors<T, 1>(width, [&](int64_t j, auto lanes, int) { f(i * inner + j, lanes, j / fc::lanes<T>, 0); });
    }
    template <class Fold>
    static Vec<T> whole(Vec<T> v, Fold) {
        return v;
    }
};

// As many lines as a vector has lanes, which lie one behind the other.
template <class T>
struct OneVector {
    using Element = T;
    static constexpr int strip = 1, chains = 1;

    int64_t n;

    template <class F>
    __attribute__((always_inline)) void each(F f) const {
        for (int64_t i = 0; i < n; ++i) f(i * lanes<T>, AllLanes{}, 0, 0);
    }
    template <class Fold>
    static Vec<T> whole(Vec<T> v, Fold) {
        return v;
    }
};

template <class Group>
using Results = std::array<Vec<typename Group::Element>, Group::strip>;

// Reduces f(offset, lanes, w), `start` where there is no element. combine(a, b) takes two vectors, fold one's lanes.
template <class Group, class F, class Combine, class Fold, class T = typename Group::Element>
FC_INLINE Results<Group> reduce(const Group& group, T start, F f, Combine combine, Fold fold) {
    Vec<T> chain[Group::strip][Group::chains];
    for (auto& chains : chain)
        for (Vec<T>& v : chains) v = set1(start);
    group.each([&](int64_t i, auto lanes, int64_t w, int k) {
        chain[w][k] = combine(chain[w][k], lanes.keep(f(i, lanes, w), start));
    });
    Results<Group> results;
    for (int w = 0; w < Group::strip; ++w) {
        FC_UNROLL for (int k = 1; k < Group::chains; ++k) chain[w][0] = combine(chain[w][0], chain[w][k]);
        results[w] = group.whole(chain[w][0], fold);
    }
    return results;
}

template <class Group, class F, class T = typename Group::Element>
FC_INLINE Results<Group> sum_of(const Group& group, F f) {
    return reduce(group, T(0), f, [](Vec<T> a, Vec<T> b) { return a + b; }, [](Vec<T> v) { return sum(v); });
}

template <class Group, class T = typename Group::Element>
FC_INLINE Results<Group> maximum(const Group& group, const T* x) {
    return reduce(
        group, -std::numeric_limits<T>::infinity(), [&](int64_t i, auto lanes, int64_t) { return lanes.load(x + i); },
        [](Vec<T> a, Vec<T> b) { return max(a, b); }, [](Vec<T> v) { return max_lane(v); });
}

// The maximum of a group, and the sum of exp(x - most).
template <class Group>
struct Scale {
    Results<Group> most, sum;
};

template <class Group, class T = typename Group::Element>
Scale<Group> scale_of(const Group& group, const T* x) {
    const Results<Group> most = maximum(group, x);
    return {most, sum_of(group, [&](int64_t i, auto lanes, int64_t w) { return exp(lanes.load(x + i) - most[w]); })};
}

// out = exp(x - most) / sum
template <class Group, class T = typename Group::Element>
Scale<Group> softmax_in_passes(const Group& group, T* out, const T* x) {
    const Results<Group> most = maximum(group, x);
    const Results<Group> sum = sum_of(group, [&](int64_t i, auto lanes, int64_t w) {
        const Vec<T> e = exp(lanes.load(x + i) - most[w]);
        lanes.store(out + i, e);
        return e;
    });
    Results<Group> inverse;
    for (int w = 0; w < Group::strip; ++w) inverse[w] = T(1) / sum[w];
    group.each([&](int64_t i, auto lanes, int64_t w, int) { lanes.store(out + i, lanes.load(out + i) * inverse[w]); });
    return {most, sum};
}

// The same for one line of at most Count vectors, which stay in registers.
template <int Count, class T>
Scale<Line<T>> softmax_in_registers(const Line<T>& line, T* out, const T* x) {
    constexpr T lowest = -std::numeric_limits<T>::infinity();  // its exponential is 0
    constexpr int rest = (Count - 1) * lanes<T>;
    const FirstLanes last{line.n - rest};
    Vec<T> v[Count];
    FC_UNROLL for (int k = 0; k < Count - 1; ++k) v[k] = load(x + k * lanes<T>);
    v[Count - 1] = last.keep(last.load(x + rest), lowest);

    Vec<T> most = v[0], total = zero<T>();
    FC_UNROLL for (int k = 1; k < Count; ++k) most = max(most, v[k]);
    most = set1(max_lane(most));
    FC_UNROLL for (int k = 0; k < Count; ++k) {
        v[k] = exp(v[k] - most);
        total += v[k];
    }
    total = set1(sum(total));
    const Vec<T> inverse = T(1) / total;
    FC_UNROLL for (int k = 0; k < Count - 1; ++k) store(out + k * lanes<T>, v[k] * inverse);
    last.store(out + rest, v[Count - 1] * inverse);
    return {{most}, {total}};
}

template <class Group, class T = typename Group::Element>
Scale<Group> softmax(const Group& lines, T* out, const T* x) {
    return softmax_in_passes(lines, out, x);
}

// A short line that is stored and loaded again would wait for its masked store.
template <class T>
Scale<Line<T>> softmax(const Line<T>& line, T* out, const T* x) {
    switch ((line.n + lanes<T> - 1) / lanes<T>) {
        case 1: return softmax_in_registers<1>(line, out, x);
        case 2: return softmax_in_registers<2>(line, out, x);
        case 3: return softmax_in_registers<3>(line, out, x);
        case 4: return softmax_in_registers<4>(line, out, x);
        default: return softmax_in_passes(line, out, x);
    }
}

// Up to lanes<T> short rows, transposed: every lane is a row. One by one they would take reductions across the lanes
// and masks each, for vectors that are hardly full: rows of ten 2 times, rows of three 3 times as long. Not inlined, as
// ten copies are 0.1 MB.
template <class T>
class ShortRows {
    static constexpr int L = lanes<T>;

public:
    // Whether this is faster than rows one by one.
    static bool pays(int64_t n) { return n < longest && n % L != 0; }

    __attribute__((noinline)) ShortRows(const T* x, int64_t rows, int64_t n) : n(n), rows(rows) {
        constexpr int B = detail::block_lanes<T>;
        for (int64_t i = n; i % L > 0; ++i) columns[i] = zero<T>();
        if (rows == L && n >= B) {
            for (int64_t i = 0; i < n; i += B) {
                const int64_t first = std::min(i, n - B);  // the last columns may be some of those before them again
                load_transposed(x + first, n, columns + first);
            }
            return;
        }
        for (int64_t i = 0; i < n; ++i)
            for (int row = 0; row < L; ++row) columns[i][row] = row < rows ? x[row * n + i] : T(0);
    }

    OneVector<T> group() const { return {n}; }
    T* data() { return reinterpret_cast<T*>(columns); }

    // Whole vectors: what does not belong to a row is stored before what does, and nothing beyond the last row.
    __attribute__((noinline)) void store(T* out) const {
        for (int64_t i = (n - 1) / L * L; i >= 0; i -= L) {
            Vec<T> block[L];
            FC_UNROLL for (int k = 0; k < L; ++k) block[k] = columns[i + k];
            transpose<T>(block);
            FC_UNROLL for (int row = 0; row < L; ++row)
                if (row < rows) store_n(out + row * n + i, block[row], (rows - row) * n - i);
        }
    }

private:
    static constexpr int64_t longest = 4 * L;

    const int64_t n, rows;
    Vec<T> columns[longest];
};

}  // namespace fc
