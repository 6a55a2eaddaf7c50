// Maximum pooling, forward. A window's maximum is that of its rows' maxima, so every row of x is reduced along the
// columns once, however many windows share it, and kept in a ring; then the ring's rows are reduced.
//
// Both steps go from the first tap to the last and take a value that is greater, or NaN: the first of equal maxima wins
// and the last NaN, as in row-major order over the window. Every window begins with its first tap inside of x, so that
// one of -inf alone has an index too. Indices travel in integers as wide as T, relative to the window's first row.
#pragma once
#include <limits>

#include "across.h"
#include "ring.h"
#include "stride2.h"

namespace {

using fc::LaneRange;

template <class T>
constexpr T kMinusInfinity = -std::numeric_limits<T>::infinity();

template <class T>
struct Best {
    Vec<T> value;
    Vec<Int<T>> index;

    void take(Vec<T> candidate, Vec<Int<T>> position) {
        const auto better = (candidate > value) | fc::isnan(candidate);
        value = fc::select(better, candidate, value);
        index = fc::select(better, position, index);
    }

    // The same where neither is NaN, which takes half the instructions.
    void take_number(Vec<T> candidate, Vec<Int<T>> position) {
        index = fc::select(candidate > value, position, index);
        value = fc::max(candidate, value);
    }

    // Stores the first n lanes; `origin` is added to the indices.
    void put(T* values, int64_t* indices, int64_t origin, int64_t n) const {
        const auto some = [n](auto* to, auto v, int64_t from) {
            if (n >= lanes<T>) fc::store(to + from, v);
            else if (n > from) fc::store_n(to + from, v, n - from);
        };
        some(values, value, 0);
        each_index(origin, [=](auto v, int64_t from) { some(indices, v, from); });
    }

    // The same for all lanes, the indices past the caches: they are aligned, and for the gradient alone.
    void put_past_caches(T* values, int64_t* indices, int64_t origin) const {
        fc::store(values, value);
        each_index(origin, [=](auto v, int64_t from) { fc::store_past_caches(indices + from, v); });
    }

private:
    template <class Put>
    void each_index(int64_t origin, Put put) const {
        if constexpr (sizeof(T) == 8) {
            put(index + fc::set1(origin), 0);
        } else {
            put(fc::widen_lo(index) + fc::set1(origin), 0);
            put(fc::widen_hi(index) + fc::set1(origin), lanes<int64_t>);
        }
    }
};

// The windows [j_begin, j_end) of row i of a plane, one at a time. -inf and -1 where no tap is inside of x.
template <class T>
__attribute__((noinline)) void max_windows(T* out, int64_t* indices, const T* x, const Window& p, int64_t i,
                                           int64_t j_begin, int64_t j_end) {
    for (int64_t j = j_begin; j < j_end; ++j) {
        const int64_t top = i * p.stride_h - p.pad_top, left = j * p.stride_w - p.pad_left;
        const Taps rows(top, p.H, p.FH, p.dilation_h), columns(left, p.W, p.FW, p.dilation_w);
        T best = kMinusInfinity<T>;
        int64_t index = -1;
        for (int64_t u = rows.begin; u < rows.end; ++u)
            for (int64_t v = columns.begin; v < columns.end; ++v) {
                const int64_t position = (top + u * p.dilation_h) * p.W + left + v * p.dilation_w;
                const T value = x[position];
                if (value > best || value != value || index < 0) best = value, index = position;
            }
        out[i * p.OW + j] = best;
        indices[i * p.OW + j] = index;
    }
}

// Whether some window misses x altogether: it lies in the padding, or dilated taps step over x.
inline bool misses(const Window& p) {
    auto axis = [](int64_t positions, int64_t stride, int64_t pad, int64_t extent, int64_t taps, int64_t dilation) {
        if (dilation == 1) return pad >= taps || (positions - 1) * stride - pad >= extent;
        for (int64_t i = 0; i < positions; ++i) {
            const Taps inside(i * stride - pad, extent, taps, dilation);
            if (inside.begin == inside.end) return true;
        }
        return false;
    };
    return axis(p.OH, p.stride_h, p.pad_top, p.H, p.FH, p.dilation_h) ||
           axis(p.OW, p.stride_w, p.pad_left, p.W, p.FW, p.dilation_w);
}

template <class T>
class MaxRows {
public:
    explicit MaxRows(const Window& p)
        : p_(p), width_(round_up(p.OW, lanes<T>)), row_(p, kMinusInfinity<T>), first_(width_),
          values_(p.reach_h(), width_), columns_(p.reach_h(), width_) {
        for (int64_t j = 0; j < width_; ++j) {
            const int64_t left = j * p.stride_w - p.pad_left;
            first_[j] = Int<T>(left + Taps(left, p.W, p.FW, p.dilation_w).begin * p.dilation_w);
        }
    }

