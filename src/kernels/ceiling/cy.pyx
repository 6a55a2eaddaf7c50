"""The machine's ceilings, compiled: see isa.cpp. float32 arrays."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport lookup

cnp.import_array()

ctypedef double (*MultiplyAdd)(void* out, int64_t count, int64_t rounds) except + nogil
ctypedef void (*Copy)(void* y, const void* x, int64_t count) except + nogil
ctypedef void (*Triad)(void* y, const void* x, const void* z, int64_t count) except + nogil

cdef MultiplyAdd _multiply_add = <MultiplyAdd>lookup("ceiling", "multiply_add")
cdef Copy _copy = <Copy>lookup("ceiling", "copy")
cdef Triad _triad = <Triad>lookup("ceiling", "triad")


def multiply_add(cnp.ndarray out, int64_t rounds):
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef int64_t count = cnp.PyArray_SIZE(out)
    cdef double operations
    with nogil:
        operations = _multiply_add(out_data, count, rounds)
    return operations


def copy(cnp.ndarray y, cnp.ndarray x):
    cdef void* y_data = cnp.PyArray_DATA(y)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef int64_t count = cnp.PyArray_SIZE(y)
    with nogil:
        _copy(y_data, x_data, count)


def triad(cnp.ndarray y, cnp.ndarray x, cnp.ndarray z):
    cdef void* y_data = cnp.PyArray_DATA(y)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* z_data = cnp.PyArray_DATA(z)
    cdef int64_t count = cnp.PyArray_SIZE(y)
    with nogil:
        _triad(y_data, x_data, z_data, count)
