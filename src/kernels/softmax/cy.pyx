"""Softmax, log-softmax and softmax with cross entropy, compiled: see isa.cpp."""

cimport numpy as cnp
from libc.math cimport log
from libc.stdint cimport int64_t

from fastconv.kernels._cpu.engine cimport lookup_floats, precision

cnp.import_array()

ctypedef void (*Forward)(void* out, const void* x, int64_t outer, int64_t n, int64_t inner) except + nogil
ctypedef void (*Backward)(
    void* dx, const void* dout, const void* y, int64_t outer, int64_t n, int64_t inner
) except + nogil
ctypedef double (*Loss)(
    void* out, const void* x, const void* labels, const void* targets, int64_t N, int64_t C
) except + nogil
ctypedef void (*LossGradient)(
    void* dx, const void* y, const void* labels, const void* targets, int64_t N, int64_t C
) except + nogil

cdef Forward _forward[2]
cdef Forward _log_forward[2]
cdef Backward _backward[2]
cdef Backward _log_backward[2]
cdef Loss _loss[2]
cdef LossGradient _loss_gradient[2]

lookup_floats("softmax", "forward", <void**>_forward)
lookup_floats("softmax", "log_forward", <void**>_log_forward)
lookup_floats("softmax", "backward", <void**>_backward)
lookup_floats("softmax", "log_backward", <void**>_log_backward)
lookup_floats("softmax", "cross_entropy_forward", <void**>_loss)
lookup_floats("softmax", "cross_entropy_backward", <void**>_loss_gradient)


cdef inline void* _data(cnp.ndarray array) noexcept nogil:
    return cnp.PyArray_DATA(array)


cdef _apply(Forward* kernels, cnp.ndarray out, cnp.ndarray x, p):
    cdef Forward kernel = kernels[precision(x)]
    cdef int64_t outer = p.outer, n = p.n, inner = p.inner
    with nogil:
        kernel(_data(out), _data(x), outer, n, inner)


cdef _differentiate(Backward* kernels, cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray y, p):
    cdef Backward kernel = kernels[precision(y)]
    cdef int64_t outer = p.outer, n = p.n, inner = p.inner
    with nogil:
        kernel(_data(dx), _data(dout), _data(y), outer, n, inner)


def forward(cnp.ndarray out, cnp.ndarray x, p):
    _apply(_forward, out, x, p)


def log_forward(cnp.ndarray out, cnp.ndarray x, p):
    _apply(_log_forward, out, x, p)


def backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray y, p):
    _differentiate(_backward, dx, dout, y, p)


def log_backward(cnp.ndarray dx, cnp.ndarray dout, cnp.ndarray y, p):
    _differentiate(_log_backward, dx, dout, y, p)


def cross_entropy_forward(cnp.ndarray out, cnp.ndarray x, cnp.ndarray t, p):
    cdef Loss kernel = _loss[precision(x)]
    cdef void* labels = _data(t) if p.labels else NULL
    cdef void* targets = NULL if p.labels else _data(t)
    cdef int64_t N = p.N, C = p.C
    cdef double loss
    with nogil:
        loss = kernel(_data(out), _data(x), labels, targets, N, C)
    if p.offset and N > 0:
        return _offset_loss(out, t, p)
    return loss


cdef double _offset_loss(cnp.ndarray y, cnp.ndarray t, p):
    """-mean(sum(t * log(y + offset))) from probabilities: a logarithm for each label or target that is not zero."""
    cdef int64_t N = p.N, C = p.C, n, at
    cdef double offset = p.offset, total = 0, target
    cdef bint labels = p.labels, double_precision = precision(y)
    for n in range(N):
        if labels:
            at = n * C + (<int64_t*>_data(t))[n]
            total += log(number(y, at, double_precision) + offset)
        else:
            for at in range(n * C, (n + 1) * C):
                target = number(t, at, double_precision)
                if target != 0:
                    total += target * log(number(y, at, double_precision) + offset)
    return -total / N


cdef inline double number(cnp.ndarray a, int64_t at, bint double_precision) noexcept:
    return (<double*>_data(a))[at] if double_precision else (<float*>_data(a))[at]


def cross_entropy_backward(cnp.ndarray dx, cnp.ndarray y, cnp.ndarray t, p):
    cdef LossGradient kernel = _loss_gradient[precision(y)]
    cdef void* labels = _data(t) if p.labels else NULL
    cdef void* targets = NULL if p.labels else _data(t)
    cdef int64_t N = p.N, C = p.C
    with nogil:
        kernel(_data(dx), _data(y), labels, targets, N, C)
