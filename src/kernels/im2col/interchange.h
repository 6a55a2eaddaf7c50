// (N, A, B) becomes (N, B, A): images between channels first and channels last.
//
// Squares of vectors are transposed in registers. A task has a few squares' rows and goes along them with all rows for the
// same columns, so that a line of the result is written whole.
#pragma once
#include "kernel.h"
#include "simd_transpose.h"

namespace fc {

template <class T>
void interchange(T* out, const T* x, int64_t N, int64_t A, int64_t B) {
    constexpr int L = lanes<T>;
    constexpr int64_t kRows = 4 * L;
    constexpr double kNanosecondsPerByte = 0.1;
    const int64_t blocks = (A + kRows - 1) / kRows;
    const int nthreads = threads_for(double(N * A * B) * double(2 * sizeof(T)) * kNanosecondsPerByte);
    parallel(N * blocks, nthreads, [=](int64_t task, int) {
        const T* from = x + task / blocks * A * B;
        T* to = out + task / blocks * A * B;
        const int64_t first = task % blocks * kRows, end = std::min(A, first + kRows);
        for (int64_t b = 0; b < B; b += L)
            for (int64_t a = first; a < end; a += L) {
                const int64_t rows = std::min<int64_t>(L, end - a), columns = std::min<int64_t>(L, B - b);
                Vec<T> square[L];
                FC_UNROLL for (int i = 0; i < L; ++i)
                    square[i] = i < rows ? load_n(from + (a + i) * B + b, columns) : Vec<T>{};
                transpose<T>(square);
                FC_UNROLL for (int i = 0; i < L; ++i)
                    if (i < columns) store_n(to + (b + i) * A + a, square[i], rows);
            }
    });
}

}  // namespace fc
