// (N, A, B) becomes (N, B, A): images between channels first and channels last.
//
// Squares of vectors are transposed in registers. A task has a few squares' rows and goes along a piece of them with all
// rows for the same columns, so that a line of the result is written whole.
#pragma once
#include "kernel.h"
#include "simd_transpose.h"

namespace fc {

template <class T>
void interchange(T* out, const T* x, int64_t N, int64_t A, int64_t B) {
    constexpr int L = lanes<T>;
    constexpr int64_t kRows = 4 * L;
    constexpr double kNanosecondsPerByte = 0.1;
    constexpr int64_t kColumns = 512;  // so that few and long rows make tasks for all threads
    const int64_t blocks = (A + kRows - 1) / kRows, pieces = (B + kColumns - 1) / kColumns;
    const int nthreads = threads_for(double(N * A * B) * double(2 * sizeof(T)) * kNanosecondsPerByte);
    parallel(N * blocks * pieces, nthreads, [=](int64_t task, int) {
        const int64_t n = task / (blocks * pieces);
        const T* from = x + n * A * B;
        T* to = out + n * A * B;
        const int64_t first = task / pieces % blocks * kRows, end = std::min(A, first + kRows);
        const int64_t last = std::min(B, (task % pieces + 1) * kColumns);
        for (int64_t b = task % pieces * kColumns; b < last; b += L)
            for (int64_t a = first; a < end; a += L) {
                const int64_t rows = std::min<int64_t>(L, end - a), columns = std::min<int64_t>(L, last - b);
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
