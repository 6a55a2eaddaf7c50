// The rule by which processors are dealt out to helpers that sleep, on processors that this machine need not have; and
// that a narrowed thread gets back what it had, less what was taken from it since. Exit status 0: all was right.
#include "places.h"

#include <pthread.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <vector>

namespace {

#define REQUIRE(condition)                                              \
    do {                                                                \
        if (!(condition)) {                                             \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            std::abort();                                               \
        }                                                               \
    } while (0)

cpu_set_t set_of(std::initializer_list<int> processors) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i : processors) CPU_SET(i, &set);
    return set;
}

cpu_set_t first(int count) {
    cpu_set_t set = set_of({});
    for (int i = 0; i < count; ++i) CPU_SET(i, &set);
    return set;
}

bool equal(const cpu_set_t& a, const cpu_set_t& b) { return CPU_EQUAL(&a, &b); }

// Cores of one processor, of two neighbours, or of two that are half of the machine apart.
enum class Machine { kSingle, kNeighbours, kHalves };

std::vector<int16_t> cores_of(Machine machine, int processors) {
    std::vector<int16_t> cores(fc::kMaxProcessors);
    for (int i = 0; i < fc::kMaxProcessors; ++i) {
        int core = i;
        if (i < processors && machine == Machine::kNeighbours) core = i / 2 * 2;
        if (i < processors && machine == Machine::kHalves) core = i % (processors / 2);
        cores[size_t(i)] = int16_t(core);
    }
    return cores;
}

// The parts are allowed, free, and apart from each other; no helper shares a core while there is one for each, and none
// goes without while there is a processor for each.
void deals_out_fairly(Machine machine, int processors, const cpu_set_t& allowed, const cpu_set_t& taken, int count) {
    const std::vector<int16_t> cores = cores_of(machine, processors);
    cpu_set_t seen = set_of({}), seen_cores = set_of({}), free_cores = set_of({});
    int free = 0, served = 0;
    for (int i = 0; i < processors; ++i) free += CPU_ISSET(i, &allowed) && !CPU_ISSET(i, &taken);
    for (int i = 0; i < processors; ++i)
        if (CPU_ISSET(i, &allowed) && !CPU_ISSET(i, &taken)) CPU_SET(cores[size_t(i)], &free_cores);
    for (int i = 0; i < processors; ++i)
        if (CPU_ISSET(i, &taken)) CPU_CLR(cores[size_t(i)], &free_cores);
    const bool core_each = CPU_COUNT(&free_cores) >= count;
    for (int rank = 0; rank < count; ++rank) {
        const cpu_set_t part = fc::part_of(allowed, taken, cores.data(), rank, count);
        served += CPU_COUNT(&part) > 0;
        cpu_set_t part_cores = set_of({});
        for (int i = 0; i < fc::kMaxProcessors; ++i) {
            if (!CPU_ISSET(i, &part)) continue;
            REQUIRE(CPU_ISSET(i, &allowed) && !CPU_ISSET(i, &taken) && !CPU_ISSET(i, &seen));
            CPU_SET(i, &seen);
            CPU_SET(cores[size_t(i)], &part_cores);
        }
        for (int i = 0; core_each && i < fc::kMaxProcessors; ++i) {
            if (!CPU_ISSET(i, &part_cores)) continue;
            REQUIRE(CPU_ISSET(i, &free_cores) && !CPU_ISSET(i, &seen_cores));
            CPU_SET(i, &seen_cores);
        }
    }
    REQUIRE(served == (free < count ? free : count));
}

