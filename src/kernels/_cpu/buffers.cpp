// The buffer pool: blocks that come back are kept, warm, for the next request of their size.
//
// A page fault costs 1.3-1.7 us per 4 KB on the machine where this was measured, so a network whose results are fresh
// pages at every step runs two to three times slower than its kernels. Here a request of a size seen before costs
// neither a system call nor a fault.
//
//   [ header 64 bytes | data, 64-byte aligned ... ]     the header holds the class: a caller's size is never trusted
//
// Sizes are rounded up to one of four steps per octave (at most 25 % over). Each class is a list, last in first out,
// since the block freed last is the one still in cache. Blocks of 2 MiB and more are mapped on 2 MiB boundaries
// and advised to be huge pages. When the kept bytes pass the limit, the class that has rested longest gives way.
// A spin lock guards the lists (held for tens of nanoseconds); a fork takes it, so the child's lists are whole.
// AddressSanitizer is told which bytes were asked for: a block that came back, and what rounding added, are not to be
// touched.
#include "buffers.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace fc {
namespace {

constexpr size_t kSmallest = 256;
constexpr size_t kLargest = size_t(1) << 46;
constexpr int kClasses = 1 + (46 - 8) * 4;
constexpr size_t kHugePage = size_t(2) << 20;

struct alignas(64) Header {
    Header* next;
    size_t capacity;   // bytes of data
    size_t footprint;  // bytes taken from the system
    int size_class;
    bool mapped;
};
static_assert(sizeof(Header) == 64);

struct SizeClass {
    Header* blocks;
    uint64_t last_use;
};

SizeClass classes[kClasses];
BufferStats stats;
uint64_t ticks;
std::atomic<bool> locked{false};

void lock() {
    for (int tries = 1; locked.exchange(true, std::memory_order_acquire); ++tries)
        if (tries % 64 == 0) sched_yield();
}

void unlock() { locked.store(false, std::memory_order_release); }

[[maybe_unused]] const int registered = pthread_atfork(lock, unlock, unlock);

// The class of a request, and the bytes that a block of this class holds.
int class_of(size_t bytes, size_t& capacity) {
    if (bytes <= kSmallest) {
        capacity = kSmallest;
        return 0;
    }
    const int octave = 63 - __builtin_clzll(bytes - 1);  // 2^octave < bytes <= 2^(octave+1)
    const size_t step = size_t(1) << (octave - 2);
    const size_t steps = (bytes - (size_t(1) << octave) + step - 1) / step;  // 1 .. 4
    capacity = (size_t(1) << octave) + steps * step;
    return (octave - 8) * 4 + int(steps);
}

// `bytes` on a huge-page boundary: map one page too many and give the ends back.
void* map_huge(size_t bytes) {
    void* address = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) return nullptr;
    char* start = static_cast<char*>(address);
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
    if (before) munmap(start, before);
    if (kHugePage - before) munmap(start + before + bytes, kHugePage - before);
#ifdef MADV_HUGEPAGE
    madvise(start + before, bytes, MADV_HUGEPAGE);
#endif
    return start + before;
}

Header* from_system(size_t capacity, int size_class) {
    size_t footprint = capacity + sizeof(Header);
    const bool mapped = footprint >= kHugePage;
    void* memory = nullptr;
    if (mapped) {
        footprint = (footprint + kHugePage - 1) / kHugePage * kHugePage;
        memory = map_huge(footprint);
    } else if (posix_memalign(&memory, 64, footprint) != 0) {
        memory = nullptr;
    }
    if (!memory) return nullptr;
    Header* block = static_cast<Header*>(memory);
    *block = {nullptr, capacity, footprint, size_class, mapped};
    return block;
}

void to_system(Header* list) {
    while (list) {
        Header* block = list;
        list = block->next;
        ASAN_UNPOISON_MEMORY_REGION(block + 1, block->capacity);
        if (block->mapped)
            munmap(block, block->footprint);
        else
            free(block);
    }
}

Header* pop(SizeClass& c) {
    Header* block = c.blocks;
    c.blocks = block->next;
    stats.cached_bytes -= int64_t(block->footprint);
    return block;
}

void use(const Header* block) {
    stats.used_bytes += int64_t(block->footprint);
    if (stats.used_bytes > stats.peak_bytes) stats.peak_bytes = stats.used_bytes;
}

// Takes blocks out of the cache until it respects its limit, and returns them as a list.
Header* evict() {
    Header* victims = nullptr;
    while (stats.cached_bytes > stats.limit_bytes) {
        SizeClass* oldest = nullptr;
        for (SizeClass& c : classes)
            if (c.blocks && (!oldest || c.last_use < oldest->last_use)) oldest = &c;
        Header* block = pop(*oldest);
        block->next = victims;
        victims = block;
    }
    return victims;
}

// The data of a block for a caller who asked for so many bytes.
void* lend(Header* block, size_t bytes) {
    ASAN_POISON_MEMORY_REGION(block + 1, block->capacity);
    ASAN_UNPOISON_MEMORY_REGION(block + 1, bytes);
    return block + 1;
}

}  // namespace

void* acquire(size_t bytes) {
    if (bytes > kLargest) return nullptr;
    size_t capacity;
    const int size_class = class_of(bytes, capacity);
    SizeClass& c = classes[size_class];

    lock();
    c.last_use = ++ticks;
    Header* block = c.blocks ? pop(c) : nullptr;
    if (block) {
        ++stats.hits;
        use(block);
    }
    unlock();
    if (block) return lend(block, bytes);

    block = from_system(capacity, size_class);
    if (!block) {  // what we keep may be what is missing
        empty_cache();
        block = from_system(capacity, size_class);
        if (!block) return nullptr;
    }
    lock();
    ++stats.misses;
    use(block);
    unlock();
    return lend(block, bytes);
}

void release(void* data) {
    if (!data) return;
    Header* block = static_cast<Header*>(data) - 1;
    SizeClass& c = classes[block->size_class];
    const int64_t footprint = int64_t(block->footprint);
    ASAN_POISON_MEMORY_REGION(data, block->capacity);
    lock();
    stats.used_bytes -= footprint;
    Header* victims;
    if (footprint > stats.limit_bytes) {
        block->next = nullptr;
        victims = block;
    } else {
        block->next = c.blocks;
        c.blocks = block;
        c.last_use = ++ticks;
        stats.cached_bytes += footprint;
        victims = evict();
    }
    unlock();
    to_system(victims);
}

void* reacquire(void* data, size_t bytes) {
    if (!data) return acquire(bytes);
    Header* block = static_cast<Header*>(data) - 1;
    const size_t capacity = block->capacity;
    if (bytes <= capacity) return lend(block, bytes);
    void* larger = acquire(bytes);
    if (larger) {
        ASAN_UNPOISON_MEMORY_REGION(data, capacity);  // how much of it was asked for is not kept
        memcpy(larger, data, capacity);
        release(data);
    }
    return larger;
}

void set_cache_limit(int64_t bytes) {
    lock();
    stats.limit_bytes = bytes;
    Header* victims = evict();
    unlock();
    to_system(victims);
}

void empty_cache() {
    lock();
    const int64_t limit = stats.limit_bytes;
    stats.limit_bytes = 0;
    Header* victims = evict();
    stats.limit_bytes = limit;
    unlock();
    to_system(victims);
}

void reset_peak() {
    lock();
    stats.peak_bytes = stats.used_bytes;
    unlock();
}

BufferStats buffer_stats() {
    lock();
    const BufferStats copy = stats;
    unlock();
    return copy;
}

}  // namespace fc
