// Telling tracemalloc. In a file without Python.h, whose declaration lacks extern "C" in some versions.
#include <cstddef>
#include <cstdint>

extern "C" int PyTraceMalloc_Track(unsigned int domain, uintptr_t block, size_t bytes);

namespace fc {

void trace_array(void* block, size_t bytes) {
    constexpr unsigned kNumPyDomain = 389047;  // numpy.lib.tracemalloc_domain
    PyTraceMalloc_Track(kNumPyDomain, reinterpret_cast<uintptr_t>(block), bytes);
}

}  // namespace fc
