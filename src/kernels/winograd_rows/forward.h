// Forward and backward-data: some tiles of an image at a time, whose transformed source stays in L2.
//
//   sums[position][m][j]  =  sum over k of  filters[position][k][m] * band[position][offset(k) + j]      k: phase, channel, column
//   result                =  A^T sums, with bias and ReLU, as it lies in memory
//
// Up to 4 result channels x 3 (32 registers: 4) vectors of columns are accumulated together, position after position;
// they pass through L1 to the way back, so that any number of positions meets full tiles of registers.
//
// A test of every result would be a twentieth of the work with few channels. Instead the squares of the source and of
// the filters are summed: where both sums are below kTame, no number on the way exceeds 1e36. Else what is not finite is
// computed again (winograd/direct_sums.h), and only then comes the ReLU.
#pragma once
#include "source.h"
#include "vectors.h"

namespace fc::winograd_rows {

constexpr int64_t kGroup = 4;                                  // result channels
constexpr int kRun = fc::kVectorRegisters == 32 ? 4 : 3;       // vectors of columns
constexpr int64_t kBandBytes = 128 << 10;
constexpr int64_t kTermsAtOnce = 128;                          // a long sum loses precision

// Sums of products of source and filters are then at most 1e30, by Cauchy and Schwarz. The factors of B^T, G and A^T make
// that 750 times as much at most, and a number that meets several taps, the root of their number.
constexpr float kTame = 1e30f;

inline int64_t part_begin(int64_t size, int64_t parts, int64_t i) { return size * i / parts; }

struct Sum {
    const int64_t* offsets;
    int64_t terms, position_step;
    int64_t plane, row, rows;  // of the result: distances, and rows that exist of a tile's
    int64_t last;              // columns of the last vector
    bool relu;
};

template <class F>
using Kernel = void (*)(const Sum& sum, const float* band, const float* filters, const float* bias, float* out);

template <class F, int M, int V>
void multiply(const Sum& sum, const float* band, const float* filters, const float* bias, float* out) {
    alignas(64) float products[F::kInputs][M][V * L];
    FC_UNROLL for (int m = 0; m < M; ++m)
        for (int64_t i = 0; i < sum.rows; ++i)
            FC_UNROLL for (int v = 0; v < V; ++v) prefetch_for_write(out + m * sum.plane + i * sum.row + v * L);
    const int64_t terms = sum.terms;
    for (int position = 0; position < F::kInputs; ++position, band += sum.position_step) {
        int64_t k = 0;
        do {
            Vector acc[M][V] = {};
            for (const int64_t end = std::min(k + kTermsAtOnce, terms); k < end; ++k, filters += M) {
                const float* x = band + sum.offsets[k];
                Vector columns[V];
                FC_UNROLL for (int v = 0; v < V; ++v) keep(columns[v] = load(x + v * L));
                FC_UNROLL for (int m = 0; m < M; ++m) {
                    const Vector w = set1(filters[m]);
                    FC_UNROLL for (int v = 0; v < V; ++v) acc[m][v] = fma(w, columns[v], acc[m][v]);
                }
                barrier();
            }
            FC_UNROLL for (int m = 0; m < M; ++m)
                FC_UNROLL for (int v = 0; v < V; ++v) {
                    float* to = products[position][m] + v * L;
                    store(to, k > kTermsAtOnce ? load(to) + acc[m][v] : acc[m][v]);
                }
        } while (k < terms);
    }
    for (int m = 0; m < M; ++m, out += sum.plane) {
        const Vector start = bias ? set1(bias[m]) : zero<float>();
        for (int v = 0; v < V; ++v) {
            Vector t[F::kInputs], y[F::kOutputs];
            FC_UNROLL for (int i = 0; i < F::kInputs; ++i) t[i] = load(products[i][m] + v * L);
            F::result(t, y);
            FC_UNROLL for (int i = 0; i < F::kOutputs; ++i) {
                if (i >= sum.rows) break;
                Vector z = y[i] + start;
                if (sum.relu) z = max(zero<float>(), z);  // NaN stays NaN
                if (v + 1 < V || sum.last == L)
                    store(out + i * sum.row + v * L, z);
                else
                    store_n(out + i * sum.row + v * L, z, sum.last);
            }
        }
    }
}

template <class F, int M, int... V>
constexpr std::array<Kernel<F>, sizeof...(V)> kernels_of_group(std::integer_sequence<int, V...>) {
    return {&multiply<F, M, V + 1>...};
}
template <class F, int... M>
constexpr std::array<std::array<Kernel<F>, kRun>, sizeof...(M)> kernels(std::integer_sequence<int, M...>) {
    return {kernels_of_group<F, M + 1>(std::make_integer_sequence<int, kRun>())...};
}

template <class F>
class Forward {
public:
    explicit Forward(const Correlation& correlation)
        : c(correlation), band(c), terms(int64_t(band.offsets().size())), groups(divide_up(c.Cout, kGroup)) {}

