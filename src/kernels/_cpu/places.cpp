// On which processors a woken helper may begin.
//
// Linux often wakes a thread on the processor of the thread that wakes it, although another one is idle, and leaves it
// there for some 10 ms: two threads are then as slow as one. So a sleeping helper's mask is narrowed before it is
// woken, and it takes its own mask back as soon as it runs: where it goes from there is the system's affair.
//
//   taken     the processors of the caller and of the helpers that are awake when the job begins.
//   part      what is left is dealt out to the helpers that sleep, core by core while there are as many free cores,
//             else processor by processor: no two begin on one processor while another is idle, and with processors to
//             spare each has several to choose from, of which some may be busy with other programs.
//   nothing   is left for a helper (more threads than processors, a mask of one): it is woken with the mask it has.
//
// The mask that counts is the one that the system has for the helper at that moment: inherited from the thread that
// created it (a pinned thread's helpers stay where it is), or given to it since by taskset or a control group. It is
// never widened: a helper whose narrow mask was changed by others in between keeps what they gave it. (It is then
// set once more, since Linux would otherwise remember the narrow one as this thread's wish.)
#include "places.h"

#if defined(__linux__)

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fc {
namespace {

int16_t core_of[kMaxProcessors];  // all 0 until read; then the least processor of the same core
bool cores_known = false;

// "0-3,8": calls found(processor) for each.
template <class Found>
void each_of(const char* list, Found&& found) {
    for (const char* p = list; *p >= '0' && *p <= '9';) {
        char* end;
        const long first = std::strtol(p, &end, 10), last = *end == '-' ? std::strtol(end + 1, &end, 10) : first;
        for (long i = first; i <= last && i < kMaxProcessors; ++i) found(int(i));
        p = *end == ',' ? end + 1 : end;
    }
}

bool read_line(const char* path, char* line, int size) {
    std::FILE* file = std::fopen(path, "re");
    if (!file) return false;
    const bool read = std::fgets(line, size, file) != nullptr;
    std::fclose(file);
    return read;
}

// A number above all of the set's; 0 if it is empty.
int end_of(const cpu_set_t& set) {
    uint64_t words[kMaxProcessors / 64];
    static_assert(sizeof words == sizeof set);
    std::memcpy(words, &set, sizeof set);
    int count = kMaxProcessors / 64;
    while (count > 0 && !words[count - 1]) --count;
    return 64 * count;
}

cpu_set_t plain(const Processors& processors) {
    cpu_set_t set;
    static_assert(sizeof set == sizeof processors.words && sizeof(uint64_t) == 8);
    uint64_t words[kMaxProcessors / 64];
    for (int i = 0; i < kMaxProcessors / 64; ++i) words[i] = processors.words[i].load(std::memory_order_relaxed);
    std::memcpy(&set, words, sizeof set);
    return set;
}

}  // namespace

void Processors::clear() {
    for (auto& word : words) word.store(0, std::memory_order_relaxed);
}

void Processors::add(int processor) {
    if (processor < 0 || processor >= kMaxProcessors) return;
    auto& word = words[processor / 64];
    word.store(word.load(std::memory_order_relaxed) | uint64_t(1) << processor % 64, std::memory_order_relaxed);
}

int this_thread() { return int(syscall(SYS_gettid)); }

int this_processor() { return sched_getcpu(); }

void read_cores() {
    if (cores_known) return;
    cores_known = true;
    for (int i = 0; i < kMaxProcessors; ++i) core_of[i] = int16_t(i);
    char line[4096], path[96];
    if (read_line("/sys/devices/system/cpu/smt/active", line, sizeof line) && line[0] == '0') return;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    for (int i = 0; i < kMaxProcessors; ++i) {
        if (!CPU_ISSET(i, &allowed) || core_of[i] != i) continue;
        std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
        if (!read_line(path, line, sizeof line)) continue;
        int least = i;
        each_of(line, [&](int sibling) { least = std::min(least, sibling); });
        each_of(line, [&](int sibling) { core_of[sibling] = int16_t(least); });
    }
}

cpu_set_t part_of(const cpu_set_t& allowed, const cpu_set_t& taken, const int16_t* cores, int rank, int count) {
    const int end = end_of(allowed);
    cpu_set_t part, busy_cores, seen_cores, first_of_core;
    for (cpu_set_t* set : {&part, &busy_cores, &seen_cores, &first_of_core}) CPU_ZERO(set);
    for (int i = 0; i < end_of(taken); ++i)
        if (CPU_ISSET(i, &taken)) CPU_SET(cores[i], &busy_cores);
    const auto is_free = [&](int i) { return CPU_ISSET(i, &allowed) && !CPU_ISSET(i, &taken); };

    int16_t order[kMaxProcessors], index_of_core[kMaxProcessors];
    int ncores = 0;
    for (int i = 0; i < end; ++i) {
        const int core = cores[i];
        if (!is_free(i) || CPU_ISSET(core, &busy_cores) || CPU_ISSET(core, &seen_cores)) continue;
        CPU_SET(core, &seen_cores);
        CPU_SET(i, &first_of_core);
        index_of_core[core] = int16_t(ncores);
        order[ncores++] = int16_t(i);
    }
    if (ncores >= count) {
        for (int i = 0; i < end; ++i)
            if (is_free(i) && CPU_ISSET(cores[i], &seen_cores) && index_of_core[cores[i]] % count == rank)
                CPU_SET(i, &part);
        return part;
    }
    int found = ncores;
    for (int i = 0; i < end; ++i)
        if (is_free(i) && !CPU_ISSET(i, &first_of_core)) order[found++] = int16_t(i);
    if (rank < found) CPU_SET(order[rank], &part);
    return part;
}

int narrow(int thread, const Processors& taken, int rank, int count, Narrowed& narrowed) {
    cpu_set_t& before = narrowed.before;
    if (thread <= 0 || sched_getaffinity(thread, sizeof before, &before) != 0) return -1;
    narrowed.narrow = part_of(before, plain(taken), core_of, rank, count);
    const int end = end_of(narrowed.narrow);
    if (end == 0 || CPU_EQUAL(&narrowed.narrow, &before)) return -1;
    if (sched_setaffinity(thread, sizeof before, &narrowed.narrow) != 0) return -1;
    for (int i = 0;; ++i)
        if (CPU_ISSET(i, &narrowed.narrow)) return i;
}

void widen(const Narrowed& narrowed) {
    cpu_set_t now;
    if (sched_getaffinity(0, sizeof now, &now) != 0) return;
    const bool untouched = CPU_EQUAL(&now, &narrowed.narrow);
    if (!untouched || sched_setaffinity(0, sizeof now, &narrowed.before) != 0) sched_setaffinity(0, sizeof now, &now);
}

}  // namespace fc

#else

namespace fc {

void Processors::clear() {}
void Processors::add(int) {}
int this_thread() { return 0; }
int this_processor() { return -1; }
void read_cores() {}
int narrow(int, const Processors&, int, int, Narrowed&) { return -1; }
void widen(const Narrowed&) {}

}  // namespace fc

#endif
