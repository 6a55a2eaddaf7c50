# What `straight` shares with `remember`.
cimport numpy as cnp
from libc.stdint cimport int64_t

cdef enum:
    MOST_WORDS = 96
    SLOTS = 256  # a power of two; a network has some tens of different calls

# Write what a check may depend on behind words[:n]; the new n, or -1 if the words cannot say it.
cdef int encode(object a, int64_t* words, int n) except -2

# Where a call with these words is kept.
cdef int slot_of(const int64_t* words, int n) noexcept

# Have `forget` call check.forget().
cdef watch(check)

# Whether item is the array a, or a's numbers in another shape.
cdef bint same_numbers(cnp.ndarray item, a)

# Whether two of the arguments are arrays that begin at the same address, so that `same_numbers` cannot tell them apart.
cdef bint share_an_address(tuple args)
