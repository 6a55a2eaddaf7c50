// The affine map and its gradients, as three matrix products. W is (K, M), or (M, K) when transposed.
//
//   forward            y (N, M)  = x . W + b, then ReLU or ReLU6 if asked for
//   backward_data      dx (N, K) = dout . W^T
//   backward_weights   dW        = x^T . dout, or dout^T . x when transposed;  db (M,) = column sums of dout
//
// gemm.h does the work; ref.py is the truth. pointwise.h: the same for the channels of every pixel of images.
#include "gemm.h"
#include "pointwise.h"
#include "step.h"

namespace {

using fc::Matrix;
using fc::Vec;

struct Sizes {
    int64_t N, K, M;
    bool transposed;
    double most;  // of the activation, see clip.h
};

template <class T>
Matrix<T> dense(const T* data, int64_t columns) {
    return {data, columns, 1};
}

template <class T>
Matrix<T> transposed(Matrix<T> a) {
    return {a.data, a.column, a.row};
}

template <class T>
Matrix<T> weights(const T* w, const Sizes& s) {
    return s.transposed ? transposed(dense(w, s.K)) : dense(w, s.M);
}

template <class T>
void forward(T* out, const T* x, const T* w, const T* b, const Sizes& s) {
    fc::gemm(fc::Product<T>{s.N, s.M, s.K, dense(x, s.K), weights(w, s), out, s.M, {b}, {T(s.most)}});
}

// Forward, times a scale. W and b are read in place: a product of few rows reads W once, and for many rows the copies
// that gemm makes of blocks cost little.
template <class T>
class Prepared final : public fc::Step {
public:
    Prepared(const T* w, const T* b, const Sizes& sizes, double scale) : w(w), b(b), sizes(sizes), scale(T(scale)) {}

    void run(void* out, const void* x, int64_t images) const override {
        Sizes s = sizes;
        s.N = images;
        T* y = static_cast<T*>(out);
        forward(y, static_cast<const T*>(x), w, b, s);
        if (scale != T(1))
            for (int64_t i = 0; i < images * s.M; ++i) y[i] *= scale;
    }
    double nanoseconds(int64_t images) const override {
        constexpr double bytes_per_nanosecond = 40;
        const double weights = double(sizes.K) * double(sizes.M);
        return std::max(weights * double(images) / (3.0 * fc::lanes<T>), weights * sizeof(T) / bytes_per_nanosecond);
    }
    bool takes_all() const override { return true; }

private:
    const T *w, *b;
    const Sizes sizes;
    const T scale;
};

template <class T>
fc::Step* prepare(const T* w, const T* b, const Sizes& s, double scale) {
    return new Prepared<T>(w, b, s, scale);
}

template <class T>
void backward_data(T* dx, const T* dout, const T* w, const Sizes& s) {
    fc::gemm(fc::Product<T>{s.N, s.K, s.M, dense(dout, s.M), transposed(weights(w, s)), dx, s.K});
}

// Sums of blocks of rows are added to the total, so that the rounding error does not grow with every row.
template <class T>
void column_sums(T* sums, const T* a, int64_t rows, int64_t columns) {
    constexpr int64_t kRows = 128, kVectors = 4, L = fc::lanes<T>, kStrip = kVectors * L;
    const double nanoseconds = 0.05 * sizeof(T) * kStrip * rows;
    fc::parallel_blocks((columns + kStrip - 1) / kStrip, 1, nanoseconds, [=](int64_t strip, int64_t end) {
        for (; strip < end; ++strip) {
            int64_t existing[kVectors];
            Vec<T> total[kVectors] = {};
            FC_UNROLL for (int v = 0; v < kVectors; ++v)
                existing[v] = std::max<int64_t>(columns - strip * kStrip - v * L, 0);
            for (int64_t block = 0; block < rows; block += kRows) {
                Vec<T> sum[kVectors] = {};
                for (int64_t i = block; i < std::min(block + kRows, rows); ++i)
                    FC_UNROLL for (int v = 0; v < kVectors; ++v)
                        sum[v] += fc::load_n(a + i * columns + strip * kStrip + v * L, existing[v]);
                FC_UNROLL for (int v = 0; v < kVectors; ++v) total[v] += sum[v];
            }
            FC_UNROLL for (int v = 0; v < kVectors; ++v)
                fc::store_n(sums + strip * kStrip + v * L, total[v], existing[v]);
        }
    });
}

template <class T>
void backward_weights(T* dw, T* db, const T* dout, const T* x, const Sizes& s) {
    const Matrix<T> xs = dense(x, s.K), douts = dense(dout, s.M);
    if (s.transposed)
        fc::gemm(fc::Product<T>{s.M, s.K, s.N, transposed(douts), xs, dw, s.K});
    else
        fc::gemm(fc::Product<T>{s.K, s.M, s.N, transposed(xs), douts, dw, s.M});
    if (db) column_sums(db, dout, s.N, s.M);
}

}  // namespace

using fc::pointwise;
using fc::prepare_pointwise;

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(backward_data), FC_FLOATS(backward_weights), FC_FLOATS(prepare),
           FC_FLOATS(pointwise), FC_FLOATS(prepare_pointwise))
