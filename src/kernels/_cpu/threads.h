// The thread pool: see threads.cpp.
#pragma once
#include "runtime.h"

namespace fc {

constexpr int kMaxThreads = 256;

void parallel(int64_t ntasks, int nthreads, bool in_order, Task run, void* context);
void expect(int nthreads);  // wakes helpers for a job that will come at once
int64_t next_task();
int threads_for(double nanoseconds);  // and wakes them: whoever asks prepares the job next
bool set_alone(bool alone);        // whether nothing that this thread calls is worth a second one; what it was before
void set_thread_limit(int limit);  // 1 .. kMaxThreads
int thread_limit();
void set_spin_nanoseconds(int64_t n);  // for how long helpers spin before they sleep

// What the pool knows of a helper, for tests. Processors are -1 where the system does not tell.
struct HelperRecord {
    int64_t wakes;  // how often it has been woken
    int thread;     // the system's number of the thread
    int began_on;   // where it ran when it was last woken
    int caller_on;  // where the caller was who had it woken
    bool asleep;
};
int helper_count();
HelperRecord helper_record(int index);

}  // namespace fc
