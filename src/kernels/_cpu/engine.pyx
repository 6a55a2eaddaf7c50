"""The CPU engine seen from Python and Cython: instruction set, threads, buffer pool.

Kernels are compiled once for each instruction set. The best one that this machine runs is chosen when the engine is
imported, or the one that FASTCONV_ISA names; an op's kernels are loaded when its entry points are imported.
"""

import operator
import os
import sys
from importlib import import_module

import numpy as np

cimport numpy as cnp
from cpython.number cimport PyNumber_Index
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t
from libc.string cimport strcmp

from fastconv.kernels._cpu import limits

cnp.import_array()

cdef extern from "runtime.h" namespace "fc" nogil:
    ctypedef struct Runtime:
        pass
    ctypedef struct Entry:
        const char* name
        void* kernel
    ctypedef struct KernelModule:
        const Entry* entries
        const Runtime** runtime
    const char* kCapsuleName

cdef extern from "isa.h" namespace "fc" nogil:
    const Runtime services
    bint cpu_has_avx2()
    bint cpu_has_avx512()

cdef extern from "threads.h" namespace "fc" nogil:
    const int kMaxThreads
    void set_thread_limit(int limit)
    int thread_limit()
    void set_spin_nanoseconds(int64_t n)
    int threads_for(double nanoseconds)
    ctypedef struct HelperRecord:
        int64_t wakes
        int thread, began_on, caller_on
        bint asleep
    int helper_count()
    HelperRecord helper_record(int index)

cdef extern from "buffers.h" namespace "fc" nogil:
    ctypedef struct BufferStats:
        int64_t hits, misses, used_bytes, peak_bytes, cached_bytes, limit_bytes
    void c_empty_cache "fc::empty_cache"()
    void c_set_cache_limit "fc::set_cache_limit"(int64_t bytes)
    void c_reset_peak "fc::reset_peak"()
    BufferStats buffer_stats()

cdef extern from "arrays.h" namespace "fc":
    object c_new_array "fc::new_array"(int ndim, const cnp.npy_intp* shape, int typenum)

cdef dict _modules = {}


def supported_isas():
    """The instruction sets that this machine runs, best first."""
    return ("avx512",) * cpu_has_avx512() + ("avx2",) * cpu_has_avx2() + ("baseline",)


def isa():
    """The instruction set whose kernels are in use: "avx512", "avx2" or "baseline"."""
    return _isa


cdef str _choose_isa():
    supported = supported_isas()
    forced = os.environ.get("FASTCONV_ISA") or supported[0]
    if forced not in supported:
        raise ValueError(f"FASTCONV_ISA={forced!r}: this machine supports {', '.join(supported)}")
    return forced


cdef KernelModule* _load(const char* op) except NULL:
    key = <bytes>op
    module = _modules.get(key)
    if module is None:
        module = _modules[key] = import_module(f"fastconv.kernels.{key.decode()}.isa_{_isa}")
    kernels = <KernelModule*>PyCapsule_GetPointer(module.kernels, kCapsuleName)
    kernels.runtime[0] = &services
    return kernels


cdef void* lookup(const char* op, const char* name) except NULL:
    cdef const Entry* entry = _load(op).entries
    while entry.name != NULL:
        if strcmp(entry.name, name) == 0:
            return entry.kernel
        entry += 1
    raise LookupError(f"no kernel {(<bytes>name).decode()!r} in fastconv.kernels.{(<bytes>op).decode()}.isa_{_isa}")


cdef int lookup_floats(const char* op, const char* name, void** pair) except -1:
    pair[0] = lookup(op, <bytes>name + b"_f32")
    pair[1] = lookup(op, <bytes>name + b"_f64")
    return 0


cdef object new_array(int ndim, cnp.npy_intp* shape, int typenum):
    return c_new_array(ndim, shape, typenum)


def empty(shape, dtype=np.float64):
    """A new uninitialised array, C-contiguous, whose memory comes from the buffer pool and returns to it.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : a boolean, integer, real or complex dtype

    Raises
    ------
    ValueError
        If a dimension is negative or there are more than 64.
    TypeError
        If the dtype is of another kind or the shape is not made of integers.
    MemoryError
        If there is no memory for it.
    """
    cdef cnp.npy_intp dims[64]
    cdef int i, ndim
    cdef cnp.dtype descr = dtype if isinstance(dtype, cnp.dtype) else np.dtype(dtype)
    if descr.kind not in b"biufc" or not cnp.PyArray_ISNBO(descr.byteorder):
        raise TypeError(f"dtype: expected a numeric type in the machine's byte order, got {descr}")
    cdef tuple sizes = shape if isinstance(shape, tuple) else (shape,)
    ndim = len(sizes)
    if ndim > 64:
        raise ValueError(f"shape: at most 64 dimensions, got {ndim}")
    for i in range(ndim):
        dims[i] = PyNumber_Index(sizes[i])
        if dims[i] < 0:
            raise ValueError(f"shape: dimensions are not negative, got {shape}")
    return c_new_array(ndim, dims, descr.type_num)


def memory_stats():
    """What the buffer pool holds and how it fared.

    Returns
    -------
    dict
        hits, misses: requests served from the cache, and by the system; used_bytes: in blocks now held by arrays;
        peak_bytes: the most that used_bytes has been since the start, or since `reset_peak`;
        cached_bytes: in blocks kept for the next request; limit_bytes: the most that is kept.
    """
    cdef BufferStats s = buffer_stats()
    return s


def empty_cache():
    """Give the memory that the buffer pool keeps back to the system."""
    c_empty_cache()


def reset_peak():
    """Let the peak that `memory_stats` gives begin again at what is used now."""
    c_reset_peak()


def set_cache_limit(bytes):
    """Set how many bytes the buffer pool keeps for later requests (default: FASTCONV_CACHE_BYTES, see `limits`)."""
    limit = operator.index(bytes)
    if limit < 0:
        raise ValueError(f"bytes: expected a number not below 0, got {bytes}")
    c_set_cache_limit(min(limit, 2**62))


def set_num_threads(n):
    """Set how many threads a kernel may use, the caller's included.

    Raises
    ------
    TypeError
        If n is not an integer.
    ValueError
        If n is below 1.
    """
    count = limits.thread_count("n", n)
    set_thread_limit(min(count, kMaxThreads))


def get_num_threads():
    """How many threads a kernel may use, the caller's included."""
    return thread_limit()


def expect(double nanoseconds):
    """Wake helpers for work that follows at once and takes one thread about so long, if it is worth any."""
    threads_for(nanoseconds)


def set_spin_time(double seconds):
    """Set for how long helpers without work spin before they sleep, for bench/spinning.py."""
    set_spin_nanoseconds(<int64_t>(seconds * 1e9))


def helper_records():
    """What the thread pool knows of its helpers, for tests.

    Returns
    -------
    list of dict
        thread: the system's number of the thread; asleep; wakes: how often it has been woken; began_on: the processor
        on which it ran when it was last woken; caller_on: the processor of the caller who had it woken (-1: unknown).
    """
    return [helper_record(i) for i in range(helper_count())]


cdef int _forced = 0
forced_backends = &_forced


def count_forced_backend(int change):
    """Add to the number of times that a backend is forced now."""
    global _forced
    _forced += change


_isa = _choose_isa()
set_num_threads(limits.default_threads())
set_cache_limit(limits.default_cache_bytes())
if "threadpoolctl" in sys.modules:
    import_module("fastconv.kernels._cpu.threadpool")
