// The buffer pool: see buffers.cpp.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fc {

struct BufferStats {
    int64_t hits, misses;  // requests served from the cache, and by the system
    int64_t used_bytes;    // in blocks now held by arrays and kernels
    int64_t peak_bytes;    // the most that used_bytes has been since the start or reset_peak
    int64_t cached_bytes;  // in blocks kept for the next request
    int64_t limit_bytes;   // the most that is kept
};

void* acquire(size_t bytes);  // 64-byte aligned, not initialised; null when there is no memory
void* reacquire(void* block, size_t bytes);
void release(void* block);
void empty_cache();
void set_cache_limit(int64_t bytes);
void reset_peak();
BufferStats buffer_stats();

}  // namespace fc
