// Adaptive average pooling: bin i of `count` covers floor(i*extent/count) to ceil((i + 1)*extent/count).
//
// One bin is the sum of a plane. Bins that divide the plane evenly are average pooling. Others differ in size and may
// overlap: rows are added as vectors, columns bin by bin.
#pragma once
#include "average.h"

namespace {

struct Bins {
    int64_t planes, H, W, OH, OW;

    bool even() const { return H % OH == 0 && W % OW == 0; }

    // The window of the average pooling that even bins are.
    Window window() const {
        return {planes, 1, H, W, H / OH, W / OW, OH, OW, H / OH, W / OW, 0, 0, 0, 0, 1, 1};
    }
};

struct Bin {
    int64_t begin, end;

    Bin(int64_t i, int64_t extent, int64_t count)
        : begin(i * extent / count), end(((i + 1) * extent + count - 1) / count) {}
    int64_t size() const { return end - begin; }
};

// A pairwise sum, so that the error grows with the logarithm of the count.
template <class T>
T sum(const T* x, int64_t count) {
    constexpr int64_t L = lanes<T>, kBlock = 32 * L;
    if (count > kBlock) {
        const int64_t half = round_up(count / 2, L);
        return sum(x, half) + sum(x + half, count - half);
    }
    Vec<T> sums[4] = {};
    int64_t i = 0;
    for (; i + 4 * L <= count; i += 4 * L)
        FC_UNROLL for (int k = 0; k < 4; ++k) sums[k] += fc::load(x + i + k * L);
    for (; i < count; i += L) sums[0] += fc::load_n(x + i, count - i);
    return fc::sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
void adaptive_avg_forward(T* out, const T* x, const Bins* bins) {
    const Bins b = *bins;
    const int64_t inside = b.H * b.W;
    const double nanoseconds = double(b.planes * inside) * 0.1;
    if (b.OH * b.OW == 1) {
        over_planes(b.planes, 1, nanoseconds, [&](const Part& part) {
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                out[plane] = sum(x + plane * inside, inside) / T(inside);
        });
    } else if (b.even()) {
        const Window window = b.window();
        avg_forward(out, x, &window, 0, true);
    } else {
        over_planes(b.planes, b.OH, nanoseconds, [&](const Part& part) {
            Scratch<T> sums(b.W);
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                for (int64_t i = part.row_begin; i < part.row_end; ++i) {
                    const Bin rows(i, b.H, b.OH);
                    for (int64_t w = 0; w < b.W; w += lanes<T>) {
                        Vec<T> sum = fc::zero<T>();
                        for (int64_t h = rows.begin; h < rows.end; ++h)
                            sum += fc::load_n(x + plane * inside + h * b.W + w, b.W - w);
                        fc::store_n(sums + w, sum, b.W - w);
                    }
                    for (int64_t j = 0; j < b.OW; ++j) {
                        const Bin columns(j, b.W, b.OW);
                        T total = 0;
                        for (int64_t w = columns.begin; w < columns.end; ++w) total += sums[w];
                        out[(plane * b.OH + i) * b.OW + j] = total / T(rows.size() * columns.size());
                    }
                }
        });
    }
}

template <class T>
void adaptive_avg_backward(T* dx, const T* dout, const Bins* bins) {
    const Bins b = *bins;
    const int64_t inside = b.H * b.W;
    const double nanoseconds = double(b.planes * inside) * 0.1;
    if (b.OH * b.OW == 1) {
        over_planes(b.planes, 1, nanoseconds, [&](const Part& part) {
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane)
                std::fill_n(dx + plane * inside, inside, dout[plane] / T(inside));
        });
    } else if (b.even()) {
        const Window window = b.window();
        avg_backward(dx, dout, &window, 0, true);
    } else {
        over_planes(b.planes, 1, nanoseconds, [&](const Part& part) {
            for (int64_t plane = part.plane_begin; plane < part.plane_end; ++plane) {
                std::fill_n(dx + plane * inside, inside, T(0));
                for (int64_t i = 0; i < b.OH; ++i)
                    for (int64_t j = 0; j < b.OW; ++j) {
                        const Bin rows(i, b.H, b.OH), columns(j, b.W, b.OW);
                        const T share = dout[(plane * b.OH + i) * b.OW + j] / T(rows.size() * columns.size());
                        for (int64_t h = rows.begin; h < rows.end; ++h)
                            for (int64_t w = columns.begin; w < columns.end; ++w)
                                dx[plane * inside + h * b.W + w] += share;
                    }
            }
        });
    }
}

}  // namespace
