// The thread pool: see threads.cpp.
#pragma once
#include "runtime.h"

namespace fc {

constexpr int kMaxThreads = 256;

void parallel(int64_t ntasks, int nthreads, bool in_order, Task run, void* context);
int64_t next_task();
int threads_for(double nanoseconds);
bool set_alone(bool alone);        // whether nothing that this thread calls is worth a second one; what it was before
void set_thread_limit(int limit);  // 1 .. kMaxThreads
int thread_limit();

}  // namespace fc
