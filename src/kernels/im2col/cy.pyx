"""im2col, col2im and the interchange of two axes, compiled: see isa.cpp and planes.h."""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport lookup_floats, precision
from fastconv.kernels._cpu.window cimport Window, window

# For windows spread so far that a padded copy of the image would not fit in memory.
from fastconv.kernels.im2col.ref import col2im as col2im_by_taps
from fastconv.kernels.im2col.ref import im2col as im2col_by_taps

__all__ = ["col2im", "col2im_by_taps", "col2im_planes", "im2col", "im2col_by_taps", "im2col_planes", "interchange"]

cnp.import_array()

ctypedef void (*Interchange)(void* out, const void* x, int64_t N, int64_t A, int64_t B) except + nogil
ctypedef void (*Kernel)(void* out, const void* source, const Window* p) except + nogil
ctypedef void (*PlanesKernel)(
    void* out, const void* source, const Window* p, int64_t run, bint images_first
) except + nogil

cdef Kernel _im2col[2]
cdef Kernel _col2im[2]
cdef PlanesKernel _im2col_planes[2]
cdef PlanesKernel _col2im_planes[2]
cdef Interchange _interchange[2]

lookup_floats("im2col", "im2col", <void**>_im2col)
lookup_floats("im2col", "col2im", <void**>_col2im)
lookup_floats("im2col", "im2col_planes", <void**>_im2col_planes)
lookup_floats("im2col", "col2im_planes", <void**>_col2im_planes)
lookup_floats("im2col", "interchange", <void**>_interchange)


cdef _run(Kernel* kernels, cnp.ndarray out, cnp.ndarray source, p):
    cdef Window sizes = window(p)
    cdef Kernel kernel = kernels[precision(source)]
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* source_data = cnp.PyArray_DATA(source)
    with nogil:
        kernel(out_data, source_data, &sizes)


def im2col(cnp.ndarray out, cnp.ndarray x, p):
    _run(_im2col, out, x, p)


def col2im(cnp.ndarray out, cnp.ndarray col, p):
    _run(_col2im, out, col, p)


cdef _run_planes(PlanesKernel* kernels, cnp.ndarray out, cnp.ndarray source, p):
    cdef Window sizes = window(p)
    cdef PlanesKernel kernel = kernels[precision(source)]
    cdef int64_t run = p.run
    cdef bint images_first = p.images_first
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* source_data = cnp.PyArray_DATA(source)
    with nogil:
        kernel(out_data, source_data, &sizes, run, images_first)


def im2col_planes(cnp.ndarray out, cnp.ndarray x, p):
    _run_planes(_im2col_planes, out, x, p)


def col2im_planes(cnp.ndarray out, cnp.ndarray col, p):
    _run_planes(_col2im_planes, out, col, p)


def interchange(cnp.ndarray out, cnp.ndarray x, p):
    cdef Interchange kernel = _interchange[precision(x)]
    cdef int64_t N = p.N, A = p.A, B = p.B
    cdef void* out_data = cnp.PyArray_DATA(out)
    cdef void* x_data = cnp.PyArray_DATA(x)
    with nogil:
        kernel(out_data, x_data, N, A, B)
