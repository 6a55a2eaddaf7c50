// The instruction sets that kernels are compiled for, beyond the baseline: does this machine run them?
#pragma once
#include "runtime.h"

namespace fc {

extern const Runtime services;
bool cpu_has_avx2();
bool cpu_has_avx512();

}  // namespace fc