    // The output rows [begin, end) of one plane x.
    void plane(T* out, int64_t* indices, const T* x, int64_t begin, int64_t end) {
        int64_t ready = 0;  // rows of x below it have been reduced, as far as they are wanted
        for (int64_t i = begin; i < end; ++i) {
            const int64_t top = i * p_.stride_h - p_.pad_top;
            const Taps rows(top, p_.H, p_.FH, p_.dilation_h);
            const int64_t last = top + (rows.end - 1) * p_.dilation_h;
            for (ready = std::max(ready, top); ready <= last; ++ready)
                reduce_columns(x + ready * p_.W, values_.row(ready), columns_.row(ready));
            reduce_rows(out + i * p_.OW, indices + i * p_.OW, top, rows);
        }
    }

private:
    void reduce_columns(const T* x, T* values, Int<T>* columns) {
        using I = Int<T>;
        row_.read([x](int64_t w, int64_t n) { return fc::load_n(x + w, n); });
        const Vec<I> across = fc::iota<I>() * fc::set1(I(p_.stride_w));
        for (int64_t j = 0; j < p_.OW; j += lanes<T>) {
            Best<T> best{fc::set1(kMinusInfinity<T>), fc::load(first_ + j)};
            Vec<I> column = across + fc::set1(I(j * p_.stride_w - p_.pad_left));
            for (int64_t v = 0; v < p_.FW; ++v) {
                best.take(fc::load(row_.tap(v) + j), column);
                column += fc::set1(I(p_.dilation_w));
            }
            fc::store(values + j, best.value);
            fc::store(columns + j, best.index);
        }
    }

    void reduce_rows(T* out, int64_t* indices, int64_t top, const Taps& rows) {
        using I = Int<T>;
        for (int64_t j = 0; j < p_.OW; j += lanes<T>) {
            Best<T> best{};
            for (int64_t u = rows.begin; u < rows.end; ++u) {
                const int64_t h = top + u * p_.dilation_h;
                const Vec<T> value = fc::load(values_.row(h) + j);
                const Vec<I> index = fc::load(columns_.row(h) + j) + fc::set1(I(u * p_.dilation_h * p_.W));
                if (u == rows.begin) best = {value, index};
                else best.take(value, index);
            }
            best.put(out + j, indices + j, top * p_.W, p_.OW - j);
        }
    }

    const Window& p_;
    int64_t width_;
    PhasedRow<T> row_;
    Scratch<Int<T>> first_;
    Ring<T> values_;
    Ring<Int<T>> columns_;
};

// The same for K x K windows with stride 2 along the rows and Pad columns before them, straight from x: a row's maxima
// first, then those of the rows. Where rows of windows share a row of x, two of them are made together.
template <class T, int K, int Pad>
class MaxStride2 {
    using I = Int<T>;

public:
    explicit MaxStride2(const Window& p) : p_(p), columns_(p, kMinusInfinity<T>) {}

    void plane(T* out, int64_t* indices, const T* x, int64_t begin, int64_t end) const {
        const bool cached = p_.N * p_.C * p_.H * p_.W * int64_t(sizeof(T)) <= kCached;
        const bool shared = K == 3 && p_.stride_h == 2 && cached;
        const bool aligned = reinterpret_cast<uintptr_t>(indices) % 64 == 0 && p_.OW % 8 == 0;
        for (int64_t i = begin; i < end; ++i) {
            const int64_t top = i * p_.stride_h - p_.pad_top;
            if (shared && top >= 0 && top + 5 <= p_.H && i + 1 < end) windows<5, 2>(out, indices, x, i++, top, false);
            else windows<K, 1>(out, indices, x, i, top, !cached && aligned);
        }
        if (!cached) fc::fence_past_caches();
    }

private:
    // Bytes of x up to which two rows are faster; with x in memory they take 1.2 times as long, and indices past the caches
    // make one row 1.15 times as fast.
    static constexpr int64_t kCached = 16 << 20;