    int64_t transformed_size() const { return filters_size() + 1; }

    // [group][position][k][channels of the group], and then the sum of the squares of the filters.
    void transform(float* filters) const {
        const int64_t pairs = c.Cin * (c.interleaves() ? c.Cout / 4 : c.Cout);
        filters[filters_size()] = sum_of_squares(c.direct.filters, pairs * c.direct.rows.taps * c.direct.columns.taps);
        parallel(groups, threads_for(double(c.Cout * terms) * 12), [&](int64_t g, int) {
            const int64_t first = part_begin(c.Cout, groups, g), channels = part_begin(c.Cout, groups, g + 1) - first;
            float* to = filters + first * F::kInputs * terms;
            for (int64_t phase = 0; phase < c.stride_h; ++phase)
                for (int64_t in = 0; in < c.Cin; ++in)
                    for (int64_t v = 0; v < c.FW; ++v)
                        for (int64_t m = 0; m < channels; ++m)
                            transform_column(c.filters + in * c.filters_in + (first + m) * c.filters_out, phase, v, to++,
                                             terms * channels);
        });
    }

    // filters: as `transform` leaves them, or null.
    void run(const float* ready) const {
        if (c.N == 0) return;
        const Scratch<float> own(ready ? 0 : transformed_size());
        if (!ready) transform(own);
        const float* filters = ready ? ready : own.get();
        const int nthreads = threads_for(nanoseconds());
        const int64_t fitting = std::max<int64_t>(kBandBytes / int64_t(sizeof(float)) / band.size(1), 1);
        int64_t bands = divide_up(band.tiles, fitting);
        if (nthreads > 1 && c.N * bands < 4 * nthreads) bands = std::min(band.tiles, divide_up(4 * nthreads, c.N));
        const int64_t most = divide_up(band.tiles, bands);
        parallel(c.N * bands, nthreads, [&](int64_t task, int) {
            const int64_t first = part_begin(band.tiles, bands, task % bands);
            compute(task / bands, first, part_begin(band.tiles, bands, task % bands + 1) - first, most, filters);
        });
    }

    double nanoseconds() const {
        const double products = double(F::kInputs * terms + 35) * double(c.Cout), source = 60.0 * double(c.stride_h * c.Cin);
        return double(c.N * band.tiles * band.vectors) * (products + source) / 3.0;
    }

private:
    const Correlation& c;
    const Band<F> band;
    const int64_t terms, groups;

    int64_t filters_size() const { return c.Cout * F::kInputs * terms; }

    static float sum_of_squares(const float* numbers, int64_t count) {
        Chains<float> sum;
        for_vectors<float>(count, [&](int64_t i, auto some, int k) {
            const Vector v = some.load(numbers + i);
            sum[k] = fma(v, v, sum[k]);
        });
        return sum.total();
    }

    // Whether the rows that some tiles of an image read are tame.
    bool is_tame(int64_t image, int64_t first, int64_t count) const {
        const int64_t top = first * F::kOutputs * c.stride_h - c.top;
        const int64_t read = ((count - 1) * F::kOutputs + F::kInputs) * c.stride_h;
        const int64_t begin = std::clamp<int64_t>(top, 0, c.SH), end = std::clamp<int64_t>(top + read, begin, c.SH);
        float sum = 0;
        for (int64_t channel = 0; channel < c.Cin; ++channel)
            sum += sum_of_squares(c.source + ((image * c.Cin + channel) * c.SH + begin) * c.SW, (end - begin) * c.SW);
        return sum < kTame;
    }

    // G g for column v of a filter's rows of one phase; positions `step` apart.
    void transform_column(const float* w, int64_t phase, int64_t v, float* to, int64_t step) const {
        static constexpr auto kFilters = F::filters();
        float sum[F::kInputs] = {};
        for (int64_t r = 0; r < band.taps(phase); ++r) {
            const int64_t tap = (phase + r * c.stride_h) * c.FW + v;
            const float g = w[c.upside_down ? c.FH * c.FW - 1 - tap : tap];
            for (int i = 0; i < F::kInputs; ++i) sum[i] += kFilters[size_t(i)][size_t(r)] * g;
        }
        for (int i = 0; i < F::kInputs; ++i) to[i * step] = sum[i];
    }