void rule() {
    const auto single = cores_of(Machine::kSingle, 8), halves = cores_of(Machine::kHalves, 8);
    const auto part = [](const auto& cores, const cpu_set_t& allowed, const cpu_set_t& taken, int rank, int count) {
        return fc::part_of(allowed, taken, cores.data(), rank, count);
    };
    REQUIRE(equal(part(single, first(2), set_of({0}), 0, 1), set_of({1})));
    REQUIRE(equal(part(single, first(2), set_of({1}), 0, 1), set_of({0})));
    REQUIRE(equal(part(single, set_of({3}), set_of({3}), 0, 1), set_of({})));  // pinned where the caller is
    REQUIRE(equal(part(single, first(2), set_of({0}), 1, 2), set_of({})));     // more threads than processors
    REQUIRE(equal(part(single, first(8), set_of({2}), 0, 3), set_of({0, 4, 7})));
    REQUIRE(equal(part(single, first(8), set_of({2}), 1, 3), set_of({1, 5})));
    REQUIRE(equal(part(halves, first(8), set_of({0}), 0, 1), set_of({1, 2, 3, 5, 6, 7})));  // not 4, on the caller's core
    REQUIRE(equal(part(halves, first(8), set_of({0}), 1, 3), set_of({2, 6})));
    REQUIRE(equal(part(halves, first(8), set_of({0}), 3, 5), set_of({4})));  // three cores, then what is left
    REQUIRE(equal(part(halves, set_of({0, 4}), set_of({0}), 0, 1), set_of({4})));
    REQUIRE(equal(part(single, set_of({1000, 1023}), set_of({1000}), 0, 1), set_of({1023})));

    uint64_t state = 1;
    const auto random = [&](int below) { return int((state = state * 6364136223846793005u + 1) >> 33) % below; };
    for (int round = 0; round < 2000; ++round) {
        const int processors = 2 * (1 + random(20));
        cpu_set_t allowed = set_of({}), taken = set_of({});
        for (int i = 0; i < processors; ++i) {
            if (random(4)) CPU_SET(i, &allowed);
            if (!random(3)) CPU_SET(i, &taken);
        }
        for (Machine machine : {Machine::kSingle, Machine::kNeighbours, Machine::kHalves})
            deals_out_fairly(machine, processors, allowed, taken, 1 + random(processors));
    }
}

cpu_set_t mask_of(int thread) {
    cpu_set_t mask;
    REQUIRE(sched_getaffinity(thread, sizeof mask, &mask) == 0);
    return mask;
}

// A thread is narrowed by another; then others change its mask, or take its processors away, before it is widened.
void masks() {
    const cpu_set_t own = mask_of(0);
    std::vector<int> processors;
    for (int i = 0; i < fc::kMaxProcessors; ++i)
        if (CPU_ISSET(i, &own)) processors.push_back(i);
    if (processors.size() < 2) {
        std::puts("masks: not checked on one processor");
        return;
    }
    fc::Processors taken;
    taken.add(processors[0]);
    taken.add(-1);
    taken.add(fc::kMaxProcessors);
    fc::Narrowed narrowed;
    const int self = fc::this_thread();

    REQUIRE(fc::narrow(self, taken, 0, 1, narrowed) == processors[1]);
    REQUIRE(!CPU_ISSET(processors[0], &narrowed.narrow) && equal(mask_of(0), narrowed.narrow));
    fc::widen(narrowed);
    REQUIRE(equal(mask_of(0), own));

    REQUIRE(fc::narrow(self, taken, 0, 1, narrowed) == processors[1]);
    const cpu_set_t users = set_of({processors[0]});
    REQUIRE(sched_setaffinity(0, sizeof users, &users) == 0);
    fc::widen(narrowed);
    REQUIRE(equal(mask_of(0), users));  // what others gave it stays

    REQUIRE(fc::narrow(self, taken, 0, 1, narrowed) == -1);  // nothing is left beside the caller's
    REQUIRE(equal(mask_of(0), users));
    REQUIRE(sched_setaffinity(0, sizeof own, &own) == 0);

    REQUIRE(fc::narrow(self, taken, 0, 1, narrowed) == processors[1]);
    narrowed.before = set_of({fc::kMaxProcessors - 1});  // as if all that it had were gone: EINVAL
    if (!CPU_ISSET(fc::kMaxProcessors - 1, &own)) {
        fc::widen(narrowed);
        REQUIRE(equal(mask_of(0), narrowed.narrow));
    }
    REQUIRE(sched_setaffinity(0, sizeof own, &own) == 0);
    REQUIRE(fc::narrow(1 << 30, taken, 0, 1, narrowed) == -1);  // no such thread
    REQUIRE(fc::narrow(0, taken, 0, 1, narrowed) == -1);
}

}  // namespace

int main() {
    rule();
    fc::read_cores();
    masks();
    return 0;
}
