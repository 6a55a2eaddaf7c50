// Convolutions in a row, each with its ReLU, and a maximum pooling behind them, in training: forward and backward, some
// images at a time.
//
// What the last convolution gives is read by its pooling alone, and its gradient, of which pooling makes at most a
// quarter other than zero, by backward-data and backward-weights alone. Taken for as many images as fit a core's cache, by
// one thread, neither passes through memory; and ReLU's gradients cost nothing there. What the convolutions before give
// is kept, for it is what the next one's backward-weights reads.
//
// Forward divides the images into pieces, of which each is a task. Backward's tasks are runs of pieces: each has its own
// sums of the filters' gradients, added up in the end in the order of the tasks, so that the result is the same whoever
// took them.
#include <vector>

#include "kernel.h"
#include "simd.h"
#include "step.h"
#include "window.h"

namespace {

using fc::BackwardStep;
using fc::Scratch;
using fc::Step;
using fc::WeightsStep;
using fc::Window;

constexpr int64_t kCacheBytes = 384 << 10;    // of a step's input and result: well inside of an L2 cache of 1 MB
constexpr int64_t kPartialBytes = 1 << 20;    // of all tasks' sums of filters' gradients
constexpr int64_t kTasks = 4;                 // a thread, at least

// A convolution of the row. Of an image's numbers, it reads `in` and gives `out`.
template <class T>
struct Convolution {
    const Step* forward;         // with its ReLU
    const Step* data;            // null where dx is not wanted
    const WeightsStep* weights;
    const BackwardStep* both;    // not null: instead of those two
    const T* x;
    T* y;                        // null for the last one's
    T *dw, *db;                  // db may be null
    int64_t in, out, dw_size, db_size;
};

template <class T>
using MaxForward = void (*)(T* out, int64_t* indices, const T* x, const Window* p);
template <class T>
using MaxBackward = int (*)(T* dx, const T* dout, const int64_t* indices, const Window* p);
template <class T>
using ReluBackward = void (*)(T* dx, const T* dout, const T* y, int64_t count, double);

struct Images {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
    Images piece(int64_t count, int64_t index) const {
        return {begin + size() * index / count, begin + size() * (index + 1) / count};
    }
};

template <class T>
struct Row {
    const Convolution<T>* begin;
    const Convolution<T>* end;
    Window pool;  // of all images

    int64_t images() const { return pool.N; }
    int64_t pooled() const { return pool.C * pool.OH * pool.OW; }

    // The most numbers that an image's result has: of any convolution.
    int64_t widest() const {
        int64_t most = 0;
        for (const auto* c = begin; c != end; ++c) most = std::max({most, c->in, c->out});
        return most;
    }
    double nanoseconds() const {
        double total = 0;
        for (const auto* c = begin; c != end; ++c) total += c->forward->nanoseconds(images());
        return total;
    }
    // Into how many pieces `count` images are cut, each of which fits a core's cache.
    int64_t pieces(int64_t count) const {
        int64_t footprint = 0;
        for (const auto* c = begin; c != end; ++c) footprint = std::max(footprint, c->in + c->out);
        return std::max<int64_t>((count * footprint * int64_t(sizeof(T)) + kCacheBytes - 1) / kCacheBytes, 1);
    }
    Window pool_of(Images piece) const {
        Window p = pool;
        p.N = piece.size();
        return p;
    }
};

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

template <class T>
void forward(T* out, int64_t* indices, const Row<T>* row, MaxForward<T> max_forward) {
    const int64_t N = row->images(), pooled = row->pooled();
    const int nthreads = fc::threads_for(row->nanoseconds());
    const int64_t pieces = std::min(round_up(row->pieces(N), nthreads), N);
    fc::parallel(pieces, nthreads, [&](int64_t task, int) {
        const fc::Alone alone(true);
        const Images piece = Images{0, N}.piece(pieces, task);
        const Scratch<T> last(piece.size() * row->end[-1].out);
        for (const auto* c = row->begin; c != row->end; ++c)
            c->forward->run(c->y ? c->y + piece.begin * c->out : last.get(), c->x + piece.begin * c->in, piece.size());
        const Window p = row->pool_of(piece);
        max_forward(out + piece.begin * pooled, indices + piece.begin * pooled, last, &p);
    });
}

template <class T>
void add(T* sum, const T* term, int64_t count) {
    for (int64_t i = 0; i < count; ++i) sum[i] += term[i];
}

// Where in one block of memory each convolution's gradients begin, the filters' and then the bias's; last, its size.
template <class T>
std::vector<int64_t> gradient_places(const Row<T>& row) {
    std::vector<int64_t> places{0};
    for (const auto* c = row.begin; c != row.end; ++c)
        places.push_back(round_up(places.back() + c->dw_size + c->db_size, fc::lanes<T>));
    return places;
}

// False if an index was outside of its plane; its dout is left out. dx may be null.
template <class T>
int backward(T* dx, const T* dout, const int64_t* indices, const T* y, const Row<T>* row, MaxBackward<T> max_backward,
             ReluBackward<T> relu_backward) {
    const int64_t N = row->images(), pooled = row->pooled(), widest = row->widest();
    const std::vector<int64_t> places = gradient_places(*row);
    const int64_t size = places.back();
    const int nthreads = fc::threads_for(2 * row->nanoseconds());
    const int64_t most = std::max<int64_t>(kPartialBytes / (size * int64_t(sizeof(T))), kTasks * nthreads);
    const int64_t tasks = std::min({round_up(row->pieces(N), nthreads), most, N});
    const Scratch<T> sums(tasks * size);
    std::atomic<bool> inside{true};
    fc::parallel(tasks, nthreads, [&](int64_t task, int) {
        const fc::Alone alone(true);
        const Images images = Images{0, N}.piece(tasks, task);
        const int64_t pieces = row->pieces(images.size()), longest = images.size() / pieces + 1;
        const Scratch<T> gate(longest * pooled), first(longest * widest), second(longest * widest), term(size);
        for (int64_t index = 0; index < pieces; ++index) {
            const Images piece = images.piece(pieces, index);
            const int64_t at = piece.begin * pooled, count = piece.size();
            const Window p = row->pool_of(piece);
            T *gradient = first, *next = second;
            relu_backward(gate, dout + at, y + at, count * pooled, 0);
            if (!max_backward(gradient, gate, indices + at, &p)) inside = false;
            for (const auto* c = row->end; c-- != row->begin;) {
                const T* x = c->x + piece.begin * c->in;
                T* sum = index ? term.get() : sums + task * size;
                T *const dw = sum + places[size_t(c - row->begin)], *const db = c->db ? dw + c->dw_size : nullptr;
                T* const target = c != row->begin ? next : dx ? dx + piece.begin * c->in : nullptr;
                if (c->both)
                    c->both->run(target, dw, db, gradient, x, count);
                else
                    c->weights->run(dw, db, gradient, x, count);
                if (!target) break;
                if (c->data) c->data->run(target, gradient, count);
                if (c != row->begin) relu_backward(target, target, x, count * c->in, 0);
                std::swap(gradient, next);
            }
            if (index) add(sums + task * size, term.get(), size);
        }
    });
    for (int64_t task = 1; task < tasks; ++task) add(sums.get(), sums + task * size, size);
    for (const auto* c = row->begin; c != row->end; ++c) {
        const T* dw = sums + places[size_t(c - row->begin)];
        std::copy_n(dw, c->dw_size, c->dw);
        if (c->db) std::copy_n(dw + c->dw_size, c->db_size, c->db);
    }
    return inside;
}

}  // namespace

FC_KERNELS(FC_FLOATS(forward), FC_FLOATS(backward))