    void compute(int64_t image, int64_t first, int64_t count, int64_t most, const float* filters) const {
        static constexpr auto kKernels = kernels<F>(std::make_integer_sequence<int, kGroup>());
        const int64_t top = first * F::kOutputs, height = std::min(count * F::kOutputs, c.DH - top);
        const Scratch<float> transformed(band.size(most) + kRun * L);
        const Scratch<float> phases(c.interleaves() ? c.Cout * most * F::kOutputs * c.DW + 2 * L : 0);
        std::fill_n(transformed.get(), band.size(count) + kRun * L, 0.f);
        band.transform(image, first, count, transformed);

        const int64_t plane = c.interleaves() ? height * c.DW : c.DH * c.DW;
        float* result = c.interleaves() ? phases.get() : c.result + image * c.Cout * plane + top * c.DW;
        const bool tame = filters[filters_size()] < kTame && is_tame(image, first, count);
        Sum sum{band.offsets().data(), terms, band.position_step(count), plane, c.DW, 0, 0, c.relu && tame};
        const int64_t runs = divide_up(band.vectors, kRun);
        for (int64_t t = 0; t < count; ++t) {
            sum.rows = std::min<int64_t>(F::kOutputs, height - t * F::kOutputs);
            for (int64_t r = 0; r < runs; ++r) {
                const int64_t begin = part_begin(band.vectors, runs, r), end = part_begin(band.vectors, runs, r + 1);
                sum.last = std::min(L, c.DW - (end - 1) * L);
                for (int64_t g = 0; g < groups; ++g) {
                    const int64_t m = part_begin(c.Cout, groups, g), channels = part_begin(c.Cout, groups, g + 1) - m;
                    kKernels[size_t(channels - 1)][size_t(end - begin - 1)](
                        sum, transformed + t * band.tile_step() + begin * L, filters + m * F::kInputs * terms,
                        c.bias ? c.bias + m : nullptr, result + m * plane + t * F::kOutputs * c.DW + begin * L);
                }
            }
        }
        if (!tame) repair(image, top, height, plane, result);
        if (c.interleaves()) interleave(image, top, height, phases);
    }

    // What is not finite of some rows of an image's result, which is complete but for the ReLU.
    void repair(int64_t image, int64_t top, int64_t height, int64_t plane, float* result) const {
        const float* source = c.source + image * c.Cin * c.SH * c.SW;
        for (int64_t m = 0; m < c.Cout; ++m, result += plane)
            for (int64_t i = 0; i < height; ++i)
                for (int64_t j = 0; j < c.DW; ++j) {
                    float& y = result[i * c.DW + j];
                    if (!std::isfinite(y)) y = direct_sum(source, m, top + i, j);
                    if (c.relu && y < 0) y = 0;
                }
    }
    float direct_sum(const float* source, int64_t m, int64_t i, int64_t j) const {
        if (!c.interleaves()) return c.direct(source, c.bias ? c.bias[m] : 0.f, m, i, j);
        const int64_t row = 2 * i + m % 4 / 2, column = 2 * j + m % 2;
        return row < c.H && column < c.W ? c.direct(source, 0.f, m / 4, row, column) : 0.f;
    }

    // The phases of some rows, [channel][row phase, column phase][row][column], to where they belong.
    void interleave(int64_t image, int64_t top, int64_t height, const float* phases) const {
        const int64_t plane = height * c.DW;
        for (int64_t channel = 0; channel < c.Cout / 4; ++channel, phases += 4 * plane)
            for (int64_t h = 2 * top; h < std::min(2 * (top + height), c.H); ++h) {
                const float* from = phases + h % 2 * 2 * plane + (h / 2 - top) * c.DW;
                float* to = c.result + ((image * (c.Cout / 4) + channel) * c.H + h) * c.W;
                for (int64_t j = 0; j < c.W; j += 2 * L) {
                    const Vector a = load(from + j / 2), b = load(from + plane + j / 2);
                    if (j + 2 * L <= c.W) {
                        store(to + j, interleave_lo(a, b));
                        store(to + j + L, interleave_hi(a, b));
                    } else {
                        store_n(to + j, interleave_lo(a, b), c.W - j);
                        if (j + L < c.W) store_n(to + j + L, interleave_hi(a, b), c.W - j - L);
                    }
                }
            }
    }
};

}  // namespace fc::winograd_rows