    // The windows of row i, or of two rows, which begin at row `top`. Instead of rows outside of x the last one is taken
    // again: it wins nothing.
    template <int Rows, int Outputs>
    void windows(T* out, int64_t* indices, const T* x, int64_t i, int64_t top, bool past_caches) const {
        const int64_t W = p_.W, OW = p_.OW, first = std::max(top, int64_t(0)), last = std::min(top + Rows, p_.H) - 1;
        const T* rows[Rows];
        FC_UNROLL for (int r = 0; r < Rows; ++r) rows[r] = x + std::min(first + r, last) * W;
        Vec<I> number[K];
        FC_UNROLL for (int v = 0; v < K; ++v) number[v] = fc::set1(I(v)), fc::keep(number[v]);
        columns_.each([&](int64_t j, auto n, auto taps) __attribute__((always_inline)) {
            // Where each window begins: with its second column where the first is not in x.
            const Vec<I> column = fc::iota<I>() * 2 + fc::set1(I(2 * j - Pad));
            Vec<I> begin = fc::max(fc::zero<I>() - column, fc::zero<I>());
            fc::keep(begin);
            Best<T> best[Outputs];
            Vec<T> total = fc::zero<T>();
            FC_UNROLL for (int r = 0; r < Rows; ++r) {
                Vec<T> tap[K];
                taps([row = rows[r]](auto get) __attribute__((always_inline)) { return get(row); }, tap);
                Best<T> of_row{tap[0], begin};
                FC_UNROLL for (int v = 1; v < K; ++v) of_row.take_number(tap[v], number[v]);
                Vec<T> sum = tap[0];
                FC_UNROLL for (int v = 1; v < K; ++v) sum += tap[v];
                total += sum;
                if (r) of_row.index += fc::set1(I(r * W));
                FC_UNROLL for (int o = 0; o < Outputs; ++o) {
                    if (r == 2 * o) best[o] = of_row;
                    else if (r > 2 * o && r < 2 * o + K) best[o].take_number(of_row.value, of_row.index);
                }
            }
            FC_UNROLL for (int o = 0; o < Outputs; ++o) {
                const int64_t at = (i + o) * OW + j;
                best[o].index += column;
                if (Outputs == 1 && past_caches && n == lanes<T>) best[o].put_past_caches(out + at, indices + at, first * W);
                else best[o].put(out + at, indices + at, first * W, n);
            }
            // A sum that is NaN, of NaN or of infinities, tells when to take care.
            if (__builtin_expect(fc::any_nan(total), 0))
                for (int o = 0; o < Outputs; ++o) max_windows(out, indices, x, p_, i + o, j, j + n);
        });
    }

    const Window& p_;
    const Stride2Columns<T, K, Pad, true> columns_;
};

// 2 x 2 windows with stride 2 that lie in x: the maxima of the two pairs, then theirs.
template <class T>
class Max2x2 {
public:
    explicit Max2x2(const Window& p)
        : W_(p.W), OW_(p.OW), last_{LaneRange<T>(0, 2 * (OW_ % lanes<T>)), LaneRange<T>(0, 2 * (OW_ % lanes<T>) - lanes<T>)} {}

    void plane(T* out, int64_t* indices, const T* x, int64_t begin, int64_t end) const {
        const int64_t W = W_, OW = OW_;
        const LaneRange<T> last[2] = {last_[0], last_[1]};
        for (int64_t i = begin; i < end; ++i) {
            int64_t j = 0;
            const auto windows = [&](auto load) __attribute__((always_inline)) {
                best(x, 2 * i * W + 2 * j, W, load).put(out + i * OW + j, indices + i * OW + j, 2 * i * W + 2 * j, OW - j);
            };
            for (; j + lanes<T> <= OW; j += lanes<T>) windows([](const T* p, int half) { return fc::load(p + half * lanes<T>); });
            if (j < OW) windows([&](const T* p, int half) { return last[half].load(p + half * lanes<T>); });
        }
    }

private:
    // The windows that begin at x[at], x[at + 2], ... ; indices count from there.
    template <class Load>
    FC_INLINE Best<T> best(const T* x, int64_t at, int64_t W, Load load) {
        using I = Int<T>;
        const Vec<T> upper = load(x + at, 0), upper_next = load(x + at, 1);
        const Vec<T> lower = load(x + at + W, 0), lower_next = load(x + at + W, 1);
        const Vec<T> tap[4] = {fc::even(upper, upper_next), fc::odd(upper, upper_next), fc::even(lower, lower_next),
                               fc::odd(lower, lower_next)};
        const Vec<I> one = fc::set1(I(1)), zero = fc::zero<I>(), below = fc::set1(I(W)), column = fc::iota<I>() * 2;
        // A sum that is NaN, of NaN or of infinities, tells when to take care.
        if (__builtin_expect(fc::any_nan((tap[0] + tap[1]) + (tap[2] + tap[3])), 0)) {
            Best<T> best{tap[0], column};
            best.take(tap[1], column + one);
            best.take(tap[2], column + below);
            best.take(tap[3], column + below + one);
            return best;
        }
        const Vec<T> a = fc::max(tap[1], tap[0]), b = fc::max(tap[3], tap[2]);
        const Vec<I> in_a = fc::select(tap[1] > tap[0], one, zero), in_b = fc::select(tap[3] > tap[2], below + one, below);
        return {fc::max(b, a), column + fc::select(b > a, in_b, in_a)};
    }

