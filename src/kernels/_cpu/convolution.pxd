# For the entry points of convolutions: what their kernels take, from a Problem.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastconv.kernels._cpu.window cimport Window, window

cdef struct Convolution:
    Window window
    int64_t FN, groups
    bint relu
    double most  # of the activation, see clip.h


cdef inline double most_of(activation) except? -2:
    """The largest result of an activation that clips, infinity for ReLU's; -1 for none. See clip.h."""
    if activation is None:
        return -1
    return 6 if activation == "relu6" else INFINITY


cdef inline Convolution convolution(p):
    """Read from the Problem once; then from the bytes kept there, in the place of the Window's."""
    cdef Convolution c
    packed = p.packed
    if packed is not None and PyBytes_GET_SIZE(packed) == sizeof(Convolution):
        memcpy(&c, PyBytes_AS_STRING(packed), sizeof(Convolution))
        return c
    c.window = window(p)
    c.FN, c.groups, c.relu, c.most = p.FN, p.groups, p.activation == "relu", most_of(p.activation)
    object.__setattr__(p, "packed", PyBytes_FromStringAndSize(<char*>&c, sizeof(Convolution)))
    return c
