// On which processors a woken helper may begin: see places.cpp. Without affinity masks (macOS, Windows) every function
// here does nothing, and the system places helpers by itself.
#pragma once
#include <atomic>
#include <cstdint>

#if defined(__linux__)
#include <sched.h>
#endif

namespace fc {

constexpr int kMaxProcessors = 1024;  // as many as a cpu_set_t has; a machine with more keeps its system's placing

// A set of processors. Words are atomic, so that a late reader sees an older or a mixed set, and no undefined one.
struct Processors {
    std::atomic<uint64_t> words[kMaxProcessors / 64] = {};

    void clear();
    void add(int processor);  // of a number outside of the set, nothing
};

// A thread's mask before it was narrowed, and the narrow one.
struct Narrowed {
#if defined(__linux__)
    cpu_set_t before, narrow;
#endif
};

int this_thread();     // the system's number of the calling thread; 0 where it has none
int this_processor();  // on which the calling thread runs; -1 if unknown

// Learns from /sys which processors share a core, once.
void read_cores();

// Lets a sleeping thread begin only on its part, part `rank` of `count`, of those of its processors that are not taken.
// Returns the first of them; widen() must follow. Or -1: there is none or nothing to change, the mask is as it was.
int narrow(int thread, const Processors& taken, int rank, int count, Narrowed& narrowed);

// Gives the calling thread the mask back that it had before, less what has been taken from it since.
void widen(const Narrowed& narrowed);

#if defined(__linux__)
// The rule of narrow(): a part, perhaps empty. cores[i] is the least processor of i's core.
cpu_set_t part_of(const cpu_set_t& allowed, const cpu_set_t& taken, const int16_t* cores, int rank, int count);
#endif

}  // namespace fc