    const int64_t W_, OW_;
    const LaneRange<T> last_[2];
};

// Small planes, a lane for each.
template <class T>
class MaxAcross {
    using I = Int<T>;
    static constexpr int64_t L = lanes<T>;

public:
    explicit MaxAcross(const Window& p)
        : p_(p), rows_(Reach::rows(p)), columns_(Reach::columns(p)), x_(p.H * p.W * L) {}

    void planes(T* out, int64_t* indices, const T* x, int64_t count) const {
        const int64_t inside = p_.H * p_.W, windows = p_.OH * p_.OW;
        transpose_planes(x_.get(), x, inside, inside, count);
        for (int64_t at = 0; at < windows; at += L) {
            const int64_t n = std::min(windows - at, L);
            Vec<T> values[L] = {}, positions[L] = {};
            for_each_window(p_, at, n, [&](int64_t i, int64_t j, int64_t k) {
                const Best<T> best = window(i, j);
                values[k] = best.value, positions[k] = fc::bits<T>(best.index);
            });
            fc::transpose<T>(values);
            fc::transpose<T>(positions);
            for (int64_t plane = 0; plane < count; ++plane)
                Best<T>{values[plane], fc::bits<I>(positions[plane])}.put(out + plane * windows + at,
                                                                         indices + plane * windows + at, 0, n);
        }
    }

private:
    // A pass that minds NaN may go on from what the other one has found: the last NaN wins anyway.
    Best<T> window(int64_t i, int64_t j) const {
        const auto rows = rows_[i], columns = columns_[j];
        const int64_t first = rows.first * p_.W + columns.first, below = p_.dilation_h * p_.W;
        const auto each_tap = [&, step = p_.dilation_w](auto take) __attribute__((always_inline)) {
            for (int64_t u = 0, start = first; u < rows.count; ++u, start += below) {
                Vec<I> position = fc::set1(I(start));
                const T* x = x_ + start * L;
                for (int64_t v = 0; v < columns.count; ++v, x += step * L) {
                    take(fc::load(x), position);
                    position += fc::set1(I(step));
                }
            }
        };
        Best<T> best{fc::load(x_ + first * L), fc::set1(I(first))};
        Vec<T> total = fc::zero<T>();
        each_tap([&](Vec<T> candidate, Vec<I> position) __attribute__((always_inline)) {
            best.take_number(candidate, position);
            total += candidate;
        });
        // A sum that is NaN, of NaN or of infinities, tells when to take care.
        if (__builtin_expect(fc::any_nan(total), 0))
            each_tap([&](Vec<T> candidate, Vec<I> position) { best.take(candidate, position); });
        return best;
    }

    const Window& p_;
    const Reach rows_, columns_;
    const Scratch<T> x_;
};

template <class T>
struct MaxOneByOne {
    const Window& p;

    void plane(T* out, int64_t* indices, const T* x, int64_t begin, int64_t end) const {
        for (int64_t i = begin; i < end; ++i) max_windows(out, indices, x, p, i, 0, p.OW);
    }
};

template <class T>
void max_forward(T* out, int64_t* indices, const T* x, const Window* window) {
    const Window p = simplified(*window);
    const bool one_by_one = is_spread(p) || p.reach_h() * p.W >= std::numeric_limits<Int<T>>::max() || misses(p);
    const double nanoseconds = double(p.N * p.C * p.OH * p.OW) * 0.1 * double(p.FH) * double(p.FW);
    if (!one_by_one && pays_across<T>(p))
        return over_bundles<MaxAcross<T>, T>(p, nanoseconds, [&](const auto& kernel, int64_t first, int64_t count) {
            const int64_t at = first * p.OH * p.OW;
            kernel.planes(out + at, indices + at, x + first * p.H * p.W, count);
        });
    over_planes(p.N * p.C, p.OH, nanoseconds, [&](const Part& part) {
        auto run = [&](auto&& kernel) {
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                kernel.plane(out + plane * p.OH * p.OW, indices + plane * p.OH * p.OW, x + plane * p.H * p.W,
                             part.row_begin, part.row_end);
        };
        if (one_by_one) return run(MaxOneByOne<T>{p});
        if (is_2x2(p)) return run(Max2x2<T>(p));
        if (is_stride2(p, 2, 0)) return run(MaxStride2<T, 2, 0>(p));
        if (is_stride2(p, 3, 0)) return run(MaxStride2<T, 3, 0>(p));
        if (is_stride2(p, 3, 1)) return run(MaxStride2<T, 3, 1>(p));
        run(MaxRows<T>(p));
    });
}

}  // namespace
