// Prepared steps in a row, and fingerprints of the arrays of which they keep copies.
//
// Steps that work image by image are run for some images at a time, as many as fit a core's cache with all that lies
// between the steps: what a convolution writes is still there when its pooling reads it. Each such run of steps, a
// stage, shares the images among the threads, and no step inside waits for another thread. A stage ends where planes
// have become so small that twice as many images fit, before a step that takes all images at once, and behind it.
// Few images are not shared; then each step shares its own work where that is worth it by itself. (Sharing smaller
// parts, as the threads are awake, made single images a fifth slower: what one core writes, the other must fetch.)
#include <cstring>
#include <vector>

#include "kernel.h"
#include "simd.h"
#include "step.h"

namespace {

using fc::Scratch;
using fc::Step;
using fc::Vec;

struct Link {
    const Step* step;
    int64_t in, out;  // bytes of an image
};

constexpr int64_t kCacheBytes = 384 << 10;  // of a step's input and result: well inside of an L2 cache of 1 MB
constexpr int64_t kFewImages = 4;           // a thread: with fewer, the last one makes the others wait too long

struct Stage {
    const Link *begin, *end;
    int64_t footprint = 0;  // bytes of an image, in the step that needs most
    double nanoseconds = 0;  // of all images

    Stage(const Link* first, const Link* last, int64_t N) : begin(first), end(first) {
        do {
            footprint = std::max(footprint, end->in + end->out);
            nanoseconds += end->step->nanoseconds(N);
            ++end;
        } while (end != last && !begin->step->takes_all() && !end->step->takes_all() &&
                 2 * (end->in + end->out) > footprint);
    }

    int64_t between() const {  // bytes of an image, between two steps
        int64_t most = 0;
        for (const Link* link = begin; link + 1 < end; ++link) most = std::max(most, link->out);
        return most;
    }

    void run(char* out, const char* x, int64_t N) const {
        const int nthreads = fc::threads_for(nanoseconds);
        const bool divides = !begin->step->takes_all() && N > 1 && (nthreads == 1 || N >= kFewImages * nthreads);
        int64_t pieces = divides ? std::max((N * footprint + kCacheBytes - 1) / kCacheBytes, int64_t(nthreads)) : 1;
        if (divides) pieces = std::min((pieces + nthreads - 1) / nthreads * nthreads, N);
        fc::parallel(pieces, nthreads, [&](int64_t piece, int) {
            const fc::Alone alone(pieces > 1);
            const int64_t first = N * piece / pieces, images = N * (piece + 1) / pieces - first;
            const Scratch<char> strips(2 * images * between());
            const char* source = x + first * begin->in;
            for (const Link* link = begin; link != end; ++link) {
                char* result = link + 1 == end ? out + first * link->out
                                               : strips + (link - begin) % 2 * images * between();
                link->step->run(result, source, images);
                source = result;
            }
        });
    }
};

void run(void* out, const void* x, const Link* links, int64_t count, int64_t N) {
    const Link* const last = links + count;
    std::vector<Stage> stages;
    int64_t most = 0;  // bytes between two stages
    for (const Link* next = links; next != last; next = stages.back().end) {
        stages.emplace_back(next, last, N);
        if (stages.back().end != last) most = std::max(most, N * stages.back().end[-1].out);
    }
    const Scratch<char> first(most), second(stages.size() > 2 ? most : 0);
    const char* source = static_cast<const char*>(x);
    for (size_t i = 0; i < stages.size(); ++i) {
        char* result = i + 1 == stages.size() ? static_cast<char*>(out) : i % 2 ? second.get() : first.get();
        stages[i].run(result, source, N);
        source = result;
    }
}

// The next state after a word: for each word an invertible map of the state, for each state one of the word.
struct Mix {
    template <class State, class Word>
    State operator()(State state, Word word) const {
        state = (state ^ word) * 0x9E3779B1u;
        return state ^ (state >> 15);
    }
};

// Of one piece. Every lane of every chain is a sequence of invertible maps of its state.
uint64_t fingerprint_piece(const char* p, int64_t bytes) {
    using Words = Vec<uint32_t>;
    constexpr int kChains = 8;  // their multiplications overlap: four make two thirds of the speed
    constexpr int64_t kVector = sizeof(Words), kBlock = kChains * kVector;
    const Mix mix;
    Words chain[kChains];
    for (int k = 0; k < kChains; ++k) chain[k] = Words{} + uint32_t(k + 1);
    int64_t i = 0;
    for (; i + kBlock <= bytes; i += kBlock)
        FC_UNROLL for (int k = 0; k < kChains; ++k) {
            Words words;
            memcpy(&words, p + i + k * kVector, sizeof(words));
            chain[k] = mix(chain[k], words);
        }
    for (int k = 1; k < kChains; ++k) chain[0] = mix(chain[0], chain[k]);
    uint64_t result = uint64_t(bytes);
    const auto add = [&](uint32_t word) {
        result = (result ^ word) * 0x9E3779B97F4A7C15u;
        result ^= result >> 29;
    };
    for (int lane = 0; lane < int(kVector / 4); ++lane) add(chain[0][lane]);
    for (; i < bytes; i += 4) {
        uint32_t word = 0;
        memcpy(&word, p + i, size_t(std::min<int64_t>(4, bytes - i)));
        add(word);
    }
    return result;
}

// A number that changes with any of the words: one changed word is always seen, and several are missed once in 2^32
// times or less. Large arrays are cut into pieces for the threads; where, depends on the size alone.
uint64_t fingerprint(const void* data, int64_t bytes) {
    constexpr int64_t kPieces = 64, kLeast = 128 << 10;
    constexpr double kNanosecondsPerByte = .04;
    const char* p = static_cast<const char*>(data);
    if (bytes <= kLeast) return fingerprint_piece(p, bytes);
    const int64_t piece = std::max(kLeast, ((bytes + kPieces - 1) / kPieces + 4095) / 4096 * 4096);
    uint64_t prints[kPieces] = {};
    fc::parallel((bytes + piece - 1) / piece, fc::threads_for(double(bytes) * kNanosecondsPerByte), [&](int64_t k, int) {
        prints[k] = fingerprint_piece(p + k * piece, std::min(piece, bytes - k * piece));
    });
    return fingerprint_piece(reinterpret_cast<const char*>(prints), sizeof(prints));
}

}  // namespace

FC_KERNELS(fc::fc_entry("run", &run), fc::fc_entry("fingerprint", &fingerprint))
