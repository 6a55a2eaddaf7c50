// The services that every kernel module gets, and what the processor can run.
#include "runtime.h"

#include "buffers.h"
#include "isa.h"
#include "threads.h"

namespace fc {

const Runtime services = {parallel, next_task, threads_for, acquire, release, set_alone};

// Both the processor's and the operating system's support are needed; __builtin_cpu_supports asks for both. It does not
// know F16C in every compiler; processors had it before they had AVX2.
bool cpu_has_avx2() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

bool cpu_has_avx512() {
#if defined(__x86_64__)
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

}  // namespace fc
