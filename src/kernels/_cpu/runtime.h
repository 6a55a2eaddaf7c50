// What a kernel module and the engine exchange: kernels go up by name, services come down by pointer.
//
// Kernel modules (isa.cpp, one shared object per op and instruction set) do not link to the engine. The engine imports
// one, reads its KernelModule from a capsule and points `*runtime` at its own table of services.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fc {

using Task = void (*)(void* context, int64_t task, int tid);

struct Runtime {
    void (*parallel)(int64_t ntasks, int nthreads, bool in_order, Task run, void* context);
    int64_t (*next_task)();
    int (*threads_for)(double nanoseconds);
    void* (*acquire)(size_t bytes);
    void (*release)(void* block);
    bool (*set_alone)(bool alone);  // returns what it was
};

struct Entry {
    const char* name;
    void* kernel;
};

struct KernelModule {
    const Entry* entries;  // ends with a null name
    const Runtime** runtime;
};

constexpr const char* kCapsuleName = "fastconv.kernels";

}  // namespace fc
